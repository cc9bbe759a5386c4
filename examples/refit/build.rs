//! Fits the policy into the build's own folder: there is none in the source tree.

fn main() {
    cascade_sdk::build::Fit::new("cascade.toml").refit(true).check();
}
