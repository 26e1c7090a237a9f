//! What a stage did, and the configuration of the checkpoint that was made.

use super::fold::Placed;
use super::rest::CommonType;
use super::stream::Stream;
use crate::error::RunError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tenuis_core::weight::Dense;
use tenuis_core::{DType, Weight, quantization_config_for};
use tenuis_eval::report::{Metric, StageRecord};
use tenuis_host::{GroupOutput, LogLevel, LogLine, ModelOutput, Technique};
use tenuis_linalg::LayerStats;
use tenuis_spec::DecoderSpec;

/// The metric that says whether a group's scales were folded.
const FOLDED: &str = "scales_folded";

/// Whether a stage has folded scales, so that its weights no longer approximate those of the same name before.
pub(crate) fn has_folded(record: &StageRecord) -> bool {
    let folded = |metric: &Metric| metric.key.ends_with(FOLDED) && metric.value == Some(1.0);
    record.metrics.iter().any(folded)
}

/// What a stage did, while it is being done.
pub(super) struct Outcome {
    record: StageRecord,
}

impl Outcome {
    pub(super) fn new(technique: &Technique) -> Self {
        let record = StageRecord {
            technique: technique.id().to_owned(),
            version: technique.version().to_owned(),
            plugin_hash: technique.plugin_hash().to_owned(),
            weights: 0,
            skipped: Vec::new(),
            calibration_rows: 0,
            dropped_batches: 0,
            metrics: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
        };
        Self { record }
    }

    /// What an earlier run of the same stage had done when it was stopped.
    pub(super) fn resumed(record: StageRecord) -> Self {
        Self { record }
    }

    /// What was done so far.
    pub(super) const fn record(&self) -> &StageRecord {
        &self.record
    }

    /// Records a figure of a weight.
    pub(super) fn measured(&mut self, key: String, value: f64) {
        self.record.metrics.push(Metric { key, value: Some(value).filter(|v| v.is_finite()) });
    }

    /// Records what the reader should know.
    pub(super) fn remark(&mut self, note: String) {
        self.record.notes.push(note);
    }

    /// Records a weight that is copied through because it is not finite.
    pub(super) fn skip(&mut self, name: &str, count: usize) {
        if !self.record.skipped.iter().any(|s| s == name) {
            self.record.skipped.push(name.to_owned());
            self.record
                .warnings
                .push(format!("{name} holds {count} values that are not finite; copied through"));
        }
    }

    /// Records what a technique reported beside the weights.
    pub(super) fn note(&mut self, output: &GroupOutput) {
        self.record.weights += output.weights.len();
        self.note_reported(&output.metrics, &output.log);
    }

    /// As [`Outcome::note`], for the whole model.
    pub(super) fn note_model(&mut self, output: &ModelOutput) {
        self.record.weights += output.weights.len() + output.tensors.len();
        self.note_reported(&output.metrics, &output.log);
        let notes = output.log.iter().filter(|line| line.level == LogLevel::Info);
        self.record.notes.extend(notes.map(|line| line.message.clone()));
    }

    fn note_reported(&mut self, metrics: &[(String, f64)], log: &[LogLine]) {
        self.record.metrics.extend(
            metrics.iter().map(|(key, value)| Metric {
                key: key.clone(),
                value: Some(*value).filter(|v| v.is_finite()),
            }),
        );
        let loud = log.iter().filter(|line| line.level <= LogLevel::Warn);
        self.record.warnings.extend(loud.map(|line| line.message.clone()));
    }

    /// Records what became of the scales of a group, under the name of its first member.
    pub(super) fn note_scales(&mut self, name: &str, placed: Placed) {
        let folded = match placed {
            Placed::Nothing => return,
            Placed::Folded => 1.0,
            Placed::AtRunTime(reason) => {
                self.record.notes.push(format!("{name}: its input is scaled at run time: {reason}"));
                0.0
            }
        };
        self.record.metrics.push(Metric { key: format!("{name}/{FOLDED}"), value: Some(folded) });
    }

    /// Warns where nothing is known of an input, or where its Hessian, if that is looked at, cannot have full rank.
    pub(super) fn note_rows(&mut self, name: &str, stats: &LayerStats, hessian: bool) {
        if hessian || stats.rows() == 0 {
            self.record.warnings.extend(rank_warning(name, stats));
        }
    }

    /// Records how much text the calibration saw.
    pub(super) fn note_stream(&mut self, stream: &Stream) {
        self.note_calibration(stream.rows(), stream.dropped(), Vec::new());
    }

    /// Records how much text a calibration saw, how many batches of it were dropped, and what it warned of.
    pub(super) fn note_calibration(&mut self, rows: u64, dropped: u64, warnings: Vec<String>) {
        self.record.calibration_rows = rows;
        self.record.dropped_batches = dropped;
        self.record.warnings.extend(warnings);
        if dropped > 0 {
            let warning = format!("{dropped} calibration batches dropped: activations not finite");
            self.record.warnings.push(warning);
        }
    }

    pub(super) fn into_record(self) -> StageRecord {
        self.record
    }
}

/// In what forms the weights of a checkpoint are, while it is being written.
#[derive(Default)]
pub(super) struct Kept {
    /// Descriptors of the Linears that are not dense, by module.
    compressed: BTreeMap<String, Value>,
    /// Linears that are dense.
    dense: Vec<String>,
    common: CommonType,
}

impl Kept {
    /// Remembers a Linear as it is written.
    pub(super) fn keep(&mut self, module: &str, weight: &Weight) {
        if let Some(dense) = weight.downcast::<Dense>() {
            self.dense.push(module.to_owned());
            self.keep_dense(dense.dtype());
        } else {
            self.compressed.insert(module.to_owned(), weight.descriptor());
        }
    }

    /// Remembers the type of a dense tensor.
    pub(super) fn keep_dense(&mut self, dtype: DType) {
        self.common.add(dtype);
    }

    /// The configuration of the new checkpoint: that of the input, with the representations it now has.
    pub(super) fn config(&self, input: &Value, spec: &DecoderSpec) -> Result<Value, RunError> {
        let mut config: Map<String, Value> = input.as_object().cloned().unwrap_or_default();
        config.remove("quantization_config");
        config.remove("compression_config");
        if let CommonType::One(dtype) = self.common {
            for key in ["dtype", "torch_dtype"] {
                if let Some(value) = config.get_mut(key) {
                    *value = dtype.torch_name().into();
                }
            }
        }
        if !self.compressed.is_empty() {
            let mut untouched = self.dense.clone();
            if spec.tied {
                // To other programs a tied head is a Linear too, and one that is not to be looked for.
                untouched.push(spec.lm_head.name.clone());
            }
            if let Some(declared) = quantization_config_for(&self.compressed, &untouched)? {
                config.insert("quantization_config".to_owned(), declared);
            }
        }
        Ok(Value::Object(config))
    }
}

/// Warns where a Hessian cannot have full rank.
pub(super) fn rank_warning(name: &str, stats: &LayerStats) -> Option<String> {
    let (rows, features) = (stats.rows(), stats.features() as u64);
    if rows == 0 {
        return Some(format!(
            "{name}: no calibration token reached it, so nothing is known of its input; pass more calibration text"
        ));
    }
    (stats.gram().is_some() && rows < features).then(|| {
        format!(
            "{name}: {rows} calibration rows for {features} input features, so its Hessian has rank {rows} at most; \
             pass more calibration text"
        )
    })
}
