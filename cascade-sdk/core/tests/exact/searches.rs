//! Singles, pairs, chains of three and full chains against brute force.

use crate::brute::{all_rows, assert_exact, chains, everything, random_table};
use cascade_sdk_core::fit::chain::{Chains, FullChain, non_dominated};
use cascade_sdk_core::fit::pair::{Pairs, Singles};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn singles_and_pairs_equal_brute_force(seed in any::<u64>()) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        assert_exact(&table, &Singles::new(&table, &rows), &everything(&table, &chains(&table, 1)));
        assert_exact(&table, &Pairs::new(&table, &rows, 2), &everything(&table, &chains(&table, 2)));
    }

    #[test]
    fn chains_of_three_equal_brute_force(seed in any::<u64>()) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        assert_exact(&table, &Chains::new(&table, &rows, 3, 2), &everything(&table, &chains(&table, 3)));
    }

    #[test]
    fn full_chains_of_three_equal_brute_force(seed in any::<u64>()) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        let full = non_dominated(&table, &rows);
        if full.len() <= 3 {
            // Its own ends are policies of the shorter chains it starts with.
            let points = everything(&table, std::slice::from_ref(&full));
            assert_exact(&table, &FullChain::new(&table, &rows, 1), &points);
        }
    }
}

/// Larger logs, so that parts of surfaces are left out and joined on the way.
#[test]
fn chains_on_longer_logs_equal_brute_force() {
    for seed in 0..12 {
        let table = random_table(seed * 7 + 1, 60, 1);
        let rows = all_rows(&table);
        assert_exact(&table, &Chains::new(&table, &rows, 3, 2), &everything(&table, &chains(&table, 3)));
    }
}
