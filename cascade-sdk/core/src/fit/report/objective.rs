//! The objective as JSON, under the keys of the configuration.

use crate::config::{Goal, Objective};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::BTreeMap;

/// What a fit was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveReport(pub Objective);

/// A table of two values, one of which may be a name.
#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Number(f64),
    Name(&'a str),
}

impl Serialize for ObjectiveReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Objective { goal, max_latency_ms_p95, max_cost_tail, confidence } = &self.0;
        let mut map = serializer.serialize_map(None)?;
        match goal {
            Goal::MaxCost(most) => map.serialize_entry(goal.key(), &most.to_f64())?,
            Goal::MinQuality(number) | Goal::ShadowPrice(number) => {
                map.serialize_entry(goal.key(), number)?;
            }
            Goal::MaxQualityLoss { versus, by } => {
                let loss = BTreeMap::from([("versus", Value::Name(versus)), ("by", Value::Number(*by))]);
                map.serialize_entry(goal.key(), &loss)?;
            }
            Goal::MaxQuality => {}
        }
        if let Some(bound) = max_latency_ms_p95 {
            map.serialize_entry("max_latency_ms_p95", bound)?;
        }
        if let Some(tail) = max_cost_tail {
            let tail = BTreeMap::from([("usd", tail.usd.to_f64()), ("share", tail.share)]);
            map.serialize_entry("max_cost_tail", &tail)?;
        }
        if let Some(confidence) = confidence {
            map.serialize_entry("confidence", confidence)?;
        }
        map.end()
    }
}
