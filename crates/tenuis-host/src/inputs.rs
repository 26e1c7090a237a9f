//! A group as a plugin sees it, checked against what its technique asks for.

use crate::error::PluginError;
use crate::group::{GroupInput, LinearInput};
use crate::technique::{Capabilities, Technique};
use crate::views::{Arena, EMPTY};
use std::mem::size_of;
use tenuis_abi::{tn_group, tn_linear, tn_str, tn_tensor, tn_weight};
use tenuis_core::{DType, Dense, Layout, Tensor, Weight, WeightError};

/// A [`tn_group`] with everything that it refers to, except what the caller's [`GroupInput`] holds.
pub(crate) struct GroupView {
    group: *const tn_group,
    _arena: Arena,
}

impl GroupView {
    /// Checks the group and makes the view; without data where only shapes matter.
    pub(crate) fn new(
        technique: &Technique,
        input: &GroupInput<'_>,
        with_data: bool,
    ) -> Result<Self, PluginError> {
        let wrong = |problem: String| PluginError::Input { technique: technique.id().to_owned(), problem };
        let caps = technique.capabilities();
        check_members(input, caps).map_err(wrong)?;
        if with_data {
            check_statistics(input, caps).map_err(wrong)?;
        }
        let mut arena = Arena::default();
        let mut linears = Vec::new();
        for (index, linear) in input.linears.iter().enumerate() {
            let view = linear_view(&mut arena, index, linear, caps, with_data).map_err(|source| {
                PluginError::InputWeight {
                    technique: technique.id().to_owned(),
                    name: linear.name.clone(),
                    source: Box::new(source),
                }
            })?;
            linears.push(view);
        }
        let columns = input.linears[0].weight.shape()[1];
        let mut hessian = std::ptr::null();
        if caps.needs_hessian() {
            let data = input.hessian.map_or(std::ptr::null(), |h| h.as_ptr().cast());
            hessian = arena.tensor(EMPTY, DType::F32, &[columns, columns], data);
        }
        let mut moments = std::ptr::null();
        if caps.needs_moments() {
            let data = input.moments.map_or(std::ptr::null(), |m| {
                let joined = [m.sum_abs, m.sum_sq, m.max_abs].concat();
                arena.keep_slice(joined).cast()
            });
            moments = arena.tensor(EMPTY, DType::F32, &[3, columns], data);
        }
        let producer = input.producer.map_or(std::ptr::null(), |channels| {
            arena.tensor(EMPTY, DType::I32, &[channels.len()], channels.as_ptr().cast())
        });
        let group = arena_group(&mut arena, input, linears, [hessian, moments, producer]);
        Ok(Self { group, _arena: arena })
    }

    pub(crate) const fn as_ptr(&self) -> *const tn_group {
        self.group
    }
}

fn arena_group(
    arena: &mut Arena,
    input: &GroupInput<'_>,
    linears: Vec<*const tn_linear>,
    [hessian, moments, producer]: [*const tn_tensor; 3],
) -> *const tn_group {
    let n_linears = linears.len() as u32;
    let linears = arena.keep_slice(linears);
    arena.keep(tn_group {
        struct_size: size_of::<tn_group>() as u32,
        n_linears,
        block: input.block,
        n_blocks: input.n_blocks,
        linears,
        hessian,
        moments,
        calib_rows: input.rows,
        producer,
    })
}

fn linear_view(
    arena: &mut Arena,
    index: usize,
    linear: &LinearInput,
    caps: Capabilities,
    with_data: bool,
) -> Result<*const tn_linear, WeightError> {
    let weight = &linear.weight;
    let [out_features, in_features] = weight.shape();
    let mut components: Vec<*const tn_tensor> = Vec::new();
    for component in weight.components() {
        let name = arena.keep_text(component.suffix.into_owned());
        components.push(arena.stored(name, component.tensor, with_data)?);
    }
    let mut dense = std::ptr::null();
    if caps.needs_dense() {
        dense = dense_view(arena, weight, with_data)?;
    }
    let mut original = std::ptr::null();
    if let Some(weight) = linear.original.as_ref().filter(|_| caps.needs_original()) {
        original = dense_view(arena, weight, with_data)?;
    }
    let mut mask = std::ptr::null();
    if let Some(tensor) = &linear.mask {
        let data = if with_data { tensor.data().as_ptr().cast() } else { std::ptr::null() };
        mask = arena.tensor(EMPTY, DType::U8, &[out_features, in_features], data);
    }
    let mut bias = std::ptr::null();
    if let Some(tensor) = &linear.bias {
        bias = arena.stored(EMPTY, tensor.clone(), with_data)?;
    }
    let descriptor = arena.keep_text(weight.descriptor().to_string());
    let weight = tn_weight {
        struct_size: size_of::<tn_weight>() as u32,
        n_components: components.len() as u32,
        out_features: out_features as u64,
        in_features: in_features as u64,
        descriptor,
        components: arena.keep_slice(components),
        dense,
        mask,
        original,
    };
    let weight = arena.keep(weight);
    Ok(arena.keep(tn_linear {
        struct_size: size_of::<tn_linear>() as u32,
        index: index as u32,
        name: tn_str::new(&linear.name),
        weight,
        bias,
    }))
}

/// f32 `[out, in]`, without a copy where the weight is stored like that.
fn dense_view(arena: &mut Arena, weight: &Weight, with_data: bool) -> Result<*const tn_tensor, WeightError> {
    let shape = weight.shape();
    if !with_data {
        return Ok(arena.tensor(EMPTY, DType::F32, &shape, std::ptr::null()));
    }
    let stored =
        weight.downcast::<Dense>().filter(|d| d.dtype() == DType::F32 && d.layout() == Layout::OutIn);
    if let Some(tensor) = stored.map(Dense::tensor).filter(|t| is_aligned(t)) {
        let view = arena.tensor(EMPTY, DType::F32, &shape, tensor.data().as_ptr().cast());
        arena.keep(tensor.clone());
        return Ok(view);
    }
    let values = arena.keep_slice(weight.to_dense()?);
    Ok(arena.tensor(EMPTY, DType::F32, &shape, values.cast()))
}

fn is_aligned(tensor: &Tensor) -> bool {
    tensor.data().as_ptr().addr().is_multiple_of(align_of::<f32>())
}

fn check_members(input: &GroupInput<'_>, caps: Capabilities) -> Result<(), String> {
    let Some(first) = input.linears.first() else {
        return Err("the group has no members".to_owned());
    };
    let columns = first.weight.shape()[1];
    for (index, linear) in input.linears.iter().enumerate() {
        let (name, shape) = (&linear.name, linear.weight.shape());
        if shape[1] != columns {
            return Err(format!("{name} has {} input features, {} has {columns}", shape[1], first.name));
        }
        if input.linears[..index].iter().any(|other| other.name == *name) {
            return Err(format!("{name} is in the group twice"));
        }
        if let Some(original) = linear.original.as_ref().filter(|o| o.shape() != shape) {
            return Err(format!("the original of {name} is {:?}, the weight {shape:?}", original.shape()));
        }
        if let Some(mask) = &linear.mask {
            if !caps.keeps_mask() {
                return Err(format!(
                    "{name} is pruned, and the technique does not keep pruned entries at zero"
                ));
            }
            let fits = mask.shape() == shape.as_slice()
                && mask.dtype().known().is_some_and(|d| matches!(d, DType::U8 | DType::Bool));
            if !fits {
                return Err(format!(
                    "the mask of {name} is {} {:?}, expected u8 {shape:?}",
                    mask.dtype(),
                    mask.shape()
                ));
            }
        }
    }
    Ok(())
}

fn check_statistics(input: &GroupInput<'_>, caps: Capabilities) -> Result<(), String> {
    let columns = input.linears.first().map_or(0, |l| l.weight.shape()[1]);
    let length = |what: &str, found: Option<usize>, expected: usize| match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("{what} has {found} values, expected {expected}")),
        None => Err(format!("it needs {what}, and the group has none")),
    };
    if caps.needs_hessian() {
        length("the Hessian", input.hessian.map(<[f32]>::len), columns * columns)?;
    }
    if caps.needs_moments() {
        for moment in input.moments.map_or([None; 3], |m| [m.sum_abs, m.sum_sq, m.max_abs].map(Some)) {
            length("a channel moment", moment.map(<[f32]>::len), columns)?;
        }
    }
    if input.producer.is_some() {
        length("the producer's channels", input.producer.map(<[i32]>::len), columns)?;
    }
    if caps.needs_inputs() && input.tiles.is_none() {
        return Err("it needs the group's input in tiles, and the group has none".to_owned());
    }
    if caps.needs_out_loss() && input.out_loss.is_none() {
        return Err("it needs the loss of the parent module, and the group has none".to_owned());
    }
    Ok(())
}
