//! Speed and memory of models side by side.

use crate::error::RunError;
use crate::observer::Observer;
use std::ffi::OsString;
use std::path::Path;
use tenuis_eval::Noise;
use tenuis_eval::memory::{Memory, Probe};
use tenuis_eval::quality::Subject;
use tenuis_eval::speed::{self, LoadProtocol, Speed, SpeedProtocol, SweepLimits};
use tenuis_model::Model;

/// How speed and memory are measured.
#[derive(Clone, Debug, Default)]
pub struct MeasureRequest {
    /// How speed is measured; not at all where absent.
    pub speed: Option<SpeedRequest>,
    /// How to start the process that measures memory; not measured where absent.
    pub memory: Option<MemoryProbe>,
    /// Whether fresh processes are timed to their first token, with files cold and warm.
    pub starts: bool,
}

/// How speed is measured, as far as it is not by default.
#[derive(Clone, Debug, Default)]
pub struct SpeedRequest {
    /// Counted rounds.
    pub repeats: Option<usize>,
    /// Tokens of the prompt and of the generation.
    pub lengths: Option<(usize, usize)>,
    /// Batch sizes and lengths to try.
    pub sweep: Option<SweepLimits>,
    /// Requests that come by themselves.
    pub load: Option<LoadProtocol>,
    /// Whether time is attributed to operations.
    pub profile: bool,
}

impl MeasureRequest {
    /// Refuses lengths that the model has no positions for.
    pub(crate) fn check(&self, model: &Model) -> Result<(), RunError> {
        if self.speed.is_some() || self.memory.is_some() {
            self.protocol(model.spec().max_positions).check(model)?;
        }
        Ok(())
    }

    fn protocol(&self, max_positions: usize) -> SpeedProtocol {
        let mut protocol = SpeedProtocol::for_positions(max_positions);
        let Some(asked) = &self.speed else { return protocol };
        if let Some((prompt, decode)) = asked.lengths {
            protocol = protocol.with_lengths(prompt, decode);
        }
        if let Some(repeats) = asked.repeats {
            protocol = protocol.with_repeats(repeats);
        }
        protocol.with_sweep(asked.sweep).with_load(asked.load).with_profile(asked.profile)
    }
}

/// How to start a child process for a model directory.
#[derive(Clone, Debug)]
pub struct MemoryProbe {
    /// The program and the arguments of an empty process.
    pub probe: Probe,
    /// Arguments before the model's directory and the numbers of prompt and decoding tokens.
    pub prefix: Vec<OsString>,
}

impl MemoryProbe {
    fn measure(
        &self,
        subject: Subject<'_>,
        dir: &Path,
        protocol: &SpeedProtocol,
        starts: bool,
    ) -> Result<Memory, RunError> {
        let mut arguments = self.prefix.clone();
        arguments.extend([dir.into(), protocol.prompt_tokens.to_string().into()]);
        arguments.push(protocol.decode_tokens.to_string().into());
        let mut memory = self.probe.measure(&arguments, protocol.memory())?;
        if starts {
            let checkpoint = subject.model.checkpoint();
            // Pages that this process has mapped cannot leave the page cache.
            checkpoint.release(checkpoint.names());
            let files = checkpoint.shard_files().map(Path::to_owned).collect();
            memory.start = Some(self.probe.start_times(&arguments, files)?);
        }
        Ok(memory)
    }
}

/// What was measured of models, in their order.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) protocol: SpeedProtocol,
    pub(crate) speeds: Vec<Option<Speed>>,
    pub(crate) memories: Vec<Option<Memory>>,
    pub(crate) noise: Option<Noise>,
}

/// Measures speed, then memory, each as far as it was asked for. The first model decides the lengths.
pub(crate) fn resources(
    request: &MeasureRequest,
    subjects: &[Subject<'_>],
    dirs: &[&Path],
    observer: &dyn Observer,
) -> Result<Resources, RunError> {
    let max_positions = subjects.iter().map(|s| s.model.spec().max_positions).min().unwrap_or_default();
    let protocol = request.protocol(max_positions);
    let (mut speeds, mut noise) = (vec![None; subjects.len()], None);
    let stopped = || if observer.cancelled() { Err(RunError::Cancelled) } else { Ok(()) };
    if request.speed.is_some() {
        stopped()?;
        observer.begin("measuring speed", protocol.steps(subjects.len()) as u64);
        let measured = speed::measure(subjects, &protocol, |n| observer.advance(n as u64))?;
        observer.end();
        speeds = measured.speeds.into_iter().map(Some).collect();
        noise = Some(measured.noise);
    }
    let mut memories = vec![None; subjects.len()];
    if let Some(probe) = &request.memory {
        observer.begin("measuring memory", subjects.len() as u64);
        for ((memory, subject), dir) in memories.iter_mut().zip(subjects).zip(dirs) {
            stopped()?;
            *memory = Some(probe.measure(*subject, dir, &protocol, request.starts)?);
            observer.advance(1);
        }
        observer.end();
    }
    Ok(Resources { protocol, speeds, memories, noise })
}
