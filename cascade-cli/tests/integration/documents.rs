//! Commands in the documents: each is one that the tool knows, and where a document says that a block runs, it is run and
//! prints what the document shows.

#[path = "../../../tests/book/src/markdown.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the package that looks at the rest of the documents"
)]
mod markdown;

use crate::project::{Project, Ran};
use markdown::{Block, blocks};
use std::fs;
use std::path::{Path, PathBuf};

/// Note of a block whose commands are run in a copy of the quickstart.
const RUNS: &str = "runs in examples/quickstart";

/// Note of a block that becomes a table of the quickstart's configuration.
const EDITS: &str = "becomes a table of examples/quickstart/cascade.toml";

/// Stands for any number of lines that are not shown.
const ELLIPSIS: &str = "…";

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![workspace().join("README.md"), workspace().join("CONTRIBUTING.md")];
    for place in ["docs", "examples", "cascade-cli", "cascade-sdk/src/docs"] {
        find(&workspace().join(place), &mut found);
    }
    found.sort();
    found
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The commands of a block of shell, lines that end in a backslash joined, comments and pipes left out.
fn commands(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.trim().strip_prefix("$ "));
    lines.map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).collect()
}

/// Words of a command as a shell sees them, quotes taken off, up to a pipe.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '>') => return words,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Arguments of `cascade`, variables in front of it left out; `None` for another command.
fn arguments(command: &str) -> Option<Vec<String>> {
    let words = words(command);
    let name = words.iter().position(|word| !word.contains('='))?;
    (words[name] == "cascade").then(|| words[name + 1..].to_vec())
}

#[test]
fn every_command_in_the_documents_is_known() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for block in blocks(&text).iter().filter(|block| block.info == "console") {
            for arguments in commands(block).iter().filter_map(|command| arguments(command)) {
                count += 1;
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                // Nothing is there to work on, so that what was understood ends at once.
                let ran = Project::new().run(&arguments);
                if ran.stderr.contains("Usage:") || ran.stderr.contains("--help") {
                    wrong.push(format!("{}:{}: {arguments:?}\n{}", path.display(), block.line, ran.stderr));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "only {count} commands");
}

/// A copy of the quickstart without what was built there.
pub(crate) fn quickstart() -> Project {
    let project = Project::new();
    let source = workspace().join("examples/quickstart");
    for name in ["cascade.toml", "evals/answers.jsonl.gz", "evals/prompts.jsonl"] {
        copy(&source, &project, name);
    }
    for entry in fs::read_dir(source.join("policies")).unwrap() {
        copy(&source, &project, &format!("policies/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    project
}

fn copy(source: &Path, project: &Project, name: &str) {
    let target = project.path(name);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(source.join(name), target).unwrap();
}

/// Puts a table in the place of the one with the same header, up to the next blank line.
fn edit(project: &Project, block: &Block) {
    let text = project.read("cascade.toml");
    let header = block.text.lines().next().unwrap();
    let start = text.find(&format!("{header}\n")).unwrap_or_else(|| panic!("no {header} in cascade.toml"));
    let end = text[start..].find("\n\n").map_or(text.len(), |length| start + length + 1);
    project.write("cascade.toml", &format!("{}{}{}", &text[..start], block.text, &text[end..]));
}

/// What a terminal would show.
fn shown(ran: &Ran) -> Vec<String> {
    let whole = format!("{}{}", ran.stdout, ran.stderr);
    whole.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Whether these lines are those, an ellipsis standing for any number of them.
fn matches(expected: &[&str], actual: &[String]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((&ELLIPSIS, rest)) => (0..=actual.len()).any(|skip| matches(rest, &actual[skip..])),
        Some((line, rest)) => {
            actual.first().is_some_and(|first| first == line) && matches(rest, &actual[1..])
        }
    }
}

/// New lines in the shape of the old ones: before the first ellipsis and after the last as many as there were.
fn reshaped(old: &[&str], actual: &[String]) -> Vec<String> {
    let head = old.iter().position(|line| *line == ELLIPSIS);
    let tail = old.iter().rev().position(|line| *line == ELLIPSIS);
    let (Some(head), Some(tail)) = (head, tail) else { return actual.to_vec() };
    let mut new = actual[..head.min(actual.len())].to_vec();
    new.push(ELLIPSIS.to_owned());
    new.extend_from_slice(&actual[actual.len().saturating_sub(tail)..]);
    new
}

/// Runs a block; gives back what it should say.
fn run(project: &Project, block: &Block) -> String {
    let mut said: Vec<String> = Vec::new();
    let lines: Vec<&str> = block.text.lines().collect();
    for part in lines.chunk_by(|_, next| !next.starts_with("$ ")) {
        let (command, expected) = part.split_first().unwrap();
        let Some(arguments) = command.strip_prefix("$ ").and_then(arguments) else {
            panic!("line {}: `{command}` is not a run of cascade", block.line)
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let actual = shown(&project.run(&arguments));
        said.push((*command).to_owned());
        if matches(expected, &actual) {
            said.extend(expected.iter().map(|line| (*line).to_owned()));
        } else {
            said.extend(reshaped(expected, &actual));
        }
    }
    said.push(String::new());
    said.join("\n")
}

#[test]
fn commands_that_are_marked_print_what_the_documents_show() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut count = 0;
    let mut wrong = Vec::new();
    for path in documents() {
        let mut text = fs::read_to_string(&path).unwrap();
        let mut project = None;
        for block in blocks(&text) {
            let project = project.get_or_insert_with(quickstart);
            match block.note.as_deref() {
                Some(EDITS) => edit(project, &block),
                Some(RUNS) => {
                    count += 1;
                    let actual = run(project, &block);
                    if actual != block.text && bless {
                        text = text.replacen(&block.text, &actual, 1);
                    } else if actual != block.text {
                        wrong.push(format!("{}:{} should be\n{actual}", path.display(), block.line));
                    }
                }
                _ => {}
            }
        }
        if bless {
            fs::write(&path, text).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}\nBLESS=1 writes them anew", wrong.join("\n"));
    assert!(count > 3, "only {count} blocks run");
}

/// The pictures of the book are those that the report draws of the quickstart.
#[test]
fn the_pictures_are_current() {
    let project = quickstart();
    project.run(&["report", "answer", "--svg", "pictures"]).expect_code(0);
    let committed = workspace().join("docs/pictures");
    let mut wrong = Vec::new();
    for entry in fs::read_dir(project.path("pictures")).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        let drawn = project.read(&format!("pictures/{name}"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(committed.join(&name), &drawn).unwrap();
        }
        if fs::read_to_string(committed.join(&name)).unwrap_or_default() != drawn {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "docs/pictures: {wrong:?} not current; BLESS=1 draws them anew");
}
