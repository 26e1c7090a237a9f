//! The techniques of scope model.

use schemars::JsonSchema;
use serde::Deserialize;
use std::time::{Duration, Instant};
use tenuis_plugin::core::{DType, Dense, GroupedInt, Tensor, convert};
use tenuis_plugin::serde_json::{Value, json};
use tenuis_plugin::{
    Capabilities, Host, LogLevel, Model, ModelEmitter, ModelTechnique, Source, TechniqueError,
};

/// Averages student and teacher, and uses everything else that the ABI offers.
pub(crate) struct Average {
    share: f32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AverageConfig {
    /// The student's share.
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f32,
}

impl Default for AverageConfig {
    fn default() -> Self {
        Self { share: 0.5 }
    }
}

impl ModelTechnique for Average {
    const ID: &'static str = "average";
    const VERSION: &'static str = "0.2.0";
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_TEACHER
        .and(Capabilities::NEEDS_TOKENS)
        .and(Capabilities::USES_VALIDATION)
        .and(Capabilities::DETERMINISTIC);
    type Config = AverageConfig;

    fn new(config: AverageConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        host.log(LogLevel::Info, "made");
        Ok(Self { share: config.share })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        if descriptor["kind"] == "unheard_of" {
            return Err(TechniqueError::unsupported("no such weights"));
        }
        Ok(())
    }

    fn estimate(&self, model: &Model<'_>) -> Option<u64> {
        Some(model.student().tensors().map(|(_, t)| t.shape().iter().product::<usize>() as u64 * 4).sum())
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let (student, teacher) = (model.student(), model.require_teacher()?);
        self.read_tokens(model, out.host())?;
        let total = student.tensors().len() as u64;
        for (done, (name, tensor)) in (0..).zip(student.tensors()) {
            out.host().check_cancelled()?;
            out.host().progress(done, total, name);
            let compressed = student
                .weights()
                .filter(|(_, weight)| weight.descriptor()["kind"] != "dense")
                .any(|(module, _)| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.')));
            if !tensor.dtype().is_float() || compressed || name == "drop.weight" {
                continue;
            }
            let theirs = teacher.tensor(name)?.to_f32()?;
            let mean: Vec<f32> = (tensor.to_f32()?.iter().zip(theirs.iter()))
                .map(|(a, b)| self.share * a + (1.0 - self.share) * b)
                .collect();
            out.emit_tensor(
                name,
                tensor.dtype(),
                tensor.shape(),
                &convert::from_f32(tensor.dtype(), &mean)?,
            )?;
        }
        // The compressed one comes back dense, decoded by the host.
        for (module, weight) in student.weights().filter(|(_, w)| w.descriptor()["kind"] != "dense") {
            let shape = weight.shape();
            let values = student.dense(module)?;
            let mut last = vec![0.0; shape[1]];
            student.decode_rows(module, shape[0] - 1..shape[0], &mut last)?;
            assert_eq!(last, values[(shape[0] - 1) * shape[1]..]);
            let dense = Dense::new(Tensor::from_f32(DType::F32, shape.to_vec(), &values)?)?;
            out.emit_weight(module, &dense)?;
        }
        out.remove("drop.weight")?;
        out.emit_copy("taken.weight", Source::Teacher, "norm.weight")?;
        out.emit_copy("moved", Source::Student, "packed")?;
        let without = out.eval_loss()?;
        let mut config = student.config()?;
        config["layers"] = json!(teacher.config()?["layers"].as_u64().unwrap_or(0) + 1);
        config["spec"] =
            tenuis_plugin::serde_json::from_str(student.spec_json()).map_err(TechniqueError::invalid)?;
        out.set_config(&config)?;
        let host = out.host();
        host.metric(
            "similarity",
            f64::from(model.statistic("block_similarity").map_or(Ok(-1.0), |s| s.to_f32().map(|v| v[1]))?),
        );
        if let (Some(without), Some(with)) = (without, out.eval_loss()?) {
            host.metric("loss", with - without);
        }
        host.metric("runs", f64::from(count(model)?));
        Ok(())
    }
}

impl Average {
    #[expect(clippy::unused_self, reason = "reads as a part of the run")]
    fn read_tokens(&self, model: &Model<'_>, host: &Host<'_>) -> Result<(), TechniqueError> {
        let train = model.train_tokens()?;
        assert_eq!(train.hash().map(str::len), Some(64));
        let mut sum = 0;
        for step in 0..train.sequences() {
            // From another thread, as a loader would.
            let tokens = std::thread::scope(|scope| scope.spawn(|| train.read(step..step + 1)).join());
            let tokens = tokens.map_err(|_| TechniqueError::invalid("the loader panicked"))??;
            assert_eq!(tokens.len(), train.sequence_length());
            sum += tokens.iter().sum::<u32>();
            host.metric_at("sum", step as u64, f64::from(sum));
        }
        assert!(train.read(0..train.sequences() + 1).is_err());
        let valid = model.valid_tokens().map_or(Ok(vec![]), |valid| valid.read(0..valid.sequences()))?;
        host.metric("valid", f64::from(valid.iter().sum::<u32>()));
        Ok(())
    }
}

/// How often there was a run with this state directory.
fn count(model: &Model<'_>) -> Result<u32, TechniqueError> {
    let Some(dir) = model.state_dir() else { return Ok(0) };
    let file = dir.join("runs");
    let before = std::fs::read_to_string(&file).ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    std::fs::write(&file, (before + 1).to_string()).map_err(TechniqueError::invalid)?;
    Ok(before + 1)
}

/// Fails in the way that its option names.
pub(crate) struct MisbehaveModel {
    how: Fault,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MisbehaveModelConfig {
    /// The way to fail.
    how: Fault,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Fault {
    /// Emits nothing.
    #[default]
    Nothing,
    /// Panics after it emitted something.
    Panic,
    /// Emits a NaN.
    Nan,
    /// Emits a NaN in a weight.
    NanWeight,
    /// Leaves the second half of a buffer as it was.
    Unwritten,
    /// Emits integers in the place of floating-point numbers.
    Integers,
    /// Emits without a buffer.
    NotAllocated,
    /// Emits a tensor twice.
    Twice,
    /// Emits a tensor and the weight that it is a part of.
    TwiceInParts,
    /// Emits a tensor, takes it back and emits it again.
    Retract,
    /// Emits, removes and configures, and takes all of it back.
    RetractAll,
    /// Takes back what was never there.
    RetractNothing,
    /// Removes a tensor that is not there.
    RemoveUnknown,
    /// Removes what it emitted.
    RemoveEmitted,
    /// Emits what it removed.
    EmitRemoved,
    /// Removes a component of a compressed weight.
    RemoveComponent,
    /// Replaces a component of a compressed weight.
    EmitComponent,
    /// Emits a weight where a tensor of its name stays.
    Beside,
    /// Replaces a tensor by a quantised weight.
    Quantize,
    /// Takes a removal back that an emitted weight rests on.
    RetractNeeded,
    /// A component that would pass for the module's bias.
    Bias,
    /// A configuration that is not JSON.
    ConfigText,
    /// A configuration that is a list.
    ConfigList,
    /// A wrong configuration, then a right one.
    ConfigMended,
    /// Copies what is not there.
    CopyUnknown,
    /// Copies from a teacher that is not there.
    CopyTeacher,
    /// Asks for a huge buffer.
    Huge,
    /// The name that safetensors reserves.
    Name,
    /// Reads a weight as the core's type.
    ToWeight,
    /// Waits for the cancel flag.
    Wait,
    /// Asks for a loss.
    Loss,
}

impl ModelTechnique for MisbehaveModel {
    const ID: &'static str = "misbehave_model";
    const VERSION: &'static str = "0.2.0";
    const CAPABILITIES: Capabilities = Capabilities::NONE;
    type Config = MisbehaveModelConfig;

    fn new(config: MisbehaveModelConfig, _host: &Host<'_>) -> Result<Self, TechniqueError> {
        Ok(Self { how: config.how })
    }

    /// The student has a norm `norm.weight` of four values, a dense `dense`, a compressed `packed`, and `drop.weight`.
    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let norm = |out: &mut ModelEmitter<'_>, value: f32| {
            let bytes: Vec<u8> = [1.0, value, 1.0, 1.0].into_iter().flat_map(f32::to_le_bytes).collect();
            out.emit_tensor("norm.weight", DType::F32, &[4], &bytes)
        };
        let weight = |value: f32| {
            let tensor = Tensor::from_f32(DType::F32, vec![1, 2], &[value, 1.0])?;
            Ok::<_, TechniqueError>(Dense::new(tensor)?)
        };
        match self.how {
            Fault::Nothing => {}
            Fault::Panic => {
                norm(out, 2.0)?;
                panic!("on purpose");
            }
            Fault::Nan => norm(out, f32::NAN)?,
            Fault::NanWeight => out.emit_weight("dense", &weight(f32::NAN)?)?,
            Fault::Unwritten => {
                out.tensor_buffer("norm.weight", DType::F32, &[4])?[..8].fill(0);
                out.commit_tensor("norm.weight")?;
            }
            Fault::Integers => out.emit_tensor("norm.weight", DType::I32, &[4], &[7; 16])?,
            Fault::NotAllocated => out.commit_tensor("norm.weight")?,
            Fault::Twice => {
                norm(out, 2.0)?;
                // That the technique looks away does not help it.
                assert!(norm(out, 3.0).is_err());
            }
            Fault::TwiceInParts => {
                out.emit_tensor("dense.weight", DType::F32, &[1], &[0; 4])?;
                out.emit_weight("dense", &weight(1.0)?)?;
            }
            Fault::Retract => {
                norm(out, 2.0)?;
                assert!(norm(out, 3.0).is_err());
                out.retract("norm.weight")?;
                norm(out, 4.0)?;
            }
            Fault::RetractAll => {
                norm(out, 2.0)?;
                out.remove("drop.weight")?;
                out.set_config(&json!({}))?;
                out.retract_all()?;
            }
            Fault::RetractNothing => out.retract("norm.weight")?,
            Fault::RemoveUnknown => out.remove("nobody.weight")?,
            Fault::RemoveEmitted => {
                norm(out, 2.0)?;
                out.remove("norm.weight")?;
            }
            Fault::EmitRemoved => {
                out.remove("norm.weight")?;
                norm(out, 2.0)?;
            }
            Fault::RemoveComponent => out.remove("packed.weight_scale")?,
            Fault::EmitComponent => out.emit_tensor("packed.weight_scale", DType::F16, &[1], &[0; 2])?,
            Fault::Beside => out.emit_weight("drop", &weight(1.0)?)?,
            Fault::Quantize => {
                out.remove("drop.weight")?;
                out.emit_copy("drop", Source::Student, "packed")?;
            }
            Fault::RetractNeeded => {
                out.remove("drop.weight")?;
                out.emit_copy("drop", Source::Student, "packed")?;
                out.retract("drop.weight")?;
            }
            Fault::Bias => {
                out.weight_buffer("dense", "bias", DType::F32, &[1])?;
            }
            Fault::ConfigText => out.set_config_json("{\"layers\": ")?,
            Fault::ConfigList => out.set_config(&json!([1]))?,
            Fault::ConfigMended => {
                assert!(out.set_config(&json!(null)).is_err());
                out.set_config(&json!({ "layers": 7 }))?;
            }
            Fault::CopyUnknown => out.emit_copy("new.weight", Source::Student, "nobody")?,
            Fault::CopyTeacher => out.emit_copy("new.weight", Source::Teacher, "norm.weight")?,
            Fault::Huge => {
                out.tensor_buffer("norm.weight", DType::F32, &[1 << 20, 1 << 20])?;
            }
            Fault::Name => out.emit_tensor("__metadata__", DType::U8, &[1], &[0])?,
            Fault::ToWeight => {
                let packed = model.student().weight("packed")?.to_weight()?;
                assert!(packed.downcast::<GroupedInt>().is_some());
            }
            Fault::Wait => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_mins(1) {
                    out.host().check_cancelled()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Fault::Loss => assert_eq!(out.eval_loss()?, None),
        }
        Ok(())
    }
}
