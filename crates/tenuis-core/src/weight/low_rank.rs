//! A product of two thin matrices, `W = B·A`.

use super::{Codec, Component, Components, Representation, Weight, WeightError, nested, nothing_left};
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The part that maps to the outputs.
const B: &str = "b";
/// The part that maps from the inputs.
const A: &str = "a";
/// Kinds that are no factor: a product of more than two matrices has a cheaper form of two.
const REFUSED: [&str; 3] = ["low_rank", "sum", "input_scaled"];

/// A matrix of low rank as the product of its factors, `W = B·A`.
///
/// With rank `r` it has `r·(out + in)` weights instead of `out·in`, and a Linear takes as many multiplications. Each
/// factor is a representation of its own, so it may be quantised or sparse.
///
/// Stored bytes: those of `B` and of `A`, and nothing else.
///
/// # Components
/// | suffix | of |
/// |---|---|
/// | `b.{suffix}` | the components of `B` `[out, r]` |
/// | `a.{suffix}` | the components of `A` `[r, in]` |
///
/// ```
/// use std::sync::Arc;
/// use tenuis_core::{DType, Dense, LowRank, Representation, Tensor};
/// let factor = |shape: [usize; 2], values: &[f32]| {
///     Dense::new(Tensor::from_f32(DType::F32, shape.to_vec(), values)?).map(Arc::new)
/// };
/// let weight = LowRank::new(factor([2, 1], &[1.0, 2.0])?, factor([1, 3], &[3.0, 4.0, 5.0])?)?;
/// assert_eq!((weight.rank(), weight.stored_bytes()), (1, 4 * (2 + 3)));
/// assert_eq!((&weight as &dyn Representation).to_dense()?, [3.0, 4.0, 5.0, 6.0, 8.0, 10.0]);
/// # Ok::<(), tenuis_core::WeightError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LowRank {
    b: Weight,
    a: Weight,
}

impl LowRank {
    /// Joins `b` `[out, rank]` and `a` `[rank, in]`.
    ///
    /// # Errors
    /// [`WeightError::Component`] where the shapes do not fit or the rank is zero, [`WeightError::Descriptor`] for a
    /// factor that is itself a product or a sum.
    pub fn new(b: Weight, a: Weight) -> Result<Self, WeightError> {
        for (part, factor) in [(B, &b), (A, &a)] {
            if REFUSED.contains(&factor.kind()) {
                return Err(WeightError::Descriptor {
                    descriptor: factor.descriptor().to_string(),
                    problem: format!("kind {:?} is not allowed as part {part:?}", factor.kind()),
                });
            }
        }
        let ([_, rank], [rows, in_features]) = (b.shape(), a.shape());
        if rank == 0 || rows != rank {
            return Err(WeightError::Component {
                component: A.to_owned(),
                expected: format!("[{}, {in_features}]", rank.max(1)),
                found: format!("[{rows}, {in_features}]"),
            });
        }
        Ok(Self { b, a })
    }

    /// The number of columns of `B` and rows of `A`.
    pub fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    /// `B`, `[out, rank]`.
    pub const fn b(&self) -> &Weight {
        &self.b
    }

    /// `A`, `[rank, in]`.
    pub const fn a(&self) -> &Weight {
        &self.a
    }
}

impl Representation for LowRank {
    fn kind(&self) -> &'static str {
        "low_rank"
    }

    fn descriptor(&self) -> Value {
        json!({ "kind": self.kind(), "rank": self.rank(), B: self.b.descriptor(), A: self.a.descriptor() })
    }

    fn shape(&self) -> [usize; 2] {
        [self.b.shape()[0], self.a.shape()[1]]
    }

    fn components(&self) -> Vec<Component> {
        nested::prefixed(B, self.b.as_ref()).chain(nested::prefixed(A, self.a.as_ref())).collect()
    }

    fn stored_bytes(&self) -> u64 {
        self.b.stored_bytes() + self.a.stored_bytes()
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape();
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        if out.is_empty() {
            return Ok(());
        }
        let rank = self.rank();
        let mut b = vec![0.0; rows.len() * rank];
        self.b.decode_rows(rows, &mut b)?;
        out.fill(0.0);
        let mut a = vec![0.0; TOGETHER * in_features];
        for first in (0..rank).step_by(TOGETHER) {
            let count = TOGETHER.min(rank - first);
            self.a.decode_rows(first..first + count, &mut a[..count * in_features])?;
            a[count * in_features..].fill(0.0);
            for (out, b) in out.chunks_exact_mut(in_features).zip(b.chunks_exact(rank)) {
                let mut factors = [0.0; TOGETHER];
                factors[..count].copy_from_slice(&b[first..first + count]);
                add_rows(out, factors, &a);
            }
        }
        Ok(())
    }

    fn parameters(&self) -> u64 {
        self.b.parameters() + self.a.parameters()
    }

    fn nonzero_parameters(&self) -> Result<u64, WeightError> {
        Ok(self.b.nonzero_parameters()? + self.a.nonzero_parameters()?)
    }

    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        let b = self.b.scale_rows(factors)?;
        Ok(b.map(|b| Arc::new(Self { b, a: Arc::clone(&self.a) }) as Weight))
    }

    fn scale_columns(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        let a = self.a.scale_columns(factors)?;
        Ok(a.map(|a| Arc::new(Self { b: Arc::clone(&self.b), a }) as Weight))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Rows of `A` that are added at once: so many multiplications for each value of the result that is loaded and stored.
const TOGETHER: usize = 8;

/// `out += Σₖ factors[k] · a[k, :]`.
fn add_rows(out: &mut [f32], factors: [f32; TOGETHER], a: &[f32]) {
    let n = out.len();
    let rows: [&[f32]; TOGETHER] = std::array::from_fn(|k| &a[k * n..(k + 1) * n]);
    for (i, value) in out.iter_mut().enumerate() {
        let mut sum = *value;
        for k in 0..TOGETHER {
            sum += factors[k] * rows[k][i];
        }
        *value = sum;
    }
}

/// Reads `{"kind": "low_rank", "rank": r, "b": {…}, "a": {…}}`, where `b` and `a` are descriptors of the factors.
#[derive(Clone, Copy, Debug)]
pub struct LowRankCodec;

impl Codec for LowRankCodec {
    fn kind(&self) -> &'static str {
        "low_rank"
    }

    fn decode(
        &self,
        [out_features, in_features]: [usize; 2],
        descriptor: &Value,
        mut components: Components,
    ) -> Result<Weight, WeightError> {
        let wrong = |problem: &str| WeightError::Descriptor {
            descriptor: descriptor.to_string(),
            problem: problem.to_owned(),
        };
        nested::check_keys(descriptor, &["kind", "rank", B, A])?;
        let rank = descriptor.get("rank").and_then(Value::as_u64).and_then(|r| usize::try_from(r).ok());
        let rank = rank.filter(|&r| r > 0).ok_or_else(|| wrong("rank must be a positive number"))?;
        let part = |name: &str| descriptor.get(name).ok_or_else(|| wrong("needs both \"b\" and \"a\""));
        let b = nested::decode(B, [out_features, rank], part(B)?, &mut components, &REFUSED)?;
        let a = nested::decode(A, [rank, in_features], part(A)?, &mut components, &REFUSED)?;
        nothing_left(&components, self.kind())?;
        Ok(Arc::new(LowRank::new(b, a)?))
    }
}
