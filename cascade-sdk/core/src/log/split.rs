//! Which half a row belongs to, and which rows must stay together.

use super::{EvalLog, Row, Split};
use crate::diag::Diagnostic;
use crate::hash::{Hasher, hex, sha256};
use crate::prompt::normalise;
use std::collections::BTreeMap;

/// The half of a row: the log's own `split`, else held out iff a hash of the seed and the row's group falls below
/// `held_out`. It does not depend on the other rows or on their order (DESIGN.md 5).
pub fn half(row: &Row, seed: u64, held_out: f64) -> Split {
    row.split.unwrap_or_else(|| {
        let hash = Hasher::new().part("split").part(seed.to_le_bytes()).part(group_key(row));
        if hash.fraction() < held_out { Split::Test } else { Split::Calibration }
    })
}

/// Names what a row must not be separated from: its `group`, else its normalised prompt, else its id. Equal prompts
/// get equal keys, however long they are.
pub fn group_key(row: &Row) -> String {
    match (&row.group, &row.text) {
        (Some(group), _) => format!("group {group}"),
        (None, Some(text)) => format!("prompt {}", hex(&sha256(normalise(text).as_bytes()))),
        (None, None) => format!("id {}", row.id),
    }
}

/// A warning if rows that belong together stand in both halves of the log's own `split`: held-out figures are then
/// flattered. `None` if all is well.
pub fn leak(log: &EvalLog) -> Option<Diagnostic> {
    if log.rows.iter().all(|row| row.split.is_none()) {
        return None;
    }
    let mut groups: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for row in &log.rows {
        if let Some(split) = row.split {
            let halves = groups.entry(group_key(row)).or_default();
            match split {
                Split::Calibration => halves[0] += 1,
                Split::Test => halves[1] += 1,
            }
        }
    }
    let torn: Vec<_> = groups.values().filter(|halves| halves[0] > 0 && halves[1] > 0).collect();
    let held_out: usize = torn.iter().map(|halves| halves[1]).sum();
    (!torn.is_empty()).then(|| {
        let message = format!(
            "{held_out} held-out rows have a twin (same group or same prompt) among the calibration rows, in {} groups",
            torn.len()
        );
        Diagnostic::warning("log::leak", message)
            .help("give all rows of a group the same `split`, or leave `split` out: the hash split keeps them together")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, text: Option<&str>, group: Option<&str>) -> Row {
        Row { text: text.map(Into::into), group: group.map(Into::into), ..Row::new(id) }
    }

    #[test]
    fn twins_stay_together() {
        for i in 0..200 {
            let (a, b) = (format!("a{i}"), format!("b{i}"));
            let prompt = format!("Prompt  {i}");
            let same = half(&row(&a, Some(&prompt), None), 7, 0.3)
                == half(&row(&b, Some(&prompt.to_lowercase()), None), 7, 0.3);
            assert!(same);
            assert_eq!(
                half(&row(&a, Some("x"), Some(&prompt)), 7, 0.3),
                half(&row(&b, None, Some(&prompt)), 7, 0.3)
            );
        }
    }

    #[test]
    fn the_share_held_out_is_as_asked_and_moves_with_the_seed() {
        let held = |seed, share: f64| {
            (0..4000)
                .filter(|i| half(&row(&i.to_string(), None, None), seed, share) == Split::Test)
                .collect::<Vec<_>>()
        };
        let share = held(7, 0.3).len() as f64 / 4000.0;
        assert!((share - 0.3).abs() < 0.03, "{share}");
        assert_ne!(held(7, 0.3), held(8, 0.3));
        // A larger share keeps what a smaller one held out.
        let larger = held(7, 0.5);
        assert!(held(7, 0.3).iter().all(|row| larger.contains(row)));
        assert!(held(7, 0.0).is_empty() && held(7, 1.0).len() == 4000);
    }

    #[test]
    fn the_given_split_wins() {
        let mut given = row("a", None, None);
        given.split = Some(Split::Test);
        assert_eq!(half(&given, 7, 0.0), Split::Test);
    }

    #[test]
    fn torn_groups_are_noticed() {
        let with = |id: &str, text: &str, split| Row { split: Some(split), ..row(id, Some(text), None) };
        let mut log = EvalLog {
            rows: vec![
                with("a", "Same", Split::Calibration),
                with("b", "same ", Split::Test),
                with("c", "x", Split::Test),
            ],
            ..EvalLog::default()
        };
        assert!(leak(&log).unwrap().message.starts_with("1 held-out rows"));
        log.rows.remove(0);
        assert_eq!(leak(&log), None);
    }
}
