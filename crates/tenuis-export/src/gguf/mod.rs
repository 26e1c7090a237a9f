//! GGUF: one file in a directory with the side files and the manifest.

mod metadata;
mod tensors;

use crate::dense::{round, tiles};
use crate::layers::{done, weight};
use crate::report::ExportReport;
use crate::{ExportError, ExportOptions, Source};
use serde_json::{Value, json};
use std::path::Path;
use tensors::{Content, Planned};
use tenuis_core::checkpoint::{GgufCheckpointWriter, Sealed};
use tenuis_core::gguf::blocks::BlockEncoder;
use tenuis_core::gguf::names::HeadRows;
use tenuis_core::gguf::{GgmlType, tokenizer};
use tenuis_core::weight::Q4_1;
use tenuis_core::{DType, GroupedInt, Layout, Representation, WriterOptions};

/// Bytes of blocks that are gathered before they are written.
const BUFFER: usize = 1 << 20;

pub(crate) fn write(
    source: &Source<'_>,
    target: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Sealed, ExportReport), ExportError> {
    let network = metadata::Network::of(source)?;
    let mut file = network.metadata(source);
    file.0.extend(tokenizer_metadata(source)?.0);
    let (planned, layers) = tensors::plan(source, &network, options)?;
    file.push("general.file_type", tenuis_core::gguf::GgufValue::U32(file_type(&planned)));
    if planned.iter().any(|t| t.kind.block_elements() > 1) {
        file.push("general.quantization_version", tenuis_core::gguf::GgufValue::U32(2));
    }
    let writer_options = WriterOptions::default().overwrite(options.overwrite);
    let announced = planned.iter().map(|t| (t.name.as_str(), t.kind, &t.shape[..]));
    let mut writer = GgufCheckpointWriter::create(
        target,
        &[source.checkpoint.location()],
        writer_options,
        &file,
        announced,
    )?;
    let mut rounded_rest = false;
    for (number, tensor) in (1u64..).zip(&planned) {
        rounded_rest |= put(source, tensor, &mut writer)?;
        progress(number, planned.len() as u64);
    }
    writer.copy_side_files(source.checkpoint)?;
    let report = ExportReport { format: "gguf", layers, rounded_rest };
    let provenance = json!({
        "export": report,
        "source": source.checkpoint.manifest().map(|m| m.provenance.clone()),
    });
    Ok((writer.seal(provenance)?, report))
}

fn tokenizer_metadata(source: &Source<'_>) -> Result<tenuis_core::gguf::Metadata, ExportError> {
    let dir = source.checkpoint.dir();
    let file = dir.join("tokenizer.json");
    let bytes = source.checkpoint.tokenizer_json()?;
    let bytes = bytes.ok_or_else(|| ExportError::NoTokenizer { dir: dir.to_owned() })?;
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|e| ExportError::Json { file: file.clone(), problem: e.to_string() })?;
    let found = tokenizer::to_metadata(&json, source.checkpoint.config(), source.spec.vocab);
    found.map_err(|source| ExportError::Tokenizer { file, source: Box::new(source) })
}

/// What llama.cpp calls the file: the type of most weights.
fn file_type(planned: &[Planned]) -> u32 {
    let weights = |kind: GgmlType| {
        let of_kind = planned.iter().filter(|t| t.kind == kind && t.shape.len() > 1);
        of_kind.map(|t| t.shape.iter().product::<usize>()).sum::<usize>()
    };
    let most = GgmlType::ALL.into_iter().max_by_key(|kind| weights(*kind));
    match most {
        Some(GgmlType::F16) => 1,
        Some(GgmlType::Q4_0) => 2,
        Some(GgmlType::Q4_1) => 3,
        Some(GgmlType::Q8_0) => 7,
        Some(GgmlType::BF16) => 32,
        Some(GgmlType::F32) | None => 0,
    }
}

/// Writes the data of a tensor; whether it is neither matrix nor exact.
fn put(
    source: &Source<'_>,
    tensor: &Planned,
    writer: &mut GgufCheckpointWriter,
) -> Result<bool, ExportError> {
    match &tensor.content {
        Content::Matrix { module, shape, layout, rows } => {
            let weight = weight(source, module, *shape, *layout)?;
            if let Some(grouped) =
                weight.downcast::<GroupedInt>().filter(|_| tensor.kind.block_elements() > 1)
            {
                put_blocks(grouped, *rows, writer)?;
            } else if let Some(blocks) = weight.downcast::<Q4_1>().filter(|_| tensor.kind == GgmlType::Q4_1) {
                for row in 0..shape[0] {
                    writer.write(blocks.row(order(*rows, row)))?;
                }
            } else {
                put_floats(module, weight.as_ref(), *rows, tensor.kind, writer)?;
            }
            done(source, module, weight);
            Ok(false)
        }
        Content::Vector { name, rows } => {
            let stored = source.checkpoint.tensor(name)?;
            let failed = |source| ExportError::Tensor { tensor: name.clone(), source };
            let values = stored.to_f32().map_err(failed)?;
            let values: Vec<f32> = (0..values.len()).map(|row| values[order(*rows, row)]).collect();
            writer.write(bytemuck::cast_slice(&values))?;
            Ok(stored.dtype().known() == Some(DType::F64))
        }
        Content::Values(values) => {
            writer.write(bytemuck::cast_slice(values))?;
            Ok(false)
        }
    }
}

/// The row of the checkpoint that is row `row` of the file.
fn order(rows: Option<HeadRows>, row: usize) -> usize {
    rows.map_or(row, |rows| rows.in_checkpoint(row))
}

fn put_blocks(
    weight: &GroupedInt,
    rows: Option<HeadRows>,
    writer: &mut GgufCheckpointWriter,
) -> Result<(), ExportError> {
    // The plan has found that there is a type for it.
    let Ok(encoder) = BlockEncoder::new(weight) else { return Ok(()) };
    let mut buffer = Vec::new();
    for row in 0..weight.shape()[0] {
        encoder.encode_row(order(rows, row), &mut buffer);
        if buffer.len() >= BUFFER {
            writer.write(&buffer)?;
            buffer.clear();
        }
    }
    writer.write(&buffer)?;
    Ok(())
}

fn put_floats(
    name: &str,
    weight: &dyn Representation,
    rows: Option<HeadRows>,
    kind: GgmlType,
    writer: &mut GgufCheckpointWriter,
) -> Result<(), ExportError> {
    let dtype = tensors::dtype(kind);
    let Some(rows) = rows else {
        return tiles(name, weight, |tile| Ok(writer.write(&round(name, dtype, tile)?)?));
    };
    let [count, columns] = weight.shape();
    let mut values = vec![0.0; columns];
    for row in 0..count {
        let row = rows.in_checkpoint(row);
        weight
            .decode_rows(row..row + 1, &mut values)
            .map_err(|source| ExportError::Weight { tensor: name.to_owned(), source })?;
        writer.write(&round(name, dtype, &values)?)?;
    }
    Ok(())
}

/// Layout of matrices that are no Linears.
const PLAIN: Layout = Layout::OutIn;
