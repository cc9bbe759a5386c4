//! Whether the answers of a log were given to the requests that the configuration describes.

use super::EvalLog;
use crate::config::{Config, Route, request_fingerprint};
use crate::diag::Diagnostic;
use crate::name::{collect_command, shell_word};

/// A warning for each tier whose answers were given to other requests than the route makes now: its model, the request
/// table or the answer schema changed since they were collected. Rows that do not say what they answer are passed over.
pub fn other_requests(
    log: &EvalLog,
    config: &Config,
    route: &Route,
    schema_text: Option<&str>,
) -> Vec<Diagnostic> {
    let tiers = route.tiers.iter().filter_map(|name| Some((config.tier(name)?, log.tier(name)?)));
    tiers
        .filter_map(|(tier, columns)| {
            let now = request_fingerprint(&tier.model, &route.request, schema_text);
            let known = (0..log.rows.len()).filter_map(|row| columns.request_hash.get(row));
            let (others, all) = known
                .fold((0_usize, 0_usize), |(others, all), hash| (others + usize::from(hash != now), all + 1));
            (others > 0).then(|| {
                let message = format!(
                    "{others} of {all} answers of tier `{}` were given to other requests than route `{}` makes now",
                    tier.name, route.name
                );
                Diagnostic::warning("log::other-requests", message)
                    .help(format!(
                        "its model, [routes.{}.request] or the answer schema changed since: run `{}`, or change it back",
                        route.name,
                        collect_command(&route.name, &format!("--replace-tier {}", shell_word(&tier.name)))
                    ))
            })
        })
        .collect()
}
