//! What the host lends to a technique.

#![expect(unsafe_code, reason = "reads structs behind raw pointers of the host")]

use crate::error::TechniqueError;
use crate::tensor::{TensorView, array, text};
use serde_json::Value;
use tenuis_abi::{read_covered, tn_group, tn_linear, tn_weight};
use tenuis_core::{CodecRegistry, Components, DType, Weight};

/// A weight as a descriptor plus components.
#[derive(Clone, Debug)]
pub struct StoredWeight<'a> {
    shape: [usize; 2],
    descriptor: Value,
    components: Vec<TensorView<'a>>,
}

impl<'a> StoredWeight<'a> {
    /// # Safety
    /// `raw` is a weight of the host that is valid for `'a`.
    unsafe fn from_raw(raw: &tn_weight) -> Result<Self, TechniqueError> {
        let mut components = Vec::new();
        // SAFETY: the host's components and texts, here and below.
        for &component in unsafe { array(raw.components, raw.n_components) } {
            // SAFETY: as above.
            components.extend(unsafe { TensorView::read(component) }?);
        }
        // SAFETY: as above.
        let descriptor = unsafe { text(raw.descriptor) }?;
        let descriptor = serde_json::from_str(descriptor)
            .map_err(|e| TechniqueError::invalid(format!("descriptor {descriptor:?}: {e}")))?;
        let shape = [raw.out_features, raw.in_features].map(|d| d as usize);
        Ok(Self { shape, descriptor, components })
    }

    /// # Safety
    /// `weight` is null or a weight of the host that is valid for `'a`.
    pub(crate) unsafe fn read(weight: *const tn_weight) -> Result<Self, TechniqueError> {
        // SAFETY: the caller vouches for it.
        let raw =
            unsafe { read_covered(weight) }.ok_or_else(|| TechniqueError::invalid("the weight is null"))?;
        // SAFETY: as above.
        unsafe { Self::from_raw(&raw) }
    }

    /// `[out_features, in_features]`.
    pub const fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The descriptor.
    pub const fn descriptor(&self) -> &Value {
        &self.descriptor
    }

    /// A component by its suffix, without a copy.
    ///
    /// # Errors
    /// [`TechniqueError`] where it is not there.
    pub fn component(&self, suffix: &str) -> Result<&TensorView<'a>, TechniqueError> {
        self.components.iter().find(|c| c.name == suffix).ok_or_else(|| {
            TechniqueError::invalid(format!("component {suffix:?} of {} is missing", self.descriptor))
        })
    }

    /// The weight as the core's type, through the core's codecs; copies the components.
    ///
    /// # Errors
    /// [`TechniqueError`] for a kind that the core does not know.
    pub fn to_weight(&self) -> Result<Weight, TechniqueError> {
        let mut components = Components::new();
        for component in &self.components {
            components.insert(component.name.clone(), component.to_tensor()?);
        }
        Ok(CodecRegistry::builtin().decode(self.shape, &self.descriptor, components)?)
    }
}

/// One member of a group.
#[derive(Clone, Debug)]
pub struct Linear<'a> {
    name: &'a str,
    weight: StoredWeight<'a>,
    dense: Option<TensorView<'a>>,
    mask: Option<TensorView<'a>>,
    original: Option<TensorView<'a>>,
    bias: Option<TensorView<'a>>,
}

impl<'a> Linear<'a> {
    /// # Safety
    /// `linear` is null or a Linear of the host that is valid for `'a`.
    unsafe fn read(linear: *const tn_linear) -> Result<Self, TechniqueError> {
        // SAFETY: the caller vouches for this and for everything that it refers to.
        unsafe {
            let null = || TechniqueError::invalid("a Linear of the host is null");
            let raw = read_covered(linear).ok_or_else(null)?;
            let weight = read_covered(raw.weight).ok_or_else(null)?;
            Ok(Self {
                name: text(raw.name)?,
                weight: StoredWeight::from_raw(&weight)?,
                dense: TensorView::read(weight.dense)?,
                mask: TensorView::read(weight.mask)?,
                original: TensorView::read(weight.original)?,
                bias: TensorView::read(raw.bias)?,
            })
        }
    }

    /// The name in the checkpoint.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// `[out_features, in_features]`.
    pub const fn shape(&self) -> [usize; 2] {
        self.weight.shape
    }

    /// The weight as it is stored now.
    pub const fn weight(&self) -> &StoredWeight<'a> {
        &self.weight
    }

    /// The weight as f32, `[out, in]`, row-major; under `NEEDS_DENSE`.
    ///
    /// # Errors
    /// [`TechniqueError`] without `NEEDS_DENSE`.
    pub fn dense(&self) -> Result<&'a [f32], TechniqueError> {
        let missing =
            || TechniqueError::invalid("the dense weight was not asked for (NEEDS_DENSE)").about(self.name);
        self.dense.as_ref().ok_or_else(missing)?.as_f32(&self.weight.shape)
    }

    /// 1 = kept, `[out, in]`; `None` where nothing is pruned.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host passed another shape.
    pub fn mask(&self) -> Result<Option<&'a [u8]>, TechniqueError> {
        let Some(mask) = &self.mask else { return Ok(None) };
        if mask.dtype() != DType::U8 || mask.shape() != self.weight.shape {
            return Err(TechniqueError::invalid("its mask has another type or shape").about(self.name));
        }
        mask.bytes().map(Some)
    }

    /// The uncompressed weight as f32, `[out, in]`, under `NEEDS_ORIGINAL`; `None` where the weight itself is that.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host passed another shape.
    pub fn original(&self) -> Result<Option<&'a [f32]>, TechniqueError> {
        self.original.as_ref().map(|t| t.as_f32(&self.weight.shape)).transpose()
    }

    /// `[out]`.
    pub const fn bias(&self) -> Option<&TensorView<'a>> {
        self.bias.as_ref()
    }
}

/// Per input channel, over all calibration rows.
#[derive(Clone, Copy, Debug)]
pub struct Moments<'a> {
    /// Σ|x|.
    pub sum_abs: &'a [f32],
    /// Σx².
    pub sum_sq: &'a [f32],
    /// max|x|.
    pub max_abs: &'a [f32],
}

/// The Linears that share an input, or one other tensor under `ANY_TENSOR`.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    linears: Vec<Linear<'a>>,
    hessian: Option<TensorView<'a>>,
    moments: Option<TensorView<'a>>,
    block: Option<u32>,
    n_blocks: u32,
    rows: u64,
    producer: Option<TensorView<'a>>,
}

impl<'a> Group<'a> {
    /// # Safety
    /// `group` is null or a group of the host that is valid for `'a`.
    pub(crate) unsafe fn read(group: *const tn_group) -> Result<Self, TechniqueError> {
        // SAFETY: the caller vouches for this and for everything that it refers to.
        unsafe {
            let raw = read_covered(group).ok_or_else(|| TechniqueError::invalid("the group is null"))?;
            let mut linears = Vec::new();
            for &linear in array(raw.linears, raw.n_linears) {
                linears.push(Linear::read(linear)?);
            }
            Ok(Self {
                linears,
                hessian: TensorView::read(raw.hessian)?,
                moments: TensorView::read(raw.moments)?,
                block: (raw.block < raw.n_blocks).then_some(raw.block),
                n_blocks: raw.n_blocks,
                rows: raw.calib_rows,
                producer: TensorView::read(raw.producer)?,
            })
        }
    }

    /// The members.
    pub fn linears(&self) -> &[Linear<'a>] {
        &self.linears
    }

    /// The width of the shared input.
    pub fn in_features(&self) -> usize {
        self.linears.first().map_or(0, |l| l.weight.shape[1])
    }

    /// The block that the group is in, from 0.
    pub const fn block(&self) -> Option<u32> {
        self.block
    }

    /// The number of blocks of the network.
    pub const fn n_blocks(&self) -> u32 {
        self.n_blocks
    }

    /// XᵀX, `[in, in]`, of which only the upper triangle is valid; under `NEEDS_HESSIAN`.
    ///
    /// # Errors
    /// [`TechniqueError`] without `NEEDS_HESSIAN`.
    pub fn hessian(&self) -> Result<&'a [f32], TechniqueError> {
        let missing = || TechniqueError::invalid("the Hessian was not asked for (NEEDS_HESSIAN)");
        self.hessian.as_ref().ok_or_else(missing)?.as_f32(&[self.in_features(); 2])
    }

    /// Channel moments; under `NEEDS_MOMENTS`.
    ///
    /// # Errors
    /// [`TechniqueError`] without `NEEDS_MOMENTS`.
    pub fn moments(&self) -> Result<Moments<'a>, TechniqueError> {
        let missing = || TechniqueError::invalid("moments were not asked for (NEEDS_MOMENTS)");
        let features = self.in_features();
        let all = self.moments.as_ref().ok_or_else(missing)?.as_f32(&[3, features])?;
        let (sum_abs, rest) = all.split_at(features);
        let (sum_sq, max_abs) = rest.split_at(features);
        Ok(Moments { sum_abs, sum_sq, max_abs })
    }

    /// The rows (tokens) that the statistics were taken over.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The channel of its producer that each input channel comes from, `[in]`; `None` where the producer takes no scale.
    ///
    /// Scales for [`Emitter::fold`](crate::Emitter::fold) that are equal wherever these are equal are folded into the
    /// producer; others, and all where this is `None`, are divided out at run time.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host passed another type or shape.
    pub fn producer(&self) -> Result<Option<Vec<usize>>, TechniqueError> {
        let Some(channels) = &self.producer else { return Ok(None) };
        let wrong = || TechniqueError::invalid("the producer's channels have another type or shape");
        if channels.dtype() != DType::I32 || channels.shape() != [self.in_features()] {
            return Err(wrong());
        }
        let channels = channels.bytes()?.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes));
        channels
            .map(|channel| usize::try_from(channel).map_err(|_| wrong()))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(crate) fn shape(&self) -> GroupShape {
        let linear = |l: &Linear<'_>| LinearShape {
            name: l.name.to_owned(),
            shape: l.weight.shape,
            descriptor: l.weight.descriptor.clone(),
        };
        GroupShape { linears: self.linears.iter().map(linear).collect() }
    }
}

/// A group without its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupShape {
    /// The members.
    pub linears: Vec<LinearShape>,
}

/// A member of a group without its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearShape {
    /// The name in the checkpoint.
    pub name: String,
    /// `[out_features, in_features]`.
    pub shape: [usize; 2],
    /// The descriptor of the weight as it is now.
    pub descriptor: Value,
}
