//! A page for each code that a message can carry: what it means and what to do.
//!
//! One Markdown file for each part of the tool, a `## code` heading for each page.

/// The files, in the order in which people meet them.
pub(crate) const FILES: [(&str, &str); 7] = [
    ("command", include_str!("command.md")),
    ("config", include_str!("config.md")),
    ("collect", include_str!("collect.md")),
    ("log", include_str!("log.md")),
    ("embedding", include_str!("embedding.md")),
    ("fit", include_str!("fit.md")),
    ("policy", include_str!("policy.md")),
];

/// Every page in order: its code, and its text without the heading.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES
        .iter()
        .flat_map(|(_, text)| text.split("\n## ").skip(1))
        .filter_map(|page| page.split_once('\n'))
        .map(|(code, text)| (code.trim(), text.trim()))
}

/// The page of a code.
pub(crate) fn find(code: &str) -> Option<&'static str> {
    all().find(|(own, _)| *own == code).map(|(_, text)| text)
}

/// True for what looks like a code, and cannot be the name of a route by accident.
pub(crate) fn looks_like_code(text: &str) -> bool {
    text.split_once("::").is_some_and(|(group, name)| {
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        word(group) && word(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cascade_sdk_core::{config, policy};
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Groups of codes, as they begin in source texts.
    const GROUPS: [&str; 17] = [
        "check",
        "cli",
        "collect",
        "config",
        "diff",
        "embedding",
        "eval",
        "explain",
        "fit",
        "import",
        "init",
        "log",
        "policy",
        "price",
        "prompts",
        "request",
        "route",
    ];

    /// Every code that stands in the sources as a text of its own.
    fn codes_in(directory: &Path, found: &mut BTreeSet<String>) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                codes_in(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.extend(
                    text.split('"')
                        .filter(|part| looks_like_code(part))
                        .filter(|part| GROUPS.contains(&part.split("::").next().unwrap()))
                        .map(str::to_owned),
                );
            }
        }
    }

    fn codes() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = BTreeSet::new();
        for package in ["cascade-sdk/core/src", "cascade-sdk/src", "cascade-macros/src", "cascade-cli/src"] {
            codes_in(&root.join(package), &mut found);
        }
        let listed = config::codes::ALL.iter().chain(policy::codes::ALL);
        found.extend(listed.map(|(code, _)| (*code).to_owned()));
        found
    }

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let codes = codes();
        assert!(codes.len() > 100, "{codes:?}");
        let pages: BTreeSet<String> = all().map(|(code, _)| code.to_owned()).collect();
        let without: Vec<_> = codes.difference(&pages).collect();
        assert!(without.is_empty(), "codes without a page in cascade-cli/src/pages: {without:?}");
        let stale: Vec<_> = pages.difference(&codes).collect();
        assert!(stale.is_empty(), "pages whose code is nowhere in the sources: {stale:?}");
        assert_eq!(all().count(), pages.len(), "a code has two pages");
    }

    /// Every file below a directory of tests that is written by hand; what is generated lists every code.
    fn test_texts(directory: &Path, found: &mut String) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                test_texts(&path, found);
            } else if path
                .extension()
                .is_some_and(|ending| ["rs", "toml", "stderr"].iter().any(|known| ending == *known))
            {
                found.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_code_is_told_in_a_test() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tests = String::new();
        for place in [
            "cascade-sdk/core/tests",
            "cascade-sdk/tests",
            "cascade-cli/tests",
            "tests/ui",
            "tests/integration",
        ] {
            test_texts(&root.join(place), &mut tests);
        }
        let told = |code: &str| {
            tests.match_indices(code).any(|(at, _)| {
                let next = tests[at + code.len()..].bytes().next();
                next.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
            })
        };
        // A mistake of ours has no test: once there is one to be made, it is mended.
        let without: Vec<&str> =
            all().map(|(code, _)| code).filter(|code| !code.ends_with("::internal") && !told(code)).collect();
        assert!(without.is_empty(), "codes that no test tells: {without:?}");
    }

    #[test]
    fn a_page_says_what_it_means_and_what_to_do() {
        for (code, text) in all() {
            assert!(text.split("\n\n").count() >= 2, "{code} lacks a remedy");
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{code} has a long line");
        }
    }

    /// The pages with an example each where a test has one; `BLESS=1` writes them anew.
    #[test]
    fn the_published_pages_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (name, text) in FILES {
            let mut page = String::from("<!-- Generated from cascade-cli/src/pages by its tests. -->\n");
            for (place, section) in text.split("\n## ").enumerate() {
                if place > 0 {
                    page.push_str("\n## ");
                }
                page.push_str(section.trim_end());
                page.push('\n');
                let code = section.lines().next().unwrap_or_default();
                if let Some(example) = example(&root, code) {
                    for part in ["\n```text\n", &example, "\n```\n"] {
                        page.push_str(part);
                    }
                }
            }
            let path = root.join("docs/reference/errors").join(name).with_extension("md");
            if std::env::var_os("BLESS").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &page).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == page, "{} is not current: run the tests with BLESS=1", path.display());
        }
    }

    /// What the tool says of the bad input that core tests this code with.
    fn example(root: &Path, code: &str) -> Option<String> {
        let (group, name) = code.split_once("::")?;
        let path =
            root.join("cascade-sdk/core/tests").join(group).join("bad").join(name).with_extension("toml");
        let text = std::fs::read_to_string(path).ok()?;
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("#|"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        // The first message that carries the code.
        let start = lines.iter().position(|line| line.contains(&format!("[{code}]")))?;
        let rest = lines.get(start..)?;
        let end =
            rest.iter().skip(1).position(|line| line.starts_with("error[") || line.starts_with("warning["));
        let shown = rest.get(..end.map_or(rest.len(), |end| end + 1))?;
        Some(shown.join("\n").trim_end().to_owned())
    }
}
