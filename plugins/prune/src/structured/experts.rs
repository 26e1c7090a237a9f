//! `prune-experts`: fewer experts in every layer that has some.

use super::network::{failure, rows_of, spec, statistic};
use serde_json::Value;
use tenuis_plugin::{
    Capabilities, CheckpointView, Host, LogLevel, Model, ModelEmitter, ModelTechnique, Source, Statistics,
    TechniqueError,
};
use tenuis_prune::structured::{ExpertConfig, ExpertCriterion, column_squares, select_units};
use tenuis_spec::{LayerSpec, MlpSpec};

/// Drops the least used experts. Nothing but the router is cut, so it takes experts of any kind.
pub(crate) struct PruneExperts {
    config: ExpertConfig,
}

impl ModelTechnique for PruneExperts {
    const ID: &'static str = "prune-experts";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::DETERMINISTIC;
    type Config = ExpertConfig;

    fn new(config: ExpertConfig, _host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(|e| failure(&e))?;
        Ok(Self { config })
    }

    fn accepts(&self, _descriptor: &Value) -> Result<(), TechniqueError> {
        Ok(())
    }

    fn statistics(&self) -> Statistics {
        match self.config.criterion {
            ExpertCriterion::Magnitude => Statistics::NONE,
            _ => Statistics::MOMENTS,
        }
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let student = model.student();
        let spec = spec(student)?;
        let with_experts: Vec<&LayerSpec> =
            spec.layers.iter().filter(|layer| layer.mlp.router().is_some()).collect();
        if with_experts.is_empty() {
            return Err(TechniqueError::invalid("no layer of this model has experts"));
        }
        let numbers: Vec<usize> = with_experts.iter().map(|layer| layer.index).collect();
        let mut scores = Vec::with_capacity(with_experts.len());
        for (done, layer) in (0..).zip(&with_experts) {
            out.host().check_cancelled()?;
            out.host().progress(
                done,
                with_experts.len() as u64,
                &format!("scoring the experts of layer {}", layer.index),
            );
            scores.push(self.scores(model, layer)?);
        }
        let chosen = select_units(&numbers, &scores, &self.config.to_width()).map_err(|e| failure(&e))?;
        let mut keep = vec![Vec::new(); spec.layers.len()];
        for ((&layer, chosen), scores) in numbers.iter().zip(chosen).zip(&scores) {
            for (expert, score) in scores.iter().enumerate() {
                out.host().metric(&format!("layer {layer}/expert {expert}/score"), *score);
            }
            out.host()
                .log(LogLevel::Info, &format!("layer {layer}: keeps experts {chosen:?} of {}", scores.len()));
            keep[layer] = chosen;
        }
        let kept = spec.keep_experts(&student.config()?, &keep).map_err(TechniqueError::invalid)?;
        // By module, as a compressed weight has no tensor of the dense one's name.
        for layer in &with_experts {
            for name in modules(&layer.mlp) {
                if !kept.sources.contains_key(&format!("{name}.weight")) {
                    out.remove(&name)?;
                }
            }
        }
        for (new, old) in &kept.sources {
            let module = |name: &str| name.strip_suffix(".weight").unwrap_or(name).to_owned();
            if new != old {
                out.emit_copy(&module(new), Source::Student, &module(old))?;
            }
        }
        for cut in &kept.routers {
            let tensor = student.tensor(&cut.tensor)?;
            let left = cut.take(tensor.bytes()?, tensor.dtype().size());
            out.emit_tensor(&cut.tensor, tensor.dtype(), &cut.new_shape(), &left)?;
        }
        for remark in &kept.remarks {
            out.host().log(LogLevel::Info, &format!("only Tenuis reads the result: {remark}"));
        }
        out.set_config(&kept.config)
    }
}

impl PruneExperts {
    fn scores(&self, model: &Model<'_>, layer: &LayerSpec) -> Result<Vec<f64>, TechniqueError> {
        layer.mlp.parts().iter().map(|expert| self.score(model, model.student(), expert)).collect()
    }

    fn score(
        &self,
        model: &Model<'_>,
        student: &CheckpointView<'_>,
        expert: &MlpSpec,
    ) -> Result<f64, TechniqueError> {
        let output = expert.output().ok_or_else(|| TechniqueError::invalid("an expert without Linears"))?;
        match self.config.criterion {
            ExpertCriterion::Frequency => Ok(rows_of(model, &output.name)? as f64),
            ExpertCriterion::Activation => {
                let moments = statistic(model, &format!("moments/{}", output.name))?.to_f32()?;
                let inputs = output.shape[1];
                let squares = moments.get(inputs..2 * inputs).unwrap_or_default();
                let columns = column_squares(&student.dense(&output.name)?, inputs);
                Ok(squares.iter().zip(&columns).map(|(x, w)| f64::from(*x) * (*w)).sum())
            }
            _ => {
                let mut sum = 0.0;
                for linear in expert.inputs().into_iter().chain([output]) {
                    let weight = student.dense(&linear.name)?;
                    sum += weight.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
                }
                Ok(sum.sqrt())
            }
        }
    }
}

/// The modules of all experts.
fn modules(mlp: &MlpSpec) -> impl Iterator<Item = String> + '_ {
    mlp.parts()
        .iter()
        .flat_map(|part| part.inputs().into_iter().chain(part.output()))
        .map(|linear| linear.name)
}
