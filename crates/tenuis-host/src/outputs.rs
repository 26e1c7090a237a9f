//! What a plugin hands back for a group, checked before it is kept.

use crate::buffer::{Buffer, BufferFault};
use crate::error::OutputProblem;
use crate::group::{GroupOutput, LinearInput};
use serde_json::Value;
use std::collections::BTreeMap;
use tenuis_core::{CodecRegistry, Components, DType, Dense, Tensor, Weight, element_count};

/// A component may be so many times larger than the dense f32 weight before the request counts as a mistake.
pub(crate) const MAX_GROWTH: usize = 16;
/// What is allowed beyond that, for the tables of tiny weights.
pub(crate) const ALLOWANCE: usize = 1 << 20;
/// Values that are decoded at a time when a weight is checked.
pub(crate) const TILE: usize = 1 << 16;

/// A weight of the group as it went in.
struct Member {
    shape: [usize; 2],
    /// The stored shape, where it was dense.
    stored: Option<Vec<usize>>,
    mask: Option<Tensor>,
}

/// The buffers that are lent and the weights that are kept.
pub(crate) struct Outputs {
    members: BTreeMap<String, Member>,
    buffers: BTreeMap<(String, String), Buffer>,
    /// What has been kept so far.
    pub(crate) kept: GroupOutput,
    /// Why the latest attempt at a weight was refused.
    refused: BTreeMap<String, OutputProblem>,
    seed: u64,
}

impl Outputs {
    pub(crate) fn new(linears: &[LinearInput], seed: u64) -> Self {
        let members = linears.iter().map(|linear| {
            let dense = linear.weight.downcast::<Dense>();
            let member = Member {
                shape: linear.weight.shape(),
                stored: dense.map(|d| d.tensor().shape().to_vec()),
                mask: linear.mask.clone(),
            };
            (linear.name.clone(), member)
        });
        Self {
            members: members.collect(),
            buffers: BTreeMap::new(),
            kept: GroupOutput::default(),
            refused: BTreeMap::new(),
            seed,
        }
    }

    /// Remembers why something about a weight was refused, and returns the message for the plugin.
    pub(crate) fn refuse(&mut self, weight: &str, problem: OutputProblem) -> String {
        let message = problem.to_string();
        self.refused.insert(weight.to_owned(), problem);
        message
    }

    /// The first refusal that was not mended by a later attempt.
    pub(crate) fn take_refusal(&mut self) -> Option<(String, OutputProblem)> {
        self.refused.pop_first()
    }

    /// Every member has to be there in the end.
    pub(crate) fn finish(mut self) -> Result<GroupOutput, (String, OutputProblem)> {
        if let Some(refusal) = self.take_refusal() {
            return Err(refusal);
        }
        match self.members.keys().find(|name| !self.kept.weights.contains_key(*name)) {
            Some(name) => Err((name.clone(), OutputProblem::Missing)),
            None => Ok(self.kept),
        }
    }

    /// Lends a buffer; `Ok(None)` where there is not enough memory.
    pub(crate) fn allocate(
        &mut self,
        weight: &str,
        component: &str,
        dtype: Option<DType>,
        shape: Option<Vec<usize>>,
    ) -> Result<Option<(*mut u8, usize)>, OutputProblem> {
        let member = self.members.get(weight).ok_or(OutputProblem::NotInGroup)?;
        let limit =
            (member.shape[0] * member.shape[1] * 4).saturating_mul(MAX_GROWTH).saturating_add(ALLOWANCE);
        self.seed = self.seed.wrapping_add(0x5851_f42d_4c95_7f2d);
        let Some(buffer) = lend(component, dtype, shape, limit, self.seed)? else { return Ok(None) };
        let slot = self.buffers.entry((weight.to_owned(), component.to_owned()));
        let buffer = slot.insert_entry(buffer).into_mut();
        Ok(Some((buffer.as_mut_ptr(), buffer.len())))
    }

    /// A buffer that is lent.
    #[cfg(unix)]
    pub(crate) fn buffer_mut(&mut self, weight: &str, component: &str) -> Option<&mut Buffer> {
        self.buffers.get_mut(&(weight.to_owned(), component.to_owned()))
    }

    /// Takes the buffers of a weight, checks them and keeps the weight.
    pub(crate) fn emit(
        &mut self,
        weight: &str,
        descriptor: &str,
        components: &[String],
        codecs: &CodecRegistry,
    ) -> Result<(), OutputProblem> {
        let member = self.members.get(weight).ok_or(OutputProblem::NotInGroup)?;
        let descriptor = parse_descriptor(descriptor)?;
        let mut tensors = Components::new();
        for component in components {
            let buffer = self
                .buffers
                .remove(&(weight.to_owned(), component.clone()))
                .ok_or_else(|| OutputProblem::NotAllocated { component: component.clone() })?;
            tensors.insert(component.clone(), into_tensor(component, buffer)?);
        }
        let decoded = codecs.decode(member.shape, &descriptor, tensors)?;
        check_values(&decoded, member.mask.as_ref())?;
        if let (Some(expected), Some(dense)) = (&member.stored, decoded.downcast::<Dense>()) {
            let found = dense.tensor().shape();
            if found != expected.as_slice() {
                return Err(OutputProblem::StoredShape { expected: expected.clone(), found: found.to_vec() });
            }
        }
        self.kept.weights.insert(weight.to_owned(), decoded);
        self.refused.remove(weight);
        Ok(())
    }

    /// Keeps a per-channel scale.
    pub(crate) fn fold(&mut self, weight: &str, scale: &[f32]) -> Result<(), OutputProblem> {
        let member = self.members.get(weight).ok_or(OutputProblem::NotInGroup)?;
        let wrong = |problem: String| OutputProblem::Fold { problem };
        if scale.len() != member.shape[1] {
            return Err(wrong(format!("{} values for {} input features", scale.len(), member.shape[1])));
        }
        if let Some(channel) = scale.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(wrong(format!("{} at channel {channel}", scale[channel])));
        }
        self.kept.folds.insert(weight.to_owned(), scale.to_vec());
        Ok(())
    }
}

/// A buffer of at most `limit` bytes; `Ok(None)` where there is not enough memory.
pub(crate) fn lend(
    component: &str,
    dtype: Option<DType>,
    shape: Option<Vec<usize>>,
    limit: usize,
    seed: u64,
) -> Result<Option<Buffer>, OutputProblem> {
    let wrong = |problem: String| OutputProblem::Allocation { component: component.to_owned(), problem };
    let dtype = dtype.ok_or_else(|| wrong("unknown element type".to_owned()))?;
    let shape = shape.ok_or_else(|| wrong("a broken shape".to_owned()))?;
    let bytes = element_count(&shape).ok().and_then(|n| n.checked_mul(dtype.size()));
    let Some(bytes) = bytes.filter(|&b| b <= limit) else {
        return Err(wrong(format!("{dtype} {shape:?} is more than the {limit} bytes that are allowed")));
    };
    Ok(Buffer::new(dtype, shape, bytes, seed))
}

pub(crate) fn parse_descriptor(text: &str) -> Result<Value, OutputProblem> {
    serde_json::from_str(text).map_err(|e| OutputProblem::Descriptor { problem: e.to_string() })
}

/// The tensor that was written into a buffer, all of it and nothing else.
pub(crate) fn into_tensor(component: &str, buffer: Buffer) -> Result<Tensor, OutputProblem> {
    buffer.check().map_err(|fault| match fault {
        BufferFault::Unwritten(byte) => {
            OutputProblem::Unwritten { component: component.to_owned(), byte, bytes: buffer.len() }
        }
        BufferFault::Overrun => OutputProblem::Overrun { component: component.to_owned() },
    })?;
    let (dtype, shape) = (buffer.dtype(), buffer.shape().to_vec());
    Tensor::new(dtype, shape, buffer.into_bytes()).map_err(|e| OutputProblem::Weight(e.into()))
}

/// Decodes a weight tile by tile: every value must be finite, and zero where the mask says so.
pub(crate) fn check_values(weight: &Weight, mask: Option<&Tensor>) -> Result<(), OutputProblem> {
    let [rows, columns] = weight.shape();
    if columns == 0 {
        return Ok(());
    }
    let step = (TILE / columns).max(1);
    let mut tile = vec![0.0; step.min(rows) * columns];
    for start in (0..rows).step_by(step) {
        let count = step.min(rows - start);
        let tile = &mut tile[..count * columns];
        weight.decode_rows(start..start + count, tile)?;
        if let Some(at) = tile.iter().position(|v| !v.is_finite()) {
            let (row, column) = (start + at / columns, at % columns);
            return Err(OutputProblem::NonFinite { value: tile[at], row, column });
        }
        if let Some(mask) = mask {
            let kept = &mask.data()[start * columns..(start + count) * columns];
            if let Some(at) = tile.iter().zip(kept).position(|(&v, &kept)| kept == 0 && v != 0.0) {
                let (row, column) = (start + at / columns, at % columns);
                return Err(OutputProblem::Mask { value: tile[at], row, column });
            }
        }
    }
    Ok(())
}
