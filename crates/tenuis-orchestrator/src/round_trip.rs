//! The round-trip gate: what was written is read again and compared before it counts.
//!
//! Three things are held against each other. The bytes on disk against the hashes of what was in memory, for every tensor.
//! The integers of packed weights against those that they were made of, where they were put into another form. The logits of
//! a few tokens against those of the model as it was in memory. One block at a time is loaded.

use crate::error::RunError;
use candle_core::Tensor;
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::convert::round_f32;
use tenuis_core::gguf::GgmlType;
use tenuis_core::weight::{Dense, Q4_1};
use tenuis_core::{Checkpoint, CodecRegistry, DType, GroupedInt, Representation, Weight, WeightError};
use tenuis_export::ExportReport;
use tenuis_model::{Block, Model, ModelError};

/// Tokens that are run.
const TOKENS: usize = 8;
/// A stride by which they are spread over the vocabulary.
const STRIDE: usize = 7919;

/// Logits of the same numbers in another form differ by the order of f32 sums: by some 1e-6 of the largest of them in a small
/// model, by more behind many layers. Every number was compared for itself before.
const SAME_NUMBERS: f64 = 1e-3;
/// Weights that were rounded to eleven binary places are off by 2.4·10⁻⁴ of their value on average, logits by about as much of
/// the largest; a wrong scale, order or offset makes another model altogether.
const ROUNDED_TO_F16: f64 = 2e-2;
/// The same for eight binary places.
const ROUNDED_TO_BF16: f64 = 1e-1;

/// What the gate found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RoundTrip {
    /// Tensors whose bytes were compared.
    pub tensors: usize,
    /// Weights whose numbers were compared one by one.
    pub weights: usize,
    /// Tokens whose logits were compared.
    pub tokens: usize,
    /// The largest difference of a logit, as a share of the largest logit.
    pub logits: f64,
    /// The difference that was allowed.
    pub tolerance: f64,
}

/// The hidden states of a few tokens on their way through a model that is being made.
pub(crate) struct Witness {
    tokens: Vec<u32>,
    hidden: Tensor,
}

impl Witness {
    /// Embeds the tokens.
    pub(crate) fn start(model: &Model) -> Result<Self, RunError> {
        let tokens = tokens(model);
        let hidden = model.embed(&tokens, 1, tokens.len(), 0)?;
        Ok(Self { tokens, hidden })
    }

    /// Runs them through a block as it is in memory.
    pub(crate) fn advance(&mut self, block: &Block) -> Result<(), RunError> {
        self.hidden = block.forward(&self.hidden, None)?;
        Ok(())
    }

    /// Reads what was written to `dir` and runs the tokens through it.
    ///
    /// `norms_change` says that embedding and norms were rounded meanwhile, which the witness in memory has not seen.
    pub(crate) fn check(
        self,
        dir: &Path,
        codecs: &CodecRegistry,
        norms_change: bool,
    ) -> Result<RoundTrip, RunError> {
        let model = reopen(dir, codecs)?;
        let mut hidden = model.embed(&self.tokens, 1, self.tokens.len(), 0)?;
        for index in 0..model.spec().layers.len() {
            hidden = model.load_block(index)?.forward(&hidden, None)?;
            model.release_block(index);
        }
        // The head is the new one on either side: its bytes were compared.
        let tolerance = if norms_change { ROUNDED_TO_BF16 } else { SAME_NUMBERS };
        let logits = compare_logits(
            dir,
            &values(&model.head(&self.hidden)?)?,
            &values(&model.head(&hidden)?)?,
            tolerance,
        )?;
        let tensors = model.checkpoint().names().count();
        Ok(RoundTrip { tensors, weights: 0, tokens: self.tokens.len(), logits, tolerance })
    }
}

/// Reads what a model technique's stage has written and compares the weights that it emitted.
pub(crate) fn check_emitted<'a>(
    dir: &Path,
    codecs: &CodecRegistry,
    emitted: impl IntoIterator<Item = (&'a String, &'a Weight)>,
) -> Result<RoundTrip, RunError> {
    let model = reopen(dir, codecs)?;
    let mut weights = 0;
    for (module, weight) in emitted {
        for component in weight.components() {
            let name = format!("{module}.{}", component.suffix);
            let found = model.checkpoint().tensor(&name)?;
            if found.dtype() != component.tensor.dtype() || found.data()[..] != component.tensor.data()[..] {
                return Err(differs(dir, &name, &"the bytes that were emitted", &"others"));
            }
        }
        weights += 1;
    }
    let tokens = tokens(&model);
    let mut hidden = model.embed(&tokens, 1, tokens.len(), 0)?;
    for index in 0..model.spec().layers.len() {
        hidden = model.load_block(index)?.forward(&hidden, None)?;
        model.release_block(index);
    }
    model.head(&hidden)?;
    let tensors = model.checkpoint().names().count();
    Ok(RoundTrip { tensors, weights, tokens: tokens.len(), logits: 0.0, tolerance: 0.0 })
}

/// Reads what was exported to `dir` and holds it against its source.
pub(crate) fn check_export(
    source: &Model,
    dir: &Path,
    codecs: &CodecRegistry,
    report: &ExportReport,
    dtype: Option<DType>,
) -> Result<RoundTrip, RunError> {
    let model = reopen(dir, codecs)?;
    let tokens = tokens(source);
    let start = |model: &Model| model.embed(&tokens, 1, tokens.len(), 0);
    let (mut before, mut after) = (start(source)?, start(&model)?);
    let mut weights = 0;
    for index in 0..source.spec().layers.len() {
        let (old, new) = (source.load_block(index)?, model.load_block(index)?);
        // Names differ where a checkpoint leaves a prefix out; the order of a layer's Linears does not.
        for (from, to) in old.spec().linears().iter().zip(new.spec().linears()) {
            let (Some(a), Some(b)) = (old.weight(&from.name), new.weight(&to.name)) else { continue };
            compare_weight(dir, &to.name, a, b)?;
            weights += 1;
        }
        (before, after) = (old.forward(&before, None)?, new.forward(&after, None)?);
        source.release_block(index);
        model.release_block(index);
    }
    if !source.spec().tied && !model.spec().tied {
        let (from, to) = (&source.spec().lm_head, &model.spec().lm_head);
        compare_weight(dir, &to.name, &source.weight(from)?, &model.weight(to)?)?;
        weights += 1;
    }
    let tolerance = match (report.is_exact(), dtype) {
        (true, _) => SAME_NUMBERS,
        (false, Some(DType::BF16)) => ROUNDED_TO_BF16,
        (false, _) => ROUNDED_TO_F16,
    };
    let (expected, found) = (values(&source.head(&before)?)?, values(&model.head(&after)?)?);
    let logits = compare_logits(dir, &expected, &found, tolerance)?;
    let tensors = model.checkpoint().names().count();
    Ok(RoundTrip { tensors, weights, tokens: tokens.len(), logits, tolerance })
}

/// Opens what was written and compares its bytes with the manifest's hashes.
fn reopen(dir: &Path, codecs: &CodecRegistry) -> Result<Model, RunError> {
    let failed = |what: &str, error: &dyn Display| differs(dir, what, &"what was written", error);
    let checkpoint = Checkpoint::open(dir).map_err(|e| failed("the checkpoint", &e))?;
    checkpoint.verify().map_err(|e| failed("its data", &e))?;
    Model::open(Arc::new(checkpoint), codecs).map_err(|e| failed("the model", &e))
}

fn tokens(model: &Model) -> Vec<u32> {
    let spec = model.spec();
    (0..TOKENS.min(spec.max_positions).max(1)).map(|i| ((i * STRIDE + 1) % spec.vocab) as u32).collect()
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, RunError> {
    let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
    Ok(values.map_err(ModelError::from)?)
}

fn differs(dir: &Path, what: &str, expected: &dyn Display, found: &dyn Display) -> RunError {
    RunError::RoundTrip {
        dir: dir.to_owned(),
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// The largest difference of two lists of logits as a share of the largest logit.
fn compare_logits(dir: &Path, expected: &[f32], found: &[f32], tolerance: f64) -> Result<f64, RunError> {
    if expected.len() != found.len() {
        return Err(differs(dir, "logits", &expected.len(), &found.len()));
    }
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
    let (mut worst, mut at) = (0f64, 0);
    for (index, (a, b)) in expected.iter().zip(found).enumerate() {
        // Values that are not finite were let through on purpose, and stay what they are.
        if a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let difference = f64::from((a - b).abs()) / f64::from(largest.max(f32::MIN_POSITIVE));
        if difference.is_nan() || difference > worst {
            (worst, at) = (difference, index);
        }
        if difference.is_nan() {
            break;
        }
    }
    if worst <= tolerance {
        return Ok(worst);
    }
    Err(differs(
        dir,
        &format!("logit {at}"),
        &format!("{} (within {tolerance} of the largest, {largest})", expected[at]),
        &found[at],
    ))
}

/// Compares two weights number by number: what was packed must have the same integers and scales, what was decoded must be
/// the decoded numbers rounded.
fn compare_weight(dir: &Path, name: &str, from: &Weight, to: &Weight) -> Result<(), RunError> {
    let failed = |source| RunError::Weight { tensor: name.to_owned(), source };
    if from.shape() != to.shape() {
        let shape = |weight: &Weight| format!("{:?}", weight.shape());
        return Err(differs(dir, name, &shape(from), &shape(to)));
    }
    let [rows, columns] = from.shape();
    if let (Some(a), Some(b)) = (from.downcast::<GroupedInt>(), to.downcast::<GroupedInt>()) {
        for row in 0..rows {
            let (expected, found) = (numbers(a, row).map_err(failed)?, numbers(b, row).map_err(failed)?);
            let halves = b.spec().scale_dtype;
            for (column, ((code, scale), (new_code, new_scale))) in expected.iter().zip(&found).enumerate() {
                if code != new_code || round_f32(halves, *scale).to_bits() != new_scale.to_bits() {
                    let place = format!("{name} at row {row}, column {column}");
                    let show = |code: i16, scale: f32| format!("{code} times {scale}");
                    return Err(differs(dir, &place, &show(*code, *scale), &show(*new_code, *new_scale)));
                }
            }
        }
        return Ok(());
    }
    let as_dense = to.downcast::<Dense>().map(Dense::dtype);
    let (mut a, mut b) = (vec![0.0; columns], vec![0.0; columns]);
    for row in 0..rows {
        from.decode_rows(row..row + 1, &mut a).map_err(failed)?;
        if let (Some(grouped), Some(_)) = (from.downcast::<GroupedInt>(), to.downcast::<Q4_1>()) {
            with_rounded_offset(grouped, row, &mut a).map_err(failed)?;
        } else if let Some(dtype) = as_dense {
            for value in &mut a {
                *value = round_f32(dtype, *value);
            }
        }
        to.decode_rows(row..row + 1, &mut b).map_err(failed)?;
        let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        if let Some(column) = a.iter().zip(&b).position(|pair| !same(pair)) {
            let place = format!("{name} at row {row}, column {column}");
            return Err(differs(dir, &place, &a[column], &b[column]));
        }
    }
    Ok(())
}

/// The distance from the zero point and the scale of every number of a row.
fn numbers(weight: &GroupedInt, row: usize) -> Result<Vec<(i16, f32)>, WeightError> {
    let columns = weight.shape()[1];
    let mut codes = vec![0; columns];
    let mut scales = vec![0.0; weight.groups()];
    weight.codes_row(row, &mut codes);
    weight.scales_row(row, &mut scales)?;
    let zeros = weight.zeros_row(row);
    let index = weight.group_index();
    let size = weight.spec().group_size.columns(columns).max(1);
    let mid = weight.spec().bits.mid_code();
    let number = |(column, code): (usize, &u8)| {
        let group = index.as_ref().map_or(column / size, |index| index[column] as usize);
        (i16::from(*code) - i16::from(zeros.map_or(mid, |zeros| zeros[group])), scales[group])
    };
    Ok(codes.iter().enumerate().map(number).collect())
}

/// What a row becomes in blocks with a minimum: the scale and `−zero · scale` rounded to f16.
fn with_rounded_offset(weight: &GroupedInt, row: usize, out: &mut [f32]) -> Result<(), WeightError> {
    debug_assert_eq!(GgmlType::Q4_1.block_elements(), 32);
    let columns = weight.shape()[1];
    let mut codes = vec![0; columns];
    let mut scales = vec![0.0; weight.groups()];
    weight.codes_row(row, &mut codes);
    weight.scales_row(row, &mut scales)?;
    let zeros = weight.zeros_row(row);
    let size = weight.spec().group_size.columns(columns).max(1);
    for (column, (value, code)) in out.iter_mut().zip(codes).enumerate() {
        let group = column / size;
        let zero = zeros.map_or(weight.spec().bits.mid_code(), |zeros| zeros[group]);
        let scale = round_f32(DType::F16, scales[group]);
        *value = f32::from(code) * scale + round_f32(DType::F16, -f32::from(zero) * scale);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenuis_core::{Bits, GroupSize, GroupedIntSpec, Tensor as HostTensor};

    fn packed(code: u8, scale: f32) -> Weight {
        let spec = GroupedIntSpec {
            bits: Bits::FOUR,
            group_size: GroupSize::Columns(32),
            symmetric: true,
            scale_dtype: DType::F32,
            group_index: false,
        };
        let mut codes = vec![3; 64];
        codes[40] = code;
        Arc::new(GroupedInt::from_codes(spec, [1, 64], &codes, &[0.5, scale], None, None).unwrap())
    }

    fn dense(values: &[f32]) -> Weight {
        let tensor = HostTensor::from_f32(DType::F16, vec![1, values.len()], values).unwrap();
        Arc::new(Dense::new(tensor).unwrap())
    }

    fn compare(from: &Weight, to: &Weight) -> Result<(), String> {
        compare_weight(Path::new("out"), "a.b", from, to).map_err(|e| e.to_string())
    }

    /// One code, one scale or one number that is another is found, and named.
    #[test]
    fn a_single_number_is_found() {
        assert_eq!(compare(&packed(7, 2.0), &packed(7, 2.0)), Ok(()));
        let code = compare(&packed(7, 2.0), &packed(6, 2.0)).unwrap_err();
        assert!(code.contains("a.b at row 0, column 40") && code.contains("-1 times 2"), "{code}");
        let scale = compare(&packed(7, 2.0), &packed(7, 2.001)).unwrap_err();
        assert!(scale.contains("column 32"), "{scale}");
        // What is decoded is compared with the rounded number.
        let mut values = packed(7, 0.1).to_dense().unwrap();
        assert_eq!(compare(&packed(7, 0.1), &dense(&values)), Ok(()));
        values[1] *= 1.01;
        assert!(compare(&packed(7, 0.1), &dense(&values)).unwrap_err().contains("column 1"));
    }

    #[test]
    fn logits_have_a_tolerance() {
        let compare =
            |found: [f32; 3]| compare_logits(Path::new("out"), &[1.0, -4.0, f32::NAN], &found, 1e-2);
        assert_eq!(compare([1.0, -4.0, f32::NAN]).unwrap(), 0.0);
        assert!((compare([1.02, -4.0, f32::NAN]).unwrap() - 0.005).abs() < 1e-4);
        assert!(compare([1.2, -4.0, f32::NAN]).unwrap_err().to_string().contains("logit 0"));
        assert!(compare([1.0, f32::NAN, f32::NAN]).unwrap_err().to_string().contains("logit 1"));
    }
}
