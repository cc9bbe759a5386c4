//! Shared core of Cascade: what a policy is, how it decides, and how it is fitted.
//!
//! Nothing in this package does network, clock or unseeded randomness. Each module uses only those to its left:
//!
//! ```text
//! money · name · diag · hash · document · json_span · prompt | config | policy | log | signal, feature | decide | fit
//! ```
//!
//! `log` is behind the feature `log`, `fit` behind the feature `fit` (which implies `log`), so that the proc-macro,
//! which needs neither, compiles little.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::float_cmp,
        reason = "tests count to small numbers"
    )
)]
#![doc = include_str!("../README.md")]

pub mod config;
pub mod decide;
pub mod diag;
mod document;
pub mod early;
pub mod feature;
#[cfg(feature = "fit")]
pub mod fit;
pub mod hash;
pub mod json_span;
#[cfg(feature = "log")]
pub mod log;
pub mod money;
pub mod name;
pub mod pace;
pub mod policy;
pub mod prompt;
#[cfg(feature = "log")]
pub mod replay;
pub mod signal;
#[cfg(feature = "static-embedding")]
pub mod static_embedding;
