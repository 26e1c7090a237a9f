//! One pass over the columns, for panels of rows in parallel.

use super::kernel::{Block, quantize_columns};
use super::plan::{Plan, Segment};
use crate::grid::{Grid, GridFit};
use rayon::prelude::*;
use std::ops::Range;
use tenuis_linalg::{HessianFactor, MatMut, MatRef, Real, multiply_add, transpose};

/// Rows of a panel. Fixed, so that the bits do not depend on the number of threads: large enough that a product with
/// `R` reads each of its elements for many rows, small enough that a panel of a wide layer stays in cache.
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

/// Nothing where `go_on` said no before it was through.
pub(super) fn sweep<T: Real>(
    weight: &[f32],
    mask: Option<&[u8]>,
    [out_features, in_features]: [usize; 2],
    plan: &Plan,
    fit: &GridFit<T>,
    factor: &HessianFactor<T>,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Option<Outcome> {
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
    let errors: Option<Vec<[f64; 3]>> = parts
        .enumerate()
        .map(|(index, ((codes, weight), (scales, zeros)))| {
            let from = index * PANEL_ROWS * width;
            let mask = mask.map(|mask| &mask[from..from + weight.len()]);
            let mut panel = Panel::new(weight, mask, plan, fit);
            panel.run(&blocks, go_on).then(|| panel.write(weight, codes, scales, zeros))
        })
        .collect();
    let [damped_error, live_error, weight_error] =
        errors?.iter().fold([0.0; 3], |sum, part| std::array::from_fn(|i| sum[i] + part[i]));
    Some(Outcome { codes, scales, zeros, damped_error, live_error, weight_error })
}

/// The blocks of columns with the diagonal blocks of `U`, which every panel reads.
struct Blocks<'a, T> {
    factor: &'a HessianFactor<T>,
    blocks: Vec<PlannedBlock<T>>,
}

struct PlannedBlock<T> {
    columns: Range<usize>,
    segments: Vec<Segment>,
    group_of: Vec<u32>,
    inverse: Vec<T>,
    /// The columns of the block and of a group that begins in it and reaches beyond, and the inverse for those.
    wide: Option<(Range<usize>, Vec<T>)>,
}

impl<'a, T: Real> Blocks<'a, T> {
    fn new(plan: &Plan, factor: &'a HessianFactor<T>) -> Self {
        let blocks = plan.blocks().into_par_iter().map(|columns| {
            let segments = plan.segments(columns.clone());
            let ends = segments.iter().flat_map(|s| s.fit.clone()).map(|group| plan.places(group).end);
            let wide = ends.max().filter(|&end| end > columns.end).map(|end| columns.start..end);
            PlannedBlock {
                group_of: columns.clone().map(|place| plan.group_of(place) as u32).collect(),
                inverse: factor.inverse_block(columns.clone()),
                wide: wide.map(|range| (range.clone(), factor.inverse_block(range))),
                columns,
                segments,
            }
        });
        Self { factor, blocks: blocks.collect() }
    }
}

/// Some rows of the weight, transposed, in the order of the plan.
struct Panel<'a, T> {
    plan: &'a Plan,
    fit: &'a GridFit<T>,
    rows: usize,
    /// `[in, rows]`: original weights of columns to come, `w − ŵ` of those that are done.
    values: Vec<T>,
    /// `[in, rows]`: 0 where a weight is pruned; empty where none is.
    kept: Vec<u8>,
    /// `[in, rows]`.
    codes: Vec<u8>,
    /// `[groups, rows]`.
    grids: Vec<Grid<T>>,
    /// `[rows]`.
    damped: Vec<T>,
}

impl<'a, T: Real> Panel<'a, T> {
    fn new(weight: &[f32], mask: Option<&[u8]>, plan: &'a Plan, fit: &'a GridFit<T>) -> Self {
        let features = plan.features();
        let rows = weight.len() / features.max(1);
        let mut values = arranged(weight, plan, rows, T::of_f32);
        let kept = mask.map(|mask| arranged(mask, plan, rows, |m| m)).unwrap_or_default();
        values.iter_mut().zip(&kept).filter(|(_, k)| **k == 0).for_each(|(v, _)| *v = T::ZERO);
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
            kept,
            codes: vec![0; features * rows],
            grids: vec![blank; plan.groups * rows],
            damped: vec![T::ZERO; rows],
        }
    }

    /// Whether it came to the end.
    fn run(&mut self, blocks: &Blocks<'_, T>, go_on: &(dyn Fn() -> bool + Sync)) -> bool {
        let rows = self.rows;
        if self.plan.grids_first {
            let mut members = vec![Vec::new(); self.plan.groups];
            (0..self.plan.features()).for_each(|place| members[self.plan.group_of(place)].push(place));
            for (group, places) in members.into_iter().enumerate() {
                // What is pruned is zero in the original weight, and thus in every range.
                self.grids[group * rows..(group + 1) * rows].copy_from_slice(&fit_group(
                    self.fit,
                    &self.values,
                    &[],
                    rows,
                    places.into_iter(),
                ));
            }
        }
        let mut work = Workspace::default();
        for block in &blocks.blocks {
            if !go_on() {
                return false;
            }
            let wide = block.wide.as_ref().map(|(range, inverse)| {
                work.correct(&self.values, rows, range.clone(), inverse, blocks.factor);
                work.corrected.clone()
            });
            let columns = block.columns.clone();
            work.correct(&self.values, rows, columns.clone(), &block.inverse, blocks.factor);
            for segment in &block.segments {
                for group in segment.fit.clone() {
                    let places = self.plan.places(group);
                    let values = match &wide {
                        Some(wide) if places.end > columns.end => wide,
                        _ => &work.corrected,
                    };
                    let inside = places.start - columns.start..places.end - columns.start;
                    let kept = self.kept.get(columns.start * rows..).unwrap_or_default();
                    self.grids[group * rows..(group + 1) * rows]
                        .copy_from_slice(&fit_group(self.fit, values, kept, rows, inside));
                }
                let span = columns.start * rows..columns.end * rows;
                let mut now = Block {
                    corrected: &mut work.corrected,
                    weights: &mut self.values[span.clone()],
                    kept: self.kept.get(span.clone()).unwrap_or_default(),
                    codes: &mut self.codes[span],
                    damped: &mut self.damped,
                    factor: &block.inverse,
                    grids: &self.grids,
                    group_of: &block.group_of,
                    rows,
                    max_code: self.fit.max_code(),
                };
                let Range { start, end } = segment.columns;
                quantize_columns(&mut now, start - columns.start..end - columns.start);
            }
        }
        true
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

/// Buffers of one block.
#[derive(Default)]
struct Workspace<T> {
    corrected: Vec<T>,
    sums: Vec<T>,
}

impl<T: Real> Workspace<T> {
    /// Sets `corrected` `[width, rows]` to the weights of some columns as all columns before them leave them:
    /// `W_B + D·R·U_BB` with `D = W − Ŵ` of the columns before, everything transposed.
    fn correct(
        &mut self,
        values: &[T],
        rows: usize,
        columns: Range<usize>,
        inverse: &[T],
        factor: &HessianFactor<T>,
    ) {
        let (n, width, before) = (factor.features(), columns.len(), columns.start);
        self.corrected.clear();
        self.corrected.extend_from_slice(&values[columns.start * rows..columns.end * rows]);
        if before == 0 {
            return;
        }
        self.sums.clear();
        self.sums.resize(width * rows, T::ZERO);
        let shape = [width, rows];
        let r = MatRef::new(&factor.column_major()[before * n..], [width, before], [n, 1]);
        let done = MatRef::new(values, [before, rows], [rows, 1]);
        multiply_add(MatMut::new(&mut self.sums, shape, [rows, 1]), T::ONE, r, done);
        let sums = MatRef::new(&self.sums, shape, [rows, 1]);
        let inverse = MatRef::new(inverse, [width, width], [1, width]);
        multiply_add(MatMut::new(&mut self.corrected, shape, [rows, 1]), T::ONE, inverse, sums);
    }
}

/// Some rows of a matrix, transposed, in the order of the plan: `[in, rows]`.
fn arranged<S: Copy, T: Copy + Default>(
    from: &[S],
    plan: &Plan,
    rows: usize,
    convert: impl Fn(S) -> T + Copy,
) -> Vec<T> {
    let features = plan.features();
    let mut values = vec![T::default(); features * rows];
    let Some(order) = plan.order() else {
        transpose::<8, 16, _, _>(from, features, &mut values, rows, [rows, features], convert);
        return values;
    };
    // Eight rows at a time: they stay in cache while the order hops about in them.
    for first in (0..rows).step_by(8) {
        let last = rows.min(first + 8);
        for (column, to) in order.iter().zip(values.chunks_exact_mut(rows)) {
            for (row, value) in (first..last).zip(&mut to[first..last]) {
                *value = convert(from[row * features + *column as usize]);
            }
        }
    }
    values
}

/// The grids of a group, one for each row, from columns `places` of `values` `[.., rows]`; those that `kept` rules out
/// count as zero.
fn fit_group<T: Real>(
    fit: &GridFit<T>,
    values: &[T],
    kept: &[u8],
    rows: usize,
    places: impl Iterator<Item = usize> + Clone,
) -> Vec<Grid<T>> {
    let at = |index: usize| if kept.get(index) == Some(&0) { T::ZERO } else { values[index] };
    if fit.searches() {
        let mut group = Vec::new();
        return (0..rows)
            .map(|row| {
                group.clear();
                group.extend(places.clone().map(|place| at(place * rows + row).as_f32()));
                fit.search(&group)
            })
            .collect();
    }
    let (mut min, mut max) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
    for place in places {
        let first = place * rows;
        if kept.is_empty() {
            let column = &values[first..first + rows];
            for ((min, max), &value) in min.iter_mut().zip(&mut max).zip(column) {
                *min = min.smaller(value);
                *max = max.larger(value);
            }
            continue;
        }
        for (row, (min, max)) in min.iter_mut().zip(&mut max).enumerate() {
            let value = at(first + row);
            *min = min.smaller(value);
            *max = max.larger(value);
        }
    }
    min.into_iter().zip(max).map(|(min, max)| fit.span(min, max)).collect()
}
