//! The surface of a three-stage cascade: every pair of a first and a second cut (MATH.md 6.2).

use super::tree::{PriceTree, SumTree, Value};
use super::units::Columns;
use crate::fit::frontier::ranking::Ranking;

/// Quality and cost in the units of [`super::units::Units`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) quality: i64,
    pub(super) cost: i64,
}

impl std::ops::Add for Sums {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { quality: self.quality + other.quality, cost: self.cost + other.cost }
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::Sub for Sums {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { quality: self.quality - other.quality, cost: self.cost - other.cost }
    }
}

/// λ as a fraction, in units of quality per unit of cost. Values are `per_quality` · quality − `per_cost` · cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Price {
    pub(super) per_cost: i64,
    pub(super) per_quality: i64,
}

impl Price {
    /// quality − λ · cost, times a positive number.
    pub(super) fn value(self, sums: Sums) -> i128 {
        i128::from(self.per_quality) * i128::from(sums.quality)
            - i128::from(self.per_cost) * i128::from(sums.cost)
    }

    pub(super) fn float(self) -> f64 {
        self.per_cost as f64 / self.per_quality as f64
    }
}

/// Tiers of a three-stage cascade and the signals of the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Triple {
    pub(super) tiers: [usize; 3],
    pub(super) signals: [usize; 2],
}

/// A surface, or the part of it that can still hold an optimum.
///
/// Moving the first cut from one entry of `firsts` to the next escalates more rows: `change` is what these do if the
/// second tier answers, and its entries are what they do on top of that if the third one answers.
#[derive(Clone, Debug)]
pub(super) struct Surface {
    firsts: Vec<First>,
    entries: Vec<Entry>,
    /// The second cut (a group of the second ranking) if the rows up to each leaf escalate.
    seconds: Vec<u32>,
    /// Σ |quality| and Σ |cost| of all changes but the first: what sums can differ by.
    span: [i128; 2],
}

#[derive(Clone, Copy, Debug)]
struct First {
    /// The first cut: a group of the first ranking, the lowest one that is kept.
    cut: u32,
    change: Sums,
    /// End of its entries.
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    leaf: u32,
    change: Sums,
}

/// What escalating a row at the first stage changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// If the second stage keeps it, or a stage before that.
    pub(super) change: Sums,
    /// If it gets to the second stage: its group there, and the change on top if that one does not keep it.
    pub(super) further: Option<(u32, Sums)>,
}

/// The best second cut for one first cut at a price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    /// The value, in units of quality.
    pub(super) value: f64,
    pub(super) leaf: u32,
}

/// A policy on the surface: groups of the two rankings as cuts, and exact sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vertex {
    pub(super) cuts: [u32; 2],
    pub(super) sums: Sums,
}

impl Surface {
    /// The surface over the finite cuts of two rankings, the second of which has `groups` groups. `kept` are the sums
    /// if no row escalates at the first stage; `step` says what a row does if it does, `None` where it never gets there.
    /// `None` where one of the rankings has no finite cut.
    pub(super) fn new(
        kept: Sums,
        first: &Ranking,
        groups: usize,
        step: impl Fn(usize) -> Option<Step>,
    ) -> Option<Self> {
        let top = u32::try_from(groups).ok()?.checked_sub(1).filter(|&top| top > 0)?;
        let mut surface =
            Self { firsts: Vec::new(), entries: Vec::new(), seconds: (1..=top).collect(), span: [0; 2] };
        let mut change = kept;
        for cut in 1..first.groups() {
            for step in first.group(cut - 1).iter().filter_map(|&row| step(row as usize)) {
                change += step.change;
                // The top group of the second ranking is kept at every finite cut.
                if let Some((leaf, change)) = step.further.filter(|further| further.0 < top) {
                    surface.entries.push(Entry { leaf, change });
                }
            }
            surface.firsts.push(First {
                cut: u32::try_from(cut).ok()?,
                change: std::mem::take(&mut change),
                end: u32::try_from(surface.entries.len()).ok()?,
            });
        }
        (!surface.firsts.is_empty()).then(|| surface.measured())
    }

    /// The surface of a three-stage cascade; `second` has the group of each row in the second ranking.
    pub(super) fn of_triple(
        columns: &Columns,
        triple: Triple,
        rankings: [&Ranking; 2],
        second: &[u32],
    ) -> Option<Self> {
        let [cheap, middle, dear] = triple.tiers.map(|tier| &columns.tiers[tier]);
        let [one, two] = triple.signals;
        let kept = rankings[0].order.iter().fold(Sums::default(), |sum, &row| {
            let row = row as usize;
            sum + Sums { quality: cheap.quality[row], cost: cheap.cost[row] + cheap.signal_cost(one, row) }
        });
        Self::new(kept, rankings[0], rankings[1].groups(), |row| {
            Some(Step {
                change: Sums {
                    quality: middle.quality[row] - cheap.quality[row],
                    cost: middle.cost[row] + middle.signal_cost(two, row),
                },
                further: Some((
                    second[row],
                    Sums { quality: dear.quality[row] - middle.quality[row], cost: dear.cost[row] },
                )),
            })
        })
    }

    fn measured(mut self) -> Self {
        let changes = self.firsts.iter().skip(1).map(|first| first.change);
        for change in changes.chain(self.entries.iter().map(|entry| entry.change)) {
            self.span[0] += i128::from(change.quality.abs());
            self.span[1] += i128::from(change.cost.abs());
        }
        self
    }

    /// Number of first cuts.
    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// The peaks of all first cuts at a price, and the best of them. O(entries · log leaves).
    pub(super) fn peaks(&self, price: Price, origin: Sums) -> (Vec<Peak>, Option<Vertex>) {
        if self.fits(price, origin) {
            self.peaks_in::<i64>(price, origin)
        } else {
            self.peaks_in::<i128>(price, origin)
        }
    }

    /// Whether all values at this price, seen from `origin`, fit 64 bits.
    fn fits(&self, price: Price, origin: Sums) -> bool {
        let start = self.firsts.first().map_or(Sums::default(), |first| first.change - origin);
        let size = [start.quality, start.cost].map(|sum| i128::from(sum.abs()));
        let size = [size[0] + self.span[0], size[1] + self.span[1]];
        let weigh = |size: i128, by: i64| size.checked_mul(i128::from(by));
        weigh(size[0], price.per_quality)
            .zip(weigh(size[1], price.per_cost))
            .and_then(|(quality, cost)| quality.checked_add(cost))
            .is_some_and(|sum| sum < i128::from(i64::MAX))
    }

    fn peaks_in<V: Value>(&self, price: Price, origin: Sums) -> (Vec<Peak>, Option<Vertex>) {
        let (per_quality, per_cost) = (V::from(price.per_quality), V::from(price.per_cost));
        let value = |sums: Sums| per_quality * V::from(sums.quality) - per_cost * V::from(sums.cost);
        let scale = price.per_quality as f64;
        let shift = origin.quality as f64 - price.float() * origin.cost as f64;
        let mut tree = PriceTree::<V>::new(self.seconds.len());
        let mut peaks = Vec::with_capacity(self.firsts.len());
        let (mut base, mut start) = (V::default(), 0);
        let mut best: Option<(V, usize, u32)> = None;
        for (at, first) in self.firsts.iter().enumerate() {
            base += value(if at == 0 { first.change - origin } else { first.change });
            let entries = &self.entries[start..first.end as usize];
            start = first.end as usize;
            let bulk = is_bulk(entries.len(), tree.leaves());
            for entry in entries {
                tree.add(entry.leaf, value(entry.change), bulk);
            }
            if bulk {
                tree.rebuild();
            }
            let (prefix, leaf) = tree.best();
            let height = base + prefix;
            if best.is_none_or(|best| height > best.0) {
                best = Some((height, at, leaf));
            }
            peaks.push(Peak { value: height.float() / scale + shift, leaf });
        }
        (peaks, best.map(|(_, first, leaf)| self.vertex(first, leaf)))
    }

    /// The policy at a first cut and a leaf.
    fn vertex(&self, first: usize, leaf: u32) -> Vertex {
        let end = self.firsts[first].end as usize;
        let entries = self.entries[..end].iter().filter(|entry| entry.leaf <= leaf).map(|entry| entry.change);
        let sums = self.firsts[..=first].iter().map(|first| first.change).chain(entries);
        Vertex {
            cuts: [self.firsts[first].cut, self.seconds[leaf as usize]],
            sums: sums.fold(Sums::default(), |sum, change| sum + change),
        }
    }

    /// The part with the given first cuts (ascending) and the leaves from `low` to `high`, and the new number of each
    /// of these leaves.
    pub(super) fn restrict(&self, firsts: &[usize], low: u32, high: u32) -> (Self, Vec<u32>) {
        let last = firsts.last().map_or(0, |&at| self.firsts[at].end as usize);
        // Leaves in which no row is left cannot be told from their left neighbours.
        let mut leaf_of = vec![0_u32; (high - low) as usize + 1];
        for entry in self.entries[..last].iter().filter(|entry| (low + 1..=high).contains(&entry.leaf)) {
            leaf_of[(entry.leaf - low) as usize] = 1;
        }
        let mut seconds = vec![self.seconds[low as usize]];
        for leaf in low + 1..=high {
            let number = &mut leaf_of[(leaf - low) as usize];
            if *number == 1 {
                seconds.push(self.seconds[leaf as usize]);
            }
            *number = u32::try_from(seconds.len() - 1).unwrap_or(u32::MAX);
        }
        let mut part =
            Self { firsts: Vec::with_capacity(firsts.len()), entries: Vec::new(), seconds, span: [0; 2] };
        let mut joined = vec![Sums::default(); part.seconds.len()];
        let mut touched: Vec<u32> = Vec::new();
        let (mut next, mut start) = (0, 0);
        for &at in firsts {
            let mut change = Sums::default();
            for first in &self.firsts[next..=at] {
                change += first.change;
                for entry in &self.entries[start..first.end as usize] {
                    if entry.leaf <= low {
                        change += entry.change;
                    } else if entry.leaf <= high {
                        let leaf = leaf_of[(entry.leaf - low) as usize];
                        if joined[leaf as usize] == Sums::default() {
                            touched.push(leaf);
                        }
                        joined[leaf as usize] += entry.change;
                    }
                }
                start = first.end as usize;
            }
            next = at + 1;
            for leaf in touched.drain(..) {
                let change = std::mem::take(&mut joined[leaf as usize]);
                if change != Sums::default() {
                    part.entries.push(Entry { leaf, change });
                }
            }
            let end = u32::try_from(part.entries.len()).unwrap_or(u32::MAX);
            part.firsts.push(First { cut: self.firsts[at].cut, change, end });
        }
        (part.measured(), leaf_of)
    }

    /// The sums if the first cut is the lowest and none of the rows that it escalates goes further.
    pub(super) fn origin(&self) -> Sums {
        self.firsts.first().map_or(Sums::default(), |first| first.change)
    }

    /// Number of leaves.
    pub(super) fn leaves(&self) -> usize {
        self.seconds.len()
    }

    /// The price at which any saving of cost beats any quality, and the one at which any quality beats any saving.
    pub(super) fn extreme_prices(&self) -> [Price; 2] {
        let above = |span: i128| i64::try_from(span + 1).unwrap_or(i64::MAX);
        [
            Price { per_cost: above(self.span[0]), per_quality: 1 },
            Price { per_cost: 1, per_quality: above(self.span[1]) },
        ]
    }

    /// The best quality at a cost of at most `limit`, of these the cheapest.
    pub(super) fn at_budget(&self, limit: i64) -> Option<Vertex> {
        let mut best: Option<(Sums, usize, u32)> = None;
        self.visit(|tree, base, first| {
            if let Some((prefix, leaf)) = tree.best_within(limit - base.cost) {
                let sums = base + prefix;
                if best.is_none_or(|(best, ..)| (sums.quality, -sums.cost) > (best.quality, -best.cost)) {
                    best = Some((sums, first, leaf));
                }
            }
        });
        best.map(|(_, first, leaf)| self.vertex(first, leaf))
    }

    /// The least cost at a quality of at least `floor`, of these the best.
    pub(super) fn at_floor(&self, floor: i64) -> Option<Vertex> {
        let mut best: Option<(Sums, usize, u32)> = None;
        self.visit(|tree, base, first| {
            let Some((cheapest, _)) = tree.cheapest_above(floor - base.quality) else { return };
            // Rows that cost nothing may raise the quality further at the same cost.
            let Some((prefix, leaf)) = tree.best_within(cheapest.cost) else { return };
            let sums = base + prefix;
            if best.is_none_or(|(best, ..)| (-sums.cost, sums.quality) > (-best.cost, best.quality)) {
                best = Some((sums, first, leaf));
            }
        });
        best.map(|(_, first, leaf)| self.vertex(first, leaf))
    }

    /// Shows the tree of second cuts and the sums before them for each first cut.
    fn visit(&self, mut show: impl FnMut(&SumTree, Sums, usize)) {
        let mut tree = SumTree::new(self.seconds.len());
        let (mut base, mut start) = (Sums::default(), 0);
        for (at, first) in self.firsts.iter().enumerate() {
            base += first.change;
            let entries = &self.entries[start..first.end as usize];
            start = first.end as usize;
            let bulk = is_bulk(entries.len(), tree.leaves());
            for entry in entries {
                tree.add(entry.leaf, entry.change, bulk);
            }
            if bulk {
                tree.rebuild();
            }
            show(&tree, base, at);
        }
    }
}

/// Whether rebuilding a whole tree is cheaper than as many separate insertions.
fn is_bulk(entries: usize, leaves: usize) -> bool {
    entries * leaves.ilog2() as usize > leaves
}
