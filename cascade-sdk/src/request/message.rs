//! Messages and what they are made of.

use super::tool::{ToolCall, ToolResult};
use cascade_sdk_core::prompt::Role;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A piece of a message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text(String),
    /// An image.
    Image(Image),
    /// A tool that the model called in an earlier turn.
    ToolCall(ToolCall),
    /// What that tool came to.
    ToolResult(ToolResult),
    /// What only the api that wrote it can read again.
    Bound(Bound),
}

/// An image in a message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Image {
    /// An address that the provider fetches.
    Url {
        /// The address.
        url: String,
        /// What it leads to, such as `image/png`, where that is known.
        media_type: Option<String>,
    },
    /// The image itself.
    Inline {
        /// What it is, such as `image/png`.
        media_type: String,
        /// Its bytes in base64.
        base64: String,
    },
}

impl Image {
    /// An image by address: `https://…`, or `data:image/png;base64,…` for the image itself.
    pub fn url(url: impl Into<String>) -> Self {
        let url = url.into();
        let inline = url.strip_prefix("data:").and_then(|data| data.split_once(";base64,"));
        match inline {
            Some((media_type, base64)) => {
                Self::Inline { media_type: media_type.to_owned(), base64: base64.to_owned() }
            }
            None => Self::Url { url, media_type: None },
        }
    }

    /// An image of this media type, such as `image/png`.
    ///
    /// ```
    /// use cascade_sdk::Image;
    /// let image = Image::bytes("image/gif", b"GIF89a");
    /// assert_eq!(image, Image::url("data:image/gif;base64,R0lGODlh"));
    /// ```
    pub fn bytes(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::Inline { media_type: media_type.into(), base64: base64(bytes) }
    }

    /// As an address, whichever it is.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only wire formats send images"))]
    pub(crate) fn to_url(&self) -> Cow<'_, str> {
        match self {
            Self::Url { url, .. } => Cow::Borrowed(url),
            Self::Inline { media_type, base64 } => Cow::Owned(format!("data:{media_type};base64,{base64}")),
        }
    }
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..4 {
            // A group of n bytes has n + 1 letters.
            let index = (bits >> (18 - 6 * letter)) & 63;
            out.push(if letter <= chunk.len() { char::from(LETTERS[index as usize]) } else { '=' });
        }
    }
    out
}

/// Part of an earlier answer that only the api that wrote it can read again, such as signed reasoning.
///
/// It comes with [`crate::provider::Response::message`]. A request that carries one to a tier of another api is refused
/// before anything is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Bound {
    pub(crate) api: Cow<'static, str>,
    pub(crate) data: Value,
}

impl Bound {
    /// Something that providers of the api of this name can read.
    pub fn new(api: impl Into<Cow<'static, str>>, data: Value) -> Self {
        Self { api: api.into(), data }
    }

    /// The api that wrote it.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// What it wrote.
    pub fn data(&self) -> &Value {
        &self.data
    }
}

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of the person or program that asks.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// Text of any role.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }

    /// An earlier answer of a model.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// What the tool that a model called came to.
    pub fn tool(result: ToolResult) -> Self {
        Self { role: Role::Tool, parts: vec![Part::ToolResult(result)] }
    }

    /// Adds a part at the end.
    #[must_use]
    pub fn with_part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// Adds an image by address, as [`Image::url`] reads it.
    #[must_use]
    pub fn with_image(self, url: impl Into<String>) -> Self {
        self.with_part(Part::Image(Image::url(url)))
    }

    /// The tools that the message calls, in order.
    pub(crate) fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// The texts of the message, joined.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only wire formats write messages"))]
    pub(crate) fn text(&self) -> Cow<'_, str> {
        let mut texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        match (texts.next(), texts.next()) {
            (None, _) => Cow::Borrowed(""),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(first), Some(second)) => Cow::Owned([first, second].into_iter().chain(texts).collect()),
        }
    }
}

/// Prompts do not belong in logs: `Debug` shows lengths only.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Image(image) => image.fmt(f),
            Self::ToolCall(call) => call.fmt(f),
            Self::ToolResult(result) => result.fmt(f),
            Self::Bound(bound) => bound.fmt(f),
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Url { url: text, .. } | Self::Inline { base64: text, .. }) = self;
        write!(f, "Image({} bytes)", text.len())
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bound({})", self.api)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.role, self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn data_addresses_are_the_image_itself() {
        let url = "data:image/png;base64,AAAA";
        assert_eq!(Image::url(url).to_url(), url);
        assert!(matches!(Image::url(url), Image::Inline { media_type, .. } if media_type == "image/png"));
        let plain = "https://example.com/a.png";
        assert_eq!(Image::url(plain).to_url(), plain);
    }
}
