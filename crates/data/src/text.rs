//! Captions as numbers.

use crate::DataError;
use paragone_core::TextSpec;
use std::path::Path;
use tch::Tensor;
use tokenizers::{
    AddedToken, DecoderWrapper, Encoding, PaddingParams, PaddingStrategy, PostProcessorWrapper,
    TokenizerBuilder, TruncationParams,
    models::wordlevel::{WordLevel, WordLevelTrainer},
    normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

const PADDING: &str = "[PAD]";
const UNKNOWN: &str = "[UNK]";

/// Most words of a vocabulary, the most frequent ones; rarer ones are [unknown](Words::unknown).
const MOST_WORDS: usize = 8192;
/// Most tokens of a caption; what follows is cut off.
pub const MOST_TOKENS: usize = 64;

/// Tells the words of captions apart and numbers them: 0 is padding, 1 a word that no training caption has.
///
/// Words are in lower case; punctuation is a word of its own. Its file is one that the `tokenizers` library reads in other
/// languages too.
#[derive(Debug, Clone)]
pub struct Tokenizer(tokenizers::Tokenizer);

/// A caption in numbers, and what of it a model does not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// As many as [`TextSpec::max_tokens`], zeros at the end.
    pub tokens: Vec<i64>,
    /// Words outside the vocabulary, in no training caption or too rare there, as they were written.
    pub unknown: Vec<String>,
    /// Words beyond the longest training caption or [`MOST_TOKENS`], as they were written.
    pub cut: Vec<String>,
}

impl Tokenizer {
    /// A tokenizer of the words in `captions`, for captions up to the longest of them.
    pub fn train(captions: &[String]) -> Self {
        let model = WordLevel::builder().unk_token(UNKNOWN.to_owned()).build();
        let mut tokenizer = TokenizerBuilder::new()
            .with_model(model.expect("no file is read"))
            .with_normalizer(Some(BertNormalizer::default()))
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_post_processor(None::<PostProcessorWrapper>)
            .with_decoder(None::<DecoderWrapper>)
            .build()
            .expect("all parts are given");
        let special = [PADDING, UNKNOWN].map(|token| AddedToken::from(token, true));
        let mut trainer = WordLevelTrainer::builder()
            .show_progress(false)
            .vocab_size(MOST_WORDS)
            .special_tokens(special.to_vec())
            .build()
            .expect("all fields have defaults");
        tokenizer.train(&mut trainer, captions.iter()).expect("counting words does not fail");
        let mut tokenizer = tokenizers::Tokenizer::from(tokenizer);
        let encoded = tokenizer.encode_batch(captions.to_vec(), false).expect(ENCODES);
        let longest = encoded.iter().map(|e| e.get_ids().len()).max().unwrap_or(0);
        let max_length = longest.clamp(1, MOST_TOKENS);
        tokenizer.with_padding(Some(PaddingParams {
            strategy: PaddingStrategy::Fixed(max_length),
            pad_token: PADDING.to_owned(),
            ..PaddingParams::default()
        }));
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).expect("a stride shorter than a caption");
        Self(tokenizer)
    }

    /// Reads a tokenizer from its file.
    ///
    /// # Errors
    /// [`DataError::Malformed`] for a file that is not a tokenizer's.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let malformed = |problem: String| DataError::malformed(path, problem);
        let tokenizer = tokenizers::Tokenizer::from_file(path)
            .map_err(|error| malformed(format!("is no tokenizer: {error}")))?;
        if fixed_length(&tokenizer).is_none() || tokenizer.token_to_id(PADDING) != Some(0) {
            return Err(malformed("is a tokenizer without a fixed length or padding 0".to_owned()));
        }
        Ok(Self(tokenizer))
    }

    /// The content of its file, `tokenizer.json`.
    pub fn to_json(&self) -> String {
        self.0.to_string(true).expect("a tokenizer can be written")
    }

    /// What a family may know of the text.
    pub fn spec(&self) -> TextSpec {
        TextSpec {
            vocab_size: self.0.get_vocab_size(true) as i64,
            max_tokens: fixed_length(&self.0).expect("set when it was made") as i64,
        }
    }

    /// A caption in numbers.
    pub fn encode(&self, caption: &str) -> Words {
        let encoding = self.0.encode(caption, false).expect(ENCODES);
        let unknown = self.0.token_to_id(UNKNOWN);
        let written = |encoding: &Encoding, wanted: &dyn Fn(u32) -> bool| -> Vec<String> {
            let words = encoding.get_ids().iter().zip(encoding.get_offsets());
            let words = words.filter(|(id, _)| **id != 0 && wanted(**id));
            words.map(|(_, (start, end))| caption[*start..*end].to_owned()).collect()
        };
        Words {
            tokens: encoding.get_ids().iter().map(|id| i64::from(*id)).collect(),
            unknown: written(&encoding, &|id| Some(id) == unknown),
            cut: encoding
                .get_overflowing()
                .iter()
                .flat_map(|rest| written(rest, &|_| true))
                .collect(),
        }
    }

    /// Captions in numbers: i64 `[n, max_tokens]` on the host.
    pub fn encode_all(&self, captions: &[String]) -> Tensor {
        let encoded = self.0.encode_batch_fast(captions.to_vec(), false).expect(ENCODES);
        let ids = encoded.iter().flat_map(|encoding| encoding.get_ids());
        let ids: Vec<i64> = ids.map(|id| i64::from(*id)).collect();
        Tensor::from_slice(&ids).reshape([captions.len() as i64, self.spec().max_tokens])
    }
}

const ENCODES: &str = "every text can be told into words";

fn fixed_length(tokenizer: &tokenizers::Tokenizer) -> Option<usize> {
    match tokenizer.get_padding()?.strategy {
        PaddingStrategy::Fixed(length) => Some(length),
        PaddingStrategy::BatchLongest => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn tokenizer() -> Tokenizer {
        let captions = ["a red circle", "a blue circle left of a red square, on black"];
        Tokenizer::train(&captions.map(String::from))
    }

    #[test]
    fn words_are_numbers_and_the_order_is_kept() {
        let tokenizer = tokenizer();
        // a, circle, red; black, blue, left, of, on, square and the comma; padding and unknown.
        assert_eq!(tokenizer.spec(), TextSpec { vocab_size: 12, max_tokens: 11 });
        let numbers = |text: &str| tokenizer.encode(text).tokens;
        let (one, other) = (numbers("red blue"), numbers("blue red"));
        assert_eq!(one.len(), 11);
        assert_eq!((one[0], one[1]), (other[1], other[0]));
        assert!(one[0] > 1 && one[1] > 1 && one[2..].iter().all(|id| *id == 0));
        assert_eq!(numbers("Red  BLUE"), one);
        assert_eq!(numbers(""), [0; 11]);
        let all = tokenizer.encode_all(&["red blue".to_owned(), "Blue red".to_owned()]);
        assert_eq!(all.size(), [2, 11]);
        assert_eq!(Vec::<i64>::try_from(all.flatten(0, -1)).unwrap(), [one, other].concat());
    }

    #[test]
    fn what_is_not_seen_is_told() {
        let tokenizer = tokenizer();
        let words = tokenizer.encode("a Crimson circle, über red");
        assert_eq!(words.unknown, ["Crimson", "über"]);
        assert_eq!(words.tokens[1], 1);
        assert!(words.cut.is_empty());
        let long = tokenizer.encode(&["red"; 13].join(" "));
        assert_eq!((long.tokens.len(), long.cut.len()), (11, 2));
    }

    #[test]
    fn its_file_reads_back() {
        let folder = Folder::new();
        let path = folder.write("tokenizer.json", tokenizer().to_json().as_bytes());
        let again = Tokenizer::read(&path).unwrap();
        assert_eq!(again.spec(), tokenizer().spec());
        assert_eq!(again.encode("a red cross"), tokenizer().encode("a red cross"));
        // The same captions give the same file, whatever the order of a hash table.
        assert_eq!(tokenizer().to_json(), tokenizer().to_json());
        let broken = folder.write("broken.json", b"{}");
        assert!(Tokenizer::read(&broken).unwrap_err().to_string().contains("broken.json"));
    }
}
