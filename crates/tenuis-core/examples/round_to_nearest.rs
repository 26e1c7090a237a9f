//! Rounds every projection of a Llama-like checkpoint to four bits and writes it in compressed-tensors' form.
//!
//! `cargo run -p tenuis-core --example round_to_nearest -- IN OUT` shows what a technique built on this crate alone
//! does. `OUT-dense` holds the same weights decoded to f32, so that other programs can compare the two.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use tenuis_core::{
    Bits, Checkpoint, CheckpointWriter, DType, GroupSize, GroupedInt, GroupedIntSpec, Representation, Tensor,
    WriterOptions, convert, quantization_config_for,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = &arguments[..] else { return Err("usage: round_to_nearest IN OUT".into()) };
    let checkpoint = Checkpoint::open(input)?;
    let mut dense_output = output.clone().into_os_string();
    dense_output.push("-dense");
    let create = |target: &Path| {
        let options = WriterOptions::default().overwrite(true);
        CheckpointWriter::create(target, &[input], options)
    };
    let (mut packed, mut dense) = (create(output)?, create(Path::new(&dense_output))?);
    let mut descriptors = BTreeMap::new();
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name)?;
        let Some(module) = name.strip_suffix(".weight").filter(|module| module.ends_with("_proj")) else {
            packed.put(name, &tensor)?;
            dense.put(name, &tensor)?;
            continue;
        };
        let weight = round(&tensor)?;
        packed.put_weight(module, &weight)?;
        descriptors.insert(module.to_owned(), weight.descriptor());
        let values = (&weight as &dyn Representation).to_dense()?;
        dense.put(name, &Tensor::from_f32(DType::F32, tensor.shape().to_vec(), &values)?)?;
    }
    let provenance = json!({ "technique": "round to nearest", "bits": 4 });
    dense.copy_side_files(&checkpoint)?;
    dense.finish(checkpoint.config(), provenance.clone())?;
    packed.copy_side_files(&checkpoint)?;
    let mut config = checkpoint.config().clone();
    config["quantization_config"] = json!(quantization_config_for(&descriptors, &["lm_head".to_owned()])?);
    let written = packed.finish(&config, provenance)?;
    println!("{}: {} bytes from {}", written.dir.display(), written.file_bytes, checkpoint.file_bytes());
    Ok(())
}

/// Symmetric, four bits: `scale = 2·max|w| / 15` of every group, `code = round(w / scale) + 8`.
fn round(tensor: &Tensor) -> Result<GroupedInt, Box<dyn Error>> {
    let &[rows, columns] = tensor.shape() else { return Err("a projection is a matrix".into()) };
    let spec = GroupedIntSpec {
        bits: Bits::new(4).ok_or("no codec for four bits")?,
        group_size: GroupSize::auto(columns),
        symmetric: true,
        scale_dtype: DType::F32,
        group_index: false,
    };
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for group in tensor.to_f32()?.chunks_exact(spec.group_size.columns(columns)) {
        let max = group.iter().fold(0f32, |max, w| max.max(w.abs()));
        // Rounded as it will be stored, before the codes are chosen.
        let scale = convert::round_f32(spec.scale_dtype, (2.0 * max / 15.0).max(f32::MIN_POSITIVE));
        codes.extend(group.iter().map(|w| ((w / scale).round_ties_even() + 8.0).clamp(0.0, 15.0) as u8));
        scales.push(scale);
    }
    Ok(GroupedInt::from_codes(spec, [rows, columns], &codes, &scales, None, None)?)
}
