//! Kubernetes quantities as approximate numbers, which is all that relative scores need.

/// Reads a quantity like `250m`, `16Gi` or `1e3`.
pub(super) fn approximate(quantity: &str) -> Option<f64> {
    let text = quantity.trim();
    if let Ok(plain) = text.parse::<f64>() {
        return plain.is_finite().then_some(plain);
    }
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, suffix) = text.split_at(at);
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024f64,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::approximate;

    #[test]
    fn quantities_are_read() {
        for (text, expected) in [
            ("2", 2.0),
            ("250m", 0.25),
            ("1e3", 1000.0),
            ("16Gi", 17_179_869_184.0),
            ("1.5k", 1500.0),
            ("3E", 3e18),
        ] {
            assert_eq!(approximate(text), Some(expected), "{text}");
        }
        for text in ["", "x", "12q", "Gi", "NaN", "inf"] {
            assert_eq!(approximate(text), None, "{text}");
        }
    }
}
