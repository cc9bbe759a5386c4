//! Helpers shared by the cross-package tests.
