//! The stable code of each thing that can be wrong with a policy.

use crate::diag::codes;
use crate::document::read::Codes;

codes! {
    /// The file is not TOML.
    SYNTAX = "policy::syntax";
    /// Git could not merge two versions of the file.
    CONFLICT = "policy::conflict";
    /// The file was written by a newer version of the tool.
    SCHEMA_TOO_NEW = "policy::schema-too-new";
    /// A key that no policy has.
    UNKNOWN_KEY = "policy::unknown-key";
    /// A key that every policy has is not there.
    MISSING_KEY = "policy::missing-key";
    /// A value of the wrong type.
    WRONG_TYPE = "policy::wrong-type";
    /// A number outside its range, or not finite.
    OUT_OF_RANGE = "policy::out-of-range";
    /// A word that is not one of those the key accepts.
    UNKNOWN_VALUE = "policy::unknown-value";
    /// A tier, signal or score that the policy does not list.
    UNKNOWN_NAME = "policy::unknown-name";
    /// A name that is listed twice.
    DUPLICATE = "policy::duplicate";
    /// Plans that cannot be run: no stage, a rule missing or too many, more plans than the family has.
    INVALID_PLAN = "policy::invalid-plan";
    /// Weights of a router that cannot be read.
    INVALID_WEIGHTS = "policy::invalid-weights";
    /// Not exactly one goal.
    INVALID_OBJECTIVE = "policy::invalid-objective";
    /// A route that needs a policy has none.
    MISSING = "policy::missing";
    /// A route has no policy yet, and says which tier answers until then.
    NOT_FITTED = "policy::not-fitted";
    /// The file with the router's weights is missing, or another one.
    WEIGHTS = "policy::weights";
    /// The policy belongs to another route.
    FOREIGN = "policy::foreign";
    /// The policy uses a tier that the route does not have.
    OTHER_TIERS = "policy::other-tiers";
    /// The configuration changed since the fit.
    STALE = "policy::stale";
    /// The log changed since the fit.
    LOG_CHANGED = "policy::log-changed";
    /// The file of word vectors is not the one that the policy was fitted with.
    EMBEDDING_FILE = "policy::embedding-file";
    /// The policy was fitted by another version of the algorithm.
    OTHER_ALGORITHM = "policy::other-algorithm";
    /// The policy reads a signal that no call of its tier can give.
    SIGNAL_UNAVAILABLE = "policy::signal-unavailable";
    /// A policy exists, so `until_fitted` does nothing.
    FITTED = "policy::fitted";
}

pub(super) const DOCUMENT: Codes = Codes {
    syntax: SYNTAX,
    unknown_key: UNKNOWN_KEY,
    missing_key: MISSING_KEY,
    wrong_type: WRONG_TYPE,
    out_of_range: OUT_OF_RANGE,
    unknown_value: UNKNOWN_VALUE,
    too_many_decimals: OUT_OF_RANGE,
    amount_too_large: OUT_OF_RANGE,
};
