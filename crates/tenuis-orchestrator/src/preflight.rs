//! What a recipe will take, before any of it is done.

use crate::error::RunError;
use crate::registry;
use crate::stage;
use crate::text::Text;
use crate::workshop::Workshop;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::StoredWeights;
use tenuis_host::{Scope, Technique};
use tenuis_model::Model;
use tenuis_preflight::{Evaluation, Needs, Network, Plan, Probe, Request, Room, StageShape};
use tenuis_recipe::LoadedRecipe;

impl Workshop<'_> {
    /// Works out from shapes alone what a recipe takes: memory and disk of every stage and, where the machine was probed, time.
    ///
    /// # Errors
    /// [`RunError`] where the recipe cannot be carried out, or what the model stores cannot be told.
    pub fn plan(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
        evaluation: Option<Evaluation>,
        probe: Option<&Probe>,
    ) -> Result<Plan, RunError> {
        let techniques = registry::resolve(self.plugins, loaded)?;
        let mut shapes = Vec::with_capacity(techniques.len());
        let checkpoint = model.checkpoint();
        let mut walk = 0..0;
        for (index, technique) in techniques.iter().enumerate() {
            let mut shape = shape(model, loaded, index, technique)?;
            if index >= walk.end {
                walk = stage::walk(self, checkpoint, checkpoint, loaded, &techniques, index)?;
            }
            shape.joins_previous = index > walk.start;
            shapes.push(shape);
        }
        let stored = StoredWeights::from_checkpoint(checkpoint)?;
        let bytes_of = |module: &str| {
            let names = stored.tensor_names(checkpoint, module);
            let bytes: u64 = names
                .iter()
                .filter_map(|name| checkpoint.info(name))
                .map(tenuis_core::TensorInfo::bytes)
                .sum();
            (bytes > 0).then_some(bytes)
        };
        let embedding = checkpoint.info(&format!("{}.weight", model.spec().embedding.name));
        let width = embedding.map_or(4, |info| info.bytes() / (info.elements().max(1) as u64));
        let network = Network::of(model.spec(), width.max(1), bytes_of);
        let mut request = Request::new(&network, &shapes);
        request.max_shard_bytes = self.options.max_shard_bytes;
        request.threads = self.options.threads as u64;
        let asked = loaded.recipe.calibration;
        let seq_len = asked.seq_len.unwrap_or_else(|| model.spec().max_positions.min(2048));
        let whole = calibration.map_or(asked.samples, |text| text.data.tokens.len() / seq_len.max(1));
        request = request.calibration(asked.samples.min(whole) as u64, seq_len as u64);
        if let Some(evaluation) = evaluation {
            request = request.evaluation(evaluation);
        }
        if let Some(probe) = probe {
            request = request.probe(probe);
        }
        Ok(Plan::of(&request))
    }

    /// Refuses a recipe that would not fit into the memory or onto the disk that are free at `dir`.
    ///
    /// # Errors
    /// [`RunError::Preflight`] with the numbers.
    pub fn refuse_without_room(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
        dir: &Path,
    ) -> Result<(), RunError> {
        Ok(self.plan(model, loaded, calibration, None, None)?.check(&self.room(dir))?)
    }

    /// The memory and disk that may be used: what is free, and of the memory not more than was allowed.
    pub fn room(&self, dir: &Path) -> Room {
        let mut room = Room::at(dir);
        if let Some(allowed) = self.options.max_memory {
            room.ram_available = Some(room.ram_available.map_or(allowed, |free| free.min(allowed)));
        }
        room
    }
}

/// A stage as its plan is made from.
fn shape(
    model: &Model,
    loaded: &LoadedRecipe,
    index: usize,
    technique: &Technique,
) -> Result<StageShape, RunError> {
    let stage = &loaded.recipe.stages[index];
    let options = Value::Object(stage.options.clone());
    if technique.scope() == Scope::Model {
        let job = technique.start_model(&options, 1, Arc::new(tenuis_host::NoEvents));
        let statistics = job.and_then(|mut job| job.statistics())?;
        let mut needs = Needs::default();
        needs.hessian =
            statistics.gram_attention() || statistics.gram_feed_forward() || statistics.gram_inputs();
        needs.moments = statistics.moments() || statistics.block_similarity();
        return Ok(StageShape::model(technique.id(), options).needs(needs));
    }
    let capabilities = technique.capabilities();
    let mut needs = Needs::default();
    // Gates on layers weigh errors by the Hessian, whatever the technique asks for.
    needs.hessian = capabilities.needs_hessian() || !stage.layer_gates.is_empty();
    needs.moments = capabilities.needs_moments();
    needs.inputs = capabilities.needs_inputs();
    needs.out_loss = capabilities.needs_out_loss();
    needs.dense = capabilities.needs_dense();
    needs.original = capabilities.needs_original();
    needs.any_tensor = capabilities.any_tensor();
    let targets = stage::check_targets(model, loaded, index, technique)?;
    let spec = model.spec();
    let mut modules: Vec<String> = Vec::new();
    for (block, layer) in spec.layers.iter().enumerate() {
        let linears = layer.linears().into_iter().map(|linear| linear.name);
        modules.extend(linears.filter(|name| targets.in_block(block, name)));
    }
    if targets.head || (capabilities.any_tensor() && targets.outside(&spec.lm_head.name)) {
        modules.push(spec.lm_head.name.clone());
    }
    Ok(StageShape::group(technique.id(), options)
        .needs(needs)
        .true_sequential(stage.true_sequential)
        .targets(modules))
}
