//! Makes the policies of the clients in `ui/pass`, as a build script that refits would: into `OUT_DIR`, where the macro
//! looks first.

#[path = "src/policies.rs"]
#[allow(dead_code, unreachable_pub)]
mod policies;

use cascade_sdk_core::config::{AnswerForm, policy_stem};
use std::path::Path;
use std::{env, fs, io};

/// Where the configuration is.
const DIRECTORY: &str = "ui/pass";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={DIRECTORY}");
    println!("cargo::rerun-if-changed=src/policies.rs");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let package = env::var("CARGO_PKG_NAME").map_err(io::Error::other)?;
    let out = Path::new(&out).join("policies");
    fs::create_dir_all(out.join(&package))?;
    let config = policies::config(&fs::read_to_string(Path::new(DIRECTORY).join("cascade.toml"))?);
    for route in policies::fitted_routes(&config) {
        let schema = match &route.request.answer {
            AnswerForm::Schema { path } => Some(fs::read_to_string(Path::new(DIRECTORY).join(path))?),
            _ => None,
        };
        let policy = policies::policy(&config, route, schema.as_deref());
        let file = format!("{package}/{}.toml", policy_stem(&route.name));
        policies::write(&out.join(file), &policy)?;
    }
    println!("cargo::rustc-env=CASCADE_POLICY_DIR={}", out.display());
    Ok(())
}
