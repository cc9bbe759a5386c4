//! Lengths of time as people write them: `30s`, `15m`, `1h`, `7d`.

use std::time::Duration;

/// Longest window: a leap year.
const LONGEST: u64 = 366 * 86_400;

/// Reads a window; `None` for anything but a whole number above zero and a unit, up to 366 days.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (1..=LONGEST).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn windows() {
        for (text, seconds) in
            [("30s", 30), ("15m", 900), ("1h", 3_600), ("1d", 86_400), ("366d", 31_622_400)]
        {
            assert_eq!(parse(text).map(|window| window.as_secs()), Some(seconds), "{text}");
        }
        for text in
            ["", "d", "0d", "1", "-1d", "+1d", "1w", "1.5h", "1 d", "367d", "99999999999999999999d", "é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
