//! Limits on tails: at most a share of requests may take longer, or cost more, than a bound (MATH.md 11.1).
//!
//! p95(latency) ≤ L is the mean of 1{path latency > L} ≤ 0.05, so each limit is one more linear constraint. Path latency
//! is the sum over the stages that ran. Latencies of a log were measured without the load of production.

use crate::config::Objective;
use crate::fit::rows::table::QUALITY_ONE;
use crate::money::Usd;

/// Most limits that an objective can state.
pub const MOST: usize = 2;

/// For each limit 1 if it is exceeded, or the weight of the rows that exceed it.
pub type Over = [i64; MOST];

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tail {
    /// Path latency in milliseconds.
    LatencyMs(f64),
    /// Cost of a request, all stages and the signals they read included.
    Cost(Usd),
}

/// At most `share` of requests may exceed the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailLimit {
    /// What is limited, and by what.
    pub tail: Tail,
    /// The share of requests that may exceed it.
    pub share: f64,
}

impl TailLimit {
    /// The key of the objective that states it.
    pub fn key(&self) -> &'static str {
        match self.tail {
            Tail::LatencyMs(_) => "max_latency_ms_p95",
            Tail::Cost(_) => "max_cost_tail",
        }
    }

    /// Whether a request exceeds the bound. A latency that is not known counts as too long.
    pub fn exceeded(&self, cost: i64, latency_ms: f64) -> bool {
        match self.tail {
            Tail::LatencyMs(bound) => latency_ms.is_nan() || latency_ms > bound,
            Tail::Cost(bound) => cost > bound.pico(),
        }
    }

    /// The promise in words.
    pub fn words(&self) -> String {
        let share = 100.0 * self.share;
        match self.tail {
            Tail::LatencyMs(bound) => format!("at most {share} % of requests take longer than {bound} ms"),
            Tail::Cost(bound) => format!("at most {share} % of requests cost more than {bound} USD"),
        }
    }

    /// The largest total weight of rows that may exceed the bound.
    #[expect(clippy::cast_possible_truncation, reason = "a share in [0, 1] in units of 10⁻¹²")]
    pub fn allowed(&self, weight: i128) -> i64 {
        let units = (self.share * QUALITY_ONE as f64).round_ties_even() as i128;
        i64::try_from(units * weight / i128::from(QUALITY_ONE)).unwrap_or(i64::MAX)
    }
}

/// All limits of an objective.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    list: Vec<TailLimit>,
}

/// None at all.
pub static NO_LIMITS: Limits = Limits { list: Vec::new() };

impl Limits {
    /// The limits that an objective states.
    pub fn of(objective: &Objective) -> Self {
        let latency =
            objective.max_latency_ms_p95.map(|bound| TailLimit { tail: Tail::LatencyMs(bound), share: 0.05 });
        let cost =
            objective.max_cost_tail.map(|tail| TailLimit { tail: Tail::Cost(tail.usd), share: tail.share });
        Self { list: latency.into_iter().chain(cost).collect() }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The limits.
    pub fn list(&self) -> &[TailLimit] {
        &self.list
    }

    /// Which limits one request exceeds: 1 or 0 each.
    pub fn over(&self, cost: i64, latency_ms: f64) -> Over {
        let mut over = Over::default();
        for (over, limit) in over.iter_mut().zip(&self.list) {
            *over = i64::from(limit.exceeded(cost, latency_ms));
        }
        over
    }

    /// The total weights of rows that may exceed each limit; no bound where there is no limit.
    pub fn allowed(&self, weight: i128) -> Over {
        let mut allowed = [i64::MAX; MOST];
        for (allowed, limit) in allowed.iter_mut().zip(&self.list) {
            *allowed = limit.allowed(weight);
        }
        allowed
    }
}

/// Whether weights of rows keep all limits.
pub fn within(over: Over, allowed: Over) -> bool {
    over.iter().zip(&allowed).all(|(over, allowed)| over <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CostTail, Goal};

    #[test]
    fn shares_of_weights_are_exact() {
        let limit = |share| TailLimit { tail: Tail::LatencyMs(1.0), share };
        assert_eq!(limit(0.05).allowed(1_000), 50);
        assert_eq!(limit(0.05).allowed(1_019), 50);
        assert_eq!(limit(0.29).allowed(100), 29, "0.29 · 100 is 28.999… in floating point");
        assert_eq!(limit(0.0).allowed(100), 0);
    }

    #[test]
    fn unknown_latencies_and_strict_bounds() {
        let objective = Objective {
            goal: Goal::MaxQuality,
            max_latency_ms_p95: Some(800.0),
            max_cost_tail: Some(CostTail { usd: Usd::from_pico(500), share: 0.1 }),
            confidence: None,
        };
        let limits = Limits::of(&objective);
        assert_eq!(limits.over(500, 800.0), [0, 0]);
        assert_eq!(limits.over(501, 800.1), [1, 1]);
        assert_eq!(limits.over(0, f64::NAN), [1, 0]);
        assert_eq!(limits.allowed(200), [10, 20]);
        assert_eq!(Limits::default().allowed(200), [i64::MAX; 2]);
    }
}
