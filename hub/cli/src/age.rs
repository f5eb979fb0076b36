//! Ages as kubectl shows them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Says how long ago a time was; `-` when there is none.
pub(crate) fn since(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| human(now.as_second() - time.0.as_second()),
    )
}

/// Says how far ahead a time is; `-` when it has passed.
pub(crate) fn until(time: &Time, now: Timestamp) -> String {
    match time.0.as_second() - now.as_second() {
        seconds if seconds <= 0 => "-".to_owned(),
        seconds => human(seconds),
    }
}

/// Shortens a span to its one or two leading units, with kubectl's thresholds.
fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |big: i64, big_unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, 'd', hours % 24, 'h'),
        _ if days < 730 => format!("{days}d"),
        _ if days < 365 * 8 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectls() {
        let expected = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_700, "3h15m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (-5, "0s"),
        ];
        for (seconds, text) in expected {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_time_that_passed_is_not_ahead() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(until(&Time(at(100)), at(100)), "-");
        assert_eq!(until(&Time(at(190)), at(100)), "90s");
        assert_eq!(since(None, at(0)), "-");
    }
}
