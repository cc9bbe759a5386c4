//! A segment tree over the cuts of a second stage that finds the best prefix under several limits at once.
//!
//! Escalating more rows never costs less nor exceeds a limit less often, so the prefixes within all limits are
//! themselves a prefix: one descent finds the last of them and the best before it (MATH.md 6.2).

use super::{Sums, Used};

/// Sums of a prefix and its last leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) used: Used,
    pub(super) gain: i128,
    pub(super) leaf: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    used: Used,
    gain: i128,
    /// Highest gain of a prefix that is not empty.
    best: i128,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    leaves: usize,
}

impl Tree {
    pub(super) fn new(leaves: usize) -> Self {
        let leaves = leaves.next_power_of_two();
        Self { nodes: vec![Node::default(); 2 * leaves], leaves }
    }

    /// Adds to a leaf what counts as used and as gained. O(log leaves).
    pub(super) fn add(&mut self, leaf: u32, change: Sums, gain: i128) {
        let mut at = self.leaves + leaf as usize;
        let node = &mut self.nodes[at];
        node.used = node.used.plus(change.used());
        node.gain += gain;
        node.best = node.gain;
        at >>= 1;
        while at > 0 {
            let (left, right) = (self.nodes[2 * at], self.nodes[2 * at + 1]);
            self.nodes[at] = Node {
                used: left.used.plus(right.used),
                gain: left.gain + right.gain,
                best: left.best.max(left.gain + right.best),
            };
            at >>= 1;
        }
    }

    /// The prefix of highest gain, of these the shortest, that uses at most `limit`.
    pub(super) fn best_within(&self, limit: Used) -> Option<Prefix> {
        let (mut before, mut at) = (Node::default(), 1);
        let mut best: Option<(i128, Node, usize)> = None;
        let mut offer = |before: Node, at: usize, height: i128| {
            if best.is_none_or(|best| height > best.0) {
                best = Some((height, before, at));
            }
        };
        loop {
            let node = self.nodes[at];
            if before.used.plus(node.used).within(limit) {
                offer(before, at, before.gain + node.best);
                break;
            }
            if at >= self.leaves {
                break;
            }
            let left = self.nodes[2 * at];
            if before.used.plus(left.used).within(limit) {
                offer(before, 2 * at, before.gain + left.best);
                before.used = before.used.plus(left.used);
                before.gain += left.gain;
                at = 2 * at + 1;
            } else {
                at *= 2;
            }
        }
        best.map(|(height, before, at)| self.first_at(before, at, height))
    }

    /// The shortest prefix whose gain is at least `height`.
    pub(super) fn first_reaching(&self, height: i128) -> Option<Prefix> {
        (self.nodes[1].best >= height).then(|| self.first_at(Node::default(), 1, height))
    }

    fn first_at(&self, mut before: Node, mut at: usize, height: i128) -> Prefix {
        while at < self.leaves {
            let left = self.nodes[2 * at];
            if before.gain + left.best >= height {
                at *= 2;
            } else {
                before.used = before.used.plus(left.used);
                before.gain += left.gain;
                at = 2 * at + 1;
            }
        }
        Prefix {
            used: before.used.plus(self.nodes[at].used),
            gain: before.gain + self.nodes[at].gain,
            leaf: u32::try_from(at - self.leaves).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_tree_agrees_with_prefix_sums(
            changes in prop::collection::vec((0_u32..9, -4_i128..5, 0_i128..4, 0_i64..2), 1..30),
            cost in 0_i128..40,
            over in 0_i64..8,
            floor in -10_i128..10,
        ) {
            let mut tree = Tree::new(9);
            let mut plain = [(Sums::default(), 0_i128); 9];
            for &(leaf, gain, cost, over) in &changes {
                let change = Sums { quality: gain, cost, over: [over, 0] };
                plain[leaf as usize].0 += change;
                plain[leaf as usize].1 += gain;
                tree.add(leaf, change, gain);
            }
            let prefixes: Vec<Prefix> = plain
                .iter()
                .scan((Sums::default(), 0), |sum, &(change, gain)| {
                    sum.0 += change;
                    sum.1 += gain;
                    Some(*sum)
                })
                .zip(0..)
                .map(|((sums, gain), leaf)| Prefix { used: sums.used(), gain, leaf })
                .collect();
            let limit = Used { cost, over: [over, 0] };
            let order = |prefix: &Prefix| (prefix.gain, std::cmp::Reverse(prefix.leaf));
            let within = prefixes.iter().copied().filter(|prefix| prefix.used.within(limit)).max_by_key(order);
            prop_assert_eq!(tree.best_within(limit), within);
            let first = prefixes.iter().copied().find(|prefix| prefix.gain >= floor);
            prop_assert_eq!(tree.first_reaching(floor), first);
        }
    }
}
