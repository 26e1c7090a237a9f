//! `prune-channels` and `prune-heads`: fewer units of a dimension in every layer.

use super::network::{failure, rows_of, spec, statistic};
use rayon::ThreadPool;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use tenuis_plugin::core::{DType, convert};
use tenuis_plugin::{
    Capabilities, CheckpointView, Host, LogLevel, Model, ModelEmitter, ModelTechnique, Statistics,
    TechniqueError,
};
use tenuis_prune::linalg::GramView;
use tenuis_prune::structured::{
    ChannelMeans, ChannelMoments, Compensated, UnitCriterion, UnitNorms, WidthConfig, channel_scores,
    column_squares, compensate, select_units,
};
use tenuis_spec::{CoupledDimension, CoupledPart, DecoderSpec, DimensionKind, Side, TensorCut};

/// Prunes feed-forward channels.
pub(crate) type PruneChannels = PruneWidth<Channels>;
/// Prunes key and value heads with the query heads that they serve.
pub(crate) type PruneHeads = PruneWidth<Heads>;

/// Prunes query heads, as many of each key and value head.
pub(crate) type PruneQueryHeads = PruneWidth<QueryHeads>;

/// A dimension that is pruned.
pub(crate) trait Dimension: Send + 'static {
    const ID: &'static str;
    const KIND: DimensionKind;
    const GRAM: Statistics;
}

/// Feed-forward channels.
pub(crate) struct Channels;

impl Dimension for Channels {
    const ID: &'static str = "prune-channels";
    const KIND: DimensionKind = DimensionKind::FfnChannels;
    const GRAM: Statistics = Statistics::GRAM_FEED_FORWARD;
}

/// Groups of heads.
pub(crate) struct Heads;

impl Dimension for Heads {
    const ID: &'static str = "prune-heads";
    const KIND: DimensionKind = DimensionKind::KvGroups;
    const GRAM: Statistics = Statistics::GRAM_ATTENTION;
}

/// Query heads.
pub(crate) struct QueryHeads;

impl Dimension for QueryHeads {
    const ID: &'static str = "prune-query-heads";
    const KIND: DimensionKind = DimensionKind::QueryHeads;
    const GRAM: Statistics = Statistics::GRAM_ATTENTION;
}

/// Pruning of one dimension.
pub(crate) struct PruneWidth<D> {
    config: WidthConfig,
    pool: ThreadPool,
    dimension: PhantomData<D>,
}

impl<D: Dimension> ModelTechnique for PruneWidth<D> {
    const ID: &'static str = D::ID;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::DETERMINISTIC;
    type Config = WidthConfig;

    fn new(config: WidthConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(|e| failure(&e))?;
        Ok(Self { config, pool: host.thread_pool("prune")?, dimension: PhantomData })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        if descriptor["kind"] == "dense" {
            return Ok(());
        }
        let kind = descriptor["kind"].as_str().unwrap_or("this kind");
        Err(TechniqueError::unsupported(format!(
            "rows and columns cannot be cut out of a weight of kind {kind}; prune before it is compressed"
        )))
    }

    fn statistics(&self) -> Statistics {
        let scores = match self.config.criterion {
            UnitCriterion::Magnitude => Statistics::NONE,
            _ => Statistics::MOMENTS,
        };
        if self.config.compensate { scores.and(Statistics::MOMENTS).and(D::GRAM) } else { scores }
    }

    /// One layer's weight, its Gram matrix and the squares of the regression, in f64.
    fn estimate(&self, model: &Model<'_>) -> Option<u64> {
        let spec = spec(model.student()).ok()?;
        let of_one = |dimension: CoupledDimension| {
            let weights: u64 =
                dimension.parts.iter().map(|part| part.shape.iter().product::<usize>() as u64).sum();
            let inputs = dimension.consumer().map_or(0, |c| c.shape[c.axis] as u64);
            if self.config.compensate { 16 * weights + 28 * inputs * inputs } else { 8 * weights }
        };
        spec.layers.iter().flat_map(|layer| layer.dimensions(D::KIND)).map(of_one).max()
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let host = out.host();
        let student = model.student();
        let spec = spec(student)?;
        let config = student.config()?;
        let layers = self.config.chosen_layers(spec.layers.len()).map_err(|e| failure(&e))?;
        // Every expert has channels of its own.
        let dimensions: Vec<CoupledDimension> =
            spec.layers.iter().flat_map(|layer| layer.dimensions(D::KIND)).collect();
        let places: Vec<usize> =
            (0..dimensions.len()).filter(|&place| layers.contains(&dimensions[place].layer)).collect();
        let total = 2 * places.len() as u64;
        let mut scores = Vec::with_capacity(places.len());
        for (done, &place) in (0..).zip(&places) {
            host.check_cancelled()?;
            host.progress(done, total, &format!("scoring layer {}", dimensions[place].layer));
            scores.push(self.scores(model, &dimensions[place])?);
        }
        let numbers: Vec<usize> = places.iter().map(|&place| dimensions[place].layer).collect();
        let chosen = select_units(&numbers, &scores, &self.config).map_err(|e| failure(&e))?;
        let mut keep: Vec<Vec<usize>> =
            dimensions.iter().map(|dimension| (0..dimension.units).collect()).collect();
        for (&place, chosen) in places.iter().zip(chosen) {
            keep[place] = chosen;
        }
        let kept = spec.keep_units(D::KIND, &config, &keep).map_err(TechniqueError::invalid)?;
        let mut removed = 0;
        let mut done_with = BTreeSet::new();
        for (done, &place) in (places.len() as u64..).zip(&places) {
            let dimension = &dimensions[place];
            host.check_cancelled()?;
            host.progress(done, total, &format!("pruning layer {}", dimension.layer));
            report(host, dimension, keep[place].len());
            if keep[place].len() == dimension.units {
                continue;
            }
            for cut in kept.cuts.iter().filter(|cut| of(dimension, cut)) {
                // Dimensions of one layer may share a tensor, whose cut is that of all of them.
                if !done_with.insert(cut.tensor.as_str()) {
                    continue;
                }
                let elements = |shape: &[usize]| shape.iter().product::<usize>() as u64;
                removed += elements(&cut.shape) - elements(&cut.new_shape());
                // Nothing can be learned from an expert that no token reached.
                let measured = cut.side == Side::Input && self.config.compensate;
                if measured && rows_of(model, &cut.module)? > 0 {
                    self.compensated(model, &spec, cut, out)?;
                } else {
                    plain(student, cut, out)?;
                }
            }
        }
        host.metric("parameters_removed", removed as f64);
        for remark in &kept.remarks {
            host.log(LogLevel::Info, &format!("only Tenuis reads the result: {remark}"));
        }
        out.set_config(&kept.config)
    }
}

impl<D: Dimension> PruneWidth<D> {
    fn scores(&self, model: &Model<'_>, dimension: &CoupledDimension) -> Result<Vec<f64>, TechniqueError> {
        let student = model.student();
        if self.config.criterion == UnitCriterion::Magnitude {
            return norms(student, dimension);
        }
        let consumer = consumer(dimension)?;
        let moments = statistic(model, &format!("moments/{}", consumer.module))?.to_f32()?;
        let inputs = consumer.shape[consumer.axis];
        let (sum_squares, sum) = (slice(&moments, 1, inputs)?, slice(&moments, 3, inputs)?);
        let rows = rows_of(model, &consumer.module)?;
        if rows == 0 {
            // An expert that no token reached: what it weighs is all that is known.
            return norms(student, dimension);
        }
        // The units of this dimension may own a part of the inputs.
        let owned = consumer.first..consumer.first + dimension.units * consumer.width;
        let part = |values: &'_ [f32]| -> Result<Vec<f32>, TechniqueError> {
            let missing = || TechniqueError::invalid("the units own more inputs than there are");
            Ok(values.get(owned.clone()).ok_or_else(missing)?.to_vec())
        };
        let (sum_squares, sum) = (part(sum_squares)?, part(sum)?);
        let moments = ChannelMoments { sum_squares: &sum_squares, sum: &sum, rows };
        let columns = column_squares(&student.dense(&consumer.module)?, inputs);
        channel_scores(self.config.criterion, moments, &columns[owned], consumer.width)
            .map_err(|e| failure(&e).about(&consumer.module))
    }

    /// Emits the weight that reads what is left, and its bias where it has one.
    fn compensated(
        &self,
        model: &Model<'_>,
        spec: &DecoderSpec,
        cut: &TensorCut,
        out: &mut ModelEmitter<'_>,
    ) -> Result<(), TechniqueError> {
        let student = model.student();
        let inputs = cut.shape[cut.axis];
        let weight = student.dense(&cut.module)?;
        let gram = statistic(model, &format!("gram/{}", cut.module))?.to_f32()?;
        let gram = GramView::new(inputs, &gram).map_err(|e| TechniqueError::invalid(e).about(&cut.module))?;
        let bias = spec.linears().find(|linear| linear.name == cut.module).and_then(|l| l.bias_name());
        let moments = statistic(model, &format!("moments/{}", cut.module))?.to_f32()?;
        let means = match bias {
            Some(_) => {
                Some(ChannelMeans { sum: slice(&moments, 3, inputs)?, rows: rows_of(model, &cut.module)? })
            }
            None => None,
        };
        let damp_percent = self.config.damp_percent;
        let solve = || compensate(&weight, gram, &cut.keep, means, damp_percent);
        let new: Compensated = self.pool.install(solve).map_err(|e| failure(&e).about(&cut.module))?;
        let host = out.host();
        host.metric(&format!("{}/error_dropped", cut.module), new.error_before);
        host.metric(&format!("{}/error_compensated", cut.module), new.error_after);
        // Where the outputs come first the weight is stored as it was computed, else the other way round.
        let values = if cut.axis == 1 { new.weight } else { transposed(&new.weight, cut.keep.len()) };
        let dtype = student.tensor(&cut.tensor)?.dtype();
        emit(out, &cut.tensor, dtype, &cut.new_shape(), &values)?;
        if let (Some(name), Some(shift)) = (bias, new.bias_shift) {
            let old = student.tensor(&name)?;
            let values: Vec<f32> = old.to_f32()?.iter().zip(&shift).map(|(b, s)| b + s).collect();
            emit(out, &name, old.dtype(), old.shape(), &values)?;
        }
        Ok(())
    }
}

/// The norms of the weights that move with each unit.
fn norms(student: &CheckpointView<'_>, dimension: &CoupledDimension) -> Result<Vec<f64>, TechniqueError> {
    let mut norms = UnitNorms::new(dimension.units);
    let mut matrices: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    for part in &dimension.parts {
        let about = |e| failure(&e).about(&part.tensor);
        if !part.is_matrix() {
            let bias = student.tensor(&part.tensor)?.to_f32()?;
            norms.add_rows(&bias, 1, part.first, part.width).map_err(about)?;
            continue;
        }
        if !matrices.contains_key(part.module.as_str()) {
            // A fused projection comes several times in a row; nothing else does.
            matrices.clear();
            matrices.insert(&part.module, student.dense(&part.module)?);
        }
        let Some(matrix) = matrices.get(part.module.as_str()) else { continue };
        let [_, columns] = student.weight(&part.module)?.shape();
        match part.side {
            Side::Output => norms.add_rows(matrix, columns, part.first, part.width),
            Side::Input => norms.add_columns(matrix, columns, part.first, part.width),
        }
        .map_err(about)?;
    }
    Ok(norms.finish())
}

/// Emits what is kept of a tensor, byte for byte.
fn plain(
    student: &CheckpointView<'_>,
    cut: &TensorCut,
    out: &mut ModelEmitter<'_>,
) -> Result<(), TechniqueError> {
    let tensor = student.tensor(&cut.tensor)?;
    if tensor.shape() != cut.shape {
        let problem = format!("has shape {:?}, expected {:?}", tensor.shape(), cut.shape);
        return Err(TechniqueError::invalid(problem).about(&cut.tensor));
    }
    let kept = cut.take(tensor.bytes()?, tensor.dtype().size());
    out.emit_tensor(&cut.tensor, tensor.dtype(), &cut.new_shape(), &kept)
}

fn emit(
    out: &mut ModelEmitter<'_>,
    name: &str,
    dtype: DType,
    shape: &[usize],
    values: &[f32],
) -> Result<(), TechniqueError> {
    out.emit_tensor(name, dtype, shape, &convert::from_f32(dtype, values)?)
}

fn report(host: &Host<'_>, dimension: &CoupledDimension, kept: usize) {
    let module = dimension.consumer().map_or("", |part| part.module.as_str());
    host.metric(&format!("{module}/units"), dimension.units as f64);
    host.metric(&format!("{module}/units_kept"), kept as f64);
}

fn of(dimension: &CoupledDimension, cut: &TensorCut) -> bool {
    dimension.parts.iter().any(|part| part.tensor == cut.tensor)
}

fn consumer(dimension: &CoupledDimension) -> Result<&CoupledPart, TechniqueError> {
    dimension.consumer().ok_or_else(|| {
        TechniqueError::invalid(format!("layer {}: nothing reads its {}", dimension.layer, dimension.kind))
    })
}

/// A row of the host's moments, `[4, inputs]`.
fn slice(moments: &[f32], row: usize, inputs: usize) -> Result<&[f32], TechniqueError> {
    let problem = || format!("the host's moments have {} values for {inputs} inputs", moments.len());
    moments.get(row * inputs..(row + 1) * inputs).ok_or_else(|| TechniqueError::invalid(problem()))
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| values.iter().skip(c).step_by(columns.max(1)).copied()).collect()
}
