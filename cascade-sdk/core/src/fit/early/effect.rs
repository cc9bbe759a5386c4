//! What early escalation does on held-out rows, beside the same policy without it.

use super::super::FitError;
use super::super::report::EarlyEffectReport;
use super::super::setup::Setup;
use crate::fit::inference::bootstrap::Blocks;
use crate::fit::rows::table::{QUALITY_ONE, quality_units};
use crate::money::PICO_PER_USD;
use crate::policy::Rules;
use crate::replay::Replay;

/// One held-out row under a policy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    /// In units of 10⁻¹².
    quality: i64,
    /// In pico-dollars.
    cost: i64,
    /// Output tokens of stages that may be stopped which were not generated.
    spared: f64,
    /// All output tokens of these stages.
    tokens: f64,
    /// Answers that were given up.
    given_up: f64,
}

impl Setup<'_> {
    /// Savings and loss of a policy against the same one that takes answers in whole, with their paired intervals; `None`
    /// without held-out rows.
    pub(super) fn effect(&self, own: &[Watched], whole: &[Watched]) -> Option<EarlyEffectReport> {
        if self.test.is_empty() {
            return None;
        }
        let mut columns = vec![Vec::new(); 7];
        for (&row, (own, whole)) in self.test.iter().zip(own.iter().zip(whole)) {
            let weight = self.table.weight[row as usize] as f64;
            let usd = |cost: i64| cost as f64 / PICO_PER_USD as f64;
            let quality = (own.quality - whole.quality) as f64 / QUALITY_ONE as f64;
            let values = [1.0, quality, usd(own.cost), usd(whole.cost), own.spared, own.tokens, own.given_up];
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(weight * value);
            }
        }
        let seed = self.route.fit.seed;
        let resamples =
            Blocks::new(&self.table, &self.test, &columns, seed).resample(seed, self.input.options.threads);
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        Some(EarlyEffectReport::new(
            &resamples.estimate(|sums| 1.0 - share(sums[2], sums[3])),
            &resamples.estimate(|sums| share(sums[1], sums[0])),
            &resamples.estimate(|sums| share(sums[4], sums[5])),
            &resamples.estimate(|sums| share(sums[6], sums[0])),
        ))
    }

    /// The held-out rows under a policy.
    pub(super) fn watched(&self, rules: &Rules) -> Result<Vec<Watched>, FitError> {
        let replay = Replay::new(rules, self.input.log)?;
        let mut scratch = replay.scratch();
        let mut found = Vec::new();
        let mut steps = Vec::new();
        for &row in &self.test {
            let row = self.table.log_row[row as usize] as usize;
            steps.clear();
            let outcome = replay.trace(row, &mut scratch, |step| steps.push(step))?;
            let stops = rules.plan(outcome.plan).map(|plan| &plan.stops);
            let mut watched = Watched {
                quality: quality_units(outcome.quality),
                cost: outcome.cost.pico(),
                ..Watched::default()
            };
            for (stage, step) in steps.iter().enumerate() {
                let stoppable = stops.is_some_and(|stops| stops.contains_key(&stage));
                let columns = rules.tiers.get(step.tier).and_then(|name| self.input.log.tier(name));
                let (true, Some(columns)) = (stoppable, columns) else { continue };
                let Some(usage) = columns.usage(row) else { continue };
                watched.tokens += usage.output_tokens as f64;
                if let Some(tokens) = step.given_up_after {
                    watched.given_up += 1.0;
                    let generated =
                        columns.usage_until(row, tokens).map_or(usage.output_tokens, |cut| cut.output_tokens);
                    watched.spared += usage.output_tokens.saturating_sub(generated) as f64;
                }
            }
            found.push(watched);
        }
        Ok(found)
    }
}
