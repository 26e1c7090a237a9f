//! What a number depends on beside the model, as a hash.

/// Letters of a hash that are kept: enough that two protocols never meet, few enough to be read out.
const LETTERS: usize = 16;

/// The hash of a protocol's fields, in the order given: the first letters of blake3 of `name=value` lines.
///
/// ```
/// use tenuis_eval::protocol_hash;
/// let at_128 = protocol_hash(&[("measure", "perplexity"), ("seq_len", "128")]);
/// assert_ne!(at_128, protocol_hash(&[("measure", "perplexity"), ("seq_len", "256")]));
/// assert_eq!(at_128.len(), 16);
/// ```
pub fn hash(fields: &[(&str, &str)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in fields {
        // The lengths keep a value with a line break from passing for two fields.
        for part in [name, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex()[..LETTERS].to_owned()
}
