//! The real logs beside the workspace, where they are present.

use cascade_sdk_core::log::{LogSource, ReadOptions, read};
use std::path::{Path, PathBuf};

/// `../shared/data` of the workspace root; its logs are not part of the project.
fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let folder = root.parent()?.join("shared/data");
    folder.is_dir().then_some(folder)
}

#[test]
fn every_real_log_reads_without_a_finding() {
    let Some(folder) = folder() else {
        println!("skipped: no folder ../shared/data beside the workspace");
        return;
    };
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.to_string_lossy().ends_with(".jsonl.gz"));
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        let source = LogSource::new(name.to_string_lossy(), std::fs::File::open(&name).unwrap());
        let reading = read([source], &ReadOptions::default()).unwrap();
        println!(
            "{}: {} rows, {} tiers, {}",
            name.display(),
            reading.log.rows.len(),
            reading.log.tiers.len(),
            reading.log.hash
        );
        assert_eq!((reading.skipped, reading.diagnostics.len()), (0, 0), "{:?}", reading.diagnostics);
        for tier in &reading.log.tiers {
            assert_eq!(tier.quality.len(), reading.log.rows.len());
        }
    }
}
