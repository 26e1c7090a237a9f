//! Which hidden states are matched, and through what.

use crate::error::TrainError;
use crate::objective::Objective;
use crate::ops::linear::linear;
use crate::params::normal;
use crate::teacher::Teacher;
use candle_core::{Device, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tenuis_core::Layout as Stored;

/// A student block whose output is held against that of a teacher block.
#[derive(Debug)]
pub(crate) struct Match {
    /// The student's block.
    pub(crate) block: usize,
    /// The teacher's block.
    pub(crate) source: usize,
    /// Where the widths differ: a name and a matrix `[teacher width, student width]`, which is trained along.
    pub(crate) projection: Option<(String, Var)>,
}

impl Match {
    /// The mean over all values of `(W h − h')²` with the student's state `h`, the teacher's `h'` and the projection `W`.
    pub(crate) fn loss(&self, student: &Tensor, teacher: &Tensor) -> Result<Tensor, TrainError> {
        let projected = match &self.projection {
            Some((_, projection)) => linear(student, projection.as_tensor(), Stored::OutIn)?,
            None => student.clone(),
        };
        Ok((projected - teacher)?.sqr()?.mean_all()?)
    }
}

/// Pairs student blocks with teacher blocks and makes projections where the widths differ.
pub(crate) fn match_blocks(
    blocks: usize,
    width: usize,
    teacher: &dyn Teacher,
    objective: &Objective,
    random_seed: u64,
) -> Result<Vec<Match>, TrainError> {
    let map = objective.teacher_blocks(blocks, teacher.blocks());
    if map.len() != blocks {
        let value = format!("{map:?}");
        return Err(TrainError::Option {
            option: "layer_map",
            value,
            allowed: "one teacher block for every student block",
        });
    }
    if let Some(&layer) = map.iter().find(|&&l| l >= teacher.blocks()) {
        return Err(TrainError::Layer { layer, model: "teacher", layers: teacher.blocks() });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(random_seed);
    rng.set_stream(1 << 32);
    let wide = teacher.width();
    map.into_iter()
        .enumerate()
        .map(|(block, source)| {
            if wide == width {
                return Ok(Match { block, source, projection: None });
            }
            let deviation = 1.0 / (width as f32).sqrt();
            let values: Vec<f32> = (0..wide * width).map(|_| deviation * normal(&mut rng)).collect();
            let var = Var::from_vec(values, (wide, width), &Device::Cpu)?;
            Ok(Match { block, source, projection: Some((format!("projection.{block}"), var)) })
        })
        .collect()
}
