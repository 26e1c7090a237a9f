//! Groups to test with, and the work on them.

use crate::error::PluginError;
use crate::events::HostEvents;
use crate::group::{GroupInput, GroupOutput, LinearInput, Moments};
use crate::job::Job;
use crate::technique::Technique;
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use tenuis_core::{DType, Dense, Tensor, Weight};

/// Rows of input behind the statistics; more than columns of the usual test group, so that XᵀX is regular.
const ROWS: usize = 192;

/// Linears that share an input, with everything that a technique may ask for.
pub(super) struct Material {
    members: Vec<LinearInput>,
    tiles: Vec<Vec<f32>>,
    hessian: Vec<f32>,
    moments: [Vec<f32>; 3],
}

impl Material {
    /// Two members of the shape, with values that look like weights.
    pub(super) fn new(shape: [usize; 2]) -> Option<Self> {
        Self::with_values(shape, |i| noise(i as u64) * 0.1)
    }

    /// As [`new`](Self::new), with given values.
    pub(super) fn with_values([rows, columns]: [usize; 2], value: impl Fn(usize) -> f32) -> Option<Self> {
        let member = |name: &str, shift: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|i| value(i + shift)).collect();
            let tensor = Tensor::from_f32(DType::F32, vec![rows, columns], &values).ok()?;
            let weight: Weight = Arc::new(Dense::new(tensor).ok()?);
            Some(LinearInput::new(name, weight))
        };
        let members =
            vec![member("model.layers.0.mlp.gate_proj", 0)?, member("model.layers.0.mlp.up_proj", 1)?];
        let inputs: Vec<f32> = (0..ROWS * columns).map(|i| noise(!(i as u64))).collect();
        let mut hessian = vec![0.0; columns * columns];
        let mut moments = [vec![0.0; columns], vec![0.0; columns], vec![0.0_f32; columns]];
        for row in inputs.chunks_exact(columns.max(1)) {
            for (i, &a) in row.iter().enumerate() {
                moments[0][i] += a.abs();
                moments[1][i] += a * a;
                moments[2][i] = moments[2][i].max(a.abs());
                for (sum, &b) in hessian[i * columns..].iter_mut().zip(row) {
                    *sum += a * b;
                }
            }
        }
        let tiles = inputs.chunks((ROWS / 2 * columns).max(1)).map(<[f32]>::to_vec).collect();
        Some(Self { members, tiles, hessian, moments })
    }

    /// One group, by a job of its own.
    pub(super) fn run(
        &self,
        technique: &Technique,
        options: &Value,
        threads: u32,
        events: Arc<dyn HostEvents>,
    ) -> Result<GroupOutput, PluginError> {
        self.give(&mut technique.start(options, threads, events)?)
    }

    /// One group, to a job.
    pub(super) fn give(&self, job: &mut Job) -> Result<GroupOutput, PluginError> {
        let mut input = GroupInput::new(self.members.clone());
        let mut tiles = self.tiles.iter().cloned();
        let [sum_abs, sum_sq, max_abs] = &self.moments;
        (input.block, input.n_blocks, input.rows) = (0, 1, ROWS as u64);
        input.hessian = Some(&self.hessian);
        input.moments = Some(Moments { sum_abs, sum_sq, max_abs });
        input.tiles = Some(&mut tiles);
        let loss = |candidate: &GroupOutput| -> Result<f64, Box<dyn Error + Send + Sync>> {
            let mut sum = 0.0;
            for member in &self.members {
                let Some(weight) = candidate.weights.get(&member.name) else { continue };
                let (new, old) = (weight.to_dense()?, member.weight.to_dense()?);
                sum += new.iter().zip(&old).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            }
            Ok(sum)
        };
        input.out_loss = Some(&loss);
        job.run(input)
    }
}

/// Numbers between -1 and 1 without a pattern (splitmix64).
fn noise(index: u64) -> f32 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}
