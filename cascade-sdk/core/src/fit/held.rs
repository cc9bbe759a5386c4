//! Does a policy hold its objective on held-out rows? It was chosen to hold it on calibration rows, which flatter what was
//! chosen on them (MATH.md 14).

use super::inference::compare::Comparison;
use crate::config::Goal;
use crate::money::dollars;
use crate::policy::Estimate;

/// What rows say of a bound on a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The 95 % interval lies within the bound.
    Yes,
    /// It lies beyond the bound.
    No,
    /// It holds the bound.
    Unclear,
}

impl Holds {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }
}

/// The figure that an objective bounds, on held-out rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The objective's key in the configuration.
    pub key: &'static str,
    /// The bound: quality, loss in quality, or US dollars a request.
    pub bound: f64,
    /// The figure with its 95 % interval.
    pub figure: Estimate,
    /// Whether the figure keeps to the bound.
    pub holds: Holds,
    /// The same in a sentence that ends without a full stop.
    pub text: String,
}

impl Held {
    /// A bound on mean quality or mean cost, from a policy's figures; `None` of other goals.
    pub fn of_means(goal: &Goal, quality: Estimate, cost_usd: Estimate) -> Option<Self> {
        match goal {
            Goal::MaxCost(most) => Some(Self::new(goal, most.to_f64(), cost_usd, false)),
            Goal::MinQuality(least) => Some(Self::new(goal, *least, quality, true)),
            Goal::MaxQualityLoss { .. } | Goal::ShadowPrice(_) | Goal::MaxQuality => None,
        }
    }

    /// The bound that a goal puts on a policy; `reference` is the tier that a loss is measured against. Both are positions
    /// in the comparison. `None` of goals that bound nothing.
    pub fn of(goal: &Goal, comparison: &Comparison, policy: usize, reference: Option<usize>) -> Option<Self> {
        if let Goal::MaxQualityLoss { by, .. } = goal {
            let reference = reference?;
            let loss = comparison.paired(|m| m(reference).quality - m(policy).quality);
            return Some(Self::new(goal, *by, loss, false));
        }
        let figures = comparison.figures(policy);
        Self::of_means(goal, figures.quality, figures.cost_usd)
    }

    fn new(goal: &Goal, bound: f64, figure: Estimate, is_floor: bool) -> Self {
        let (beyond, within) = if is_floor {
            (figure.high < bound, figure.low >= bound)
        } else {
            (figure.low > bound, figure.high <= bound)
        };
        let holds = match (beyond, within) {
            (true, _) => Holds::No,
            (_, true) => Holds::Yes,
            _ => Holds::Unclear,
        };
        Self { key: goal.key(), bound, figure, holds, text: words(goal, figure, holds) }
    }
}

fn words(goal: &Goal, figure: Estimate, holds: Holds) -> String {
    let Estimate { value, low, high } = figure;
    let points = |value: f64| format!("{:.1}", 100.0 * value);
    let shown = |unit: &dyn Fn(f64) -> String| format!("{} [{}, {}]", unit(value), unit(low), unit(high));
    let (asked, shown) = match goal {
        Goal::MaxQualityLoss { versus, by } => {
            let asked = format!("the objective allows a loss of {} points against `{versus}`", points(*by));
            (asked, shown(&points))
        }
        Goal::MinQuality(least) => {
            let asked = format!("the objective asks for a quality of at least {} %", points(*least));
            (asked, shown(&points))
        }
        Goal::MaxCost(most) => {
            let per_1000 = |cost: f64| dollars(1_000.0 * cost);
            let asked = format!("the objective allows {} per 1000 calls", per_1000(most.to_f64()));
            (asked, shown(&per_1000))
        }
        Goal::ShadowPrice(_) | Goal::MaxQuality => return String::new(),
    };
    let found = match holds {
        Holds::Yes => "it holds there",
        Holds::No => "it does not hold there",
        Holds::Unclear => "they neither show nor refute that it holds",
    };
    format!("{asked}; held-out rows show {shown}: {found}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    fn estimate(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low, high }
    }

    #[test]
    fn an_interval_beyond_the_bound_refutes_it() {
        let cost = Goal::MaxCost(Usd::parse("0.00002").unwrap());
        for (goal, low, high, holds) in [
            (&cost, 0.000_021, 0.000_03, Holds::No),
            (&cost, 0.000_02, 0.000_03, Holds::Unclear),
            (&cost, 0.000_01, 0.000_02, Holds::Yes),
            (&Goal::MinQuality(0.9), 0.7, 0.89, Holds::No),
            (&Goal::MinQuality(0.9), 0.7, 0.9, Holds::Unclear),
            (&Goal::MinQuality(0.9), 0.9, 0.99, Holds::Yes),
        ] {
            let figure = estimate(low, low, high);
            let held = Held::of_means(goal, figure, figure).unwrap();
            assert_eq!(held.holds, holds, "{}", held.text);
        }
        let none = estimate(0.0, 0.0, 0.0);
        assert_eq!(Held::of_means(&Goal::MaxQuality, none, none), None);
    }

    #[test]
    fn the_sentence_says_what_is_asked_and_what_is_seen() {
        let loss = Goal::MaxQualityLoss { versus: "large".into(), by: 0.02 };
        assert_eq!(
            Held::new(&loss, 0.02, estimate(0.056, 0.021, 0.119), false).text,
            "the objective allows a loss of 2.0 points against `large`; held-out rows show 5.6 [2.1, 11.9]: it does not \
             hold there"
        );
        let cost = Goal::MaxCost(Usd::parse("0.000023").unwrap());
        assert_eq!(
            Held::of_means(&cost, estimate(0.0, 0.0, 0.0), estimate(0.000_022, 0.000_02, 0.000_024))
                .unwrap()
                .text,
            "the objective allows $0.0230 per 1000 calls; held-out rows show $0.0220 [$0.0200, $0.0240]: they neither show \
             nor refute that it holds"
        );
    }
}
