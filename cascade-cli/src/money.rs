//! Amounts as people read them.

use cascade_sdk_core::money::Usd;

/// An amount for people: two decimals from a dollar on, below it three significant digits.
pub(crate) fn dollars(amount: Usd) -> String {
    dollars_f64(amount.to_f64())
}

/// As [`dollars`], for means.
pub(crate) use cascade_sdk_core::money::dollars as dollars_f64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_three_digits() {
        for (text, shown) in [
            ("0", "$0.00"),
            ("12.345", "$12.35"),
            ("0.5", "$0.500"),
            ("0.0123456", "$0.0123"),
            ("0.0000133", "$0.0000133"),
            ("0.000099999", "$0.000100"),
        ] {
            assert_eq!(dollars(Usd::parse(text).unwrap()), shown, "{text}");
        }
    }
}
