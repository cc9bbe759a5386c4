use super::*;
use crate::diag::{Style, render};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

/// As tokenizers 0.22 saves a `WordPiece` model with BERT's normaliser and pre-tokenizer.
const TOKENIZER: &str = r###"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[
{"id":0,"content":"[PAD]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
{"id":1,"content":"[UNK]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":null,"decoder":null,
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":20,
"vocab":{"[PAD]":0,"[UNK]":1,"un":3,"##aff":4,"##able":5,"##ab":6,"aff":7,"able":8,"cafe":9,"naive":10,"the":11,"##s":12,
"dog":13,"!":14,"?":15,"-":16,"$":17,"中":18,"文":19,"##o":20,"##g":21,"d":22,"i":23,"istanbul":24,"σ":25,"ς":26,"##ς":27,
"ab":28,"a":29,"##b":30,"हद":31,"’":32,"e":33,"##e":34,"ı":35,"ß":36,"strasse":37,"x":38}}}"###;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open_text(text: &[u8], dimensions: usize) -> Result<StaticEmbedding, String> {
    let folder = folder();
    let path = folder.path().join("vectors.txt");
    std::fs::write(&path, text).unwrap();
    StaticEmbedding::open(&path, "models/vectors.txt", dimensions).map_err(|findings| shown(&findings))
}

fn shown(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| render(finding, Style::Plain)).collect::<Vec<_>>().join("\n")
}

/// Tensors of a file: name, type, shape and bytes.
type Tensors<'a> = &'a [(&'a str, Dtype, Vec<usize>, Vec<u8>)];

fn open_tensors(tensors: Tensors<'_>, tokenizer: &str, dimensions: usize) -> Result<StaticEmbedding, String> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let bytes = serialize(views, None).unwrap();
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    StaticEmbedding::open(&path, "models/tiny/model.safetensors", dimensions)
        .map_err(|findings| shown(&findings))
}

fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn close(vector: &[f32], expected: &[f32]) -> bool {
    vector.len() == expected.len() && vector.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6)
}

#[test]
fn a_text_is_the_mean_of_its_words_at_length_one() {
    let text = "3 2\nthe 1 0\nParis 0 1e0\nparis -1 0 \nthe 7 7\n. 0.0 -0.5\nNew York\t3 4\r\n";
    let table = open_text(text.as_bytes(), 2).unwrap();
    assert_eq!((table.len(), table.dimensions(), table.is_empty()), (5, 2, false));
    let root = 0.5_f32.sqrt();
    for (text, expected) in [
        ("the", [1.0, 0.0]),
        // As it is written, else in small letters; what a word means the first time counts.
        ("THE Paris", [root, root]),
        ("PARIS", [-1.0, 0.0]),
        ("Paris", [0.0, 1.0]),
        ("the,Paris", [root, root]),
        ("the.", [0.894_427_2, -0.447_213_6]),
        ("the the the Paris Paris Paris", [root, root]),
        ("nobody knows", [0.0, 0.0]),
        ("", [0.0, 0.0]),
        ("the paris", [0.0, 0.0]),
    ] {
        assert!(close(&table.embed(text), &expected), "{text}: {:?}", table.embed(text));
    }
    assert_eq!(table.sha256(), plain_hash(text.as_bytes()));
    assert_eq!(table.embed("the Paris ."), table.embed("the Paris ."), "the same bits");
}

#[test]
fn broken_files_of_words_are_refused_with_line_and_remedy() {
    let endless = vec![b'a'; 300_000];
    for (text, dimensions, expected) in [
        (&b""[..], 2, "error[embedding::vectors]: `models/vectors.txt` holds no vectors"),
        (b"5 3\n", 2, "vectors have 3 numbers here, and 2 by the configuration\n --> models/vectors.txt:1:1"),
        (b"the 1 2 3\n", 2, "embedding::dimensions]: vectors have 3 numbers here, and 2"),
        (
            b"a 1 2\nthe 1\n",
            2,
            "vectors have 1 numbers here, and 2 by the configuration\n --> models/vectors.txt:2:1",
        ),
        (
            b"a 1 2\nthe 1 x2\n",
            2,
            "error[embedding::vectors]: `x2` is no number\n --> models/vectors.txt:2:1",
        ),
        (b"the 1 NaN\n", 2, "`NaN` is no number"),
        (b"the 1 1e39\n", 2, "`1e39` is no number"),
        (b" 1 2\n", 2, "the line has no word before its numbers"),
        (b"a 1 2\n\n", 2, "the line has no word before its numbers\n --> models/vectors.txt:2:1"),
        (b"PK\x03\x04\xff\xfe", 2, "error[embedding::file]: the file is no text of word vectors"),
        (&endless, 2, "error[embedding::file]: the file is no text of word vectors"),
    ] {
        let found = open_text(text, dimensions).unwrap_err();
        assert!(found.contains(expected), "{found}");
        assert!(found.contains("= help: "), "{found}");
    }
    // Everything at once, within reason.
    let many = open_text(&b"a 1 x\n".repeat(50), 2).unwrap_err();
    assert_eq!(many.matches("is no number").count(), 5, "{many}");
    let missing = StaticEmbedding::open(Path::new("nowhere.txt"), "nowhere.txt", 2).unwrap_err();
    assert!(
        shown(&missing).contains("error[embedding::file]: the embedding file `nowhere.txt` cannot be read")
    );
}

#[test]
fn word_pieces_are_those_of_the_reference_implementation() {
    let pieces = WordPiece::read("tokenizer.json", TOKENIZER.as_bytes()).unwrap();
    // Each list is what the library `tokenizers` gives, without unknown tokens.
    for (text, expected) in [
        ("unaffable", &[3, 4, 5][..]),
        ("The dogs!", &[11, 13, 12, 14]),
        ("Café, naïve?", &[9, 10, 15]),
        ("中文the中", &[18, 19, 11, 18]),
        ("a\0b a\u{200B}b a\tb\u{A0}a", &[28, 28, 29, 29]),
        ("dog-dog$", &[13, 16, 13, 17]),
        ("हिंदी हद", &[31]),
        ("İstanbul istanbul", &[24, 24]),
        ("ΟΔΟΣ σς", &[25, 27]),
        ("thexxxxxxxxxxxxxxxxxxxxxxxxxxx the", &[11]),
        ("the’s ß ẞ", &[11, 32, 36, 36]),
        ("", &[]),
        ("ﬁ ê ề", &[33, 33]),
        ("\u{FFFD}the\u{301} d\u{307}og", &[11, 13]),
        ("un unab unable", &[3, 3, 6, 3, 5]),
    ] {
        let mut found = Vec::new();
        pieces.tokens(text, |token| found.push(token));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn tensors_are_read_in_every_precision_with_weights_and_mapping() {
    let mut values = vec![0.0; 39 * 2];
    values[11 * 2..12 * 2].copy_from_slice(&[1.0, 0.0]);
    values[13 * 2..14 * 2].copy_from_slice(&[0.0, 2.0]);
    let shape = vec![39, 2];
    let half = |value: f32| -> [u8; 2] {
        (if value == 1.0 {
            0x3C00_u16
        } else if value == 2.0 {
            0x4000
        } else {
            0
        })
        .to_le_bytes()
    };
    let precisions = [
        (Dtype::F32, singles(&values)),
        (Dtype::F64, values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect()),
        (Dtype::F16, values.iter().flat_map(|value| half(*value)).collect()),
        (
            Dtype::BF16,
            values.iter().flat_map(|value| [value.to_le_bytes()[2], value.to_le_bytes()[3]]).collect(),
        ),
        (Dtype::I8, values.iter().map(|value| *value as u8).collect()),
    ];
    let mut hashes = std::collections::BTreeSet::new();
    for (dtype, bytes) in precisions {
        let table = open_tensors(&[("embeddings", dtype, shape.clone(), bytes)], TOKENIZER, 2).unwrap();
        assert!(close(&table.embed("the dog zzz"), &[0.447_213_6, 0.894_427_2]), "{dtype:?}");
        hashes.insert(table.sha256().to_owned());
    }
    assert_eq!(hashes.len(), 5, "another file is another hash");

    // Two vectors that all tokens share, and a weight for each token.
    let mapping: Vec<u8> = (0..39_i64).flat_map(|token| i64::from(token == 13).to_le_bytes()).collect();
    let mut weights = vec![1.0; 39];
    weights[11] = 3.0;
    let tensors = [
        ("embeddings", Dtype::F32, vec![2, 2], singles(&[1.0, 0.0, 0.0, 1.0])),
        ("mapping", Dtype::I64, vec![39], mapping),
        ("weights", Dtype::F32, vec![39], singles(&weights)),
    ];
    let table = open_tensors(&tensors, TOKENIZER, 2).unwrap();
    assert!(close(&table.embed("The dog"), &[0.948_683_3, 0.316_227_8]), "{:?}", table.embed("The dog"));
}

#[test]
fn broken_tensors_and_tokenizers_are_refused_with_the_remedy() {
    let good = || ("embeddings", Dtype::F32, vec![39, 2], singles(&[1.0; 78]));
    let model = |from: &str, to: &str| {
        assert!(TOKENIZER.contains(from));
        TOKENIZER.replacen(from, to, 1)
    };
    let unigram = model(r#""type":"WordPiece""#, r#""type":"Unigram""#);
    let normalizer = model(r#""type":"BertNormalizer""#, r#""type":"Precompiled""#);
    let split = model(r#"{"type":"BertPreTokenizer"}"#, "null");
    let added = model(r#""special":true"#, r#""special":false"#);
    for (tensors, tokenizer, dimensions, expected) in [
        (
            vec![good()],
            TOKENIZER,
            3,
            "error[embedding::dimensions]: `models/tiny/model.safetensors` has vectors of 2 numbers",
        ),
        (
            vec![("other", Dtype::F32, vec![1], singles(&[1.0]))],
            TOKENIZER,
            2,
            "has no tensor `embeddings`, but `other`",
        ),
        (
            vec![("embeddings", Dtype::F32, vec![2], singles(&[1.0, 2.0]))],
            TOKENIZER,
            2,
            "has vectors in 1 dimensions",
        ),
        (
            vec![("embeddings", Dtype::I32, vec![39, 2], vec![0; 39 * 8])],
            TOKENIZER,
            2,
            "has vectors of type I32",
        ),
        (
            vec![("embeddings", Dtype::F32, vec![30, 2], singles(&[1.0; 60]))],
            TOKENIZER,
            2,
            "for 30 tokens, and the tokenizer names 39",
        ),
        (
            vec![("embeddings", Dtype::F32, vec![39, 2], singles(&[f32::NAN; 78]))],
            TOKENIZER,
            2,
            "holds a number that is not finite",
        ),
        (
            vec![good(), ("mapping", Dtype::I64, vec![1], vec![255; 8])],
            TOKENIZER,
            2,
            "has a `mapping` that points beside",
        ),
        (
            vec![good(), ("weights", Dtype::F32, vec![1], singles(&[1.0]))],
            TOKENIZER,
            2,
            "has weights for 1 tokens",
        ),
        (
            vec![good()],
            "{}",
            2,
            "error[embedding::tokenizer]: `models/tiny/tokenizer.json` is no tokenizer: missing field `model`",
        ),
        (vec![good()], &unigram, 2, "has the model `Unigram`, which is not read here"),
        (vec![good()], &normalizer, 2, "has the normalizer `Precompiled`, which is not read here"),
        (vec![good()], &split, 2, "has the pre_tokenizer `none`, which is not read here"),
        (vec![good()], &added, 2, "has the added token `[PAD]`, which is not read here"),
    ] {
        let found = open_tensors(&tensors, tokenizer, dimensions).unwrap_err();
        assert!(found.contains(expected), "{found}");
        assert!(found.contains("= help: "), "{found}");
    }
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, b"\x08\0\0\0\0\0\0\0{\"a\": 1}").unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), TOKENIZER).unwrap();
    let found = shown(&StaticEmbedding::open(&path, "model.safetensors", 2).unwrap_err());
    assert!(
        found.contains("error[embedding::vectors]: `model.safetensors` is no file of tensors"),
        "{found}"
    );
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let found = shown(&StaticEmbedding::open(&path, "model.safetensors", 2).unwrap_err());
    assert!(found.contains("the embedding file `tokenizer.json` cannot be read"), "{found}");
}

#[test]
fn the_hash_of_a_file_needs_no_reading_of_its_vectors() {
    let folder = folder();
    let path = folder.path().join("vectors.vec");
    std::fs::write(&path, "a 1 2\n").unwrap();
    let table = StaticEmbedding::open(&path, "vectors.vec", 2).unwrap();
    assert_eq!(StaticEmbedding::hash(&path, "vectors.vec").unwrap(), table.sha256());
    let values = singles(&[1.0; 78]);
    let view = TensorView::new(Dtype::F32, vec![39, 2], &values).unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, serialize([("embedding.weight", view)], None).unwrap()).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), TOKENIZER).unwrap();
    let table = StaticEmbedding::open(&path, "model.safetensors", 2).unwrap();
    assert_eq!(StaticEmbedding::hash(&path, "model.safetensors").unwrap(), table.sha256());
    let one_more = TOKENIZER.replace("\"x\":38", "\"y\":38");
    std::fs::write(folder.path().join("tokenizer.json"), one_more).unwrap();
    assert_ne!(StaticEmbedding::hash(&path, "model.safetensors").unwrap(), table.sha256());
    assert_eq!(StaticEmbedding::files(&path).len(), 2);
}

#[test]
fn any_text_has_a_vector_that_is_finite_and_no_longer_than_one() {
    let words = open_text(b"a 1 2\n\xD9\x86 3 -4\n! 1 1\n", 2).unwrap();
    let pieces =
        open_tensors(&[("embeddings", Dtype::F32, vec![39, 2], singles(&[0.5; 78]))], TOKENIZER, 2).unwrap();
    let long = "a".repeat(10 << 20);
    let marks = "!".repeat(1 << 20);
    let mixed = format!("a{}a", "x ".repeat(100_000));
    for text in ["\0\u{1}\u{7F}", "\u{202E}ن\u{202C} ن", "\u{FFFD}", &long, &marks, &mixed, "\n\n\t "] {
        for table in [&words, &pieces] {
            let vector = table.embed(text);
            let square: f32 = vector.iter().map(|value| value * value).sum();
            assert!(vector.iter().all(|value| value.is_finite()) && square < 1.000_01, "{vector:?}");
        }
    }
    // Beginning and end of a long text count, its middle does not.
    assert!(close(&words.embed(&mixed), &words.embed("a a")));
}
