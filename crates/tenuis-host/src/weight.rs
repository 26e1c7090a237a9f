//! Weights of a kind that only a plugin can decode.

#![expect(unsafe_code, reason = "calls the plugin's decode function")]

use crate::library::{Functions, TechniqueTable};
use crate::views::Arena;
use serde_json::Value;
use std::any::Any;
use std::mem::size_of;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenuis_abi::{TN_OK, tn_err, tn_str, tn_tensor, tn_weight};
use tenuis_core::{Codec, Component, Components, Representation, Weight, WeightError};

/// The number of the next weight.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A weight whose kind belongs to a plugin: the components as they are, decoded row by row by the plugin's `decode`.
///
/// Nothing is cached: every call of [`Representation::decode_rows`] calls the plugin. The number of stored bytes is
/// the sum of the components'.
#[derive(Clone, Debug)]
pub struct PluginWeight {
    table: Arc<TechniqueTable>,
    /// Tells weights apart; from 1.
    number: u64,
    kind: &'static str,
    descriptor: Value,
    descriptor_text: String,
    shape: [usize; 2],
    components: Components,
}

impl PluginWeight {
    /// The technique that decodes it.
    pub fn technique(&self) -> &str {
        &self.table.id
    }
}

impl Representation for PluginWeight {
    fn kind(&self) -> &str {
        self.kind
    }

    fn descriptor(&self) -> Value {
        self.descriptor.clone()
    }

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn components(&self) -> Vec<Component> {
        self.components
            .iter()
            .map(|(suffix, tensor)| Component::new(suffix.clone(), tensor.clone()))
            .collect()
    }

    fn stored_bytes(&self) -> u64 {
        self.components.values().map(|t| t.data().len() as u64).sum()
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape;
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        let failed =
            |problem: String| WeightError::Descriptor { descriptor: self.descriptor_text.clone(), problem };
        let mut arena = Arena::default();
        let components: Vec<*const tn_tensor> = self
            .components
            .iter()
            .map(|(suffix, tensor)| arena.stored(tn_str::new(suffix), tensor.clone(), true))
            .collect::<Result<_, _>>()?;
        let n_components = components.len() as u32;
        let weight = tn_weight {
            struct_size: size_of::<tn_weight>() as u32,
            n_components,
            out_features: out_features as u64,
            in_features: in_features as u64,
            descriptor: tn_str::new(&self.descriptor_text),
            components: arena.keep_slice(components),
            dense: std::ptr::null(),
            mask: std::ptr::null(),
            original: std::ptr::null(),
        };
        // What the plugin leaves out must not pass for a value.
        out.fill(f32::NAN);
        let decoded = match &self.table.functions {
            Functions::Here(raw) => match raw.decode {
                Some(decode) => {
                    let (row, count) = (rows.start as u64, rows.len() as u64);
                    let mut error = tn_err::default();
                    // SAFETY: the view and what it refers to live in `weight`, `arena` and `self` until the call is
                    // over; `out` holds rows × in_features values; the ABI allows `decode` on any thread.
                    let status =
                        unsafe { decode(&raw const weight, row, count, out.as_mut_ptr(), &raw mut error) };
                    if status == TN_OK { Ok(()) } else { Err(error.message()) }
                }
                None => Err("it has no decode function".to_owned()),
            },
            Functions::Worker(plugin) => {
                plugin.decode(&self.table.id, self.number, &weight, rows.start as u64, out)
            }
        };
        decoded
            .map_err(|problem| failed(format!("technique {:?} cannot decode it: {problem}", self.table.id)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The codec of one kind of a plugin.
pub(crate) struct PluginCodec {
    pub(crate) table: Arc<TechniqueTable>,
    pub(crate) kind: &'static str,
}

impl Codec for PluginCodec {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        components: Components,
    ) -> Result<Weight, WeightError> {
        let weight = PluginWeight {
            table: Arc::clone(&self.table),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            kind: self.kind,
            descriptor_text: descriptor.to_string(),
            descriptor: descriptor.clone(),
            shape,
            components,
        };
        // The plugin checks its components when it decodes; one row is enough to learn that they do not fit.
        if shape[0] > 0 {
            weight.decode_rows(0..1, &mut vec![0.0; shape[1]])?;
        }
        Ok(Arc::new(weight))
    }
}
