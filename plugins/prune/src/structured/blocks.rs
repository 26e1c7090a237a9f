//! `prune-blocks`: fewer layers.

use super::network::{failure, spec, statistic};
use std::collections::BTreeMap;
use tenuis_plugin::{
    Capabilities, CheckpointView, FailureKind, Host, LogLevel, Model, ModelEmitter, ModelTechnique, Source,
    Statistics, TechniqueError,
};
use tenuis_prune::structured::{BlockConfig, BlockCriterion, block_influence, select_blocks};
use tenuis_spec::{DecoderSpec, LayerSpec};

/// Depth pruning. Nothing is cut, so it takes weights of any kind.
pub(crate) struct PruneBlocks {
    config: BlockConfig,
}

impl ModelTechnique for PruneBlocks {
    const ID: &'static str = "prune-blocks";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::USES_VALIDATION.and(Capabilities::DETERMINISTIC);
    type Config = BlockConfig;

    fn new(config: BlockConfig, _host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(|e| failure(&e))?;
        Ok(Self { config })
    }

    fn statistics(&self) -> Statistics {
        match (&self.config.remove, self.config.criterion) {
            (None, BlockCriterion::BlockInfluence) => Statistics::BLOCK_SIMILARITY,
            _ => Statistics::NONE,
        }
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let student = model.student();
        let spec = spec(student)?;
        let blocks = spec.layers.len();
        let remove = self.config.removed(blocks).map_err(|e| failure(&e))?;
        let keep = match (&self.config.remove, self.config.criterion) {
            (Some(list), _) => (0..blocks).filter(|block| !list.contains(block)).collect(),
            (None, BlockCriterion::Perplexity) => by_loss(student, &spec, remove, out)?,
            (None, _) => {
                let similarity = statistic(model, "block_similarity")?.to_f32()?;
                let influence = block_influence(&similarity);
                for (block, influence) in influence.iter().enumerate() {
                    out.host().metric(&format!("block {block}/influence"), *influence);
                }
                select_blocks(&influence, remove).map_err(|e| failure(&e))?
            }
        };
        emit(student, &spec, &keep, out)?;
        let host = out.host();
        for block in 0..blocks {
            host.metric(&format!("block {block}/kept"), f64::from(u8::from(keep.contains(&block))));
        }
        host.log(LogLevel::Info, &format!("kept blocks {keep:?} of {blocks}"));
        Ok(())
    }
}

/// Removes one block after the other, each time the one without which the loss is least.
fn by_loss(
    student: &CheckpointView<'_>,
    spec: &DecoderSpec,
    remove: usize,
    out: &mut ModelEmitter<'_>,
) -> Result<Vec<usize>, TechniqueError> {
    let mut keep: Vec<usize> = (0..spec.layers.len()).collect();
    let total: u64 = (0..remove).map(|gone| (keep.len() - gone) as u64).sum();
    let mut done = 0;
    for _ in 0..remove {
        let mut best: Option<(f64, usize)> = None;
        for place in 0..keep.len() {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, &format!("without block {}", keep[place]));
            let mut candidate = keep.clone();
            candidate.remove(place);
            emit(student, spec, &candidate, out)?;
            let loss = out.eval_loss()?.ok_or_else(|| {
                let problem =
                    "there is no text to measure the perplexity on; pass one to calibrate or validate on";
                TechniqueError::new(FailureKind::Unsupported, problem)
            })?;
            out.retract_all()?;
            done += 1;
            if !loss.is_finite() {
                host.log(LogLevel::Warn, &format!("without block {} the loss is {loss}", keep[place]));
            } else if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, place));
            }
        }
        let (loss, place) = best
            .ok_or_else(|| TechniqueError::numerical("the loss is not finite whichever block is removed"))?;
        out.host().metric(&format!("block {}/loss_without", keep[place]), loss);
        keep.remove(place);
    }
    Ok(keep)
}

/// Emits the network that has only some layers: everything stored of a kept layer moves to its new number, and what
/// is left under the old numbers goes.
fn emit(
    student: &CheckpointView<'_>,
    spec: &DecoderSpec,
    keep: &[usize],
    out: &mut ModelEmitter<'_>,
) -> Result<(), TechniqueError> {
    let kept = spec.keep_layers(&student.config()?, keep).map_err(TechniqueError::invalid)?;
    let prefixes: Vec<String> = spec.layers.iter().map(prefix).collect::<Result<_, _>>()?;
    let stored = stored(student);
    let below = |layer: usize| {
        let prefix = prefixes[layer].as_str();
        stored.iter().filter_map(move |name| Some((*name, name.strip_prefix(prefix)?)))
    };
    let mut moved: BTreeMap<String, &str> = BTreeMap::new();
    for (new, &old) in keep.iter().enumerate() {
        moved.extend(below(old).map(|(name, rest)| (format!("{}{rest}", prefixes[new]), name)));
    }
    for (name, _) in (0..prefixes.len()).flat_map(below) {
        if !moved.contains_key(name) {
            out.remove(name)?;
        }
    }
    for (new, old) in &moved {
        if new != old {
            out.emit_copy(new, Source::Student, old)?;
        }
    }
    out.set_config(&kept.config)
}

/// What is stored under names of their own: modules, and tensors that are no component of one.
fn stored<'v>(student: &'v CheckpointView<'_>) -> Vec<&'v str> {
    let component = |name: &str| {
        name.rsplit_once('.').is_some_and(|(module, suffix)| suffix != "bias" && student.has_weight(module))
    };
    let tensors = student.tensors().map(|(name, _)| name).filter(|name| !component(name));
    student.weights().map(|(module, _)| module).chain(tensors).collect()
}

/// What all names of a layer begin with, such as `model.layers.3.`.
fn prefix(layer: &LayerSpec) -> Result<String, TechniqueError> {
    let number = format!(".{}.", layer.index);
    let name = layer.attention.o.name.as_str();
    name.find(&number).map(|at| name[..at + number.len()].to_owned()).ok_or_else(|| {
        TechniqueError::invalid(format!("the name does not hold the layer's number {}", layer.index))
            .about(name)
    })
}
