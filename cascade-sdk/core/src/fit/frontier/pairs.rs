//! The two-model part of the report: every frontier, their envelope and its switching points (MATH.md 3 and 5).

use crate::fit::frontier::envelope;
use crate::fit::frontier::pair::{self, Pairs};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::report::{CutReport, EnvelopePoint, FrontierPoint, PairReport, SwitchingPoint};
use crate::fit::route::FitOptions;
use crate::fit::rows::table::Table;
use crate::money::PICO_PER_USD;
use crate::policy::Cut;

/// Share of resamples from which on a switching point counts as stable (MATH.md 5).
const STABLE: f64 = 0.8;

/// Everything the report says about pairs, on calibration rows.
#[derive(Clone, Debug, Default)]
pub(in crate::fit) struct PairSection {
    /// One frontier for each pair of tiers in order of cost and each signal of the cheap one.
    pub pairs: Vec<PairReport>,
    /// The deterministic frontier of all pairs and single tiers.
    pub envelope: Vec<EnvelopePoint>,
    /// Where the best plan of the envelope changes.
    pub switching_points: Vec<SwitchingPoint>,
}

/// Reports on all pairs of the table's tiers; `seed` is that of the resamples.
pub(in crate::fit) fn report(table: &Table, rows: &[u32], options: FitOptions, seed: u64) -> PairSection {
    let weight = table.total_weight(rows);
    let name = |tier: usize| table.tiers[tier].name.clone();
    // A combined signal is not of the log, so there is nothing to check its frontier against; the envelope has it.
    let pairs = pair::all_pairs(table)
        .into_iter()
        .filter(|pair| table.tiers[pair.cheap].signals[pair.signal].combined.is_none())
        .map(|pair| {
            let signal = &table.tiers[pair.cheap].signals[pair.signal];
            let points = pair::frontier(table, &Ranking::new(&signal.value, rows), pair);
            let frontier = pair::thinned(&points, options.max_points)
                .into_iter()
                .map(|point| FrontierPoint {
                    at_least: CutReport(Cut(point.at_least)),
                    cost_usd: point.totals.mean_cost(weight),
                    quality: point.totals.mean_quality(weight),
                })
                .collect();
            PairReport {
                tiers: [name(pair.cheap), name(pair.dear)],
                signal: Some(signal.name.clone()),
                frontier,
            }
        })
        .collect();
    let search = Pairs::new(table, rows, options.threads);
    let points: Vec<EnvelopePoint> = search
        .staircase()
        .iter()
        .map(|(totals, member)| EnvelopePoint {
            cost_usd: totals.mean_cost(weight),
            quality: totals.mean_quality(weight),
            plan: member.rule().tiers.into_iter().map(name).collect(),
        })
        .collect();
    let switches = envelope::switches(&search, weight);
    let frequencies = envelope::frequencies(table, rows, &switches, seed, options.threads);
    let names = |tiers: &[usize]| tiers.iter().copied().map(name).collect::<Vec<String>>();
    let switching_points = switches
        .iter()
        .zip(frequencies)
        .map(|(switch, frequency)| SwitchingPoint {
            cost_usd: switch.cost / PICO_PER_USD as f64,
            from: names(&switch.from),
            to: names(&switch.to),
            frequency: Some(frequency),
            stable: frequency >= STABLE,
        })
        .collect();
    PairSection { pairs, envelope: points, switching_points }
}
