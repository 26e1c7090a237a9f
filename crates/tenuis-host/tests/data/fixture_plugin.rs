//! A Rust plugin for the tests: for each scope one technique that works and one that misbehaves on demand.

// An example is one file unless it says where the rest is.
#[path = "fixture_model.rs"]
mod fixture_model;

use fixture_model::{Average, MisbehaveModel};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tenuis_plugin::core::{Component, DType, Dense, Tensor};
use tenuis_plugin::serde_json::{Value, json};
use tenuis_plugin::{
    Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, LogLevel, Rows, StoredWeight,
    TechniqueError, TensorView,
};

/// Adds what it is given to the weight: the sum of the tiles, the Hessian's corner, the moments, mask and original.
struct Probe {
    scale: f32,
    tiles: f32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ProbeConfig {
    /// A factor.
    #[schemars(range(min = 0.5, max = 8.0))]
    scale: f32,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { scale: 2.0 }
    }
}

/// `w = value · scale`, in a representation that only this plugin knows.
const KIND: &str = "fixture_scaled";

impl GroupTechnique for Probe {
    const ID: &'static str = "probe";
    const VERSION: &'static str = "0.1.0";
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_HESSIAN
        .and(Capabilities::NEEDS_MOMENTS)
        .and(Capabilities::NEEDS_INPUTS)
        .and(Capabilities::NEEDS_OUT_LOSS)
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::NEEDS_ORIGINAL)
        .and(Capabilities::KEEPS_MASK);
    const KINDS: &'static [&'static str] = &[KIND];
    type Config = ProbeConfig;

    fn new(config: ProbeConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        host.log(LogLevel::Info, "made");
        Ok(Self { scale: config.scale, tiles: f32::NAN })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        if descriptor["kind"] == "dense" {
            Ok(())
        } else {
            Err(TechniqueError::unsupported("only dense weights"))
        }
    }

    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        Some(group.linears.iter().map(|l| l.shape[0] as u64 * 1000 + l.shape[1] as u64).sum())
    }

    fn begin(&mut self, group: &Group<'_>, _host: &Host<'_>) -> Result<(), TechniqueError> {
        self.tiles = group.block().map_or(100.0, |b| b as f32);
        Ok(())
    }

    fn tile(&mut self, rows: Rows<'_>, _host: &Host<'_>) -> Result<(), TechniqueError> {
        self.tiles += rows.values.chunks(rows.in_features).map(|row| row[0]).sum::<f32>();
        Ok(())
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let hessian = group.hessian()?;
        let moments = group.moments()?;
        let host = out.host();
        let total = AtomicU64::new(0);
        host.parallel_for(100, |i| {
            total.fetch_add(i, Ordering::Relaxed);
            Ok(())
        })?;
        host.metric("loop", total.into_inner() as f64);
        host.metric("tiles", f64::from(self.tiles));
        host.metric("hessian", f64::from(hessian[1]));
        host.metric("moments", f64::from(moments.sum_abs[0] + moments.sum_sq[1] + moments.max_abs[1]));
        host.metric("rows", group.rows() as f64);
        host.metric("threads", host.thread_budget() as f64);
        for (index, linear) in (0..).zip(group.linears()) {
            host.progress(index, group.linears().len() as u64, linear.name());
            let original = linear.original()?;
            let bias = linear.bias().map(TensorView::to_f32).transpose()?;
            let known = linear.dense()?.iter().enumerate().map(|(i, &w)| {
                let w =
                    original.map_or(w, |o| o[i]) + bias.as_ref().map_or(0.0, |b| b[i / linear.shape()[1]]);
                w / self.scale
            });
            let mut values: Vec<f32> = known.collect();
            if let Some(mask) = linear.mask()? {
                values.iter_mut().zip(mask).filter(|(_, m)| **m == 0).for_each(|(v, _)| *v = 0.0);
            }
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            out.buffer(linear.name(), "weight_value", DType::F32, &linear.shape())?.copy_from_slice(&bytes);
            let descriptor = json!({ "kind": KIND, "scale": self.scale });
            out.commit(linear.name(), &descriptor, &["weight_value"])?;
            out.fold(linear.name(), &vec![self.scale; linear.shape()[1]])?;
        }
        let loss = out.out_loss()?;
        host.metric("loss", loss);
        Ok(())
    }

    fn decode_rows(
        weight: &StoredWeight<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), TechniqueError> {
        let scale =
            weight.descriptor()["scale"].as_f64().ok_or_else(|| TechniqueError::invalid("no scale"))?;
        let value = weight.component("weight_value")?;
        if value.shape() != weight.shape() {
            return Err(TechniqueError::invalid(format!("weight_value has shape {:?}", value.shape())));
        }
        let columns = weight.shape()[1];
        let values = value.to_f32()?;
        for (out, v) in out.iter_mut().zip(&values[rows.start * columns..rows.end * columns]) {
            *out = v * scale as f32;
        }
        Ok(())
    }
}

/// Fails in the way that its option names.
struct Misbehave {
    how: How,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct MisbehaveConfig {
    /// The way to fail.
    how: How,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    /// Emits the weight unchanged.
    #[default]
    Nothing,
    /// Panics.
    Panic,
    /// Panics in `new`.
    PanicEarly,
    /// Panics in a loop on the host's threads.
    PanicInLoop,
    /// Panics when it is dropped.
    PanicInDrop,
    /// Emits a NaN.
    Nan,
    /// Emits two rows too many.
    Shape,
    /// Leaves the second half of the buffer as it was.
    Unwritten,
    /// Emits nothing.
    Missing,
    /// Emits a weight of another group.
    Stranger,
    /// Emits a name of a component that was never allocated.
    NotAllocated,
    /// Asks for a huge buffer.
    Huge,
    /// Emits an unknown kind.
    Kind,
    /// Emits the weight as a vector.
    Flat,
    /// Fills pruned entries.
    Mask,
    /// A scale of zero.
    Fold,
    /// Asks for a loss that nobody lends.
    Loss,
    /// Emits a NaN and, when that is refused, the weight itself.
    Mend,
    /// Reports a failure.
    Fail,
    /// Waits for the cancel flag.
    Wait,
    /// Writes to an address that is nobody's.
    Segfault,
    /// Aborts its process.
    Abort,
    /// Ends its process as if all were well.
    Exit,
    /// Sleeps, and asks for nothing.
    Hang,
    /// Takes 64 GiB.
    Memory,
}

impl GroupTechnique for Misbehave {
    const ID: &'static str = "misbehave";
    const VERSION: &'static str = "0.1.0";
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_DENSE.and(Capabilities::KEEPS_MASK);
    type Config = MisbehaveConfig;

    fn new(config: MisbehaveConfig, _host: &Host<'_>) -> Result<Self, TechniqueError> {
        assert!(config.how != How::PanicEarly, "early");
        Ok(Self { how: config.how })
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let linear = &group.linears()[0];
        let (name, [rows, columns]) = (linear.name(), linear.shape());
        let mut values = linear.dense()?.to_vec();
        let mut shape = vec![rows, columns];
        match self.how {
            How::Panic => panic!("on purpose"),
            How::PanicInLoop => out.host().parallel_for(10, |i| {
                assert!(i != 7, "at seven");
                Ok(())
            })?,
            How::Nan => values[columns + 1] = f32::NAN,
            How::Shape => {
                values.extend(vec![0.0; 2 * columns]);
                shape[0] += 2;
            }
            How::Unwritten => {
                let buffer = out.buffer(name, "weight", DType::F32, &shape)?;
                let half = buffer.len() / 2;
                buffer[..half].fill(0);
                return out.commit(name, &json!({ "kind": "dense" }), &["weight"]);
            }
            How::Missing => return Ok(()),
            How::Stranger => {
                let tensor = Tensor::from_f32(DType::F32, shape, &values)?;
                return out.emit("another", &Dense::new(tensor)?);
            }
            How::NotAllocated => return out.commit(name, &json!({ "kind": "dense" }), &["weight"]),
            How::Huge => {
                out.buffer(name, "weight", DType::F32, &[1 << 20, 1 << 20])?;
            }
            How::Kind => {
                let component = Component::new("weight", Tensor::from_f32(DType::F32, shape, &values)?);
                let bytes = component.tensor.data();
                out.buffer(name, "weight", DType::F32, &[rows, columns])?.copy_from_slice(bytes);
                return out.commit(name, &json!({ "kind": "unheard_of" }), &["weight"]);
            }
            How::Flat => shape = vec![rows * columns],
            How::Mask => values.fill(1.0),
            How::Fold => {
                let mut scale = vec![1.0; columns];
                scale[1] = 0.0;
                return out.fold(name, &scale);
            }
            How::Loss => {
                out.out_loss()?;
            }
            How::Mend => {
                let wrong = Tensor::from_f32(DType::F32, shape.clone(), &vec![f32::INFINITY; values.len()])?;
                let refused = out.emit(name, &Dense::new(wrong)?);
                assert!(refused.is_err());
            }
            How::Fail => return Err(TechniqueError::numerical("nothing fits").about(name)),
            How::Wait => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_mins(1) {
                    out.host().check_cancelled()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            #[expect(unsafe_code, reason = "the fault that no language feature contains")]
            // SAFETY: none; that is the point.
            How::Segfault => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
            How::Abort => std::process::abort(),
            How::Exit => std::process::exit(0),
            How::Hang => std::thread::sleep(Duration::from_mins(1)),
            How::Memory => values.reserve(16 << 30),
            How::Nothing | How::PanicEarly | How::PanicInDrop => {}
        }
        let tensor = Tensor::from_f32(DType::F32, shape, &values)?;
        out.emit(name, &Dense::new(tensor)?)
    }
}

impl Drop for Misbehave {
    fn drop(&mut self) {
        assert!(self.how != How::PanicInDrop, "in drop");
    }
}

tenuis_plugin::export_plugin!(Probe, Average, Misbehave, MisbehaveModel);
