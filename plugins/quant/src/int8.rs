//! `int8-dynamic` and `smoothquant`: eight-bit weights for activations that are rounded per token at run time.

use crate::{factors, report, stored_dtype};
use rayon::ThreadPool;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{
    Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, LogLevel, TechniqueError,
};
use tenuis_quant::{
    Int8DynamicConfig, ScaleDtype, SmoothQuantConfig, column_max_abs, int8_per_channel, smooth_scale,
};

/// Rounds weights per output channel.
pub(crate) struct Int8Dynamic {
    config: Int8DynamicConfig,
    pool: ThreadPool,
}

impl GroupTechnique for Int8Dynamic {
    const ID: &'static str = "int8-dynamic";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities =
        Capabilities::NEEDS_DENSE.and(Capabilities::KEEPS_MASK).and(Capabilities::DETERMINISTIC);
    type Config = Int8DynamicConfig;

    fn new(config: Int8DynamicConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        Ok(Self { config, pool: host.thread_pool("quant")? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        factors::refuse_composed(Self::ID, descriptor)
    }

    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        largest(group)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        emit(&self.pool, group, None, self.config.scale_dtype, out)
    }
}

/// Moves outliers of the activations into the weights first.
pub(crate) struct SmoothQuant {
    config: SmoothQuantConfig,
    pool: ThreadPool,
}

impl GroupTechnique for SmoothQuant {
    const ID: &'static str = "smoothquant";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_MOMENTS
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::KEEPS_MASK)
        .and(Capabilities::DETERMINISTIC);
    type Config = SmoothQuantConfig;

    fn new(config: SmoothQuantConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("quant")? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        factors::refuse_composed(Self::ID, descriptor)
    }

    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        largest(group)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let Some(first) = group.linears().first() else { return Ok(()) };
        let producer = group.producer()?;
        if producer.is_none() && !self.config.run_time_scales {
            let note = "no scales: nothing that produces its input takes them (run_time_scales)";
            out.host().log(LogLevel::Info, &format!("{}: {note}", first.name()));
            return emit(&self.pool, group, None, self.config.scale_dtype, out);
        }
        let mut input_max = group.moments()?.max_abs.to_vec();
        let mut weight_max = vec![0.0f32; group.in_features()];
        for linear in group.linears() {
            column_max_abs(linear.dense()?, &mut weight_max);
        }
        if let Some(producer) = &producer {
            share_largest(&mut input_max, producer);
            share_largest(&mut weight_max, producer);
        }
        let scale = smooth_scale(&input_max, &weight_max, self.config.alpha);
        if let Some(channel) = scale.iter().position(|s| !s.is_finite()) {
            let message = format!("{}: the scale of input channel {channel} is not finite", first.name());
            return Err(TechniqueError::numerical(message));
        }
        emit(&self.pool, group, Some(&scale), self.config.scale_dtype, out)
    }
}

/// Channels that come from one channel of the producer share its scale, and so the largest of their magnitudes.
fn share_largest(values: &mut [f32], producer: &[usize]) {
    let mut largest = vec![0.0f32; producer.iter().max().map_or(0, |most| most + 1)];
    for (value, &channel) in values.iter().zip(producer) {
        largest[channel] = largest[channel].max(*value);
    }
    for (value, &channel) in values.iter_mut().zip(producer) {
        *value = largest[channel];
    }
}

/// The codes of the largest member.
fn largest(group: &GroupShape) -> Option<u64> {
    group.linears.iter().map(|l| l.shape[0] as u64 * l.shape[1] as u64).max()
}

fn emit(
    pool: &ThreadPool,
    group: &Group<'_>,
    scale: Option<&[f32]>,
    scale_dtype: ScaleDtype,
    out: &mut Emitter<'_>,
) -> Result<(), TechniqueError> {
    let total = group.linears().len() as u64;
    for (done, linear) in (0..).zip(group.linears()) {
        out.host().check_cancelled()?;
        out.host().progress(done, total, linear.name());
        let dense = linear.dense()?;
        let dtype = scale_dtype.resolve(stored_dtype(linear));
        let rounded = pool.install(|| int8_per_channel(dense, linear.shape(), scale, dtype));
        let rounded = rounded.map_err(|e| report::failure(linear.name(), &e))?;
        out.emit(linear.name(), &rounded)?;
        if let Some(scale) = scale {
            out.fold(linear.name(), scale)?;
        }
    }
    Ok(())
}
