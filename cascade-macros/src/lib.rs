//! Implementation detail of `cascade-sdk`: its attributes.
