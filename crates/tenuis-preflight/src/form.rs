//! What a weight becomes, and the bytes that this takes.

use crate::method::Method;
use serde_json::{Map, Value};
use tenuis_core::{Bits, DType, GroupSize, GroupedIntSpec};

/// The share of the weights that a low-rank stage keeps where the options do not say: SVD-LLM's mildest setting, and the
/// default of the techniques. A rank that is chosen by energy or price is counted so too.
const DEFAULT_KEEP: f64 = 0.8;
/// The share of zeros where the options do not say, as the pruning techniques have it.
const DEFAULT_SPARSITY: f64 = 0.5;
/// Bytes of a scale: f16 or bf16.
const SCALE_BYTES: u64 = 2;

/// What a stage makes of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// The bytes that it had, or it is not known.
    Same,
    /// So large a share of the bytes that it had.
    Share(f64),
    /// Packed integers with a scale for each group of columns.
    Grouped { bits: Bits, group: Grouping, symmetric: bool, group_index: bool },
    /// Bytes with a scale for each row.
    Int8,
    /// Kept entries with a bit for each entry; the kept ones are floats, or integers of so many bits.
    Sparse { sparsity: f64, bits: Option<Bits> },
    /// Two factors, stored in the type of the weight.
    LowRank(Rank),
    /// The weight as it is and a correction by two factors.
    Corrected(Rank),
    /// Floats of a type.
    Dense(DType),
}

/// Columns that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    Auto,
    Channel,
    Columns(usize),
}

/// How large the factors of a weight are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rank {
    Fixed(usize),
    /// The rank at which the factors hold this share of the weights.
    Keep(f64),
}

impl Rank {
    pub(crate) fn of(self, [outs, ins]: [usize; 2]) -> usize {
        let smaller = outs.min(ins);
        match self {
            Self::Fixed(rank) => rank.min(smaller),
            Self::Keep(share) => {
                let rank = share * outs as f64 * ins as f64 / (outs + ins).max(1) as f64;
                (rank as usize).clamp(1, smaller.max(1))
            }
        }
    }

    pub(crate) fn read(options: &Map<String, Value>) -> Self {
        let rank = options.get("rank");
        if let Some(rank) = rank.and_then(Value::as_u64) {
            return Self::Fixed(rank as usize);
        }
        let keep = rank.and_then(|rank| rank.get("keep")).or_else(|| options.get("keep"));
        Self::Keep(keep.and_then(Value::as_f64).unwrap_or(DEFAULT_KEEP))
    }
}

impl Form {
    /// Reads the well-known options of a technique.
    pub(crate) fn of(method: Method, options: &Map<String, Value>) -> Self {
        match method {
            Method::Round | Method::Gptq => grouped(options, true),
            Method::Awq => grouped(options, false),
            Method::Int8 | Method::SmoothQuant => Self::Int8,
            Method::Cast => {
                let name = options.get("dtype").and_then(Value::as_str);
                name.and_then(DType::from_name).map_or(Self::Same, Self::Dense)
            }
            Method::Select | Method::Wanda | Method::SparseGpt => {
                let quantized = options.get("quantize").filter(|quantize| quantize.is_object());
                Self::Sparse { sparsity: sparsity(options), bits: quantized.map(bits) }
            }
            Method::Svd | Method::Asvd | Method::SvdLlm => Self::LowRank(Rank::read(options)),
            Method::Correct => Self::Corrected(Rank::read(options)),
            // Where nothing is known of a technique, a `bits` or `ratio` among its options means what it does elsewhere.
            Method::Unknown if options.contains_key("bits") => grouped(options, false),
            Method::Unknown => ratio(options).map_or(Self::Same, |removed| Self::Share(1.0 - removed)),
            // What they remove is no form of what is left.
            Method::Cut(_) | Method::Train => Self::Same,
        }
    }

    /// The bytes of a weight in this form, given those that it has.
    pub(crate) fn bytes(self, shape: [usize; 2], now: u64) -> u64 {
        let [outs, ins] = shape;
        let weights = outs as u64 * ins as u64;
        // What is dense is so many bytes wide; what is packed already is handled as if it were f16.
        let width = now.checked_div(weights).filter(|width| (2..=8).contains(width)).unwrap_or(2);
        let factors = |rank: Rank| rank.of(shape) as u64 * (outs + ins) as u64 * width;
        match self {
            Self::Same => now,
            Self::Share(share) => (now as f64 * share) as u64,
            Self::Grouped { bits, group, symmetric, group_index } => {
                let group_size = match group {
                    Grouping::Auto => GroupSize::auto(ins),
                    Grouping::Channel => GroupSize::Channel,
                    Grouping::Columns(columns) => GroupSize::Columns(columns),
                };
                let spec =
                    GroupedIntSpec { bits, group_size, symmetric, scale_dtype: DType::F16, group_index };
                spec.stored_bytes(shape).unwrap_or(now)
            }
            Self::Int8 => weights + outs as u64 * SCALE_BYTES,
            Self::Sparse { sparsity, bits } => {
                let kept = weights as f64 * (1.0 - sparsity);
                let values = bits.map_or(kept * width as f64, |bits| kept * f64::from(bits.get()) / 8.0);
                (values as u64 + outs as u64 * ins.div_ceil(8) as u64).min(now)
            }
            Self::LowRank(rank) => factors(rank).min(now),
            Self::Corrected(rank) => now + factors(rank),
            Self::Dense(dtype) => weights * dtype.size() as u64,
        }
    }
}

fn bits(options: &Value) -> Bits {
    let bits = options.get("bits").and_then(Value::as_u64).and_then(|bits| u8::try_from(bits).ok());
    bits.and_then(Bits::new).unwrap_or(Bits::FOUR)
}

fn grouped(options: &Map<String, Value>, symmetric: bool) -> Form {
    let group = match options.get("group_size") {
        Some(Value::String(name)) if name == "channel" => Grouping::Channel,
        Some(Value::Number(columns)) => {
            columns.as_u64().map_or(Grouping::Auto, |columns| Grouping::Columns(columns as usize))
        }
        _ => Grouping::Auto,
    };
    let is = |key: &str, usual: bool| options.get(key).and_then(Value::as_bool).unwrap_or(usual);
    Form::Grouped {
        bits: bits(&Value::Object(options.clone())),
        group,
        symmetric: is("symmetric", symmetric),
        group_index: is("act_order", false) && !is("static_groups", false),
    }
}

/// A share, or `"2:4"`, of which the first number stays.
fn sparsity(options: &Map<String, Value>) -> f64 {
    let of_pattern = |pattern: &str| -> Option<f64> {
        let (kept, of) = pattern.split_once(':')?;
        let (kept, of) = (kept.trim().parse::<f64>().ok()?, of.trim().parse::<f64>().ok()?);
        (kept > 0.0 && kept < of).then(|| 1.0 - kept / of)
    };
    let asked = options.get("pattern").or_else(|| options.get("sparsity"));
    let share = match asked {
        Some(Value::String(pattern)) => of_pattern(pattern),
        Some(value) => value.as_f64(),
        None => None,
    };
    share.filter(|share| (0.0..=1.0).contains(share)).unwrap_or(DEFAULT_SPARSITY)
}

fn ratio(options: &Map<String, Value>) -> Option<f64> {
    options.get("ratio").and_then(Value::as_f64).filter(|ratio| (0.0..1.0).contains(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(technique: &str, options: &Value, shape: [usize; 2], now: u64) -> u64 {
        let options = options.as_object().cloned().unwrap_or_default();
        Form::of(Method::of(technique), &options).bytes(shape, now)
    }

    /// A 4096×4096 matrix of f16, 32 MiB, by hand.
    #[test]
    fn forms_have_the_bytes_of_their_formulas() {
        let shape = [4096, 4096];
        let weights = 16_777_216;
        let of = |technique: &str, options: Value| bytes(technique, &options, shape, 2 * weights);
        // Half a byte each, 4096·32 scales of two bytes, the shape.
        assert_eq!(of("gptq", json!({ "bits": 4, "group_size": 128 })), 8_388_608 + 262_144 + 16);
        assert_eq!(of("rtn", json!({})), 8_388_608 + 262_144 + 16, "the options' defaults");
        // Zero points: 32 groups of 4096 nibbles.
        assert_eq!(of("awq", json!({ "group_size": 128 })), 8_388_608 + 262_144 + 65_536 + 16);
        assert_eq!(of("rtn", json!({ "bits": 8, "group_size": "channel" })), weights + 8192 + 16);
        assert_eq!(of("int8-dynamic", json!({})), weights + 8192);
        // Half of the values and a bit for each.
        assert_eq!(of("wanda", json!({ "sparsity": "2:4" })), weights + weights / 8);
        assert_eq!(of("sparsegpt", json!({ "sparsity": 0.75 })), weights / 2 + weights / 8);
        assert_eq!(of("svd", json!({ "rank": 256 })), 256 * 8192 * 2);
        assert_eq!(of("svdllm", json!({ "rank": { "keep": 0.5 } })), 1024 * 8192 * 2);
        assert_eq!(of("correct", json!({ "rank": 16 })), 2 * weights + 16 * 8192 * 2);
        assert_eq!(of("cast", json!({ "dtype": "f32" })), 4 * weights);
        assert_eq!(of("mine", json!({})), 2 * weights, "nothing is known");
    }

    /// A form that would be larger than the weight is not taken.
    #[test]
    fn nothing_grows_that_the_techniques_would_leave() {
        assert_eq!(bytes("wanda", &json!({ "sparsity": 0.01 }), [8, 64], 1024), 1024);
        assert_eq!(bytes("svd", &json!({ "rank": 64 }), [64, 64], 8192), 8192);
    }
}
