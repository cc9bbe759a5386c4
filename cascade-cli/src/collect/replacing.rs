//! Tiers, and signals of tiers, whose results are made anew: the log keeps the old ones until all new ones are there, so that
//! it never mixes two under one name. The journal remembers them, so that a job that was interrupted goes on.

use super::in_words;
use super::journal::{Journal, Past};
use super::signals::lane_name;
use crate::failure::Result;
use crate::words::some_of;
use cascade_sdk_core::config::{Route, Tier};
use std::collections::BTreeSet;

/// Lanes that are being replaced.
#[derive(Clone, Debug)]
pub(crate) struct Replacing {
    lanes: BTreeSet<String>,
    /// All lanes that this run is about.
    asked: BTreeSet<String>,
}

impl Replacing {
    /// What earlier runs left unfinished of a route, and the tier and the signal that are named now, in a run about these
    /// tiers.
    pub(crate) fn of(
        route: &Route,
        tiers: &[&Tier],
        past: &Past,
        tier: Option<&str>,
        signal: Option<&str>,
    ) -> Self {
        let tiers = || tiers.iter().map(|tier| tier.name.as_str());
        let named = tiers().filter(|name| tier == Some(*name)).map(str::to_owned);
        let of_signal = signal.and_then(|name| route.signal(name)).into_iter().flat_map(|signal| {
            tiers().filter(|tier| signal.covers(tier)).map(|tier| lane_name(&signal.name, tier))
        });
        let named: BTreeSet<String> = named.chain(of_signal).collect();
        // What the configuration no longer has cannot be finished.
        let all = lanes(route, route.tiers.iter().map(String::as_str));
        let unfinished = past.replaced.intersection(&all).cloned();
        Self { lanes: unfinished.chain(named).collect(), asked: lanes(route, tiers()) }
    }

    /// True if the recorded results of a lane do not count.
    pub(crate) fn contains(&self, lane: &str) -> bool {
        self.lanes.contains(lane)
    }

    /// Makes the journal remember them.
    ///
    /// # Errors
    /// A journal that cannot be written.
    pub(crate) fn remember(&self, journal: &mut Journal, past: &Past) -> Result<()> {
        self.lanes.difference(&past.replaced).try_for_each(|lane| journal.replace(lane))
    }

    /// Those that a run leaves unfinished: all where it is not complete, else those that it was not about.
    pub(crate) fn unfinished(self, complete: bool) -> BTreeSet<String> {
        if complete { &self.lanes - &self.asked } else { self.lanes }
    }
}

/// Names lanes in words.
pub(crate) fn names(lanes: &BTreeSet<String>) -> String {
    let names: Vec<String> = lanes.iter().map(|lane| in_words(lane)).collect();
    some_of(names.iter().map(String::as_str))
}

/// The lanes of tiers and of their signals.
fn lanes<'a>(route: &Route, tiers: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut lanes = BTreeSet::new();
    for tier in tiers {
        lanes.insert(tier.to_owned());
        let signals = route.signals.iter().filter(|signal| signal.covers(tier));
        lanes.extend(signals.map(|signal| lane_name(&signal.name, tier)));
    }
    lanes
}
