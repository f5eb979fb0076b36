//! Reading a quantity.

use super::{LARGEST, NANO, Notation, Quantity};

pub(super) fn quantity(text: &str) -> Option<Quantity> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (unit, notation) = unit(suffix)?;
    let nano = scale(whole, fraction, &unit);
    let nano = nano.min(LARGEST);
    Some(Quantity {
        nano: if negative { -nano } else { nano },
        notation,
    })
}

/// What one stands for: a multiple of a billionth, or a part of one.
enum Unit {
    Times(i128),
    Over(i128),
}

fn unit(suffix: &str) -> Option<(Unit, Notation)> {
    let binary = |power: u32| Some((Unit::Times(NANO << (10 * power)), Notation::Binary));
    let decimal = |power: i32| Some((ten_to(power + 9), Notation::Decimal));
    match suffix {
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((ten_to(exponent.checked_add(9)?), Notation::Exponent))
        }
    }
}

/// Ten to the power, as far as it makes a difference: beyond 36 digits everything is too large or nothing.
fn ten_to(power: i32) -> Unit {
    let size = 10_i128.pow(power.unsigned_abs().min(36));
    if power < 0 {
        Unit::Over(size)
    } else {
        Unit::Times(size)
    }
}

/// The number times the unit, rounded up to the next billionth.
fn scale(whole: &str, fraction: &str, unit: &Unit) -> i128 {
    let whole = digits(whole);
    let parts = |amount: i128| match unit {
        Unit::Times(size) => amount.checked_mul(*size).unwrap_or(LARGEST),
        Unit::Over(size) => ceil_div(amount, *size),
    };
    // 18 digits behind the point reach a billionth of a billionth; what follows can only round up.
    let (kept, dropped) = fraction.split_at(fraction.len().min(18));
    let rest = i128::from(dropped.bytes().any(|digit| digit != b'0'));
    let scale = 10_i128.pow(u32::try_from(kept.len()).unwrap_or(18));
    let fraction = digits(kept);
    if fraction == 0 && rest == 0 {
        return parts(whole);
    }
    match unit {
        Unit::Times(size) => {
            let below = match fraction.checked_mul(*size) {
                Some(product) => ceil_div(product + rest, scale),
                None => (fraction / scale.max(1)).saturating_mul(*size),
            };
            parts(whole).saturating_add(below)
        }
        Unit::Over(size) => {
            let all = whole
                .checked_mul(scale)
                .and_then(|whole| whole.checked_add(fraction + rest));
            all.map_or(LARGEST, |all| ceil_div(all, size.saturating_mul(scale)))
        }
    }
}

fn ceil_div(amount: i128, by: i128) -> i128 {
    amount / by + i128::from(amount % by != 0)
}

/// The digits as a number; too many of them are simply the largest amount.
fn digits(text: &str) -> i128 {
    if text.is_empty() {
        0
    } else {
        text.parse::<i128>().unwrap_or(LARGEST).min(LARGEST)
    }
}
