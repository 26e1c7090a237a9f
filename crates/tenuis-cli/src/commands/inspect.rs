//! `tenuis inspect`.

use super::{open, print};
use crate::args::InspectArgs;
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use tenuis_core::{Checkpoint, CodecRegistry, StoredWeights};
use tenuis_eval::EvalError;
use tenuis_eval::report::bytes;
use tenuis_model::Model;

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let model = open(&args.dir, &codecs)?;
    if args.verify {
        if model.checkpoint().manifest().is_none() {
            return Err(Failure::input(&args.dir, "has no tenuis-manifest.json to verify against"));
        }
        model.checkpoint().verify()?;
    }
    let linears = linears(&model, &codecs)?;
    if args.json {
        let text = serde_json::to_string_pretty(&as_json(&model, &linears, args.tensors))
            .map_err(|e| Failure::new(Code::Internal, e))?;
        return print(&format!("{text}\n"));
    }
    print(&as_text(&model, &linears, args))
}

/// A Linear as it is stored.
struct Linear {
    name: String,
    shape: [usize; 2],
    descriptor: Value,
    stored_bytes: u64,
    params: u64,
    nonzero: u64,
}

fn linears(model: &Model, codecs: &CodecRegistry) -> Result<Vec<Linear>, Failure> {
    let (spec, checkpoint) = (model.spec(), model.checkpoint());
    let stored = StoredWeights::from_checkpoint(checkpoint)?;
    let mut all: Vec<_> = spec.linears().collect();
    if !spec.tied {
        all.push(spec.lm_head.clone());
    }
    all.into_iter()
        .map(|linear| {
            let weight = stored.weight(checkpoint, codecs, &linear.name, linear.shape, linear.layout)?;
            Ok(Linear {
                shape: linear.shape,
                descriptor: weight.descriptor(),
                stored_bytes: weight.stored_bytes(),
                params: weight.parameters(),
                nonzero: weight
                    .nonzero_parameters()
                    .map_err(|source| EvalError::Weight { module: linear.name.clone(), source })?,
                name: linear.name,
            })
        })
        .collect()
}

/// Parameters, all and those that are not zero: what the spec calls for, with the Linears' as their forms have them.
fn parameters(model: &Model, linears: &[Linear]) -> (u64, u64) {
    let dense: u64 = linears.iter().map(|l| l.shape.iter().map(|&d| d as u64).product::<u64>()).sum();
    let rest = tenuis_eval::size::parameters(model.spec()) - dense;
    (
        rest + linears.iter().map(|l| l.params).sum::<u64>(),
        rest + linears.iter().map(|l| l.nonzero).sum::<u64>(),
    )
}

fn as_json(model: &Model, linears: &[Linear], tensors: bool) -> Value {
    let checkpoint = model.checkpoint();
    let (params, nonzero_params) = parameters(model, linears);
    let mut value = json!({
        "spec": model.spec(),
        "params": params,
        "nonzero_params": nonzero_params,
        "bytes": checkpoint.file_bytes(),
        "tensor_bytes": checkpoint.tensor_bytes(),
        "linears": linears.iter().map(|l| json!({
            "name": l.name, "shape": l.shape, "representation": l.descriptor, "bytes": l.stored_bytes,
            "params": l.params, "nonzero": l.nonzero,
        })).collect::<Vec<_>>(),
    });
    if tensors {
        value["tensors"] = checkpoint
            .names()
            .filter_map(|n| checkpoint.info(n).map(|i| (n, i)))
            .map(|(n, i)| json!({ "name": n, "dtype": i.dtype.to_string(), "shape": i.shape, "bytes": i.bytes() }))
            .collect();
    }
    value
}

fn as_text(model: &Model, linears: &[Linear], args: &InspectArgs) -> String {
    let (spec, checkpoint) = (model.spec(), model.checkpoint());
    let mut text = String::new();
    let (params, nonzero_params) = parameters(model, linears);
    let first = spec.layers.first();
    let heads = first.map(|l| format!("{} heads, {} key/value heads", l.attention.n_q, l.attention.n_kv));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {}", args.dir.display(), spec.model_type);
    let _ = writeln!(
        text,
        "  {} layers, width {}, {}, vocabulary {}{}, {} positions",
        spec.layers.len(),
        spec.d_model,
        heads.unwrap_or_default(),
        spec.vocab,
        if spec.tied { " (tied head)" } else { "" },
        spec.max_positions
    );
    let _ = writeln!(
        text,
        "  {} parameters ({} not zero), {} on disk ({} tensors, {} bytes of data)",
        params,
        nonzero_params,
        bytes(checkpoint.file_bytes()),
        checkpoint.names().count(),
        checkpoint.tensor_bytes()
    );
    let verified = if args.verify { ", verified" } else { "" };
    let manifest = if checkpoint.manifest().is_some() { "written by tenuis" } else { "no manifest" };
    let _ = writeln!(text, "  {manifest}{verified}");
    for step in lineage(checkpoint) {
        let _ = writeln!(text, "  {step}");
    }
    text.push('\n');

    let mut kinds: BTreeMap<String, (usize, u64, u64, u64)> = BTreeMap::new();
    for linear in linears {
        let entry = kinds.entry(linear.descriptor.to_string()).or_default();
        entry.0 += 1;
        entry.1 += linear.params;
        entry.2 += linear.stored_bytes;
        entry.3 += linear.nonzero;
    }
    let headings = ["representation of Linears", "count", "weights", "not zero", "bytes", "bits/weight"];
    let mut table = numbers(headings);
    for (kind, (count, weights, stored, nonzero)) in kinds {
        let bits = 8.0 * stored as f64 / weights.max(1) as f64;
        table.add_row([
            kind,
            count.to_string(),
            weights.to_string(),
            nonzero.to_string(),
            stored.to_string(),
            format!("{bits:.2}"),
        ]);
    }
    let _ = writeln!(text, "{table}");
    if args.tensors {
        let _ = writeln!(text, "\n{}", tensor_table(checkpoint));
    }
    text
}

fn tensor_table(checkpoint: &Checkpoint) -> Table {
    let mut table = numbers(["tensor", "type", "shape", "bytes", "file"]);
    for (name, info) in checkpoint.names().filter_map(|n| checkpoint.info(n).map(|i| (n, i))) {
        let file = checkpoint.file_of(name).and_then(|f| f.file_name()).unwrap_or_default();
        table.add_row([
            name.to_owned(),
            info.dtype.to_string(),
            format!("{:?}", info.shape),
            info.bytes().to_string(),
            file.to_string_lossy().into_owned(),
        ]);
    }
    table
}

/// A table whose columns but the first are right-aligned.
fn numbers<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(headings);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// How a checkpoint came about, a line for each step from its origin, as its manifest says.
fn lineage(checkpoint: &Checkpoint) -> Vec<String> {
    let steps = checkpoint.manifest().and_then(|m| m.provenance.get("lineage")).and_then(Value::as_array);
    let text = |step: &Value, key: &str| step.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let line = |step: &Value| {
        let hash: String = text(step, "checkpoint").chars().take(16).collect();
        if step.get("origin").is_some() {
            return format!("from {} ({hash})", text(step, "origin"));
        }
        let options = step.get("options").map(ToString::to_string).unwrap_or_default();
        format!("by {} {} {options} ({hash})", text(step, "technique"), text(step, "version"))
    };
    steps.into_iter().flatten().map(line).collect()
}
