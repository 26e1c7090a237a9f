//! One pass over the columns, block by block, for panels of rows in parallel.
//!
//! The mask of a block depends on all rows, so panels meet at every block. Within one they are independent.

use super::kernel::{Block, Choice, prune_columns};
use crate::select::{Cut, Score, cut, drop_below};
use crate::target::SparsityTarget;
use rayon::prelude::*;
use std::ops::Range;
use tenuis_linalg::{HessianFactor, MatMut, MatRef, multiply_add, transpose};
use tenuis_quant::{Grid, GridFit};

/// Rows of a panel. Fixed, so that the bits do not depend on the number of threads: large enough that a product with
/// `R` reads each of its elements for many rows, small enough that the panels of a layer keep many threads busy.
const PANEL_ROWS: usize = 128;

/// What a sweep works on.
pub(super) struct Task<'a, T> {
    pub(super) shape: [usize; 2],
    /// 0 where a weight is pruned already.
    pub(super) mask: Option<&'a [u8]>,
    pub(super) target: SparsityTarget,
    pub(super) block_size: usize,
    /// Columns whose input channel was never active.
    pub(super) dead: &'a [u32],
    pub(super) factor: &'a HessianFactor<T>,
    /// Rounds what is kept, where given.
    pub(super) fit: Option<&'a GridFit<T>>,
}

/// What a sweep finds.
pub(super) struct Outcome {
    /// `[out, in]`.
    pub(super) weight: Vec<f32>,
    /// `[out, in]`.
    pub(super) kept: Vec<u8>,
    /// `[out, in]`, `[out]` and `[out]` where values are rounded, else empty.
    pub(super) codes: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) zeros: Vec<u8>,
    /// `tr((W − Ŵ)(H + λI)(W − Ŵ)ᵀ)`, dead columns of `W` taken as zero.
    pub(super) damped_error: f64,
    /// `‖W − Ŵ‖²` over live columns.
    pub(super) live_error: f64,
    /// `‖W − Ŵ‖²` over all columns.
    pub(super) weight_error: f64,
}

/// Nothing where `go_on` said no before it was through.
pub(super) fn sweep<T: Score>(
    weight: &[f32],
    task: &Task<'_, T>,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Option<Outcome> {
    let [out_features, in_features] = task.shape;
    let width = in_features.max(1);
    let mut panels: Vec<Panel<T>> = weight
        .par_chunks(PANEL_ROWS * width)
        .enumerate()
        .map(|(index, weight)| {
            let from = index * PANEL_ROWS * width;
            let mask = task.mask.map(|mask| &mask[from..from + weight.len()]);
            Panel::new(weight, mask, task)
        })
        .collect();
    let starts: Vec<usize> = (0..in_features).step_by(task.block_size).collect();
    let inverses: Vec<Vec<T>> = starts
        .par_iter()
        .map(|&start| task.factor.inverse_block(start..in_features.min(start + task.block_size)))
        .collect();
    for (&start, inverse) in starts.iter().zip(&inverses) {
        if !go_on() {
            return None;
        }
        let columns = start..in_features.min(start + task.block_size);
        panels.par_iter_mut().for_each(|panel| panel.enter(columns.clone(), inverse, task));
        let choice = match task.target {
            SparsityTarget::NofM(pattern) => Choice::Groups { keep: pattern.kept(), of: pattern.of() },
            SparsityTarget::Share(share) => choose(&mut panels, out_features * columns.len(), share),
            SparsityTarget::Inherit => Choice::Made,
        };
        panels.par_iter_mut().for_each(|panel| panel.prune(columns.clone(), inverse, choice, task));
    }

    let rounded = task.fit.is_some();
    let mut outcome = Outcome {
        weight: vec![0.0; out_features * in_features],
        kept: vec![0; out_features * in_features],
        codes: vec![0; if rounded { out_features * in_features } else { 0 }],
        scales: panels.iter().flat_map(|p| p.grids.iter().map(|g| g.scale.as_f32())).collect(),
        zeros: panels.iter().flat_map(|p| p.grids.iter().map(|g| g.zero.as_f32() as u8)).collect(),
        damped_error: 0.0,
        live_error: 0.0,
        weight_error: 0.0,
    };
    let rows = PANEL_ROWS * width;
    let targets = outcome.weight.par_chunks_mut(rows).zip(outcome.kept.par_chunks_mut(rows));
    let errors: Vec<[f64; 3]> = panels
        .par_iter()
        .zip(targets)
        .zip(weight.par_chunks(rows))
        .map(|((panel, (values, kept)), weight)| panel.write(weight, values, kept, task.dead))
        .collect();
    if rounded {
        let parts = panels.par_iter().zip(outcome.codes.par_chunks_mut(rows));
        parts.for_each(|(panel, codes)| {
            transpose::<16, 8, _, _>(&panel.codes, panel.rows, codes, width, [width, panel.rows], |c| c);
        });
    }
    [outcome.damped_error, outcome.live_error, outcome.weight_error] =
        errors.iter().fold([0.0; 3], |sum, part| std::array::from_fn(|i| sum[i] + part[i]));
    Some(outcome)
}

/// Chooses the mask of a block of `total` weights from the scores of all panels.
fn choose<T: Score>(panels: &mut [Panel<T>], total: usize, share: f64) -> Choice {
    if share == 0.0 {
        return Choice::Above(None);
    }
    let count = ((total as f64 * share) as usize + 1).min(total);
    let parts: Vec<&[T]> = panels.iter().map(|panel| &*panel.scores).collect();
    let mut at: Cut = cut(&parts, count);
    if at.equal == at.ties {
        return Choice::Above(Some(at.key));
    }
    // Of equal scores only some go, so somebody has to count.
    for panel in panels {
        drop_below(&panel.scores, &mut panel.chosen, &mut at);
    }
    Choice::Made
}

/// Some rows of the weight, transposed.
struct Panel<T> {
    rows: usize,
    /// `[in, rows]`: original weights of columns to come, `w − ŵ` of those that are done.
    values: Vec<T>,
    /// `[in, rows]`: `ŵ` of columns that are done.
    result: Vec<T>,
    /// `[in, rows]`: 0 where a weight must be pruned, on entry; what is kept, on return.
    kept: Vec<u8>,
    /// `[in, rows]` where values are rounded.
    codes: Vec<u8>,
    /// `[rows]` where values are rounded.
    grids: Vec<Grid<T>>,
    /// `[rows]`: `Σ e²`.
    damped: Vec<T>,
    /// `[width, rows]` of the block at hand, as the columns before it leave it.
    corrected: Vec<T>,
    sums: Vec<T>,
    /// `[width, rows]`: scores, and the choice by them.
    scores: Vec<T>,
    chosen: Vec<u8>,
}

impl<T: Score> Panel<T> {
    fn new(weight: &[f32], mask: Option<&[u8]>, task: &Task<'_, T>) -> Self {
        let features = task.shape[1];
        let rows = weight.len() / features.max(1);
        let len = features * rows;
        let mut values = vec![T::ZERO; len];
        transpose::<8, 16, _, _>(weight, features, &mut values, rows, [rows, features], T::of_f32);
        let mut kept = vec![1; len];
        if let Some(mask) = mask {
            transpose::<8, 16, _, _>(mask, features, &mut kept, rows, [rows, features], |m| m);
            values.iter_mut().zip(&kept).filter(|(_, k)| **k == 0).for_each(|(v, _)| *v = T::ZERO);
        }
        for &column in task.dead {
            values[column as usize * rows..(column as usize + 1) * rows].fill(T::ZERO);
        }
        let grids = task.fit.map(|fit| {
            let mut row_values = vec![0.0f32; features];
            let of_row = |row: usize| {
                for (slot, column) in row_values.iter_mut().zip(values.chunks_exact(rows)) {
                    *slot = column[row].as_f32();
                }
                fit.search(&row_values)
            };
            (0..rows).map(of_row).collect()
        });
        Self {
            rows,
            result: vec![T::ZERO; len],
            codes: vec![0; if grids.is_some() { len } else { 0 }],
            grids: grids.unwrap_or_default(),
            damped: vec![T::ZERO; rows],
            corrected: Vec::new(),
            sums: Vec::new(),
            scores: Vec::new(),
            chosen: Vec::new(),
            values,
            kept,
        }
    }

    /// Brings a block up to date and scores it.
    fn enter(&mut self, columns: Range<usize>, inverse: &[T], task: &Task<'_, T>) {
        self.correct(columns.clone(), inverse, task.factor);
        let (rows, width) = (self.rows, columns.len());
        self.scores.resize(width * rows, T::ZERO);
        self.chosen.resize(width * rows, 1);
        if !matches!(task.target, SparsityTarget::Share(_)) {
            return;
        }
        let of_columns = self.scores.chunks_exact_mut(rows).zip(self.corrected.chunks_exact(rows));
        for (i, (scores, weights)) in of_columns.enumerate() {
            let diagonal = inverse[i * width + i] * inverse[i * width + i];
            for (score, &w) in scores.iter_mut().zip(weights) {
                *score = w * w / diagonal;
            }
        }
        if task.mask.is_some() {
            let kept = &self.kept[columns.start * rows..columns.end * rows];
            self.scores.iter_mut().zip(kept).filter(|(_, k)| **k == 0).for_each(|(s, _)| *s = T::ZERO);
        }
    }

    /// Sets `corrected` `[width, rows]` to the weights of a block as all columns before it leave them:
    /// `W_B + D·R·U_BB` with `D = W − Ŵ` of the columns before, everything transposed.
    fn correct(&mut self, columns: Range<usize>, inverse: &[T], factor: &HessianFactor<T>) {
        let (n, width, before, rows) = (factor.features(), columns.len(), columns.start, self.rows);
        self.corrected.clear();
        self.corrected.extend_from_slice(&self.values[columns.start * rows..columns.end * rows]);
        if before == 0 {
            return;
        }
        self.sums.clear();
        self.sums.resize(width * rows, T::ZERO);
        let shape = [width, rows];
        let r = MatRef::new(&factor.column_major()[before * n..], [width, before], [n, 1]);
        let done = MatRef::new(&self.values, [before, rows], [rows, 1]);
        multiply_add(MatMut::new(&mut self.sums, shape, [rows, 1]), T::ONE, r, done);
        let sums = MatRef::new(&self.sums, shape, [rows, 1]);
        let inverse = MatRef::new(inverse, [width, width], [1, width]);
        multiply_add(MatMut::new(&mut self.corrected, shape, [rows, 1]), T::ONE, inverse, sums);
    }

    fn prune(&mut self, columns: Range<usize>, inverse: &[T], choice: Choice, task: &Task<'_, T>) {
        let span = columns.start * self.rows..columns.end * self.rows;
        let kept = &mut self.kept[span.clone()];
        match choice {
            Choice::Above(Some(key)) => {
                for (kept, score) in kept.iter_mut().zip(&self.scores) {
                    *kept &= u8::from(score.key() > key);
                }
            }
            Choice::Made => kept.iter_mut().zip(&self.chosen).for_each(|(kept, chosen)| *kept &= chosen),
            Choice::Above(None) | Choice::Groups { .. } => {}
        }
        let mut block = Block {
            corrected: &mut self.corrected,
            weights: &mut self.values[span.clone()],
            result: &mut self.result[span.clone()],
            kept,
            codes: self.codes.get_mut(span).unwrap_or_default(),
            damped: &mut self.damped,
            factor: inverse,
            grids: &self.grids,
            scores: &mut self.scores,
            rows: self.rows,
            width: columns.len(),
            max_code: task.fit.map_or(T::ZERO, GridFit::max_code),
            choice,
        };
        prune_columns(&mut block);
    }

    /// Writes values and mask row by row; returns the errors in the order of [`Outcome`].
    fn write(&self, weight: &[f32], values: &mut [f32], kept: &mut [u8], dead: &[u32]) -> [f64; 3] {
        let (rows, features) = (self.rows, weight.len() / self.rows.max(1));
        transpose::<16, 8, _, _>(
            &self.result,
            rows,
            values,
            features,
            [features, rows],
            tenuis_linalg::Real::as_f32,
        );
        transpose::<16, 8, _, _>(&self.kept, rows, kept, features, [features, rows], |k| k);
        let square = |w: f32, v: f32| f64::from(w - v).powi(2);
        let mut all = 0.0;
        for (weight, values) in weight.chunks(512).zip(values.chunks(512)) {
            all += weight.iter().zip(values).map(|(&w, &v)| square(w, v)).sum::<f64>();
        }
        let mut of_dead = 0.0;
        for (weight, values) in weight.chunks_exact(features.max(1)).zip(values.chunks_exact(features.max(1)))
        {
            of_dead += dead.iter().map(|&c| square(weight[c as usize], values[c as usize])).sum::<f64>();
        }
        [self.damped.iter().map(|v| v.as_f64()).sum(), all - of_dead, all]
    }
}
