//! Pacing: which operating point a budget that runs hot can still afford.
//!
//! Let s be the share of the limit that is spent and t the share of the window that has passed. The rest of the limit over
//! the rest of the window is p = (1 − s) / (1 − t) of the mean rate: with p ≥ 1 nothing changes; with p < 1 requests may
//! cost p times what they do at the deployed point, on average, for the money to last. Each point of the fitted frontier is
//! the best answer to one shadow price, so the dearest point that costs no more is the policy at the shadow price that the
//! budget now has. Moving lowers s against t and so raises p again: the rule needs no state of its own.

/// What a budget allows a request to cost, as a share of the deployed mean cost: (1 − spent) / (1 − elapsed), between 0 and 1.
pub fn allowance(spent: f64, elapsed: f64) -> f64 {
    let (left, time) = (1.0 - spent, 1.0 - elapsed);
    // NaN, as of a limit of nothing, allows nothing.
    if left >= time && time >= 0.0 {
        1.0
    } else if left > 0.0 && time > 0.0 {
        left / time
    } else {
        0.0
    }
}

/// The first of `costs`, sorted from the dearest on, that is at most `allowance` times the deployed cost; the last if none
/// is. `None` if the deployed point can stay, or there is no other.
pub fn choose(allowance: f64, deployed: f64, costs: impl IntoIterator<Item = f64>) -> Option<usize> {
    if allowance >= 1.0 {
        return None;
    }
    let mut last = None;
    for (index, cost) in costs.into_iter().enumerate() {
        last = Some(index);
        if cost <= allowance * deployed {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_that_lasts_changes_nothing() {
        for (spent, elapsed) in [(0.0, 0.0), (0.2, 0.3), (0.5, 0.5), (0.99, 1.0)] {
            assert_eq!(allowance(spent, elapsed), 1.0, "{spent} {elapsed}");
        }
        assert_eq!(choose(1.0, 10.0, [5.0, 1.0]), None);
    }

    #[test]
    fn what_is_left_is_spread_over_the_time_that_is_left() {
        assert_eq!(allowance(0.75, 0.5), 0.5);
        assert_eq!(allowance(1.0, 0.5), 0.0);
        assert_eq!(allowance(1.5, 0.5), 0.0);
        assert_eq!(allowance(f64::NAN, 0.5), 0.0);
    }

    #[test]
    fn the_dearest_point_that_fits_is_taken() {
        let costs = [8.0, 5.0, 2.0];
        assert_eq!(choose(0.9, 10.0, costs), Some(0));
        assert_eq!(choose(0.5, 10.0, costs), Some(1));
        assert_eq!(choose(0.49, 10.0, costs), Some(2));
        assert_eq!(choose(0.0, 10.0, costs), Some(2));
        assert_eq!(choose(0.0, 10.0, []), None);
    }

    #[test]
    fn a_hotter_budget_never_gets_a_dearer_point() {
        let costs = [9.0, 7.0, 4.0, 1.0];
        for elapsed in [0.0, 0.25, 0.5, 0.75] {
            let points: Vec<_> =
                (0..=20).map(|n| choose(allowance(f64::from(n) / 20.0, elapsed), 10.0, costs)).collect();
            assert!(points.is_sorted(), "{points:?}");
        }
    }
}
