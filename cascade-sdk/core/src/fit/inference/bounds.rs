//! Bounds that hold in finite samples (MATH.md 11.1): exact binomial bounds and tests by betting.

/// Clopper–Pearson lower bound: the largest p₀ that `successes` of `trials` refute as an upper value, at level δ.
///
/// With probability at least 1 − δ the true success probability is at least the bound. It is the δ-quantile of
/// Beta(x, n − x + 1).
///
/// ```
/// use cascade_sdk_core::fit::inference::bounds::binomial_lower;
/// // Without a failure the bound is δ^(1/n).
/// assert!((binomial_lower(100, 100, 0.05) - 0.05_f64.powf(0.01)).abs() < 1e-12);
/// ```
pub fn binomial_lower(successes: u64, trials: u64, delta: f64) -> f64 {
    if successes == 0 || trials == 0 {
        return 0.0;
    }
    let (a, b) = (successes as f64, (trials - successes.min(trials)) as f64 + 1.0);
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // A fixed number of halvings reaches the last bit and is the same on every system.
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if incomplete_beta(a, b, middle) < delta { low = middle } else { high = middle }
    }
    low
}

/// Clopper–Pearson upper bound on a probability; see [`binomial_lower`].
pub fn binomial_upper(successes: u64, trials: u64, delta: f64) -> f64 {
    1.0 - binomial_lower(trials - successes.min(trials), trials, delta)
}

/// Stands in for 0 where Lentz's method divides.
const TINY: f64 = 1e-300;

/// The regularised incomplete beta function I_x(a, b), by the continued fraction of Lentz's method.
#[expect(clippy::many_single_char_names, reason = "the symbols of every reference on this function")]
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges quickly only left of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let log_front =
        libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x)
            - libm::log(a);
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut fraction, mut c, mut d) = (1.0, 1.0, 0.0);
    // Needs about √max(a, b) steps: enough for ten million rows.
    for step in 0..10_000_u32 {
        let m = f64::from(step / 2);
        let numerator = if step == 0 {
            1.0
        } else if step % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / nonzero(1.0 + numerator * d);
        c = nonzero(1.0 + numerator / c);
        let change = c * d;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    libm::exp(log_front) * (fraction - 1.0)
}

/// The p-quantile of the standard normal distribution, by halving; ±∞ at 0 and 1.
///
/// ```
/// use cascade_sdk_core::fit::inference::bounds::normal_quantile;
/// assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
/// ```
pub fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (-40.0_f64, 40.0_f64);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if libm::erfc(-middle / std::f64::consts::SQRT_2) / 2.0 < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Tests "the mean is at most `level`" on values in [0, 1] by betting against it (Waudby-Smith and Ramdas 2024).
///
/// Capital starts at 1 and is multiplied by 1 + λ_t (x_t − level), where the stake λ_t depends on earlier values only.
/// If the mean were at most `level`, capital would reach 1/δ with probability at most δ (Ville), whatever the
/// distribution. `true` therefore certifies mean > `level` with confidence 1 − δ.
///
/// The stake is the growth-optimal one for the mean and variance seen so far, kept below 9/10 of the stake that
/// could lose everything. Values must come in an order that does not depend on them.
pub fn mean_exceeds(values: impl IntoIterator<Item = f64>, level: f64, delta: f64) -> bool {
    if level <= 0.0 {
        // A mean of values in [0, 1] below 0 is impossible; a mean of exactly 0 cannot be told from a tiny one.
        return level < 0.0;
    }
    if level >= 1.0 {
        return false;
    }
    let goal = libm::log(1.0 / delta);
    let most = 0.9 / level;
    // One imagined value at the level, with the variance of a coin of that bias: no edge, hence no stake, to begin with.
    let (mut count, mut sum, mut spread) = (1.0, level, level * (1.0 - level));
    let mut log_capital = 0.0;
    for value in values {
        let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        let (mean, variance) = (sum / count, spread / count);
        let edge = mean - level;
        let stake = (edge / (variance + edge * edge)).clamp(0.0, most);
        log_capital += libm::log1p(stake * (value - level));
        if log_capital >= goal {
            return true;
        }
        count += 1.0;
        sum += value;
        let centred = value - sum / count;
        spread += centred * centred;
    }
    false
}

/// After how many equal values [`mean_exceeds`] passes; `None` if not within `most`.
pub fn bets_needed(value: f64, level: f64, delta: f64, most: u64) -> Option<u64> {
    if value <= level && level >= 0.0 {
        return None;
    }
    let mut count = 0;
    let values = std::iter::repeat_with(|| {
        count += 1;
        value
    });
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    mean_exceeds(values.take(limit), level, delta).then_some(count)
}

/// The fewest rows that could certify a success rate above `level`: δ ≥ level^n when nothing fails.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating")]
pub fn fewest_rows(level: f64, delta: f64) -> u64 {
    if level <= 0.0 {
        0
    } else if level >= 1.0 {
        u64::MAX
    } else {
        (libm::log(delta) / libm::log(level)).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;

    /// P(X >= x) for X ~ Bin(n, p), summed term by term.
    fn upper_tail(x: u64, n: u64, p: f64) -> f64 {
        let log_choose = |k: u64| {
            libm::lgamma(n as f64 + 1.0) - libm::lgamma(k as f64 + 1.0) - libm::lgamma((n - k) as f64 + 1.0)
        };
        (x..=n).map(|k| libm::exp(log_choose(k) + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln())).sum()
    }

    #[test]
    fn binomial_bounds_invert_the_binomial_tail() {
        for (x, n) in [(1, 10), (5, 10), (9, 10), (80, 100), (277, 300)] {
            for delta in [0.01, 0.05, 0.2] {
                let low = binomial_lower(x, n, delta);
                assert!((upper_tail(x, n, low) - delta).abs() < 1e-9, "{x} of {n} at {delta}: {low}");
                let high = binomial_upper(x, n, delta);
                assert!(
                    (1.0 - upper_tail(x + 1, n, high) - delta).abs() < 1e-9,
                    "{x} of {n} at {delta}: {high}"
                );
            }
        }
        assert!(binomial_lower(0, 10, 0.05).abs() < 1e-300);
        assert!(binomial_lower(990_000, 1_000_000, 0.05) > 0.9898);
    }

    /// At a true mean equal to the level the test may pass in at most δ of runs (+ simulation noise).
    #[test]
    fn betting_keeps_its_level() {
        let mut random = SplitMix64::new(11, 0);
        let runs = 2_000;
        let mut wrong = 0;
        for _ in 0..runs {
            let values = (0..300).map(|_| f64::from(u8::from(random.fraction() < 0.9))).collect::<Vec<_>>();
            wrong += u32::from(mean_exceeds(values, 0.9, 0.1));
        }
        assert!(
            f64::from(wrong) <= f64::from(runs) * (0.1 + 2.0 * (0.09_f64 / f64::from(runs)).sqrt()),
            "{wrong}"
        );
    }

    /// MATH.md 11.1: 20 % slack, c_max/mean = 50: betting certifies about half of the runs at n = 1,000 and nearly all
    /// at 3,000.
    #[test]
    fn betting_has_power_on_skewed_costs() {
        let mut random = SplitMix64::new(12, 0);
        let mut power = |n: usize| {
            let passed = (0..200)
                .filter(|_| {
                    // Costs are 5/50 with probability 1/5: mean 1/50 of the largest possible.
                    let saved: Vec<f64> =
                        (0..n).map(|_| if random.fraction() < 0.2 { 0.9 } else { 1.0 }).collect();
                    mean_exceeds(saved, 1.0 - 1.2 / 50.0, 0.05)
                })
                .count();
            passed as f64 / 200.0
        };
        let (few, many) = (power(1_000), power(3_000));
        assert!(few > 0.3 && many > 0.98, "{few} {many}");
    }

    #[test]
    fn impossible_levels_are_answered() {
        assert!(mean_exceeds([0.0], -0.1, 0.05));
        assert!(!mean_exceeds(vec![1.0; 1000], 1.0, 0.05));
        assert!(!mean_exceeds([], 0.5, 0.05));
        assert!(mean_exceeds(vec![1.0; 1000], 0.9, 0.05));
        assert_eq!(fewest_rows(0.92, 0.05), 36);
        assert_eq!(bets_needed(0.5, 0.5, 0.05, 1_000), None);
        let needed = bets_needed(1.0, 0.9, 0.05, 1_000).unwrap();
        let ones = |count: u64| vec![1.0; usize::try_from(count).unwrap()];
        assert!(mean_exceeds(ones(needed), 0.9, 0.05) && !mean_exceeds(ones(needed - 1), 0.9, 0.05));
    }
}
