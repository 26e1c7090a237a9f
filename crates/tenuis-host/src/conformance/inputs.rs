//! Groups to test with, and the work on them.

use crate::error::PluginError;
use crate::events::{HostEvents, NoEvents};
use crate::group::{GroupInput, GroupOutput, LinearInput, Moments};
use crate::job::Job;
use crate::technique::Technique;
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use tenuis_core::{Bits, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, Tensor, Weight};

/// Rows of input behind the statistics; more than columns of the usual test group, so that XᵀX is regular.
const ROWS: usize = 192;

/// Linears that share an input, with everything that a technique may ask for.
pub(super) struct Material {
    members: Vec<LinearInput>,
    tiles: Vec<Vec<f32>>,
    hessian: Vec<f32>,
    moments: [Vec<f32>; 3],
}

/// The form of the weights of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Floats.
    Dense,
    /// Integers of four bits, with the floats as their originals.
    Grouped,
}

impl Form {
    /// The first that a technique takes with its options; nothing where it takes neither.
    pub(super) fn taken(technique: &Technique, options: &Value) -> Option<Self> {
        let mut job = technique.start(options, 1, Arc::new(NoEvents)).ok()?;
        [Self::Dense, Self::Grouped].into_iter().find(|form| {
            let sample = Material::new(*form, [8, 32]);
            sample.is_some_and(|m| m.members.iter().all(|l| job.accepts(&l.weight.descriptor()).is_ok()))
        })
    }

    /// A member with such a weight.
    fn member(self, name: &str, shape: [usize; 2], values: &[f32]) -> Option<LinearInput> {
        let tensor = Tensor::from_f32(DType::F32, shape.to_vec(), values).ok()?;
        let dense: Weight = Arc::new(Dense::new(tensor).ok()?);
        if self == Self::Dense {
            return Some(LinearInput::new(name, dense));
        }
        let spec = GroupedIntSpec {
            bits: Bits::FOUR,
            group_size: GroupSize::Channel,
            symmetric: true,
            scale_dtype: DType::F32,
            group_index: false,
        };
        let rows = || values.chunks(shape[1].max(1));
        let scales: Vec<f32> =
            rows().map(|row| row.iter().fold(1e-6_f32, |m, v| m.max(v.abs())) / 7.0).collect();
        let code = |v: f32, scale: f32| ((v / scale).round().clamp(-8.0, 7.0) + 8.0) as u8;
        let coded = rows().zip(&scales).flat_map(|(row, &scale)| row.iter().map(move |&v| code(v, scale)));
        let codes: Vec<u8> = coded.collect();
        let weight = GroupedInt::from_codes(spec, shape, &codes, &scales, None, None).ok()?;
        let mut member = LinearInput::new(name, Arc::new(weight));
        member.original = Some(dense);
        Some(member)
    }
}

impl Material {
    /// Two members of the shape, with values that look like weights.
    pub(super) fn new(form: Form, shape: [usize; 2]) -> Option<Self> {
        Self::with_values(form, shape, |i| noise(i as u64) * 0.1)
    }

    /// As [`new`](Self::new), with given values.
    pub(super) fn with_values(
        form: Form,
        [rows, columns]: [usize; 2],
        value: impl Fn(usize) -> f32,
    ) -> Option<Self> {
        let member = |name: &str, shift: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|i| value(i + shift)).collect();
            form.member(name, [rows, columns], &values)
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
