//! Does a policy still belong to its configuration?

use super::{ALGORITHM, Policy, codes};
use crate::config::{self, Config, Route};
use crate::diag::Diagnostic;
use crate::name::shell_word;

/// What is to be said of a route whose policy file does not exist: nothing if it has one tier or none, a warning if a tier
/// answers until the first fit, else an error.
pub fn missing(config: &Config, route: &str) -> Option<Diagnostic> {
    let declared = config.route(route).filter(|declared| declared.tiers.len() > 1)?;
    let (finding, key) = if let Some(tier) = &declared.until_fitted {
        let message = format!("the route `{route}` is not fitted yet: `{tier}` answers every request");
        (Diagnostic::warning(codes::NOT_FITTED, message), "until_fitted")
    } else {
        let message = format!("the policy `{}` of the route `{route}` does not exist", declared.policy);
        (Diagnostic::error(codes::MISSING, message), "policy")
    };
    let finding = config.places.label(finding, &["routes", route, key], "");
    let finding = finding.help(format!("run `cascade fit {}`", shell_word(route)));
    let remedy = "or set `until_fitted` to the tier that answers until then";
    Some(if finding.is_error() { finding.help(remedy) } else { finding })
}

/// Everything that speaks against applying a policy to a route of a configuration; empty if it is fresh.
///
/// Errors: it belongs to another route, uses a tier the route does not have, or the parts of the configuration that the
/// fit depends on have changed. A warning: another version of the algorithm would fit another policy. `until_fitted`
/// beside a policy is an error, since it would do nothing. Whether the log has changed is not judged here.
///
/// `schema_text` is the text of the file that the route's `request.answer` names.
pub fn staleness(
    policy: &Policy,
    config: &Config,
    route: &str,
    schema_text: Option<&str>,
) -> Vec<Diagnostic> {
    let refit = format!("run `cascade fit {}`", shell_word(route));
    let Some(declared) = config.route(route).filter(|_| policy.route == route) else {
        let message = format!("the policy was fitted for the route `{}`, not for `{route}`", policy.route);
        let error = Diagnostic::error(codes::FOREIGN, message);
        return vec![config.places.label(error, &["routes", route, "policy"], "").help(refit)];
    };
    let mut findings = Vec::new();
    let path = &declared.policy;
    let gone: Vec<_> = policy.rules.tiers.iter().filter(|tier| !declared.tiers.contains(tier)).collect();
    if let [first, ..] = gone.as_slice() {
        let message =
            format!("the policy `{path}` uses the tier `{first}`, which the route `{route}` does not have");
        let error = Diagnostic::error(codes::OTHER_TIERS, message);
        findings.push(config.places.label(error, &["routes", route, "tiers"], "").help(refit.as_str()));
    } else if config::fingerprint(config, route, schema_text).as_ref() != Some(&policy.fitted.config_hash) {
        let message = format!(
            "the policy `{path}` is stale: the configuration of the route `{route}` has changed since the fit"
        );
        let error = Diagnostic::error(codes::STALE, message);
        let text = "its tiers, prices, request, objective or fit";
        let reprice = if policy.fitted.repriced { " --reprice" } else { "" };
        let error = config.places.label(error, &["routes", route], text).help(format!("{refit}{reprice}"));
        findings.push(if policy.fitted.repriced {
            error
        } else {
            error.help("if a price has changed, with `--reprice`: else costs stay those that the log states")
        });
    } else if policy.fitted.algorithm != ALGORITHM {
        let message = format!(
            "the policy `{path}` was fitted by version {} of the algorithm; this is version {ALGORITHM}",
            policy.fitted.algorithm
        );
        let warning = Diagnostic::warning(codes::OTHER_ALGORITHM, message);
        findings.push(config.places.label(warning, &["routes", route], "").help(refit.as_str()));
    }
    if declared.until_fitted.is_some() {
        let message = format!("the route `{route}` has a policy, so `until_fitted` does nothing");
        let error = Diagnostic::error(codes::FITTED, message);
        findings
            .push(config.places.label(error, &["routes", route, "until_fitted"], "").help("remove the line"));
    }
    findings
}

/// A warning if the route's log, whose hash is `log_hash`, is not the one that the policy was fitted from.
pub fn log_changed(policy: &Policy, route: &Route, log_hash: &str) -> Option<Diagnostic> {
    (policy.fitted.log_hash != log_hash).then(|| {
        let message = format!(
            "the log of route `{}` has changed since the policy `{}` was fitted",
            route.name, route.policy
        );
        let command = format!("run `cascade fit {}`", shell_word(&route.name));
        Diagnostic::warning(codes::LOG_CHANGED, message).help(command)
    })
}

/// An error if the file of word vectors that the route names is not the one that the policy's router was fitted with, or cannot
/// be read. `directory` is that of the configuration.
#[cfg(feature = "static-embedding")]
pub fn other_vectors(
    policy: &Policy,
    config: &Config,
    route: &Route,
    directory: &std::path::Path,
) -> Option<Diagnostic> {
    let fitted = policy.rules.router.as_ref()?.inputs.embedding.as_ref()?.sha256.as_ref()?;
    let file = route.embedding.as_ref()?.file.as_ref()?;
    let error = match crate::static_embedding::StaticEmbedding::hash(&directory.join(file), file) {
        Ok(found) if found == *fitted => return None,
        Ok(found) => {
            let message = format!(
                "the policy `{}` was fitted with another file of word vectors than `{file}`: its SHA-256 is {found}, not {fitted}",
                route.policy
            );
            let command = format!("put that file back, or run `cascade fit {}`", shell_word(&route.name));
            Diagnostic::error(codes::EMBEDDING_FILE, message).help(command)
        }
        Err(unreadable) => unreadable,
    };
    Some(config.places.label(error, &["routes", &route.name, "embedding", "file"], ""))
}
