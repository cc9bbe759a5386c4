//! On what the answers depend: the same log with weaker signals, and with prices nearer to or further from each other.

use crate::measure::{self, Scope, Study};
use cascade_sdk_core::fit::FitError;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::money::Usd;

/// Shares of noise in the rank of a signal.
const NOISE: [f64; 4] = [0.0, 0.5, 0.75, 1.0];

/// Powers of the ratio of prices.
const POWERS: [f64; 3] = [0.5, 1.0, 1.5];

const SPLITS: u64 = 3;

/// A log under other conditions.
#[derive(Debug)]
pub(crate) struct Varied {
    /// Share of noise and what became of the study.
    pub(crate) noise: Vec<(f64, Study)>,
    /// Power of the price ratio and what became of the study.
    pub(crate) prices: Vec<(f64, Study)>,
}

/// Studies a log under all conditions.
pub(crate) fn vary(log: &EvalLog, tiers: &[&str]) -> Result<Varied, FitError> {
    let noise = NOISE
        .into_iter()
        .map(|share| Ok((share, measure::study(&noisy(log, share), tiers, SPLITS, Scope::Everything)?)))
        .collect::<Result<_, FitError>>()?;
    let prices = POWERS
        .into_iter()
        .map(|power| Ok((power, measure::study(&repriced(log, power), tiers, SPLITS, Scope::Everything)?)))
        .collect::<Result<_, FitError>>()?;
    Ok(Varied { noise, prices })
}

/// Signals replaced by (1 − share) · rank + share · a random number.
fn noisy(log: &EvalLog, share: f64) -> EvalLog {
    let mut log = log.clone();
    let mut random = SplitMix64::new(5, 0);
    for signal in log.tiers.iter_mut().flat_map(|tier| tier.signals.values_mut()) {
        let mut sorted: Vec<f64> = signal.value.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        for value in &mut signal.value {
            let rank = sorted.partition_point(|other| other < value) as f64 / sorted.len().max(1) as f64;
            // A missing value stays missing.
            *value = if value.is_nan() { *value } else { (1.0 - share) * rank + share * random.fraction() };
        }
    }
    log
}

/// Costs scaled tier by tier, so that the ratio of each tier's mean cost to the dearest one's is raised to a power.
fn repriced(log: &EvalLog, power: f64) -> EvalLog {
    let mut log = log.clone();
    let means: Vec<f64> = log
        .tiers
        .iter()
        .map(|tier| tier.cost.iter().map(|cost| cost.to_f64()).sum::<f64>() / tier.cost.len().max(1) as f64)
        .collect();
    let dearest = means.iter().copied().fold(0.0, f64::max);
    for (tier, mean) in log.tiers.iter_mut().zip(means) {
        let factor = libm::pow(mean / dearest, power - 1.0);
        for cost in &mut tier.cost {
            *cost = Usd::from_f64(cost.to_f64() * factor).unwrap_or(*cost);
        }
    }
    log
}
