//! Lists the documents whose Rust is to be compiled, and makes the policies of the routes that it calls.

#[path = "../src/policies.rs"]
#[allow(dead_code, unreachable_pub)]
mod policies;

use cascade_sdk_core::config::{AnswerForm, policy_stem};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where documents are, from here.
const PLACES: [&str; 4] =
    ["../../docs", "../../README.md", "../../cascade-sdk/README.md", "../../cascade-sdk/src/docs"];

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    policies(&out)?;
    let mut documents = Vec::new();
    for place in PLACES {
        println!("cargo::rerun-if-changed={place}");
        find(Path::new(place), &mut documents)?;
    }
    documents.sort();
    let mut modules = String::new();
    for document in documents {
        let name: String = document
            .display()
            .to_string()
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
            .collect();
        let path = fs::canonicalize(&document)?.display().to_string();
        let name = name.trim_start_matches('_');
        let _ = writeln!(modules, "#[doc = include_str!({path:?})]\nmod {name} {{}}");
    }
    fs::write(out.join("documents.rs"), modules)
}

/// Every Markdown file with Rust in it, below a directory or at the path itself.
fn find(place: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if place.is_dir() {
        for entry in fs::read_dir(place)? {
            find(&entry?.path(), found)?;
        }
    } else if place.extension().is_some_and(|extension| extension == "md")
        && fs::read_to_string(place)?.contains("```rust")
    {
        found.push(place.to_owned());
    }
    Ok(())
}

/// Policies as a build script that refits would leave them: in `OUT_DIR`, where the macro looks first.
fn policies(out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed=cascade.toml");
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=../src/policies.rs");
    let package = env::var("CARGO_PKG_NAME").map_err(io::Error::other)?;
    let directory = out.join("policies").join(package);
    fs::create_dir_all(&directory)?;
    let config = policies::config(&fs::read_to_string("cascade.toml")?);
    for route in policies::fitted_routes(&config) {
        let schema = match &route.request.answer {
            AnswerForm::Schema { path } => Some(fs::read_to_string(path)?),
            _ => None,
        };
        let policy = policies::policy(&config, route, schema.as_deref());
        policies::write(&directory.join(format!("{}.toml", policy_stem(&route.name))), &policy)?;
    }
    println!("cargo::rustc-env=CASCADE_POLICY_DIR={}", out.join("policies").display());
    Ok(())
}
