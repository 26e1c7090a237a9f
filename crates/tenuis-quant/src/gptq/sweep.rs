//! One pass over the columns, for panels of rows in parallel.

use super::kernel::{Block, quantize_columns};
use super::plan::Plan;
use crate::grid::{Grid, GridFit};
use rayon::prelude::*;
use std::ops::Range;
use tenuis_linalg::{InverseFactor, MatMut, MatRef, Real, multiply_add, transpose};

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
        match plan.order() {
            None => {
                transpose::<8, 16, _, _>(weight, features, &mut values, rows, [rows, features], T::of_f32);
            }
            Some(order) => {
                // Eight rows at a time: they stay in cache while the order hops about in them.
                for first in (0..rows).step_by(8) {
                    let last = rows.min(first + 8);
                    for (column, to) in order.iter().zip(values.chunks_exact_mut(rows)) {
                        for (row, value) in (first..last).zip(&mut to[first..last]) {
                            *value = T::of_f32(weight[row * features + *column as usize]);
                        }
                    }
                }
            }
        }
        for (_, column) in values.chunks_exact_mut(rows).enumerate().filter(|(place, _)| plan.is_dead(*place))
        {
            column.fill(T::ZERO);
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
                values.extend(places.clone().map(|place| self.values[place * rows + row].as_f32()));
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
        let (features, groups, rows) = (self.plan.features(), self.plan.groups, self.rows);
        transpose::<8, 8, _, _>(&self.grids, rows, scales, groups, [groups, rows], |g| g.scale.as_f32());
        transpose::<8, 8, _, _>(&self.grids, rows, zeros, groups, [groups, rows], |g| g.zero.as_f32() as u8);
        match self.plan.order() {
            None => transpose::<16, 8, _, _>(&self.codes, rows, codes, features, [features, rows], |c| c),
            Some(order) => {
                for first in (0..rows).step_by(8) {
                    let last = rows.min(first + 8);
                    for (column, from) in order.iter().zip(self.codes.chunks_exact(rows)) {
                        for (row, code) in (first..last).zip(&from[first..last]) {
                            codes[row * features + *column as usize] = *code;
                        }
                    }
                }
            }
        }
        let (mut all_error, mut dead_error) = (0.0, 0.0);
        for row in 0..rows {
            let span = row * features..(row + 1) * features;
            let (weight, codes) = (&weight[span.clone()], &codes[span]);
            let grids = row * groups..(row + 1) * groups;
            all_error += self.row_error(weight, codes, &scales[grids.clone()], &zeros[grids]);
            dead_error +=
                self.plan.dead().iter().map(|&c| f64::from(weight[c as usize]).powi(2)).sum::<f64>();
        }
        let damped = self.damped.iter().map(|v| v.as_f64()).sum();
        [damped, all_error - dead_error, all_error]
    }

    /// `Σ(w − ŵ)²` over a row, with what will be stored.
    fn row_error(&self, weight: &[f32], codes: &[u8], scales: &[f32], zeros: &[u8]) -> f64 {
        let mut sum = 0.0;
        if let Some(index) = self.plan.group_index() {
            for ((w, &code), &group) in weight.iter().zip(codes).zip(index) {
                let value = scales[group as usize] * (f32::from(code) - f32::from(zeros[group as usize]));
                sum += f64::from(w - value).powi(2);
            }
            return sum;
        }
        let columns = self.plan.group_columns();
        let parts = weight.chunks(columns).zip(codes.chunks(columns)).zip(scales.iter().zip(zeros));
        for ((weight, codes), (&scale, &zero)) in parts {
            let mut lanes = [0.0f32; 8];
            let ((weight, weight_rest), (codes, codes_rest)) =
                (weight.as_chunks::<8>(), codes.as_chunks::<8>());
            let square = |w: f32, code: u8| (w - scale * (f32::from(code) - f32::from(zero))).powi(2);
            for (weight, codes) in weight.iter().zip(codes) {
                for ((lane, &w), &code) in lanes.iter_mut().zip(weight).zip(codes) {
                    *lane += square(w, code);
                }
            }
            let rest: f32 = weight_rest.iter().zip(codes_rest).map(|(&w, &code)| square(w, code)).sum();
            sum += f64::from(lanes.iter().sum::<f32>() + rest);
        }
        sum
    }
}
