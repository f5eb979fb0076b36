//! Writing a quantity in its canonical form: no fraction, the largest suffix that leaves none.

use std::fmt;

use super::{NANO, Notation, Quantity};

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let kibi = 1024 * NANO;
        match self.notation {
            // Small and fractional amounts would be rounded by binary suffixes; decimal ones keep them exact.
            Notation::Binary if self.nano.abs() >= kibi && self.nano % NANO == 0 => {
                let (number, power) = reduce(self.nano / NANO, 1024, 6);
                write!(
                    f,
                    "{number}{}",
                    ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]
                )
            }
            Notation::Binary | Notation::Decimal => {
                let (number, power) = reduce(self.nano, 1000, 9);
                write!(
                    f,
                    "{number}{}",
                    ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][power]
                )
            }
            Notation::Exponent => {
                let (number, power) = reduce(self.nano, 1000, 9);
                match power {
                    3 => write!(f, "{number}"),
                    0..3 => write!(f, "{number}e-{}", 9 - 3 * power),
                    _ => write!(f, "{number}e{}", 3 * power - 9),
                }
            }
        }
    }
}

/// Divides by `base` while nothing remains, at most `most` times.
fn reduce(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut power = 0;
    while power < most && number % base == 0 {
        number /= base;
        power += 1;
    }
    (number, power)
}
