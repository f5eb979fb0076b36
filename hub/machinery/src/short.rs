//! Texts for messages, with a bound on their length: what is wrong with a body may be as long as the body, many times over.

use std::fmt::{self, Write};

/// Most bytes of a field's path or of a value in a message.
pub(crate) const LONGEST: usize = 1024;

/// Writes something out, up to `most` bytes; `…` stands for the rest, which is not even written.
pub(crate) fn short(what: impl fmt::Display, most: usize) -> String {
    let mut text = Short {
        text: String::new(),
        most,
    };
    if write!(text, "{what}").is_err() {
        text.text.push('…');
    }
    text.text
}

struct Short {
    text: String,
    most: usize,
}

impl Write for Short {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let left = self.most - self.text.len();
        if part.len() <= left {
            self.text.push_str(part);
            return Ok(());
        }
        self.text.push_str(&part[..part.floor_char_boundary(left)]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_whole_and_the_rest_is_never_written() {
        assert_eq!(short("äöü", 6), "äöü");
        assert_eq!(short("äöü", 5), "äö…");
        assert_eq!(short("", 0), "");
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("and so on, ")?;
                }
            }
        }
        assert_eq!(short(Endless, 13), "and so on, an…");
    }
}
