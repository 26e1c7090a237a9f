//! `distill`: trains a student.

use crate::checkpoint::{compressed, failure, linears, network, product, spec};
use crate::config::DistillConfig;
use crate::emit::{Emission, dtypes};
use crate::observer::HostObserver;
use rayon::ThreadPoolBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{DType, Dense, GroupedInt, LowRank};
use tenuis_distill::{
    CachedTeacher, Network, NetworkTeacher, Outcome, Sequences, Teacher, Texts, TrainOptions, train,
};
use tenuis_plugin::{
    Capabilities, CheckpointView, FailureKind, Host, LogLevel, Model, ModelEmitter, ModelTechnique,
    TechniqueError, Tokens,
};

/// candle's `backward` walks the graph by recursion.
const STACK_BYTES: usize = 256 << 20;
/// Sequences that are read from the host at a time.
const READ: usize = 1024;

/// Distillation, recovery and quantisation-aware training.
pub(crate) struct Distill {
    config: DistillConfig,
}

/// A student before training.
struct Student {
    network: Network,
    /// Its configuration where it is a new network.
    config: Option<serde_json::Value>,
    /// Each of its tensors, and the one of the checkpoint it comes from.
    sources: Vec<(String, String)>,
    /// Whether it comes from the teacher.
    from_teacher: bool,
}

impl ModelTechnique for Distill {
    const ID: &'static str = "distill";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_TOKENS
        .and(Capabilities::NEEDS_TEACHER)
        .and(Capabilities::USES_VALIDATION)
        .and(Capabilities::DETERMINISTIC);
    type Config = DistillConfig;

    fn new(mut config: DistillConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        if let Some(rounding) = &config.quantize {
            rounding.validate().map_err(TechniqueError::invalid)?;
        }
        config.training.seed.get_or_insert(host.seed());
        Ok(Self { config })
    }

    /// Weights, gradients, two moments and, per token of a batch, what the backward pass needs again.
    fn estimate(&self, model: &Model<'_>) -> Option<u64> {
        let spec = spec(model.student()).ok()?;
        let options = &self.config.training;
        let parameters: u64 = spec.tensors().iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
        let tokens = (options.batch_size * options.seq_len) as u64;
        let width: u64 = spec.linears().map(|linear| (linear.shape[0] + linear.shape[1]) as u64).sum();
        let kept = if options.checkpoint_blocks { width / spec.layers.len().max(1) as u64 } else { width };
        Some(4 * (5 * parameters + 2 * tokens * kept))
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let host = out.host();
        let teacher = model.require_teacher()?;
        let mut student = self.student(model.student(), teacher)?;
        let longest = student.network.spec().max_positions;
        if self.config.training.seq_len > longest {
            self.config.training.seq_len = longest;
            host.log(
                LogLevel::Info,
                &format!("sequences have {longest} tokens: the model has no more positions"),
            );
        }
        let options = &self.config.training;
        let texts = texts(model, options, student.network.spec().vocab)?;
        let mut taught = if self.config.objective.needs_teacher() {
            Some(self.teacher(teacher, &texts, model.state_dir())?)
        } else {
            None
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(host.thread_budget())
            .stack_size(STACK_BYTES)
            .thread_name(|i| format!("distill-{i}"))
            .build()
            .map_err(|e| {
                TechniqueError::new(FailureKind::OutOfMemory, format!("cannot start threads: {e}"))
            })?;
        let per_step = options.batch_size * options.accumulate * options.seq_len;
        let mut observer = HostObserver::new(host, options.steps, per_step);
        let state: Option<&Path> = model.state_dir();
        let outcome = pool.install(|| {
            let teacher = taught.as_mut().map(|teacher| &mut **teacher as &mut dyn Teacher);
            let (network, objective) = (&mut student.network, &self.config.objective);
            train(network, teacher, &texts, objective, options, state, &mut observer)
        });
        let outcome = outcome.map_err(|e| failure(&e))?;
        report(host, &outcome, &student.network);
        emit(model.student(), teacher, student, out)
    }
}

impl Distill {
    /// The teacher, whose likeliest tokens are kept on disk where the objective asks for no more than those.
    fn teacher(
        &self,
        view: &CheckpointView<'_>,
        texts: &Texts,
        state: Option<&Path>,
    ) -> Result<Box<dyn Teacher>, TechniqueError> {
        let network = network(view, spec(view)?, str::to_owned)?;
        let teacher = NetworkTeacher::new(network).with_identity(view.hash().map(str::to_owned));
        let objective = &self.config.objective;
        Ok(match state.filter(|_| objective.top_k.is_some() && view.hash().is_some()) {
            Some(dir) => {
                Box::new(CachedTeacher::open(teacher, &texts.train, objective, dir).map_err(|e| failure(&e))?)
            }
            None => Box::new(teacher),
        })
    }

    /// The student, with what is trained chosen and what is rounded named.
    fn student(
        &self,
        given: &CheckpointView<'_>,
        teacher: &CheckpointView<'_>,
    ) -> Result<Student, TechniqueError> {
        let mut student = if let Some(keep) = &self.config.student.keep_layers {
            let whole = spec(teacher)?;
            let keep = keep.of(whole.layers.len());
            let kept = whole.keep_layers(&teacher.config()?, &keep).map_err(TechniqueError::invalid)?;
            let source = |name: &str| kept.sources.get(name).cloned().unwrap_or_else(|| name.to_owned());
            let network = network(teacher, kept.spec.clone(), source)?;
            let mut config = kept.config;
            if let Some(fields) = config.as_object_mut() {
                fields.remove("quantization_config");
            }
            let sources = kept.sources.into_iter().collect();
            Student { network, config: Some(config), sources, from_teacher: true }
        } else {
            let network = network(given, spec(given)?, str::to_owned)?;
            let tensors = network.spec().tensors().into_iter();
            let sources = tensors.map(|tensor| (tensor.name.clone(), tensor.name)).collect();
            Student { network, config: None, sources, from_teacher: false }
        };
        let network = &mut student.network;
        let all: Vec<_> = linears(network.spec()).collect();
        let mut products = BTreeMap::new();
        if !student.from_teacher {
            for linear in &all {
                if let Some(product) = product(given, &linear.name)? {
                    network.factor(&linear.name, &product).map_err(|e| failure(&e))?;
                    products.insert(linear.name.clone(), product);
                }
            }
        }
        match &self.config.lora {
            Some(lora) => network.add_adapters(lora, self.config.training.seed.unwrap_or_default()),
            None => network.params.train(&self.config.train.selection()),
        }
        .map_err(|e| failure(&e))?;
        let in_blocks: BTreeSet<String> = network.spec().linears().map(|linear| linear.name).collect();
        let trained: BTreeSet<String> = network.params.trained().map(|(name, _)| name.to_owned()).collect();
        for linear in all {
            let weight = linear.weight_name();
            if let Some(product) = products.get(&linear.name) {
                self.choose_grids(network, &linear.name, product, &trained)?;
                continue;
            }
            let learns =
                trained.contains(&weight) || trained.contains(&format!("{}.lora_A.weight", linear.name));
            let stored =
                if student.from_teacher { None } else { compressed_if(learns, given, &linear.name)? };
            match (stored, &self.config.quantize) {
                (Some(stored), _) => network.round_on(&linear.name, &stored).map_err(|e| failure(&e))?,
                (None, Some(rounding)) if in_blocks.contains(&linear.name) => {
                    let mut rounding = rounding.clone();
                    rounding.group_size.resolve(linear.shape[1]).map_err(TechniqueError::invalid)?;
                    let view = if student.from_teacher { teacher } else { given };
                    let stored = view.tensor(&weight).map_or(DType::F32, tenuis_plugin::TensorView::dtype);
                    rounding.scale_dtype = rounding.scale_dtype.resolve(stored);
                    network.round(&linear.name, rounding);
                }
                _ => {}
            }
        }
        Ok(student)
    }

    /// Says on which grids the factors of a product are rounded: on their own where they are integers that are trained, on
    /// new ones where the stage is to quantise.
    fn choose_grids(
        &self,
        network: &mut Network,
        module: &str,
        product: &LowRank,
        trained: &BTreeSet<String>,
    ) -> Result<(), TechniqueError> {
        if trained.contains(&format!("{module}.lora_A.weight")) {
            let problem = "is low-rank already and takes no adapter; train its factors: train = \"factors\"";
            return Err(TechniqueError::unsupported(problem).about(module));
        }
        for (which, factor) in [("b", product.b()), ("a", product.a())] {
            let name = format!("{module}.{which}");
            if let Some(integers) = factor.downcast::<GroupedInt>() {
                if trained.contains(&format!("{name}.weight")) {
                    network.round_on(&name, integers).map_err(|e| failure(&e))?;
                }
            } else if let (Some(rounding), Some(dense)) = (&self.config.quantize, factor.downcast::<Dense>())
            {
                let mut rounding = rounding.clone();
                rounding.group_size.resolve(factor.shape()[1]).map_err(TechniqueError::invalid)?;
                rounding.scale_dtype = rounding.scale_dtype.resolve(dense.dtype());
                network.round(&name, rounding);
            }
        }
        Ok(())
    }
}

fn emit(
    given: &CheckpointView<'_>,
    teacher: &CheckpointView<'_>,
    mut student: Student,
    out: &mut ModelEmitter<'_>,
) -> Result<(), TechniqueError> {
    let network = &mut student.network;
    let mut changed: BTreeSet<String> = network
        .params
        .trained()
        .map(|(name, _)| name.trim_end_matches(".lora_A.weight").to_owned())
        .collect();
    for linear in linears(network.spec()) {
        let factors = ["b", "a"].map(|which| format!("{}.{which}", linear.name));
        let learned = factors.iter().any(|factor| changed.contains(&format!("{factor}.weight")));
        let rounded = |module: &str| network.rounded().any(|rounded| rounded == module);
        if changed.contains(&linear.name)
            || learned
            || rounded(&linear.name)
            || factors.iter().any(|factor| rounded(factor))
        {
            changed.insert(linear.weight_name());
        }
    }
    network.merge_adapters().map_err(|e| failure(&e))?;
    let source = if student.from_teacher { teacher } else { given };
    let dtypes = dtypes(source, student.sources.into_iter());
    let changed = (!student.from_teacher).then_some(changed);
    Emission { network, given, changed, dtypes }.send(out)?;
    match student.config {
        Some(config) => out.set_config(&config),
        None => Ok(()),
    }
}

fn compressed_if(
    learns: bool,
    view: &CheckpointView<'_>,
    module: &str,
) -> Result<Option<tenuis_core::GroupedInt>, TechniqueError> {
    if learns { compressed(view, module) } else { Ok(None) }
}

/// The host's tokens, cut into the sequences that training wants.
fn texts(model: &Model<'_>, options: &TrainOptions, vocab: usize) -> Result<Texts, TechniqueError> {
    let cut = |which, tokens: &Tokens<'_>| -> Result<Sequences, TechniqueError> {
        let mut all: Vec<u32> = Vec::with_capacity(tokens.sequences() * tokens.sequence_length());
        for first in (0..tokens.sequences()).step_by(READ) {
            all.extend(tokens.read(first..(first + READ).min(tokens.sequences()))?);
        }
        let all: Arc<[u32]> = all.into();
        Sequences::new(which, all, options.seq_len, vocab).map_err(|e| failure(&e))
    };
    let train = cut("training", model.train_tokens()?)?;
    let valid = match model.valid_tokens() {
        Some(tokens) if options.valid_every > 0 || options.patience > 0 => Some(cut("validation", tokens)?),
        _ => None,
    };
    Ok(Texts { train, valid })
}

fn report(host: &Host<'_>, outcome: &Outcome, network: &Network) {
    let (trained, all) = network.params.counts();
    for (key, value) in [
        ("steps", outcome.steps as f64),
        ("skipped_steps", outcome.skipped as f64),
        ("tokens", outcome.tokens as f64),
        ("seconds", outcome.seconds),
        ("trained_parameters", trained as f64),
        ("parameters", all as f64),
    ] {
        host.metric(key, value);
    }
    if let Some(valid) = &outcome.valid {
        host.metric("valid_loss", valid.valid_loss);
        host.metric("valid_nll", valid.valid_nll);
        host.metric("valid_divergence", valid.valid_divergence);
    }
    if outcome.skipped > 0 {
        let line = format!("{} steps were skipped: loss or gradient not finite", outcome.skipped);
        host.log(LogLevel::Warn, &line);
    }
    if let Some(curve) = &outcome.curve {
        host.metric("curve_last", curve.last);
        host.metric("curve_doubled", curve.doubled);
        host.metric("curve_residual", curve.residual);
        host.log(LogLevel::Info, &format!("learning curve: {}", curve.sentence()));
    }
}
