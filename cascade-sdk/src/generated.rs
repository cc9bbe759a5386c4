//! What generated code calls beside the client: written by hand once, so that the macros make names, docs and constants
//! only.

use crate::client::{Call, Client};
use crate::routed::TierName;
use std::fmt::Display;

/// A client that can be made by a builder: [`Client`] itself, or a type that `#[client]` generates.
pub trait FromClient {
    /// Wraps the client.
    fn from_client(client: Client) -> Self;
}

impl FromClient for Client {
    fn from_client(client: Client) -> Self {
        client
    }
}

/// What kind of argument tells a router something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A number.
    Feature,
    /// A label.
    Tag,
}

/// A feature or tag that the policy of a route reads.
#[derive(Clone, Copy, Debug)]
pub struct NeededInput {
    /// What it is.
    pub kind: InputKind,
    /// Its name.
    pub name: &'static str,
    /// The compile error of a function that lacks it.
    pub message: &'static str,
}

/// What the policy of a route must be told about each request. The enums that `#[client]` generates implement it.
pub trait RouteInputs: TierName {
    /// Every feature and tag.
    const NEEDED: &'static [NeededInput];
}

/// What the route of this method needs.
pub const fn needed<Owner, Asked, Tier: RouteInputs>(
    _method: for<'c> fn(&'c Owner, Asked) -> Call<'c, Tier>,
) -> &'static [NeededInput] {
    Tier::NEEDED
}

/// Refuses, while the program is compiled, a function that lacks an argument which the policy's router reads.
///
/// # Panics
/// If one is missing: the compiler evaluates it, and has no other way to refuse a constant.
#[track_caller]
pub const fn check_inputs(needed: &[NeededInput], given: &[(InputKind, &str)]) {
    let mut index = 0;
    while index < needed.len() {
        let input = &needed[index];
        assert!(is_given(input, given), "{}", input.message);
        index += 1;
    }
}

const fn is_given(needed: &NeededInput, given: &[(InputKind, &str)]) -> bool {
    let mut index = 0;
    while index < given.len() {
        let (kind, name) = given[index];
        if kind as u8 == needed.kind as u8 && same(name.as_bytes(), needed.name.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

/// `==` of slices is not available in constants.
const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// An argument that can be a feature: any number, and `bool` as 0 or 1.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a feature",
    label = "not a number",
    note = "a `#[feature]` is a number or a `bool`"
)]
pub trait FeatureValue {
    /// The number that the router sees.
    fn feature_value(&self) -> f64;
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl FeatureValue for $number {
            #[allow(clippy::allow_attributes, clippy::cast_lossless, reason = "one body for every number")]
            fn feature_value(&self) -> f64 {
                *self as f64
            }
        }
    )+};
}

numbers!(f64 f32 i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

impl FeatureValue for bool {
    fn feature_value(&self) -> f64 {
        f64::from(u8::from(*self))
    }
}

impl<T: FeatureValue + ?Sized> FeatureValue for &T {
    fn feature_value(&self) -> f64 {
        (**self).feature_value()
    }
}

/// An argument that can be a tag: anything that can be displayed.
pub trait TagValue {
    /// The label that the router sees.
    fn tag_value(&self) -> String;
}

impl<T: Display + ?Sized> TagValue for T {
    fn tag_value(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &[NeededInput] = &[
        NeededInput { kind: InputKind::Feature, name: "length", message: "add a length" },
        NeededInput { kind: InputKind::Tag, name: "subject", message: "add a subject" },
    ];

    #[test]
    fn all_that_is_needed_must_be_given() {
        check_inputs(NEEDED, &[(InputKind::Tag, "subject"), (InputKind::Feature, "length")]);
        check_inputs(&[], &[(InputKind::Tag, "extra")]);
    }

    #[test]
    #[should_panic(expected = "add a subject")]
    fn a_feature_is_no_tag() {
        check_inputs(NEEDED, &[(InputKind::Feature, "subject"), (InputKind::Feature, "length")]);
    }

    #[test]
    #[should_panic(expected = "add a length")]
    fn names_are_compared_whole() {
        check_inputs(NEEDED, &[(InputKind::Feature, "len"), (InputKind::Tag, "subject")]);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the values are exact")]
    fn numbers_and_labels() {
        assert_eq!(3_usize.feature_value(), 3.0);
        assert_eq!((&&2.5_f32).feature_value(), 2.5);
        assert_eq!(true.feature_value(), 1.0);
        assert_eq!("law".tag_value(), "law");
        assert_eq!('x'.tag_value(), "x");
    }
}
