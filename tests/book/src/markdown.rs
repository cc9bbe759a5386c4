//! As much of Markdown as the tests of documents need: fenced blocks, links and headings.

/// One fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The word after the fence and what follows it: `toml`, `rust,no_run`.
    pub info: String,
    /// What the HTML comment right above says, if there is one: `runs in examples/quickstart`.
    pub note: Option<String>,
    /// Its lines, each with its end.
    pub text: String,
    /// Number of its first line in the file, from 1.
    pub line: usize,
}

/// Every fenced block, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut note = None;
    let mut lines = document.split_inclusive('\n').enumerate();
    while let Some((number, line)) = lines.next() {
        let fence = line.trim();
        if let Some(info) = fence.strip_prefix("```") {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            blocks.push(Block { info: info.to_owned(), note: note.take(), text, line: number + 2 });
        } else if let Some(comment) = fence.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            note = Some(comment.trim().to_owned());
        } else if !fence.is_empty() {
            note = None;
        }
    }
    blocks
}

/// The document without its fenced blocks and inline code.
fn prose(document: &str) -> String {
    let mut open = false;
    let mut out = String::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open {
            // Every second piece stands between backticks.
            out.extend(line.split('`').step_by(2));
            out.push('\n');
        }
    }
    out
}

/// Targets of every link and picture, in order.
pub fn links(document: &str) -> Vec<String> {
    let prose = prose(document);
    let target = |rest: &str| rest.split_once(')').map(|(target, _)| target.trim().to_owned());
    prose.split("](").skip(1).filter_map(target).collect()
}

/// The anchor of every heading, as GitHub and mdBook make them.
pub fn anchors(document: &str) -> Vec<String> {
    let mut open = false;
    let mut out = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open && line.starts_with('#') {
            let letters = line.trim_start_matches('#').trim().to_lowercase();
            let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            out.push(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A `b`: c\n\n<!-- runs -->\n```console\n$ x [no](link)\n```\n[l](a.md#b) `[m](n)`\n\n```toml\nk = 1\n```\n";

    #[test]
    fn blocks_have_their_notes_and_lines() {
        let found = blocks(DOCUMENT);
        let parts: Vec<_> =
            found.iter().map(|b| (b.info.as_str(), b.note.as_deref(), b.text.as_str(), b.line)).collect();
        assert_eq!(parts, [("console", Some("runs"), "$ x [no](link)\n", 5), ("toml", None, "k = 1\n", 10)]);
    }

    #[test]
    fn links_and_anchors_are_those_of_the_prose() {
        assert_eq!(links(DOCUMENT), ["a.md#b"]);
        assert_eq!(anchors(DOCUMENT), ["a-b-c"]);
    }
}
