//! The stable code of each kind of mistake in `cascade.toml`.

use crate::diag::codes;
use crate::document::read::Codes;

codes! {
    /// The file is not TOML.
    SYNTAX = "config::syntax";
    /// The file was written for a newer version of the tool.
    SCHEMA_TOO_NEW = "config::schema-too-new";
    /// A key that is not known, often a slip of the pen.
    UNKNOWN_KEY = "config::unknown-key";
    /// A key that must be there is not.
    MISSING_KEY = "config::missing-key";
    /// A tier has no price, or only a part of one.
    PRICE_MISSING = "config::price-missing";
    /// A value of the wrong type.
    WRONG_TYPE = "config::wrong-type";
    /// A number outside the range that makes sense.
    OUT_OF_RANGE = "config::out-of-range";
    /// A word that is not one of those the key accepts.
    UNKNOWN_VALUE = "config::unknown-value";
    /// A price below zero.
    PRICE_NEGATIVE = "config::price-negative";
    /// A price that is probably not as meant.
    PRICE_ODD = "config::price-odd";
    /// More decimals than money holds exactly, often a price per token instead of per million.
    TOO_MANY_DECIMALS = "config::too-many-decimals";
    /// An amount beyond about nine million dollars.
    AMOUNT_TOO_LARGE = "config::amount-too-large";
    /// A length of time that cannot be read.
    INVALID_WINDOW = "config::invalid-window";
    /// A day that cannot be read or does not exist.
    INVALID_DATE = "config::invalid-date";
    /// A list that must name something is empty.
    EMPTY_LIST = "config::empty-list";
    /// A list names the same thing twice.
    DUPLICATE = "config::duplicate";
    /// A name that cannot be used.
    INVALID_NAME = "config::invalid-name";
    /// Two names that become the same Rust identifier.
    NAME_COLLISION = "config::name-collision";
    /// A route named like a method that every client has, or a signal like a built-in one.
    RESERVED_NAME = "config::reserved-name";
    /// A provider that is not declared.
    UNKNOWN_PROVIDER = "config::unknown-provider";
    /// A tier that is not declared, or not one of the route's.
    UNKNOWN_TIER = "config::unknown-tier";
    /// A budget that is not declared.
    UNKNOWN_BUDGET = "config::unknown-budget";
    /// A route with several tiers does not say what to optimise.
    OBJECTIVE_MISSING = "config::objective-missing";
    /// A route says twice what to optimise.
    OBJECTIVE_SEVERAL = "config::objective-several";
    /// A confidence without a constraint that it could certify.
    NOTHING_TO_CERTIFY = "config::nothing-to-certify";
    /// Two settings of a fit that exclude each other.
    NOT_TOGETHER = "config::not-together";
    /// A route with several tiers has no eval log to be fitted from.
    LOG_MISSING = "config::log-missing";
    /// Two routes share one policy file.
    POLICY_SHARED = "config::policy-shared";
    /// A budget cannot bound the cost of a call in advance.
    BUDGET_UNBOUNDED = "config::budget-unbounded";
    /// Budgets that lie within each other.
    BUDGET_CIRCLE = "config::budget-circle";
    /// A route that explores without a budget for it.
    EXPLORE_UNBOUNDED = "config::explore-unbounded";
    /// An api needs the longest output of each request, and a tier does not say it.
    LENGTH_MISSING = "config::length-missing";
    /// A request for something that a tier's api cannot give.
    NOT_SUPPORTED = "config::not-supported";
    /// A key that does nothing for this api.
    KEY_UNUSED = "config::key-unused";
    /// A JSON Schema that is none.
    INVALID_SCHEMA = "config::invalid-schema";
    /// A base URL that cannot be used.
    INVALID_URL = "config::invalid-url";
    /// Plain http to another machine.
    INSECURE_URL = "config::insecure-url";
    /// A header that cannot be sent.
    INVALID_HEADER = "config::invalid-header";
    /// A secret in the file.
    SECRET_IN_FILE = "config::secret-in-file";
    /// A public api without a key: every call would be refused.
    NO_KEY = "config::no-key";
    /// Something that no route uses.
    UNUSED = "config::unused";
}

pub(super) const DOCUMENT: Codes = Codes {
    syntax: SYNTAX,
    unknown_key: UNKNOWN_KEY,
    missing_key: MISSING_KEY,
    wrong_type: WRONG_TYPE,
    out_of_range: OUT_OF_RANGE,
    unknown_value: UNKNOWN_VALUE,
    too_many_decimals: TOO_MANY_DECIMALS,
    amount_too_large: AMOUNT_TOO_LARGE,
};
