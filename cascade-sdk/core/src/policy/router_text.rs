//! `[router]` in a policy file: what is read of a request in words, the many weights as text or in a file beside.

use super::fields::Fields;
use super::names::{self, Names};
use super::{Rules, codes};
use crate::config::MOST_DIMENSIONS;
use crate::document::read::{Findings, Item};
use crate::document::write::{Writer, inline, lines, number, string, strings};
use crate::feature::text::{Affix, MOST_AFFIX_BYTES};
use crate::feature::{
    CostHead, EmbeddingInput, Heads, Inputs, NumberInput, Router, SURFACE_STATISTICS, Standard, TagInput,
    TextInput, WEIGHTS_ENDING, from_base64, to_base64,
};

pub(super) const KEYS: &[&str] =
    &["shadow_price", "weights", "weights_file", "heads", "embedding", "text", "numbers", "tags"];
const HEAD: &[&str] = &["tier", "intercept", "cost"];
const COST: &[&str] = &["base", "per_byte", "inputs", "low", "high"];
const EMBEDDING: &[&str] = &["model", "dimensions", "sha256"];
const TEXT: &[&str] = &["prefix_bytes", "prefix_hash", "suffix_bytes", "suffix_hash", "hashed"];
const NUMBER: &[&str] = &["name", "mean", "deviation"];
const TAG: &[&str] = &["name", "levels"];

/// Adds the table's lines.
pub(super) fn write(writer: &mut Writer, router: &Router, rules: &Rules) {
    writer.table("router");
    writer.pair("shadow_price", number(router.shadow_price));
    let file = router.awaits.clone().or_else(|| router.sidecar().map(|sidecar| sidecar.file));
    match file {
        Some(file) => writer.pair("weights_file", string(&file)),
        None => writer.pair("weights", string(&to_base64(&router.weights()))),
    }
    let heads = router.heads.cost.iter().zip(&router.heads.intercept).enumerate();
    writer.pair(
        "heads",
        lines(heads.map(|(tier, (cost, intercept))| head(names::tier(rules, tier), *intercept, cost))),
    );
    if let Some(EmbeddingInput { model, dimensions, sha256 }) = &router.inputs.embedding {
        let entries = [("model", string(model)), ("dimensions", dimensions.to_string())];
        let file = sha256.iter().map(|hash| ("sha256", string(hash)));
        writer.pair("embedding", inline(entries.into_iter().chain(file)));
    }
    if let Some(text) = &router.inputs.text {
        writer.pair("text", self::text(text));
    }
    let numbers = router.inputs.numbers.iter().map(|NumberInput { name, standard }| {
        let Standard { mean, deviation } = *standard;
        inline([("name", string(name)), ("mean", number(mean)), ("deviation", number(deviation))])
    });
    writer.pair("numbers", lines(numbers));
    let tags = router.inputs.tags.iter();
    writer.pair(
        "tags",
        lines(tags.map(|tag| inline([("name", string(&tag.name)), ("levels", strings(&tag.levels))]))),
    );
}

fn head(tier: &str, intercept: f64, cost: &CostHead) -> String {
    let cost = inline([
        ("base", number(cost.base)),
        ("per_byte", number(cost.per_byte)),
        ("inputs", (!cost.dense.is_empty()).to_string()),
        ("low", number(cost.low)),
        ("high", number(cost.high)),
    ]);
    inline([("tier", string(tier)), ("intercept", number(intercept)), ("cost", cost)])
}

fn text(text: &TextInput) -> String {
    // A TOML integer has 63 bits.
    let hash = |affix: Affix| string(&format!("{:016x}", affix.hash));
    inline([
        ("prefix_bytes", text.prefix.bytes.to_string()),
        ("prefix_hash", hash(text.prefix)),
        ("suffix_bytes", text.suffix.bytes.to_string()),
        ("suffix_hash", hash(text.suffix)),
        ("hashed", text.hashed.to_string()),
    ])
}

/// Reads the table; names stand for indices into the policy's lists.
pub(super) fn read(mut fields: Fields<'_>, names: &Names<'_>) -> Option<Router> {
    let findings = fields.table.findings;
    let shadow_price = fields.item("shadow_price").and_then(|item| not_negative(findings, &item));
    let (inline, file) = (fields.table.take("weights"), fields.table.take("weights_file"));
    let file_name = file.as_ref().and_then(|item| file_name(findings, item));
    let embedding = match fields.optional_table("embedding", EMBEDDING) {
        Some(embedding) => Some(read_embedding(embedding)?),
        None => None,
    };
    let text = match fields.optional_table("text", TEXT) {
        Some(text) => Some(read_text(text)?),
        None => None,
    };
    let numbers: Option<Vec<_>> =
        fields.list("numbers").iter().map(|item| read_number(findings, item)).collect();
    let tags: Option<Vec<_>> = fields.list("tags").iter().map(|item| read_tag(findings, item)).collect();
    let heads = read_heads(&mut fields, names);
    if inline.is_some() == file.is_some() {
        let missing = fields.table.missing(codes::MISSING_KEY, "weights");
        findings.push(missing.help("either `weights` or `weights_file`"));
    }
    fields.finish();

    let inputs = Inputs { embedding, text, numbers: numbers?, tags: tags? };
    let (heads, with_inputs) = heads?;
    let mut router = Router { shadow_price: shadow_price?, inputs, heads, awaits: None };
    let dense = router.inputs.dense_len();
    for (cost, with_inputs) in router.heads.cost.iter_mut().zip(with_inputs) {
        cost.dense = vec![0.0; if with_inputs { dense } else { 0 }];
    }
    match (inline, file) {
        (Some(item), None) => {
            let bytes = from_base64(item.text(findings)?);
            let fault = match bytes.map(|bytes| router.set_weights(&bytes)) {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(error.to_string()),
                None => Some("the weights are not base64".to_owned()),
            };
            if let Some(fault) = fault {
                findings.push(item.error(findings, codes::INVALID_WEIGHTS, fault, ""));
                return None;
            }
        }
        (None, Some(_)) => router.awaits = Some(file_name?),
        _ => return None,
    }
    Some(router)
}

fn not_negative(findings: &Findings, item: &Item<'_>) -> Option<f64> {
    let value = item.number(findings)?;
    if value < 0.0 {
        findings.push(item.out_of_range(findings, "must not be negative"));
        return None;
    }
    Some(value)
}

/// A name without any directory: nothing outside the policy's own directory is ever read.
fn file_name(findings: &Findings, item: &Item<'_>) -> Option<String> {
    let text = item.text(findings)?;
    if text.strip_suffix(WEIGHTS_ENDING).is_some_and(is_sha256) {
        return Some(text.to_owned());
    }
    let must = format!("must be a SHA-256 of 64 hexadecimal digits followed by `{WEIGHTS_ENDING}`");
    findings.push(item.out_of_range(findings, &must));
    None
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// One head for each tier of the policy, in the policy's order; and which of them predict the cost from all inputs.
fn read_heads(fields: &mut Fields<'_>, names: &Names<'_>) -> Option<(Heads, Vec<bool>)> {
    let findings = fields.table.findings;
    let list = fields.item("heads")?;
    let mut read = Vec::new();
    for item in list.list(findings)? {
        let mut head = Fields { table: item.table(findings)?, known: HEAD };
        let tier = head.item("tier").and_then(|item| names.tier(findings, &item));
        let intercept = head.number("intercept");
        let cost = head.table("cost", COST).and_then(|mut cost| {
            let [base, per_byte, low, high] = ["base", "per_byte", "low", "high"].map(|key| cost.number(key));
            let inputs = cost.item("inputs").and_then(|item| item.boolean(findings));
            cost.finish();
            let head =
                CostHead { base: base?, per_byte: per_byte?, dense: Vec::new(), low: low?, high: high? };
            Some((head, inputs?))
        });
        head.finish();
        read.push((tier?, intercept?, cost?));
    }
    if !read.iter().map(|(tier, ..)| *tier).eq(0..names.tiers.len()) {
        findings
            .push(list.out_of_range(findings, "must have one entry for each tier, in the order of `tiers`"));
        return None;
    }
    let mut heads = Heads::default();
    let mut with_inputs = Vec::new();
    for (_, intercept, (cost, inputs)) in read {
        heads.intercept.push(intercept);
        heads.cost.push(cost);
        with_inputs.push(inputs);
    }
    Some((heads, with_inputs))
}

fn read_embedding(mut fields: Fields<'_>) -> Option<EmbeddingInput> {
    let findings = fields.table.findings;
    let model = fields.item("model").and_then(|item| Some(item.text(findings)?.to_owned()));
    let dimensions = fields.item("dimensions").and_then(|item| {
        let count = item.natural(findings)?;
        let kept = usize::try_from(count).ok().filter(|_| (1..=MOST_DIMENSIONS).contains(&count));
        if kept.is_none() {
            findings.push(item.out_of_range(findings, &format!("must be from 1 to {MOST_DIMENSIONS}")));
        }
        kept
    });
    let sha256 = match fields.table.take("sha256") {
        Some(item) => {
            let hash = item.text(findings)?;
            if !is_sha256(hash) {
                findings.push(item.out_of_range(findings, "must be a SHA-256 of 64 hexadecimal digits"));
                return None;
            }
            Some(hash.to_owned())
        }
        None => None,
    };
    fields.finish();
    Some(EmbeddingInput { model: model?, dimensions: dimensions?, sha256 })
}

fn read_text(mut fields: Fields<'_>) -> Option<TextInput> {
    let findings = fields.table.findings;
    let mut affix = |bytes: &str, hash: &str| {
        let bytes = fields.item(bytes).and_then(|item| {
            let count =
                usize::try_from(item.natural(findings)?).ok().filter(|&count| count <= MOST_AFFIX_BYTES);
            if count.is_none() {
                findings.push(item.out_of_range(findings, &format!("must be at most {MOST_AFFIX_BYTES}")));
            }
            count
        });
        let hash = fields.item(hash).and_then(|item| {
            let text = item.text(findings)?;
            let hash = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
            if hash.is_none() {
                findings.push(item.out_of_range(findings, "must be 16 hexadecimal digits"));
            }
            hash
        });
        Some(Affix { bytes: bytes?, hash: hash? })
    };
    let prefix = affix("prefix_bytes", "prefix_hash");
    let suffix = affix("suffix_bytes", "suffix_hash");
    let hashed = fields.item("hashed").and_then(|item| item.boolean(findings));
    fields.finish();
    let surface = vec![Standard::default(); SURFACE_STATISTICS];
    Some(TextInput { prefix: prefix?, suffix: suffix?, surface, hashed: hashed? })
}

fn read_number(findings: &Findings, item: &Item<'_>) -> Option<NumberInput> {
    let mut fields = Fields { table: item.table(findings)?, known: NUMBER };
    let name = fields.text("name");
    let [mean, deviation] = ["mean", "deviation"].map(|key| fields.number(key));
    fields.finish();
    Some(NumberInput { name: name?.to_owned(), standard: Standard { mean: mean?, deviation: deviation? } })
}

fn read_tag(findings: &Findings, item: &Item<'_>) -> Option<TagInput> {
    let mut fields = Fields { table: item.table(findings)?, known: TAG };
    let name = fields.text("name");
    let levels = names::read_list(&mut fields.table, "levels", TAG);
    fields.finish();
    let mut levels: Vec<String> = levels?.into_iter().map(str::to_owned).collect();
    // They are looked up by halving.
    levels.sort_unstable();
    Some(TagInput { name: name?.to_owned(), levels })
}
