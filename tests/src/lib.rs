//! Helpers shared by the cross-package tests.

pub mod policies;
