//! Refits the policy from the log into the build's own folder, and says if the committed one differs.

fn main() {
    cascade_sdk::build::Fit::new("cascade.toml").refit(true).check();
}
