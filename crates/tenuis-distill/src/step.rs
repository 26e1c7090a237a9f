//! The loss of a batch and its gradients.

use crate::error::TrainError;
use crate::matching::{Match, match_blocks};
use crate::network::{Extent, Network};
use crate::objective::Objective;
use crate::ops::divergence::Distil;
use crate::ops::loss::{HeadLoss, Parts};
use crate::ops::seed::seed;
use crate::options::TrainOptions;
use crate::teacher::{Answer, Teacher};
use crate::trainer::Texts;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use std::collections::BTreeSet;
use tenuis_spec::Positions;

/// The terms of an objective on a batch: means over its tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) loss: f64,
    pub(crate) nll: f64,
    pub(crate) divergence: f64,
    pub(crate) hidden: f64,
}

impl Terms {
    pub(crate) fn add(&mut self, other: &Self, share: f64) {
        self.loss += share * other.loss;
        self.nll += share * other.nll;
        self.divergence += share * other.divergence;
        self.hidden += share * other.hidden;
    }
}

/// Computes losses and gradients of a network toward an objective.
pub(crate) struct Stepper<'a> {
    network: &'a mut Network,
    teacher: Option<&'a mut dyn Teacher>,
    objective: &'a Objective,
    options: &'a TrainOptions,
    /// One for every student block, where hidden states are matched at all.
    matches: Vec<Match>,
}

impl<'a> Stepper<'a> {
    pub(crate) fn new(
        network: &'a mut Network,
        teacher: Option<&'a mut dyn Teacher>,
        objective: &'a Objective,
        options: &'a TrainOptions,
    ) -> Result<Self, TrainError> {
        let student = network.spec();
        objective.validate(student.vocab, teacher.is_some())?;
        network.check_rounded()?;
        if let Positions::Learned { rows, offset, .. } = &student.positions
            && options.seq_len + offset > *rows
        {
            let value = options.seq_len.to_string();
            let allowed = "at most the positions that the model has learned";
            return Err(TrainError::Option { option: "seq_len", value, allowed });
        }
        if network.params.trained().next().is_none() {
            return Err(TrainError::NothingToTrain {
                patterns: Vec::new(),
                names: network.params.names().count(),
                example: network.params.names().next().unwrap_or_default().to_owned(),
            });
        }
        let mut matches = Vec::new();
        if let Some(teacher) = &teacher {
            if teacher.vocab() != student.vocab {
                return Err(TrainError::Vocabulary { teacher: teacher.vocab(), student: student.vocab });
            }
            if let Some((k, temperature)) = teacher.top_k()
                && (objective.top_k, objective.temperature) != (Some(k), temperature)
            {
                let value = format!("{:?} at temperature {}", objective.top_k, objective.temperature);
                let allowed = "that of the cached teacher, and so must the temperature";
                return Err(TrainError::Option { option: "top_k", value, allowed });
            }
            if objective.hidden > 0.0 {
                matches = match_blocks(
                    student.layers.len(),
                    student.d_model,
                    &**teacher,
                    objective,
                    options.seed.unwrap_or_default(),
                )?;
            }
        }
        Ok(Self { network, teacher, objective, options, matches })
    }

    /// What is trained: parameters by name, then projections.
    pub(crate) fn trained(&self) -> Vec<(&str, &Var)> {
        let projections = self.matches.iter().filter_map(|m| m.projection.as_ref());
        self.network.params.trained().chain(projections.map(|(name, var)| (name.as_str(), var))).collect()
    }

    /// A hash of everything that decides the course of the run.
    pub(crate) fn fingerprint(&self, texts: &Texts) -> Result<String, TrainError> {
        let mut hasher = blake3::Hasher::new();
        let network = &*self.network;
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(format!("{:?}\n{:?}\n{:?}", self.options, self.objective, network.spec()).as_bytes());
        for sequences in std::iter::once(&texts.train).chain(&texts.valid) {
            part(bytemuck::cast_slice(sequences.tokens()));
        }
        for name in network.params.names() {
            part(name.as_bytes());
            part(bytemuck::cast_slice(&network.params.values(name)?));
        }
        self.trained().iter().for_each(|(name, _)| part(name.as_bytes()));
        for (module, rounding) in &network.rounded {
            part(format!("{module} {}", rounding.identity()).as_bytes());
        }
        for (module, adapter) in &network.adapters {
            part(format!("{module} {}", adapter.scale()).as_bytes());
        }
        if let Some(teacher) = &self.teacher {
            let size = (teacher.vocab(), teacher.blocks(), teacher.width());
            part(format!("{size:?} {:?}", teacher.identity()).as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The objective on a batch and the gradient of `factor` times it towards everything that is trained, in the order of
    /// [`Stepper::trained`].
    pub(crate) fn gradients(
        &mut self,
        sequences: &[usize],
        tokens: &[u32],
        targets: Vec<u32>,
        extent: Extent,
        factor: f64,
    ) -> Result<(Terms, Vec<Option<Tensor>>), TrainError> {
        let answer = self.ask(Some(sequences), tokens, extent)?;
        if self.options.checkpoint_blocks {
            self.by_block(answer, tokens, targets, extent, factor)
        } else {
            self.at_once(answer, tokens, targets, extent, factor)
        }
    }

    /// The objective on a batch.
    pub(crate) fn evaluate(
        &mut self,
        tokens: &[u32],
        targets: Vec<u32>,
        extent: Extent,
    ) -> Result<Terms, TrainError> {
        let answer = self.ask(None, tokens, extent)?;
        // Detached after every block, so that no more than one block's graph stands in memory.
        let mut x = self.network.embed(tokens, extent)?.detach();
        let mut hidden = 0.0;
        for index in 0..self.network.spec().layers.len() {
            x = self.network.block(index, &x, extent)?.detach();
            if let Some(loss) = self.hidden_loss(index, &x, answer.as_ref())? {
                hidden += f64::from(loss.to_scalar::<f32>()?);
            }
        }
        let normed = self.network.final_norm(&x)?.detach();
        let (loss, parts) = self.head_loss(&normed, answer, targets, false)?;
        Ok(self.terms(f64::from(loss.to_scalar::<f32>()?), hidden, parts))
    }

    fn ask(
        &mut self,
        sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
    ) -> Result<Option<Answer>, TrainError> {
        if !self.objective.needs_teacher() {
            return Ok(None);
        }
        let states: Vec<usize> = self.matches.iter().map(|m| m.source).collect();
        let Some(teacher) = &mut self.teacher else { return Ok(None) };
        let answer = teacher.answer(sequences, tokens, extent, &states)?;
        if answer.states.len() != states.len() {
            return Err(TrainError::Shape {
                name: "teacher states".to_owned(),
                expected: vec![states.len()],
                found: vec![answer.states.len()],
            });
        }
        Ok(Some(answer))
    }

    fn terms(&self, head_loss: f64, hidden: f64, parts: Parts) -> Terms {
        let n = parts.positions.max(1) as f64;
        let share = self.objective.hidden / self.matches.len().max(1) as f64;
        Terms {
            loss: head_loss + share * hidden,
            nll: parts.nll / n,
            divergence: parts.divergence / n,
            hidden: hidden / self.matches.len().max(1) as f64,
        }
    }

    fn head_loss(
        &self,
        normed: &Tensor,
        answer: Option<Answer>,
        targets: Vec<u32>,
        tracked: bool,
    ) -> Result<(Tensor, Parts), TrainError> {
        let spec = self.network.spec();
        let distil = answer.filter(|_| self.objective.kd > 0.0).map(|answer| Distil {
            weight: self.objective.kd as f32,
            divergence: self.objective.divergence,
            temperature: self.objective.temperature as f32,
            top_k: self.objective.top_k,
            teacher: answer.rows,
        });
        let mut loss = HeadLoss::new(targets.into(), self.objective.ce as f32, distil);
        loss.logit_scale = spec.logit_scale.unwrap_or(1.0) as f32;
        loss.softcap = spec.logit_softcap.map(|cap| cap as f32);
        let mut head = self.network.head()?;
        let mut normed = normed.clone();
        if let Some(bias) = self.network.head_bias()? {
            // One more input, which is always 1, has the bias as its column.
            let one = Tensor::ones((normed.dim(0)?, 1), normed.dtype(), normed.device())?;
            normed = Tensor::cat(&[&normed, &one], 1)?;
            head = Tensor::cat(&[&head, &bias.unsqueeze(1)?], 1)?;
        }
        Ok(loss.apply(&normed, &if tracked { head } else { head.detach() })?)
    }

    /// The mean squared error of a block's output, before its weight; nothing where the block is not matched.
    fn hidden_loss(
        &self,
        block: usize,
        x: &Tensor,
        answer: Option<&Answer>,
    ) -> Result<Option<Tensor>, TrainError> {
        let Some(at) = self.matches.iter().position(|m| m.block == block) else { return Ok(None) };
        let Some(state) = answer.and_then(|a| a.states.get(at)) else { return Ok(None) };
        self.matches[at].loss(x, state).map(Some)
    }

    fn at_once(
        &mut self,
        answer: Option<Answer>,
        tokens: &[u32],
        targets: Vec<u32>,
        extent: Extent,
        factor: f64,
    ) -> Result<(Terms, Vec<Option<Tensor>>), TrainError> {
        let share = self.objective.hidden / self.matches.len().max(1) as f64;
        let mut x = self.network.embed(tokens, extent)?;
        let (mut total, mut hidden) = (None::<Tensor>, 0.0);
        for index in 0..self.network.spec().layers.len() {
            x = self.network.block(index, &x, extent)?;
            if let Some(loss) = self.hidden_loss(index, &x, answer.as_ref())? {
                hidden += f64::from(loss.to_scalar::<f32>()?);
                let loss = (loss * (share * factor))?;
                total = Some(match total {
                    Some(total) => (total + loss)?,
                    None => loss,
                });
            }
        }
        let normed = self.network.final_norm(&x)?;
        drop(x);
        let (loss, parts) = self.head_loss(&normed, answer, targets, true)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        let loss = (loss * factor)?;
        let total = match total {
            Some(total) => (total + loss)?,
            None => loss,
        };
        drop(normed);
        let mut store = total.backward()?;
        let grads = self.trained().into_iter().map(|(_, var)| store.remove(var)).collect();
        Ok((self.terms(value, hidden, parts), grads))
    }

    /// The first block that a gradient must come back to; all of them where hidden states are matched or the embedding is
    /// trained.
    fn first_trained_block(&self, embedding: bool) -> usize {
        if embedding || !self.matches.is_empty() {
            return 0;
        }
        let network = &*self.network;
        let trained: BTreeSet<&str> = network.params.trained().map(|(name, _)| name).collect();
        let is_trained = |layer: &tenuis_spec::LayerSpec| {
            let own = layer.tensors().iter().any(|t| trained.contains(t.name.as_str()));
            own || layer.linears().iter().any(|l| network.adapters.contains_key(&l.name))
        };
        let layers = &network.spec().layers;
        layers.iter().position(is_trained).unwrap_or(layers.len())
    }

    /// As [`Stepper::at_once`] with the graph of one block at a time: only the blocks' inputs are kept.
    fn by_block(
        &mut self,
        answer: Option<Answer>,
        tokens: &[u32],
        targets: Vec<u32>,
        extent: Extent,
        factor: f64,
    ) -> Result<(Terms, Vec<Option<Tensor>>), TrainError> {
        let share = self.objective.hidden / self.matches.len().max(1) as f64;
        let blocks = self.network.spec().layers.len();
        let embedded = self.network.embed(tokens, extent)?;
        let (embedding, mut x) = (embedded.track_op(), embedded.detach());
        drop(embedded);
        let mut inputs = Vec::with_capacity(blocks);
        for index in 0..blocks {
            let next = self.network.block(index, &x, extent)?.detach();
            inputs.push(std::mem::replace(&mut x, next));
        }
        let first = self.first_trained_block(embedding);
        let mut grads: Vec<Option<Tensor>> = vec![None; self.trained().len()];
        let last = Var::from_tensor(&x)?;
        drop(x);
        let mut hidden = 0.0;
        let states = answer.as_ref().map(|a| Answer { rows: a.rows.clone(), states: a.states.clone() });
        let normed = self.network.final_norm(last.as_tensor())?;
        let (loss, parts) = self.head_loss(&normed, answer, targets, true)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        let mut store = (loss * factor)?.backward()?;
        let mut grad = self.collect(&mut store, &last, &mut grads)?;
        for index in (first..blocks).rev() {
            let input = Var::from_tensor(&inputs[index])?;
            inputs.truncate(index);
            let output = self.network.block(index, input.as_tensor(), extent)?;
            let mut total = seed(&output, grad)?;
            if let Some(loss) = self.hidden_loss(index, &output, states.as_ref())? {
                hidden += f64::from(loss.to_scalar::<f32>()?);
                total = (total + (loss * (share * factor))?)?;
            }
            let mut store = total.backward()?;
            grad = self.collect(&mut store, &input, &mut grads)?;
        }
        if embedding {
            let mut store = seed(&self.network.embed(tokens, extent)?, grad)?.backward()?;
            self.merge(&mut store, &mut grads)?;
        }
        Ok((self.terms(value, hidden, parts), grads))
    }

    /// Takes the gradients of what is trained out of a store, and that of a block's input.
    fn collect(
        &self,
        store: &mut GradStore,
        input: &Var,
        grads: &mut [Option<Tensor>],
    ) -> Result<Tensor, TrainError> {
        self.merge(store, grads)?;
        match store.remove(input) {
            Some(grad) => Ok(grad),
            None => Ok(input.zeros_like()?),
        }
    }

    fn merge(&self, store: &mut GradStore, grads: &mut [Option<Tensor>]) -> Result<(), TrainError> {
        for ((_, var), grad) in self.trained().into_iter().zip(grads) {
            let Some(new) = store.remove(var) else { continue };
            *grad = Some(match grad.take() {
                Some(old) => (old + new)?,
                None => new,
            });
        }
        Ok(())
    }

    /// The gradients where all are there. In the first step a missing one is an error: a part of the network that cuts
    /// gradients off does so always.
    pub(crate) fn complete(
        &self,
        grads: Vec<Option<Tensor>>,
        first: bool,
    ) -> Result<Vec<Tensor>, TrainError> {
        let trained = self.trained();
        let missing = trained.iter().zip(&grads).filter(|(_, g)| g.is_none()).map(|((name, _), _)| *name);
        let names: Vec<String> = missing.map(str::to_owned).collect();
        if first && !names.is_empty() {
            return Err(TrainError::NoGradient { names });
        }
        trained
            .into_iter()
            .zip(grads)
            .map(|((_, var), grad)| grad.map_or_else(|| Ok(var.zeros_like()?), Ok))
            .collect()
    }
}
