//! Durations as people write them: `24h`, `30m`, `7d`, `1h30m`.

use std::time::Duration;

/// Parses a duration: one or more numbers, each with `s`, `m`, `h` or `d`.
///
/// # Errors
///
/// Says what is expected.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write it like 90s, 30m, 24h or 7d");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return Err(wrong()),
        };
        seconds = number
            .checked_mul(unit)
            .and_then(|n| n.checked_add(seconds))
            .ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    match seconds {
        0 => Err(wrong()),
        // A century: beyond it timestamps overflow and nobody means it.
        _ if seconds > 100 * 365 * 86_400 => Err(format!("{text:?} is too long")),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1800),
            ("24h", 86_400),
            ("7d", 604_800),
            ("1h30m", 5400),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for bad in [
            "",
            "24",
            "h",
            "0s",
            "-1h",
            "1w",
            "1.5h",
            "1h ",
            "ä",
            "5ä",
            "99999999999999999999d",
            "9999999999d",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
