//! Two versions of a policy, compared for a reviewer.

pub(crate) mod changes;
pub(crate) mod git;
pub(crate) mod rows;
pub(crate) mod show;
pub(crate) mod versions;
