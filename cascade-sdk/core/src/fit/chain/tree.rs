//! Segment trees over the cuts of a second stage: sums of the escalated rows and the best prefix of them (MATH.md 6.2).

use super::surface::Sums;
use std::ops::{Add, AddAssign, Mul, Sub};

/// An integer that holds Lagrangian values: i64 where they fit, i128 otherwise.
pub(super) trait Value:
    Copy + Default + Ord + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + AddAssign + From<i64>
{
    /// As a float, for bounds.
    fn float(self) -> f64;
}

impl Value for i64 {
    fn float(self) -> f64 {
        self as f64
    }
}

impl Value for i128 {
    fn float(self) -> f64 {
        self as f64
    }
}

#[derive(Clone, Copy, Default)]
struct PriceNode<V> {
    sum: V,
    /// Highest sum of a prefix that is not empty.
    best: V,
    /// The last leaf of the first such prefix.
    leaf: u32,
}

/// Lagrangian values by leaf, for the best prefix at a price.
pub(super) struct PriceTree<V> {
    nodes: Vec<PriceNode<V>>,
    leaves: usize,
}

impl<V: Value> PriceTree<V> {
    pub(super) fn new(leaves: usize) -> Self {
        let leaves = leaves.next_power_of_two();
        let mut tree = Self { nodes: vec![PriceNode::default(); 2 * leaves], leaves };
        for (node, leaf) in tree.nodes[leaves..].iter_mut().zip(0..) {
            node.leaf = leaf;
        }
        tree.rebuild();
        tree
    }

    /// Mends all nodes. O(leaves).
    pub(super) fn rebuild(&mut self) {
        for at in (1..self.leaves).rev() {
            self.nodes[at] = join(self.nodes[2 * at], self.nodes[2 * at + 1]);
        }
    }

    /// Adds to a leaf; O(log leaves). With `bulk` the nodes above it wait for [`PriceTree::rebuild`]; O(1).
    pub(super) fn add(&mut self, leaf: u32, value: V, bulk: bool) {
        let mut at = self.leaves + leaf as usize;
        let node = &mut self.nodes[at];
        node.sum += value;
        node.best = node.sum;
        if bulk {
            return;
        }
        at >>= 1;
        while at > 0 {
            self.nodes[at] = join(self.nodes[2 * at], self.nodes[2 * at + 1]);
            at >>= 1;
        }
    }

    /// The highest sum of a prefix that is not empty, and its last leaf; of several the shortest, which costs least.
    pub(super) fn best(&self) -> (V, u32) {
        let root = &self.nodes[1];
        (root.best, root.leaf)
    }

    /// Leaves in the tree, a power of two.
    pub(super) fn leaves(&self) -> usize {
        self.leaves
    }
}

fn join<V: Value>(left: PriceNode<V>, right: PriceNode<V>) -> PriceNode<V> {
    let across = left.sum + right.best;
    let further = across > left.best;
    PriceNode {
        sum: left.sum + right.sum,
        best: if further { across } else { left.best },
        leaf: if further { right.leaf } else { left.leaf },
    }
}

#[derive(Clone, Copy, Default)]
struct SumNode {
    sum: Sums,
    /// Highest quality of a prefix that is not empty.
    best: i64,
}

/// Quality and cost by leaf, for the best prefix within a budget and the cheapest one above a floor. Costs must not be
/// negative.
pub(super) struct SumTree {
    nodes: Vec<SumNode>,
    leaves: usize,
}

impl SumTree {
    pub(super) fn new(leaves: usize) -> Self {
        let leaves = leaves.next_power_of_two();
        Self { nodes: vec![SumNode::default(); 2 * leaves], leaves }
    }

    /// As [`PriceTree::rebuild`].
    pub(super) fn rebuild(&mut self) {
        for at in (1..self.leaves).rev() {
            self.mend(at);
        }
    }

    /// As [`PriceTree::add`].
    pub(super) fn add(&mut self, leaf: u32, change: Sums, bulk: bool) {
        let mut at = self.leaves + leaf as usize;
        let node = &mut self.nodes[at];
        node.sum += change;
        node.best = node.sum.quality;
        if bulk {
            return;
        }
        at >>= 1;
        while at > 0 {
            self.mend(at);
            at >>= 1;
        }
    }

    /// Leaves in the tree, a power of two.
    pub(super) fn leaves(&self) -> usize {
        self.leaves
    }

    fn mend(&mut self, at: usize) {
        let (left, right) = (self.nodes[2 * at], self.nodes[2 * at + 1]);
        self.nodes[at] =
            SumNode { sum: left.sum + right.sum, best: left.best.max(left.sum.quality + right.best) };
    }

    /// The prefix of highest quality, of these the cheapest, whose cost is at most `limit`: its sums and last leaf.
    pub(super) fn best_within(&self, limit: i64) -> Option<(Sums, u32)> {
        let (mut before, mut at) = (Sums::default(), 1);
        // The best prefix so far lies in this subtree, after these sums.
        let mut best: Option<(i64, Sums, usize)> = None;
        let mut offer = |before: Sums, at: usize, height: i64| {
            if best.is_none_or(|best| height > best.0) {
                best = Some((height, before, at));
            }
        };
        loop {
            let node = self.nodes[at];
            if before.cost + node.sum.cost <= limit {
                offer(before, at, before.quality + node.best);
                break;
            }
            if at >= self.leaves {
                break;
            }
            let left = self.nodes[2 * at];
            if before.cost + left.sum.cost <= limit {
                offer(before, 2 * at, before.quality + left.best);
                before += left.sum;
                at = 2 * at + 1;
            } else {
                at *= 2;
            }
        }
        best.map(|(height, before, at)| self.first_at(before, at, height))
    }

    /// The cheapest prefix whose quality is at least `floor`: its sums and last leaf.
    pub(super) fn cheapest_above(&self, floor: i64) -> Option<(Sums, u32)> {
        (self.nodes[1].best >= floor).then(|| self.first_at(Sums::default(), 1, floor))
    }

    /// The shortest prefix that ends in the subtree `at` and reaches `height`; `before` are the sums left of it.
    fn first_at(&self, mut before: Sums, mut at: usize, height: i64) -> (Sums, u32) {
        while at < self.leaves {
            let left = self.nodes[2 * at];
            if before.quality + left.best >= height {
                at *= 2;
            } else {
                before += left.sum;
                at = 2 * at + 1;
            }
        }
        (before + self.nodes[at].sum, u32::try_from(at - self.leaves).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn trees_agree_with_prefix_sums(
            changes in prop::collection::vec((0_u32..9, -4_i64..5, 0_i64..4), 1..30),
            limit in 0_i64..40,
            floor in -10_i64..10,
        ) {
            let (mut price, mut sums) = (PriceTree::<i64>::new(9), SumTree::new(9));
            let mut plain = [Sums::default(); 9];
            for (at, &(leaf, quality, cost)) in changes.iter().enumerate() {
                let change = Sums { quality, cost };
                plain[leaf as usize] += change;
                let bulk = at % 3 == 0;
                price.add(leaf, quality, bulk);
                sums.add(leaf, change, bulk);
                if bulk {
                    price.rebuild();
                    sums.rebuild();
                }
            }
            let prefixes: Vec<(Sums, u32)> = plain
                .iter()
                .scan(Sums::default(), |sum, &change| {
                    *sum += change;
                    Some(*sum)
                })
                .zip(0..)
                .collect();
            let order = |prefix: &(Sums, u32)| (prefix.0.quality, std::cmp::Reverse(prefix.1));
            let top = prefixes.iter().copied().max_by_key(order).unwrap();
            prop_assert_eq!(price.best(), (top.0.quality, top.1));
            let within = prefixes.iter().copied().filter(|prefix| prefix.0.cost <= limit).max_by_key(order);
            prop_assert_eq!(sums.best_within(limit), within);
            let above = prefixes.iter().copied().find(|prefix| prefix.0.quality >= floor);
            prop_assert_eq!(sums.cheapest_above(floor), above);
        }
    }
}
