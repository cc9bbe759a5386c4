//! Money: one exact type for every dollar in the project.
//!
//! [`Usd`] counts **pico-dollars** (10⁻¹² US dollars) in an `i64`, which is exact for prices of up to six decimals per
//! million tokens and reaches about 9.2 million dollars. Sums over many calls use `i128` ([`Usd::sum`]) and report
//! overflow instead of wrapping.

use std::fmt;

/// Pico-dollars in one dollar.
pub const PICO_PER_USD: i64 = 1_000_000_000_000;

/// An amount of money in US dollars, exact to 10⁻¹² dollars.
///
/// ```
/// use cascade_sdk_core::money::Usd;
/// let call = Usd::parse("0.0000133")?;
/// assert_eq!(call.pico(), 13_300_000);
/// assert_eq!(call.to_string(), "0.0000133");
/// # Ok::<(), cascade_sdk_core::money::MoneyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(i64);

/// Why an amount is not representable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoneyError {
    /// Larger in magnitude than about 9.2 million dollars.
    Overflow,
    /// Not a finite decimal number.
    NotANumber,
    /// More decimals than the type can hold exactly.
    TooManyDecimals,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "the amount is larger than 9.2 million dollars",
            Self::NotANumber => "the amount is not a finite decimal number",
            Self::TooManyDecimals => "the amount has more decimals than can be held exactly",
        })
    }
}

impl std::error::Error for MoneyError {}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(i64::MAX);

    /// From pico-dollars.
    pub const fn from_pico(pico: i64) -> Self {
        Self(pico)
    }

    /// In pico-dollars.
    pub const fn pico(self) -> i64 {
        self.0
    }

    /// From a JSON number in dollars, rounded half to even at the twelfth decimal.
    ///
    /// # Errors
    /// [`MoneyError::NotANumber`] for NaN and infinities, [`MoneyError::Overflow`] beyond the range.
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_f64(dollars: f64) -> Result<Self, MoneyError> {
        if !dollars.is_finite() {
            return Err(MoneyError::NotANumber);
        }
        let pico = (dollars * PICO_PER_USD as f64).round_ties_even();
        // 2^63 as f64 is the first value that does not fit.
        if pico.abs() >= 9_223_372_036_854_775_808.0 {
            return Err(MoneyError::Overflow);
        }
        Ok(Self(pico as i64))
    }

    /// In dollars, for statistics and display; money is never computed from it.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / PICO_PER_USD as f64
    }

    /// Reads a decimal such as `0.0008`, `5e-4` or `1_000.50` exactly.
    ///
    /// # Errors
    /// [`MoneyError::TooManyDecimals`] below 10⁻¹² dollars, otherwise as [`Usd::from_f64`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        parse_scaled(text, 12).map(Self)
    }

    /// The sum, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(pico) => Some(Self(pico)),
            None => None,
        }
    }

    /// The difference, or `None` on overflow.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(pico) => Some(Self(pico)),
            None => None,
        }
    }

    /// The sum, stopping at the ends of the range: for ledgers, where too much is the safe side.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, stopping at the ends of the range.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Adds amounts in `i128`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] if the total leaves the range.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        let total: i128 = amounts.into_iter().map(|amount| i128::from(amount.0)).sum();
        i64::try_from(total).map(Self).map_err(|_| MoneyError::Overflow)
    }

    /// True below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl fmt::Display for Usd {
    /// Dollars as an exact decimal without trailing zeros and without a currency sign.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_scaled(self.0, 12, f)
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Usd({self})")
    }
}

/// The price of one token, held exactly as pico-dollars a token.
///
/// People write US dollars per million tokens; one dollar per million is 10⁶ pico-dollars a token, so six decimals are
/// exact and a seventh is an error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TokenPrice(i64);

impl TokenPrice {
    /// Free.
    pub const ZERO: Self = Self(0);

    /// From pico-dollars a token.
    pub const fn from_pico_per_token(pico: i64) -> Self {
        Self(pico)
    }

    /// In pico-dollars a token.
    pub const fn pico_per_token(self) -> i64 {
        self.0
    }

    /// Reads US dollars per million tokens.
    ///
    /// # Errors
    /// [`MoneyError::TooManyDecimals`] for a seventh decimal, otherwise as [`Usd::parse`].
    pub fn parse_per_million(text: &str) -> Result<Self, MoneyError> {
        parse_scaled(text, 6).map(Self)
    }

    /// The price of `tokens` tokens, in `i128` pico-dollars so that it cannot overflow.
    pub fn times(self, tokens: u64) -> i128 {
        i128::from(self.0) * i128::from(tokens)
    }
}

impl fmt::Display for TokenPrice {
    /// US dollars per million tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_scaled(self.0, 6, f)
    }
}

impl fmt::Debug for TokenPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPrice({self} USD per million)")
    }
}

/// An amount for people, in US dollars: two decimals from a dollar on, below it three significant digits.
///
/// ```
/// assert_eq!(cascade_sdk_core::money::dollars(0.012_345_6), "$0.0123");
/// ```
pub fn dollars(value: f64) -> String {
    if value == 0.0 || value.abs() >= 1.0 {
        return format!("${value:.2}");
    }
    let mut decimals = 2;
    let mut scaled = value.abs() * 100.0;
    while scaled < 99.95 && decimals < 12 {
        scaled *= 10.0;
        decimals += 1;
    }
    format!("${value:.decimals$}")
}

/// Mean length of a month of the Gregorian calendar, in days: a cost a call times calls a day times this is a cost a month.
pub const DAYS_PER_MONTH: f64 = 365.242_5 / 12.0;

/// What a call used, in tokens as the provider counts them.
///
/// Providers of applications make it field by field, so it is exhaustive: end the literal with `..Usage::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// All input tokens, cached and freshly cached ones included.
    pub input_tokens: u64,
    /// The part of the input that was read from the provider's cache.
    pub cached_input_tokens: u64,
    /// The part of the input that was written to the provider's cache.
    pub cache_write_tokens: u64,
    /// All output tokens, hidden reasoning included.
    pub output_tokens: u64,
    /// The part of the output that was hidden reasoning; charged as output.
    pub reasoning_tokens: u64,
}

/// Rates of a tier for one price band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rates {
    /// Fresh input.
    pub input: TokenPrice,
    /// Input read from the cache; `None` charges it as fresh input.
    pub cached_input: Option<TokenPrice>,
    /// Input written to the cache; `None` charges it as fresh input.
    pub cache_write: Option<TokenPrice>,
    /// Output, reasoning included.
    pub output: TokenPrice,
}

/// What a tier costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Price {
    /// Rates for ordinary requests.
    pub rates: Rates,
    /// Charged once a request, whatever its length.
    pub per_request: Usd,
    /// Rates of the provider's batch endpoint, used when a log is re-priced as batch work.
    pub batch: Option<Rates>,
    /// Rates for requests whose input exceeds a number of tokens.
    pub above: Option<LongInput>,
}

/// Rates that apply to a whole request once its input is longer than `tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongInput {
    /// Longest input at ordinary rates.
    pub tokens: u64,
    /// Rates beyond that.
    pub rates: Rates,
}

impl Price {
    /// The cost of one call: rates × tokens + the price of a request, exact.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] beyond about 9.2 million dollars.
    ///
    /// ```
    /// use cascade_sdk_core::money::{Price, Rates, TokenPrice, Usage};
    /// let rates = Rates {
    ///     input: TokenPrice::parse_per_million("0.10")?,
    ///     output: TokenPrice::parse_per_million("0.40")?,
    ///     ..Rates::default()
    /// };
    /// let price = Price { rates, ..Price::default() };
    /// let usage = Usage { input_tokens: 132, output_tokens: 1, ..Usage::default() };
    /// assert_eq!(price.cost(&usage)?.to_string(), "0.0000136");
    /// # Ok::<(), cascade_sdk_core::money::MoneyError>(())
    /// ```
    pub fn cost(&self, usage: &Usage) -> Result<Usd, MoneyError> {
        let rates = match self.above {
            Some(long) if usage.input_tokens > long.tokens => long.rates,
            _ => self.rates,
        };
        // A provider that reports more cached than total input must not earn a negative charge.
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let fresh = usage.input_tokens - cached - written;
        let pico = rates.input.times(fresh)
            + rates.cached_input.unwrap_or(rates.input).times(cached)
            + rates.cache_write.unwrap_or(rates.input).times(written)
            + rates.output.times(usage.output_tokens)
            + i128::from(self.per_request.0);
        i64::try_from(pico).map(Usd).map_err(|_| MoneyError::Overflow)
    }

    /// The most that a call of at most so many tokens can cost, whatever the cache does: what a budget reserves.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] beyond about 9.2 million dollars.
    pub fn worst_case(&self, input_tokens: u64, output_tokens: u64) -> Result<Usd, MoneyError> {
        let bands = [Some(self.rates), self.above.map(|long| long.rates)];
        let dearest = bands.into_iter().flatten().map(|rates| {
            let input =
                [Some(rates.input), rates.cached_input, rates.cache_write].into_iter().flatten().max();
            input.unwrap_or_default().times(input_tokens) + rates.output.times(output_tokens)
        });
        let pico = dearest.max().unwrap_or_default() + i128::from(self.per_request.0);
        i64::try_from(pico).map(Usd).map_err(|_| MoneyError::Overflow)
    }
}

/// Reads a decimal number as an integer of 10^-`decimals` units; exact or an error.
fn parse_scaled(text: &str, decimals: i32) -> Result<i64, MoneyError> {
    let text = text.trim();
    let (negative, text) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().map_err(|_| MoneyError::NotANumber)?),
        None => (text, 0),
    };
    let (mut value, mut scale, mut digits, mut after_point) = (0_i128, exponent, 0_u32, false);
    for byte in mantissa.bytes() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                if after_point {
                    scale = scale.checked_sub(1).ok_or(MoneyError::NotANumber)?;
                }
                value = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(i128::from(byte - b'0')))
                    .ok_or(MoneyError::Overflow)?;
            }
            b'.' if !after_point => after_point = true,
            b'_' => {}
            _ => return Err(MoneyError::NotANumber),
        }
    }
    if digits == 0 {
        return Err(MoneyError::NotANumber);
    }
    if value == 0 {
        return Ok(0);
    }
    let mut shift = scale.checked_add(decimals).ok_or(MoneyError::Overflow)?;
    while shift < 0 {
        if value % 10 != 0 {
            return Err(MoneyError::TooManyDecimals);
        }
        value /= 10;
        shift += 1;
    }
    while shift > 0 {
        value = value.checked_mul(10).ok_or(MoneyError::Overflow)?;
        shift -= 1;
    }
    i64::try_from(if negative { -value } else { value }).map_err(|_| MoneyError::Overflow)
}

/// Writes an integer of 10^-`decimals` units as a decimal without trailing zeros.
fn fmt_scaled(units: i64, decimals: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", units.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, pico) in [
            ("0.0008", 800_000_000),
            ("1e-12", 1),
            ("5e-4", 500_000_000),
            ("-0.5", -500_000_000_000),
            ("1_000", 1_000_000_000_000_000),
            ("0.000", 0),
            ("1.50e1", 15_000_000_000_000),
        ] {
            assert_eq!(Usd::parse(text).map(Usd::pico), Ok(pico), "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for (text, error) in [
            ("1e-13", MoneyError::TooManyDecimals),
            ("10000000", MoneyError::Overflow),
            ("1e400", MoneyError::Overflow),
            ("1e-2147483648", MoneyError::Overflow),
            ("nan", MoneyError::NotANumber),
            ("", MoneyError::NotANumber),
            (".", MoneyError::NotANumber),
            ("1.2.3", MoneyError::NotANumber),
        ] {
            assert!(Usd::parse(text).is_err(), "{text} should be {error:?}");
        }
        assert_eq!(TokenPrice::parse_per_million("0.1234567"), Err(MoneyError::TooManyDecimals));
    }

    #[test]
    fn json_numbers_round_half_to_even() {
        assert_eq!(Usd::from_f64(0.000_013_3).map(Usd::pico), Ok(13_300_000));
        assert_eq!(Usd::from_f64(2.5e-12).map(Usd::pico), Ok(2));
        assert_eq!(Usd::from_f64(3.5e-12).map(Usd::pico), Ok(4));
        assert_eq!(Usd::from_f64(f64::NAN), Err(MoneyError::NotANumber));
        assert_eq!(Usd::from_f64(1e300), Err(MoneyError::Overflow));
    }

    #[test]
    fn display_round_trips() {
        for pico in [0, 1, -1, 13_300_000, PICO_PER_USD, -PICO_PER_USD * 3 / 2, i64::MAX, i64::MIN + 1] {
            assert_eq!(Usd::parse(&Usd::from_pico(pico).to_string()), Ok(Usd::from_pico(pico)));
        }
    }

    #[test]
    fn cost_uses_the_band_and_the_cache() {
        let rates = |input: i64, output: i64| Rates {
            input: TokenPrice::from_pico_per_token(input),
            cached_input: Some(TokenPrice::from_pico_per_token(input / 10)),
            cache_write: None,
            output: TokenPrice::from_pico_per_token(output),
        };
        let price = Price {
            rates: rates(100, 400),
            per_request: Usd::from_pico(7),
            batch: None,
            above: Some(LongInput { tokens: 1000, rates: rates(200, 800) }),
        };
        let usage =
            Usage { input_tokens: 1000, cached_input_tokens: 300, output_tokens: 2, ..Usage::default() };
        assert_eq!(price.cost(&usage), Ok(Usd::from_pico(70_000 + 3_000 + 800 + 7)));
        let long = Usage { input_tokens: 1001, ..usage };
        assert_eq!(price.cost(&long), Ok(Usd::from_pico(701 * 200 + 300 * 20 + 1600 + 7)));
        let absurd = Usage { input_tokens: 1, cached_input_tokens: 5, ..Usage::default() };
        assert_eq!(price.cost(&absurd), Ok(Usd::from_pico(10 + 7)));
        for usage in [usage, long, absurd, Usage { cache_write_tokens: 900, ..usage }] {
            let most = price.worst_case(usage.input_tokens, usage.output_tokens).unwrap();
            assert!(price.cost(&usage).unwrap() <= most, "{usage:?}");
        }
        let huge = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
        assert_eq!(price.cost(&huge), Err(MoneyError::Overflow));
    }
}
