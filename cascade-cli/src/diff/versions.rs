//! A version of a policy: where it comes from, and its text.

use super::git;
use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::policy::{self, Policy};
use std::path::{Path, PathBuf};

/// One of the two policies compared.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// How people would name it.
    pub(crate) name: String,
    /// The policy; `None` where there was none.
    pub(crate) policy: Option<Policy>,
    /// True if the router's weights were not found, so that the policy cannot be run.
    pub(crate) lacks_weights: bool,
}

impl Version {
    /// A policy that is not there.
    pub(crate) fn absent(name: impl Into<String>) -> Self {
        Self { name: name.into(), policy: None, lacks_weights: false }
    }

    /// A policy file; `near` is another place whose directory may hold the weights.
    ///
    /// # Errors
    /// A file that cannot be read or is no policy.
    pub(crate) fn of_file(path: &Path, near: Option<&Path>) -> Result<Self> {
        let name = path.display().to_string();
        // What git passes for a side that does not exist.
        if path == Path::new("/dev/null") {
            return Ok(Self::absent("no policy"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        let shown = near.map_or_else(|| name.clone(), |near| near.display().to_string());
        let places: Vec<PathBuf> =
            [Some(path), near].into_iter().flatten().map(|place| directory_of(place).to_path_buf()).collect();
        Self::read(&shown, text, |file| {
            let beside = places.iter().find_map(|directory| std::fs::read(directory.join(file)).ok());
            match (beside, places.last()) {
                (None, Some(directory)) => git::file_of_any_revision(directory, file).ok().flatten(),
                (beside, _) => beside,
            }
        })
    }

    /// A policy as it was in a revision; the path is relative to the directory.
    ///
    /// # Errors
    /// No git, or a file that is no policy.
    pub(crate) fn of_revision(directory: &Path, revision: &str, path: &str) -> Result<Self> {
        let name = format!("{revision}:{path}");
        let Some(bytes) = git::file(directory, revision, path)? else { return Ok(Self::absent(name)) };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self::read(&name, text, |file| {
            let place = directory_of(Path::new(path)).join(file);
            let place = place.to_str()?;
            git::file(directory, revision, place)
                .ok()
                .flatten()
                .or_else(|| git::file_of_any_revision(directory, place).ok().flatten())
        })
    }

    fn read(name: &str, text: String, weights: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self> {
        let mut policy = policy::read(&Source::new(name, text))?;
        let mut lacks_weights = false;
        if let Some(router) = &mut policy.rules.router
            && let Some(file) = router.awaits.clone()
        {
            let found = weights(&file).is_some_and(|bytes| router.complete(&bytes).is_ok());
            lacks_weights = !found;
        }
        Ok(Self { name: name.to_owned(), policy: Some(policy), lacks_weights })
    }
}

/// The directory of a file as it can be joined with names.
fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Two policies of different routes have nothing to compare.
///
/// # Errors
/// If they are.
pub(crate) fn same_route(old: &Version, new: &Version) -> Result<()> {
    let (Some(before), Some(now)) = (&old.policy, &new.policy) else { return Ok(()) };
    if before.route == now.route {
        return Ok(());
    }
    let message =
        format!("`{}` is for route `{}`, `{}` for route `{}`", old.name, before.route, new.name, now.route);
    Err(Diagnostic::error("diff::routes", message).help("compare two policies of one route").into())
}
