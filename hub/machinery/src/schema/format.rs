//! The formats that the API server checks. Others are notes to the reader, as in OpenAPI.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Number;

/// Whether a text has the format. Unknown formats accept everything.
pub(super) fn accepts(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "byte" => STANDARD
            .decode(
                text.bytes()
                    .filter(|byte| !matches!(byte, b'\n' | b'\r'))
                    .collect::<Vec<_>>(),
            )
            .is_ok(),
        "duration" => is_duration(text),
        "uuid" => is_uuid(text),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    }
}

/// Whether a number fits the format.
pub(super) fn fits(format: &str, number: &Number) -> bool {
    match format {
        "int32" => number
            .as_i64()
            .is_some_and(|value| i32::try_from(value).is_ok()),
        "int64" => number.is_i64(),
        "uint32" => number
            .as_u64()
            .is_some_and(|value| u32::try_from(value).is_ok()),
        "uint64" | "uint" => number.is_u64(),
        "uint16" => number
            .as_u64()
            .is_some_and(|value| u16::try_from(value).is_ok()),
        "uint8" => number
            .as_u64()
            .is_some_and(|value| u8::try_from(value).is_ok()),
        _ => true,
    }
}

/// Go's `time.ParseDuration`: `1h30m`, `-1.5s`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if number.matches('.').count() > 1 || !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return false;
        }
        // "ms" before "m": the longer unit first.
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let Some(after) = units.iter().find_map(|unit| tail.strip_prefix(unit)) else {
            return false;
        };
        rest = after;
    }
    true
}

fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| byte.is_ascii_hexdigit()).count();
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    digits == 32 && digits + hyphens == text.len() && (hyphens == 0 || hyphens == 4)
}
