//! The stable code of each thing that can be wrong with a file of vectors.

use crate::diag::codes;

codes! {
    /// A file of vectors that is not there, cannot be read, is too large or of another kind.
    FILE = "embedding::file";
    /// A line or tensor that holds no vectors as they must be.
    VECTORS = "embedding::vectors";
    /// The vectors have another length than the configuration says.
    DIMENSIONS = "embedding::dimensions";
    /// A tokenizer that is broken, or of a kind that is not read here.
    TOKENIZER = "embedding::tokenizer";
}
