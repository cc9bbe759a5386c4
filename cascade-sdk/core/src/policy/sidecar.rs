//! The weights file beside a policy.

use super::{Policy, codes};
use crate::diag::Diagnostic;
use crate::name::shell_word;
use std::path::Path;

/// Reads the weights that a policy awaits from its directory; nothing to do where they stand in the policy itself.
///
/// # Errors
/// A file that cannot be read, or is not the one that the policy was written with.
pub fn complete(policy: &mut Policy, directory: &Path) -> Result<(), Diagnostic> {
    let Some(router) = &mut policy.rules.router else { return Ok(()) };
    let Some(file) = router.awaits.clone() else { return Ok(()) };
    let path = directory.join(&file);
    let wrong = |why: &dyn std::fmt::Display| {
        let message = format!("the router's weights `{}` cannot be used: {why}", path.display());
        Diagnostic::error(codes::WEIGHTS, message)
            .help(format!("restore the file, or run `cascade fit {}`", shell_word(&policy.route)))
    };
    let bytes = std::fs::read(&path).map_err(|error| wrong(&error))?;
    router.complete(&bytes).map_err(|error| wrong(&error))
}
