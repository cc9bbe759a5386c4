//! The text of a request as Cascade sees it: what the router reads, and when two prompts are the same.

use std::borrow::Cow;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions of the application (`system`, `developer`).
    System,
    /// The person or program that asks.
    User,
    /// The model, in an earlier turn.
    Assistant,
    /// The result of a tool (`tool`, `function`).
    Tool,
}

impl Role {
    /// The role of that name in any of the wire formats.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "system" | "developer" => Self::System,
            "user" => Self::User,
            "assistant" | "model" => Self::Assistant,
            "tool" | "function" => Self::Tool,
            _ => return None,
        })
    }
}

/// Routing text (DESIGN.md 5): the user and tool text parts in order, joined by newlines; everything else is left out.
///
/// The parts of a message are given one by one with its role; parts that are not text are not given at all. A text that stands
/// alone is borrowed.
///
/// ```
/// use cascade_sdk_core::prompt::{Role, routing_text};
/// let parts = [(Role::System, "Be brief."), (Role::User, "One"), (Role::Assistant, "1"), (Role::User, "Two")];
/// assert_eq!(routing_text(parts), "One\nTwo");
/// ```
pub fn routing_text<'a>(parts: impl IntoIterator<Item = (Role, &'a str)>) -> Cow<'a, str> {
    let texts = parts.into_iter().filter(|(role, _)| matches!(role, Role::User | Role::Tool));
    let mut texts = texts.map(|(_, text)| text);
    let mut whole = Cow::Borrowed(texts.next().unwrap_or_default());
    for text in texts {
        let whole = whole.to_mut();
        whole.push('\n');
        whole.push_str(text);
    }
    whole
}

/// A prompt without the differences that do not make it another prompt: lower case letter by letter, every run of white
/// space one space, none at the ends, and characters that show nothing (soft hyphens, zero-width spaces, joiners, byte
/// order marks) left out.
///
/// It decides which rows share a half and a fold, never what is sent or scored. It is no Unicode normal form: composed and
/// decomposed accents stay different. White space and lower case are those of the standard library: Unicode's stability
/// policy keeps the case pairs of letters that exist, so that a newer compiler changes only texts with letters that an older
/// one did not know.
///
/// ```
/// # use cascade_sdk_core::prompt::normalise;
/// assert_eq!(normalise("  Which\tTEAM\n\nhandles this? "), "which team handles this?");
/// ```
pub fn normalise(prompt: &str) -> String {
    let mut out = String::with_capacity(prompt.len());
    let mut space = false;
    for letter in prompt.chars() {
        if letter.is_whitespace() {
            space = true;
        } else if !invisible(letter) {
            if std::mem::take(&mut space) && !out.is_empty() {
                out.push(' ');
            }
            if letter.is_ascii() {
                out.push(letter.to_ascii_lowercase());
            } else {
                out.extend(letter.to_lowercase());
            }
        }
    }
    out
}

fn invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_and_tool_texts_are_routed_on() {
        let parts = [
            (Role::System, "s"),
            (Role::User, "a"),
            (Role::User, ""),
            (Role::Assistant, "x"),
            (Role::Tool, "t"),
        ];
        assert_eq!(routing_text(parts), "a\n\nt");
        assert_eq!(routing_text([(Role::System, "s")]), "");
    }

    #[test]
    fn the_same_prompt_is_the_same() {
        assert_eq!(normalise("A\u{a0}b\u{200b}C\r\n"), "a bc");
        assert_eq!(normalise("ÄÖ"), "äö");
        assert_eq!(normalise(" \n"), "");
        assert_ne!(normalise("a b"), normalise("ab"));
    }
}
