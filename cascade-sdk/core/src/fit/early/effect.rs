//! What early escalation does on held-out rows, beside the same policy without it.

use super::super::FitError;
use super::super::report::EarlyEffectReport;
use super::super::setup::Setup;
use crate::fit::inference::bootstrap::Blocks;
use crate::fit::inference::simulate::Outcomes;
use crate::fit::rows::table::QUALITY_ONE;
use crate::money::PICO_PER_USD;
use crate::policy::Rules;
use crate::replay::Replay;

impl Setup<'_> {
    /// Savings and loss with their paired intervals; `None` without held-out rows.
    pub(super) fn effect(
        &self,
        rules: &Rules,
        without: &Rules,
    ) -> Result<Option<EarlyEffectReport>, FitError> {
        if self.test.is_empty() {
            return Ok(None);
        }
        let (log, table) = (self.input.log, &self.table);
        let (own, other) =
            (Outcomes::of(rules, log, table, &self.test)?, Outcomes::of(without, log, table, &self.test)?);
        let tokens = self.tokens(rules)?;
        let mut columns = vec![Vec::new(); 7];
        for (place, &row) in self.test.iter().enumerate() {
            let weight = table.weight[row as usize] as f64;
            let usd = |cost: i64| cost as f64 / PICO_PER_USD as f64;
            let quality = (own.quality[place] - other.quality[place]) as f64 / QUALITY_ONE as f64;
            let (spared, all, given_up) = tokens[place];
            let values = [1.0, quality, usd(own.cost[place]), usd(other.cost[place]), spared, all, given_up];
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(weight * value);
            }
        }
        let seed = self.route.fit.seed;
        let resamples =
            Blocks::new(table, &self.test, &columns, seed).resample(seed, self.input.options.threads);
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        Ok(Some(EarlyEffectReport::new(
            &resamples.estimate(|sums| 1.0 - share(sums[2], sums[3])),
            &resamples.estimate(|sums| share(sums[1], sums[0])),
            &resamples.estimate(|sums| share(sums[4], sums[5])),
            &resamples.estimate(|sums| share(sums[6], sums[0])),
        )))
    }

    /// For each held-out row: output tokens of stoppable stages that were not generated, all of them, and the answers given up.
    fn tokens(&self, rules: &Rules) -> Result<Vec<(f64, f64, f64)>, FitError> {
        let replay = Replay::new(rules, self.input.log)?;
        let mut scratch = replay.scratch();
        let mut found = Vec::new();
        for &row in &self.test {
            let row = self.table.log_row[row as usize] as usize;
            let mut steps = Vec::new();
            let outcome = replay.trace(row, &mut scratch, |step| steps.push(step))?;
            let stops = rules.plan(outcome.plan).map(|plan| &plan.stops);
            let (mut spared, mut all, mut given_up) = (0.0, 0.0, 0.0);
            for (stage, step) in steps.iter().enumerate() {
                let stoppable = stops.is_some_and(|stops| stops.contains_key(&stage));
                let columns = rules.tiers.get(step.tier).and_then(|name| self.input.log.tier(name));
                let (true, Some(columns)) = (stoppable, columns) else { continue };
                let Some(usage) = columns.usage(row) else { continue };
                all += usage.output_tokens as f64;
                if let Some(tokens) = step.given_up_after {
                    given_up += 1.0;
                    let generated =
                        columns.usage_until(row, tokens).map_or(usage.output_tokens, |cut| cut.output_tokens);
                    spared += usage.output_tokens.saturating_sub(generated) as f64;
                }
            }
            found.push((spared, all, given_up));
        }
        Ok(found)
    }
}
