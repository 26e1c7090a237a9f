//! Weights as data: representations, their components and the codecs that read them back.
//!
//! A [`Representation`] is a matrix `[out_features, in_features]` in some stored form. It knows its descriptor (a
//! small JSON object with a `kind`), its named components (the tensors that are written), the exact number of bytes
//! those occupy, and how to decode any range of rows. Everything else that Tenuis does with a weight goes through
//! these, so that a new kind is a new module and one entry in a [`CodecRegistry`], nothing more.

mod dense;
mod grouped_int;
mod input_scaled;
mod int8_dynamic;
mod low_rank;
mod nested;
mod q4_1;
mod sparse;
mod sum;

pub use dense::{Dense, DenseCodec, Layout};
pub(crate) use grouped_int::{G_IDX, PACKED, SCALE, SHAPE, ZERO_POINT, shape_tensor};
pub use grouped_int::{GroupSize, GroupedInt, GroupedIntCodec, GroupedIntSpec, pack_codes, unpack_codes};
pub use input_scaled::{InputScaled, InputScaledCodec};
pub use int8_dynamic::{Int8Dynamic, Int8DynamicCodec};
pub use low_rank::{LowRank, LowRankCodec};
pub(crate) use q4_1::BLOCKS as Q4_1_BLOCKS;
pub use q4_1::{Q4_1, Q4_1Codec};
pub use sparse::{Sparse, SparseCodec, SparsePattern, SparseSpec, SparseValues};
pub use sum::{Sum, SumCodec};

use crate::tensor::{Tensor, TensorError};
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// What can be wrong with a weight's descriptor or components.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The descriptor is not an object with a known `kind`, or a field of it is missing or wrong.
    #[error("descriptor {descriptor}: {problem}")]
    Descriptor {
        /// The descriptor as JSON.
        descriptor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No codec is registered for the kind.
    #[error("no codec for representation kind {kind:?}; known kinds: {known}")]
    UnknownKind {
        /// The kind that was asked for.
        kind: String,
        /// The registered kinds.
        known: String,
    },
    /// A component that the descriptor calls for is not there.
    #[error("component {component:?} is missing")]
    MissingComponent {
        /// The component's suffix.
        component: String,
    },
    /// A component that the descriptor does not call for is there.
    #[error("component {component:?} does not belong to kind {kind:?}")]
    UnexpectedComponent {
        /// The component's suffix.
        component: String,
        /// The kind.
        kind: String,
    },
    /// A component has another shape or type than the descriptor calls for.
    #[error("component {component:?} is {found}, expected {expected}")]
    Component {
        /// The component's suffix.
        component: String,
        /// Type and shape that are called for.
        expected: String,
        /// Type and shape that are there.
        found: String,
    },
    /// A group size that does not divide the number of input features.
    #[error(
        "group size {group_size} does not divide {in_features} input features; use \"auto\" or a divisor"
    )]
    GroupSize {
        /// The group size asked for.
        group_size: usize,
        /// The columns of the weight.
        in_features: usize,
    },
    /// A value of a component is outside its range.
    #[error("component {component:?} holds {value} at {index}, allowed are {allowed}")]
    Value {
        /// The component's suffix.
        component: String,
        /// Where.
        index: usize,
        /// What is there.
        value: String,
        /// The allowed values.
        allowed: String,
    },
    /// A component's bytes are not what its type and shape call for.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A named tensor of a representation. On disk it is `{linear}.{suffix}`.
#[derive(Clone, Debug)]
pub struct Component {
    /// The name's last part, such as `weight_packed`.
    pub suffix: Cow<'static, str>,
    /// The tensor.
    pub tensor: Tensor,
}

impl Component {
    /// Joins a suffix and a tensor.
    pub fn new(suffix: impl Into<Cow<'static, str>>, tensor: Tensor) -> Self {
        Self { suffix: suffix.into(), tensor }
    }
}

/// A matrix `[out_features, in_features]` in some stored form.
pub trait Representation: Any + fmt::Debug + Send + Sync {
    /// The kind, equal to the descriptor's `kind`.
    fn kind(&self) -> &str;

    /// What the components mean, as a JSON object with a `kind`.
    fn descriptor(&self) -> Value;

    /// `[out_features, in_features]`.
    fn shape(&self) -> [usize; 2];

    /// The tensors that are stored, in the order in which they are written.
    fn components(&self) -> Vec<Component>;

    /// The bytes that the components occupy when stored, by formula: no headers, no padding.
    fn stored_bytes(&self) -> u64;

    /// Decodes rows to f32, row-major, `rows.len() × in_features` values.
    ///
    /// # Errors
    /// [`WeightError`] where the components cannot be decoded.
    ///
    /// # Panics
    /// If `rows` or `out` do not fit the shape.
    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError>;

    /// The weight with row `o` multiplied by `factors[o]`, in the same form; `None` where the form cannot take them: it has
    /// no place for a factor per row, or its stored types would overflow or lose more than rounding.
    ///
    /// # Errors
    /// [`WeightError`] where the components cannot be read.
    ///
    /// # Panics
    /// May panic if `factors` is not `out_features` long.
    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        let _ = factors;
        Ok(None)
    }

    /// The weight with column `i` multiplied by `factors[i]`, as [`scale_rows`](Self::scale_rows).
    ///
    /// # Errors
    /// As [`scale_rows`](Self::scale_rows).
    ///
    /// # Panics
    /// May panic if `factors` is not `in_features` long.
    fn scale_columns(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        let _ = factors;
        Ok(None)
    }

    /// The weights that the form computes with, zeros among them: those of both factors of a product, of all terms of a sum,
    /// otherwise those of the matrix. A Linear multiplies and adds each of them once per row of its input; no kernel leaves out
    /// zeros, as a vector of eight with some in it takes as long as one without.
    fn parameters(&self) -> u64 {
        let [out_features, in_features] = self.shape();
        out_features as u64 * in_features as u64
    }

    /// Those of [`parameters`](Self::parameters) that are not zero, counted from the decoded values.
    ///
    /// # Errors
    /// As [`Representation::decode_rows`].
    fn nonzero_parameters(&self) -> Result<u64, WeightError> {
        let [out_features, in_features] = self.shape();
        let mut tile = vec![0.0; COUNTED_ROWS.min(out_features) * in_features];
        let mut nonzero = 0;
        for start in (0..out_features).step_by(COUNTED_ROWS) {
            let rows = start..out_features.min(start + COUNTED_ROWS);
            let tile = &mut tile[..rows.len() * in_features];
            self.decode_rows(rows, tile)?;
            nonzero += tile.iter().filter(|v| **v != 0.0).count() as u64;
        }
        Ok(nonzero)
    }

    /// This value for a downcast to its concrete type, by which kernels choose a fast path.
    fn as_any(&self) -> &dyn Any;
}

/// Rows that are decoded at a time to count what is not zero.
const COUNTED_ROWS: usize = 64;

/// A shared weight.
pub type Weight = Arc<dyn Representation>;

impl dyn Representation {
    /// The concrete representation, if it is a `T`.
    pub fn downcast<T: Representation>(&self) -> Option<&T> {
        self.as_any().downcast_ref()
    }

    /// All rows as f32, `[out_features, in_features]`.
    ///
    /// # Errors
    /// As [`Representation::decode_rows`].
    pub fn to_dense(&self) -> Result<Vec<f32>, WeightError> {
        let [out_features, in_features] = self.shape();
        let mut dense = vec![0.0; out_features * in_features];
        self.decode_rows(0..out_features, &mut dense)?;
        Ok(dense)
    }
}

/// The components of a weight by suffix, as a codec receives them.
pub type Components = BTreeMap<String, Tensor>;

/// Builds a representation from a descriptor and components, checking both.
pub trait Codec: Send + Sync {
    /// The kind this codec reads.
    fn kind(&self) -> &'static str;

    /// Checks `descriptor` and `components` against `shape` and each other and joins them.
    ///
    /// # Errors
    /// A [`WeightError`] that names the component.
    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        components: Components,
    ) -> Result<Weight, WeightError>;
}

/// The codecs that a program knows, by kind.
///
/// ```
/// use tenuis_core::{CodecRegistry, Component, DType, Dense, Representation, Tensor};
/// let codecs = CodecRegistry::builtin();
/// let dense = Dense::new(Tensor::from_vec(DType::F32, vec![1, 2], vec![1.0f32, 2.0])?)?;
/// let components = dense.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
/// let again = codecs.decode([1, 2], &dense.descriptor(), components)?;
/// assert_eq!(again.to_dense()?, [1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct CodecRegistry {
    codecs: BTreeMap<&'static str, Arc<dyn Codec>>,
}

impl CodecRegistry {
    /// The codecs of this crate.
    pub fn builtin() -> Self {
        let mut registry = Self::default();
        registry.register(Arc::new(DenseCodec));
        registry.register(Arc::new(GroupedIntCodec));
        registry.register(Arc::new(LowRankCodec));
        registry.register(Arc::new(SumCodec));
        registry.register(Arc::new(InputScaledCodec));
        registry.register(Arc::new(Int8DynamicCodec));
        registry.register(Arc::new(Q4_1Codec));
        registry.register(Arc::new(SparseCodec));
        registry
    }

    /// Adds a codec, replacing one of the same kind.
    pub fn register(&mut self, codec: Arc<dyn Codec>) {
        self.codecs.insert(codec.kind(), codec);
    }

    /// The registered kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.codecs.keys().copied()
    }

    /// Builds a weight through the codec that its descriptor names.
    ///
    /// # Errors
    /// [`WeightError::UnknownKind`], or what the codec finds.
    pub fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        components: Components,
    ) -> Result<Weight, WeightError> {
        let kind = descriptor.get("kind").and_then(Value::as_str).ok_or_else(|| WeightError::Descriptor {
            descriptor: descriptor.to_string(),
            problem: "has no \"kind\"".to_owned(),
        })?;
        let codec = self.codecs.get(kind).ok_or_else(|| WeightError::UnknownKind {
            kind: kind.to_owned(),
            known: self.kinds().collect::<Vec<_>>().join(", "),
        })?;
        codec.decode(shape, descriptor, components)
    }
}

impl fmt::Debug for CodecRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds()).finish()
    }
}

/// Takes a component out of the map, checking its type and shape.
fn take(
    components: &mut Components,
    suffix: &str,
    dtype_ok: impl Fn(crate::DType) -> bool,
    dtype_name: &str,
    shape: &[usize],
) -> Result<Tensor, WeightError> {
    let tensor = components
        .remove(suffix)
        .ok_or_else(|| WeightError::MissingComponent { component: suffix.to_owned() })?;
    if tensor.shape() != shape || !tensor.dtype().known().is_some_and(dtype_ok) {
        return Err(WeightError::Component {
            component: suffix.to_owned(),
            expected: format!("{dtype_name} {shape:?}"),
            found: format!("{} {:?}", tensor.dtype(), tensor.shape()),
        });
    }
    Ok(tensor)
}

/// Fails on whatever a codec has not taken.
pub(crate) fn nothing_left(components: &Components, kind: &str) -> Result<(), WeightError> {
    match components.keys().next() {
        Some(component) => {
            Err(WeightError::UnexpectedComponent { component: component.clone(), kind: kind.to_owned() })
        }
        None => Ok(()),
    }
}
