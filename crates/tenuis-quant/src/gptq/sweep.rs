//! One pass over the columns, for panels of rows in parallel.

use super::kernel::{Block, quantize_columns};
use super::plan::Plan;
use crate::grid::{Grid, GridFit};
use rayon::prelude::*;
use std::ops::Range;
use tenuis_linalg::{InverseFactor, MatMut, MatRef, Real, multiply_add};

/// Rows of a panel. Fixed, so that the bits do not depend on the number of threads: large enough that a product with
/// `U` reads each of its elements for many rows, small enough that a panel of a wide layer stays in cache.
const PANEL_ROWS: usize = 128;

/// What a sweep finds.
pub(super) struct Outcome {
    /// `[out, in]`, columns of the weight.
    pub(super) codes: Vec<u8>,
    /// `[out, groups]`.
    pub(super) scales: Vec<f32>,
    /// `[out, groups]`.
    pub(super) zeros: Vec<u8>,
    /// `tr((W − Ŵ)(H + λI)(W − Ŵ)ᵀ)`, dead columns of `W` taken as zero.
    pub(super) damped_error: f64,
    /// `‖W − Ŵ‖²` over live columns.
    pub(super) live_error: f64,
    /// `‖W − Ŵ‖²` over all columns.
    pub(super) weight_error: f64,
}

pub(super) fn sweep<T: Real>(
    weight: &[f32],
    [out_features, in_features]: [usize; 2],
    plan: &Plan,
    fit: &GridFit<T>,
    factor: &InverseFactor<T>,
) -> Outcome {
    let groups = plan.groups;
    let mut codes = vec![0u8; out_features * in_features];
    let mut scales = vec![0.0f32; out_features * groups];
    let mut zeros = vec![0u8; out_features * groups];
    let blocks = Blocks::new(plan, factor);
    let width = in_features.max(1);
    let parts = codes.par_chunks_mut(PANEL_ROWS * width).zip(weight.par_chunks(PANEL_ROWS * width)).zip(
        scales
            .par_chunks_mut(PANEL_ROWS * groups.max(1))
            .zip(zeros.par_chunks_mut(PANEL_ROWS * groups.max(1))),
    );
    let errors: Vec<[f64; 3]> = parts
        .map(|((codes, weight), (scales, zeros))| {
            let mut panel = Panel::new(weight, plan, fit);
            panel.run(&blocks);
            panel.write(weight, codes, scales, zeros)
        })
        .collect();
    let [damped_error, live_error, weight_error] =
        errors.iter().fold([0.0; 3], |sum, part| std::array::from_fn(|i| sum[i] + part[i]));
    Outcome { codes, scales, zeros, damped_error, live_error, weight_error }
}

/// The blocks of columns with the diagonal blocks of `U`, which every panel reads.
struct Blocks<'a, T> {
    factor: &'a InverseFactor<T>,
    blocks: Vec<(Range<usize>, Vec<T>)>,
}

impl<'a, T: Real> Blocks<'a, T> {
    fn new(plan: &Plan, factor: &'a InverseFactor<T>) -> Self {
        let (n, u) = (factor.features(), factor.column_major());
        let corner = |range: &Range<usize>| {
            let rows = range.clone();
            rows.flat_map(|i| range.clone().map(move |j| u[j * n + i])).collect()
        };
        let blocks = plan.blocks().into_iter().map(|range| (range.clone(), corner(&range))).collect();
        Self { factor, blocks }
    }
}

/// Some rows of the weight, transposed, in the order of the plan.
struct Panel<'a, T> {
    plan: &'a Plan,
    fit: &'a GridFit<T>,
    rows: usize,
    /// `[in, rows]`: weights to come, errors of those that are done.
    values: Vec<T>,
    /// `[in, rows]`.
    codes: Vec<u8>,
    /// `[groups, rows]`.
    grids: Vec<Grid<T>>,
    /// `[rows]`.
    damped: Vec<T>,
    /// How many of the columns before it each column has been corrected for.
    corrected: Vec<usize>,
}

impl<'a, T: Real> Panel<'a, T> {
    fn new(weight: &[f32], plan: &'a Plan, fit: &'a GridFit<T>) -> Self {
        let features = plan.features();
        let rows = weight.len() / features.max(1);
        let mut values = vec![T::ZERO; features * rows];
        for (place, column) in values.chunks_exact_mut(rows).enumerate() {
            if !plan.is_dead(place) {
                let from = weight[plan.column(place)..].iter().step_by(features);
                column.iter_mut().zip(from).for_each(|(to, &from)| *to = T::of_f32(from));
            }
        }
        let blank = Grid { scale: T::ONE, zero: T::ZERO };
        Self {
            plan,
            fit,
            rows,
            values,
            codes: vec![0; features * rows],
            grids: vec![blank; plan.groups * rows],
            damped: vec![T::ZERO; rows],
            corrected: vec![0; features],
        }
    }

    fn run(&mut self, blocks: &Blocks<'_, T>) {
        let rows = self.rows;
        if self.plan.grids_first {
            let mut members = vec![Vec::new(); self.plan.groups];
            (0..self.plan.features()).for_each(|place| members[self.plan.group_of(place)].push(place));
            for (group, places) in members.into_iter().enumerate() {
                self.fit_group(group, places.into_iter());
            }
        }
        for (range, corner) in &blocks.blocks {
            self.correct(range.clone(), range.start, blocks.factor);
            let group_of: Vec<u32> = range.clone().map(|place| self.plan.group_of(place) as u32).collect();
            for segment in self.plan.segments(range.clone()) {
                for group in segment.fit {
                    let places = self.plan.places(group);
                    // Columns beyond this block have not been corrected for the blocks before it yet.
                    self.correct(range.end..places.end.max(range.end), range.start, blocks.factor);
                    self.fit_group(group, places);
                }
                let span = range.start * rows..range.end * rows;
                let mut block = Block {
                    values: &mut self.values[span.clone()],
                    codes: &mut self.codes[span],
                    damped: &mut self.damped,
                    factor: corner,
                    grids: &self.grids,
                    group_of: &group_of,
                    rows,
                    max_code: self.fit.max_code(),
                };
                let columns = segment.columns;
                quantize_columns(&mut block, columns.start - range.start..columns.end - range.start);
            }
        }
    }

    /// Brings columns up to date with the errors of all columns before `until`: `W[:, j] −= E · U[.., j]`.
    fn correct(&mut self, columns: Range<usize>, until: usize, factor: &InverseFactor<T>) {
        let (n, rows) = (factor.features(), self.rows);
        let mut start = columns.start;
        while start < columns.end {
            let from = self.corrected[start];
            let same = self.corrected[start..columns.end].iter().take_while(|&&c| c == from).count();
            if from < until {
                let (errors, later) = self.values.split_at_mut(start * rows);
                let target = MatMut::new(later, [same, rows], [rows, 1]);
                let u = MatRef::new(&factor.column_major()[start * n + from..], [same, until - from], [n, 1]);
                let errors = MatRef::new(&errors[from * rows..], [until - from, rows], [rows, 1]);
                multiply_add(target, -T::ONE, u, errors);
                self.corrected[start..start + same].fill(until);
            }
            start += same;
        }
    }

    fn fit_group(&mut self, group: usize, places: impl Iterator<Item = usize> + Clone) {
        let rows = self.rows;
        let grids = &mut self.grids[group * rows..(group + 1) * rows];
        if self.fit.searches() {
            let mut values = Vec::new();
            for (row, grid) in grids.iter_mut().enumerate() {
                values.clear();
                values.extend(places.clone().map(|place| self.values[place * rows + row]));
                *grid = self.fit.search(&values);
            }
            return;
        }
        let (mut min, mut max) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
        for place in places {
            let column = &self.values[place * rows..(place + 1) * rows];
            for ((min, max), &value) in min.iter_mut().zip(&mut max).zip(column) {
                *min = min.smaller(value);
                *max = max.larger(value);
            }
        }
        for ((grid, min), max) in grids.iter_mut().zip(min).zip(max) {
            *grid = self.fit.span(min, max);
        }
    }

    /// Writes codes, scales and zero points row by row; returns the errors in the order of [`Outcome`].
    fn write(&self, weight: &[f32], codes: &mut [u8], scales: &mut [f32], zeros: &mut [u8]) -> [f64; 3] {
        let (features, groups) = (self.plan.features(), self.plan.groups);
        for row in 0..self.rows {
            for group in 0..groups {
                let grid = self.grids[group * self.rows + row];
                scales[row * groups + group] = grid.scale.as_f32();
                zeros[row * groups + group] = grid.zero.as_f32() as u8;
            }
        }
        let (mut live_error, mut dead_error) = (0.0, 0.0);
        for (place, column) in self.codes.chunks_exact(self.rows).enumerate() {
            let grids = &self.grids[self.plan.group_of(place) * self.rows..][..self.rows];
            let at = self.plan.column(place);
            let mut error = 0.0f32;
            for (row, (&code, grid)) in column.iter().zip(grids).enumerate() {
                let value = grid.value(T::of_f32(f32::from(code))).as_f32();
                codes[row * features + at] = code;
                error += (weight[row * features + at] - value).powi(2);
            }
            *(if self.plan.is_dead(place) { &mut dead_error } else { &mut live_error }) += f64::from(error);
        }
        let damped = self.damped.iter().map(|v| v.as_f64()).sum();
        [damped, live_error, live_error + dead_error]
    }
}
