//! Calibration batches on their way through the blocks.

use super::resume::Progress;
use crate::calibration::Calibration;
use crate::error::RunError;
use candle_core::Tensor;
use rayon::prelude::*;
use tenuis_linalg::{LayerStats, StatsNeeds};
use tenuis_model::{Block, Model, Tap};
use tenuis_spec::InputGroup;

/// More dropped batches than this share of all mean that the model overflows on the text.
const MAX_DROPPED_SHARE: f64 = 0.1;
/// Batches that a candidate weight is scored on by the parent module's output.
const LOSS_BATCHES: usize = 2;

/// The hidden states of every calibration batch at the input of the current block.
pub(crate) struct Stream {
    hidden: Vec<Tensor>,
    /// Batches that any group dropped, at most over all blocks.
    dropped: u64,
    rows: u64,
    /// What an earlier run has kept of the hidden states behind its last block.
    kept: Option<Vec<Tensor>>,
}

/// Feeds the inputs of some groups into statistics.
struct StatsTap<'a> {
    /// By group; `None` where the group is not wanted.
    slots: Vec<Option<&'a mut LayerStats>>,
    error: Option<tenuis_linalg::StatsError>,
}

impl Tap for StatsTap<'_> {
    fn input(&mut self, group: usize, x: &[f32]) {
        // An expert that no token of the batch was given to.
        if x.is_empty() {
            return;
        }
        if let Some(Some(stats)) = self.slots.get_mut(group)
            && let Err(error) = stats.update(x)
        {
            self.error = Some(error);
        }
    }
}

/// Copies the input of one group.
struct CopyTap {
    group: usize,
    rows: Vec<f32>,
}

impl Tap for CopyTap {
    fn input(&mut self, group: usize, x: &[f32]) {
        if group == self.group {
            self.rows = x.to_vec();
        }
    }
}

impl Stream {
    /// Embeds every batch.
    pub(crate) fn start(model: &Model, calibration: &Calibration) -> Result<Self, RunError> {
        let seq = calibration.seq_len();
        let hidden = calibration
            .batches()
            .iter()
            .map(|tokens| model.embed(tokens, tokens.len() / seq, seq, 0))
            .collect::<Result<_, _>>()?;
        Ok(Self { hidden, dropped: 0, rows: calibration.tokens() as u64, kept: None })
    }

    /// The hidden states, batch by batch.
    pub(crate) fn hidden(&self) -> &[Tensor] {
        &self.hidden
    }

    /// Goes past a block that an earlier run has finished: to the hidden states that it kept, or through the block where it
    /// kept none. `done` blocks lie behind it then.
    pub(super) fn follow(&mut self, block: &Block, done: usize, progress: &Progress) -> Result<(), RunError> {
        if done == 1 {
            self.kept = progress.hidden().filter(|kept| kept.len() == self.hidden.len());
            self.dropped = progress.dropped();
        }
        match self.kept.take() {
            None => self.advance(block)?,
            Some(kept) if done == progress.finished() => self.hidden = kept,
            kept => self.kept = kept,
        }
        Ok(())
    }

    /// Batches that were dropped because an activation was not finite.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Tokens in all batches.
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Runs every batch through the block and gathers the statistics of the wanted groups, one result for each.
    pub(crate) fn collect(
        &mut self,
        block: &Block,
        index: usize,
        groups: &[InputGroup],
        wanted: &[usize],
        needs: StatsNeeds,
    ) -> Result<Vec<Option<LayerStats>>, RunError> {
        let mut stats: Vec<LayerStats> =
            wanted.iter().map(|&g| LayerStats::new(groups[g].in_features(), needs)).collect();
        for hidden in self.hidden.iter().filter(|_| !wanted.is_empty()) {
            let mut slots: Vec<Option<&mut LayerStats>> = groups.iter().map(|_| None).collect();
            for (&group, stats) in wanted.iter().zip(&mut stats) {
                slots[group] = Some(stats);
            }
            let mut tap = StatsTap { slots, error: None };
            block.forward(hidden, Some(&mut tap))?;
            if let Some(source) = tap.error {
                return Err(RunError::Statistics { block: index, source });
            }
        }
        for stats in &stats {
            self.check_dropped(index, stats)?;
        }
        Ok(stats.into_iter().map(Some).collect())
    }

    /// Runs every batch through the block once, gathers the statistics of every group, moves on to the block's outputs, and
    /// gives the mean cosine of a token's hidden state before and after the block (Men et al. 2024, arXiv 2403.03853).
    ///
    /// Tokens whose state is zero or not finite on either side are left out of the mean; it is NaN where none is left.
    pub(crate) fn observe(
        &mut self,
        block: &Block,
        index: usize,
        groups: &[InputGroup],
        needs: &[StatsNeeds],
    ) -> Result<(Vec<LayerStats>, f64), RunError> {
        let mut stats: Vec<LayerStats> =
            groups.iter().zip(needs).map(|(g, &needs)| LayerStats::new(g.in_features(), needs)).collect();
        let (mut sum, mut count) = (0.0, 0usize);
        for hidden in &mut self.hidden {
            let mut tap = StatsTap { slots: stats.iter_mut().map(Some).collect(), error: None };
            let output = block.forward(hidden, Some(&mut tap))?;
            if let Some(source) = tap.error {
                return Err(RunError::Statistics { block: index, source });
            }
            for cosine in cosines(hidden, &output, block.spec().d_model)? {
                sum += cosine;
                count += 1;
            }
            *hidden = output;
        }
        for stats in &stats {
            self.check_dropped(index, stats)?;
        }
        Ok((stats, sum / count as f64))
    }

    /// The statistics of one more Linear's input: the head's, behind the final norm.
    pub(crate) fn collect_final(&self, model: &Model, needs: StatsNeeds) -> Result<LayerStats, RunError> {
        let blocks = model.spec().layers.len();
        let mut stats = LayerStats::new(model.spec().d_model, needs);
        for hidden in &self.hidden {
            let x = model.final_norm(hidden)?;
            let x =
                x.flatten_all().and_then(|x| x.to_vec1::<f32>()).map_err(tenuis_model::ModelError::from)?;
            stats.update(&x).map_err(|source| RunError::Statistics { block: blocks, source })?;
        }
        Ok(stats)
    }

    fn check_dropped(&mut self, block: usize, stats: &LayerStats) -> Result<(), RunError> {
        let (dropped, batches) = (stats.dropped_batches(), stats.batches());
        self.dropped = self.dropped.max(dropped);
        if dropped as f64 > MAX_DROPPED_SHARE * batches as f64 {
            return Err(RunError::NonFiniteActivations { block, dropped, batches });
        }
        Ok(())
    }

    /// Replaces the hidden states by the block's outputs.
    pub(crate) fn advance(&mut self, block: &Block) -> Result<(), RunError> {
        for hidden in &mut self.hidden {
            *hidden = block.forward(hidden, None)?;
        }
        Ok(())
    }

    /// The inputs of one group, batch by batch, each made when it is asked for.
    pub(crate) fn tiles<'a>(&'a self, block: &'a Block, group: usize) -> impl Iterator<Item = Vec<f32>> + 'a {
        let rows = self.hidden.iter().map_while(move |hidden| {
            let mut tap = CopyTap { group, rows: Vec::new() };
            block.forward(hidden, Some(&mut tap)).ok().map(|_| tap.rows)
        });
        rows.filter(|rows| !rows.is_empty())
    }

    /// The inputs of the head, batch by batch.
    pub(crate) fn final_tiles<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = Vec<f32>> + 'a {
        self.hidden
            .iter()
            .map_while(|hidden| model.final_norm(hidden).ok()?.flatten_all().ok()?.to_vec1::<f32>().ok())
    }

    /// The first batches' hidden states, on which candidates are scored.
    pub(crate) fn sample(&self) -> &[Tensor] {
        &self.hidden[..self.hidden.len().min(LOSS_BATCHES)]
    }
}

/// The cosine of each row of `[rows, width]` before and after; rows without a direction are left out.
fn cosines(before: &Tensor, after: &Tensor, width: usize) -> Result<Vec<f64>, RunError> {
    let values = |tensor: &Tensor| {
        tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(tenuis_model::ModelError::from)
    };
    let (before, after) = (values(before)?, values(after)?);
    let rows = before.par_chunks(width).zip(after.par_chunks(width));
    let cosine = |(x, y): (&[f32], &[f32])| {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
    };
    // Collected in order: the sum does not depend on the number of threads.
    let all: Vec<f64> = rows.map(cosine).collect();
    Ok(all.into_iter().filter(|cosine| cosine.is_finite()).collect())
}
