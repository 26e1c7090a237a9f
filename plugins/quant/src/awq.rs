//! `awq`: scales the input channels that matter, by a search on the parent module's output, then rounds.

use crate::{emit, factors, report, stored_dtype};
use rayon::ThreadPool;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{
    Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, LogLevel, Rows, TechniqueError,
};
use tenuis_quant::{
    AwqConfig, FoundScale, QuantError, awq_clip_while, awq_round, search_scale, share_channels,
};

/// AWQ: one scale serves every member of a group, and the host folds it into what produces their input.
///
/// A pruned weight stays zero: every grid holds zero, and neither scales nor limits move it.
pub(crate) struct Awq {
    config: AwqConfig,
    pool: ThreadPool,
    /// Rows of the group's input that the clipping is searched on, row-major.
    sample: Vec<f32>,
    /// Every so many rows one is taken.
    stride: u64,
    /// Rows that were seen.
    seen: u64,
}

/// What stops a search: the host or the numbers.
enum Stop {
    Host(TechniqueError),
    Quant(QuantError),
}

impl From<QuantError> for Stop {
    fn from(error: QuantError) -> Self {
        Self::Quant(error)
    }
}

impl From<TechniqueError> for Stop {
    fn from(error: TechniqueError) -> Self {
        Self::Host(error)
    }
}

impl Stop {
    fn about(self, name: &str) -> TechniqueError {
        match self {
            Self::Host(error) => error,
            Self::Quant(error) => report::failure(name, &error),
        }
    }
}

impl GroupTechnique for Awq {
    const ID: &'static str = "awq";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_MOMENTS
        .and(Capabilities::NEEDS_INPUTS)
        .and(Capabilities::NEEDS_OUT_LOSS)
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::KEEPS_MASK)
        .and(Capabilities::DETERMINISTIC);
    type Config = AwqConfig;

    fn new(config: AwqConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("quant")?, sample: Vec::new(), stride: 1, seen: 0 })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        factors::refuse_composed(Self::ID, descriptor)
    }

    /// The scaled copy of the largest weight in f64, its codes, and the sampled inputs twice.
    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        let features = group.linears.first()?.shape[1] as u64;
        let largest = group.linears.iter().map(|l| l.shape[0] as u64).max()? * features;
        Some(10 * largest + 16 * features * self.config.clip_tokens as u64)
    }

    fn begin(&mut self, group: &Group<'_>, _host: &Host<'_>) -> Result<(), TechniqueError> {
        self.sample.clear();
        self.seen = 0;
        self.stride = (group.rows() / self.config.clip_tokens as u64).max(1);
        Ok(())
    }

    fn tile(&mut self, rows: Rows<'_>, _host: &Host<'_>) -> Result<(), TechniqueError> {
        for row in rows.values.chunks_exact(rows.in_features.max(1)) {
            if self.config.clip && self.seen.is_multiple_of(self.stride) && row.iter().all(|x| x.is_finite())
            {
                self.sample.extend_from_slice(row);
            }
            self.seen += 1;
        }
        Ok(())
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let Some(first) = group.linears().first() else { return Ok(()) };
        let mut config = self.config.clone();
        config.scale_dtype = config.scale_dtype.resolve(stored_dtype(first));
        let producer = group.producer()?;
        let mut found = FoundScale::ones(group.in_features());
        if config.scale && (producer.is_some() || config.run_time_scales) {
            let mut mean_abs = mean_abs(group)?;
            if let Some(producer) = &producer {
                share_channels(&mut mean_abs, producer);
            }
            let mut tried = 0;
            let search = search_scale(&mean_abs, &config, |scale| -> Result<f64, Stop> {
                out.host().progress(tried, u64::from(config.grid) + 1, first.name());
                tried += 1;
                for linear in group.linears() {
                    out.host().check_cancelled()?;
                    let dense = linear.dense()?;
                    let rounded =
                        self.pool.install(|| awq_round(dense, linear.shape(), scale, None, &config))?;
                    out.emit(linear.name(), &rounded)?;
                    out.fold(linear.name(), &narrow(scale))?;
                }
                Ok(out.out_loss()?)
            });
            found = search.map_err(|stop| stop.about(first.name()))?;
            tell(out.host(), first.name(), &found);
        } else if config.scale {
            let note = "no scales: nothing that produces its input takes them (run_time_scales)";
            out.host().log(LogLevel::Info, &format!("{}: {note}", first.name()));
        }
        self.emit(group, &found.scale, &config, out)
    }
}

impl Awq {
    /// Emits every member, rounded within searched limits where those are wanted.
    fn emit(
        &self,
        group: &Group<'_>,
        scale: &[f64],
        config: &AwqConfig,
        out: &mut Emitter<'_>,
    ) -> Result<(), TechniqueError> {
        let inputs: Vec<f32> = self
            .sample
            .chunks_exact(scale.len().max(1))
            .flat_map(|row| row.iter().zip(scale).map(|(x, s)| (f64::from(*x) / s) as f32))
            .collect();
        for linear in group.linears() {
            out.host().check_cancelled()?;
            let (dense, shape) = (linear.dense()?, linear.shape());
            let failure = |e: QuantError| report::failure(linear.name(), &e);
            let mut clip = None;
            if config.clips(linear.name()) && !inputs.is_empty() {
                let host = out.host();
                let go_on = || !host.cancelled();
                let work = || awq_clip_while(dense, shape, scale, &inputs, config, &go_on);
                clip = Some(self.pool.install(work).map_err(failure)?);
            }
            let rounded = self.pool.install(|| awq_round(dense, shape, scale, clip.as_ref(), config));
            let rounded = rounded.map_err(failure)?;
            emit(out, linear, &rounded)?;
            // Even where it is 1 everywhere: the search has left another one.
            out.fold(linear.name(), &narrow(scale))?;
        }
        Ok(())
    }
}

/// The scales as the host takes them; each is an f32 already.
fn narrow(scale: &[f64]) -> Vec<f32> {
    scale.iter().map(|&s| s as f32).collect()
}

/// `mean|x|` of every input channel.
fn mean_abs(group: &Group<'_>) -> Result<Vec<f64>, TechniqueError> {
    let rows = group.rows().max(1) as f64;
    Ok(group.moments()?.sum_abs.iter().map(|&sum| f64::from(sum) / rows).collect())
}

/// Reports what the search found, under the name of the first member.
fn tell(host: &Host<'_>, name: &str, found: &FoundScale) {
    if let Some(reason) = &found.fallback {
        host.metric(&format!("{name}/fallback"), 1.0);
        host.log(LogLevel::Warn, &format!("{name}: rounded without AWQ's scales: {reason}"));
        return;
    }
    host.metric(&format!("{name}/awq_ratio"), found.ratio);
    let finite = found.losses.iter().copied().filter(|loss| loss.is_finite());
    host.metric(&format!("{name}/out_loss"), finite.fold(f64::INFINITY, f64::min));
    host.metric(&format!("{name}/out_loss_unscaled"), found.losses.first().copied().unwrap_or(f64::NAN));
}
