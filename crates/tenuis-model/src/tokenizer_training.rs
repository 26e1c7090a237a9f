//! Making a tokenizer from texts.

use crate::tokenizer::{Tokenizer, TokenizerError};
use rayon::prelude::*;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, TokenizerBuilder};

impl Tokenizer {
    /// Learns a byte-level BPE vocabulary of at most `vocab` tokens (Sennrich et al. 2016, 1508.07909) in which every
    /// digit stands alone, so that numbers are read place by place.
    ///
    /// `end_of_text` becomes token 0. It separates documents, and stands before a text that is encoded with special
    /// tokens.
    ///
    /// # Errors
    /// [`TokenizerError::Training`].
    pub fn train<'t>(
        texts: impl Iterator<Item = &'t str> + Send,
        vocab: usize,
        end_of_text: &str,
    ) -> Result<Self, TokenizerError> {
        let failed = |e: &dyn std::fmt::Display| TokenizerError::Training { problem: e.to_string() };
        let bytes = ByteLevel::new(false, true, true);
        let split = Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(bytes),
        ]);
        let mut tokenizer = TokenizerBuilder::<BPE, tokenizers::NormalizerWrapper, _, _, _>::new()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(split))
            .with_post_processor(Some(bytes))
            .with_decoder(Some(bytes))
            .build()
            .map_err(|e| failed(&e))?;
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab)
            .min_frequency(2)
            .show_progress(false)
            .special_tokens(vec![AddedToken::from(end_of_text, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        tokenizer.train(&mut trainer, texts).map_err(|e| failed(&e))?;
        let mut inner: tokenizers::Tokenizer = tokenizer.into();
        let id = inner.token_to_id(end_of_text).unwrap_or(0);
        let template = TemplateProcessing::builder()
            .try_single(format!("{end_of_text}:0 $A:0"))
            .map_err(|e| failed(&e))?
            .special_tokens(vec![(end_of_text, id)])
            .build()
            .map_err(|e| failed(&e))?;
        inner.with_post_processor(Some(template));
        Ok(Self::from_inner(inner))
    }

    /// The tokenizer as a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Training`] where it cannot be written.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        let json = self.inner().to_string(true);
        json.map_err(|e| TokenizerError::Training { problem: e.to_string() })
    }

    /// Encodes documents on all cores and joins them, `separator` before each.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_documents(&self, documents: &[&str], separator: u32) -> Result<Vec<u32>, TokenizerError> {
        let parts: Vec<Vec<u32>> =
            documents.par_iter().map(|text| self.encode(text, false)).collect::<Result<_, _>>()?;
        let mut tokens = Vec::with_capacity(parts.iter().map(|p| p.len() + 1).sum());
        for part in parts {
            tokens.push(separator);
            tokens.extend(part);
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 2] = ["the cat sat on the mat with 12 cats", "the hat and the cat: 123 + 4"];

    #[test]
    fn learns_merges_and_keeps_digits_apart() {
        let tokenizer = Tokenizer::train(TEXTS.into_iter(), 300, "<|end|>").unwrap();
        assert_eq!(tokenizer.token("<|end|>"), Some(0));
        assert!(tokenizer.vocab_size() <= 300);
        let tokens = tokenizer.encode("the cat 123", false).unwrap();
        assert!(tokens.len() < "the cat 123".len());
        assert_eq!(tokenizer.decode(&tokens).unwrap(), "the cat 123");
        let digits = tokenizer.encode("123", false).unwrap();
        assert_eq!(digits.len(), 3);
        assert_eq!(tokenizer.encode("123", true).unwrap()[0], 0);
        // A file of it is read as it is.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
        let again = Tokenizer::from_dir(dir.path(), 300).unwrap();
        assert_eq!(
            again.encode("<|end|>the hat", true).unwrap(),
            tokenizer.encode("<|end|>the hat", true).unwrap()
        );
    }

    #[test]
    fn documents_are_joined_in_order() {
        let tokenizer = Tokenizer::train(TEXTS.into_iter(), 300, "<|end|>").unwrap();
        let joined = tokenizer.encode_documents(&["the cat", "sat"], 0).unwrap();
        let whole = tokenizer.encode("<|end|>the cat<|end|>sat", false).unwrap();
        assert_eq!(joined, whole);
    }
}
