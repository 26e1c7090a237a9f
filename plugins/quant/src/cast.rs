//! `cast`: stores tensors in a narrower floating-point type.

use schemars::JsonSchema;
use serde::Deserialize;
use tenuis_plugin::core::{DType, Dense, Layout, Tensor, convert};
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupTechnique, Host, Linear, TechniqueError};

/// Values that are converted between two looks at the host's cancel flag.
const TILE: usize = 1 << 20;

/// Rounds every value to nearest, ties to even, in the same layout and shape.
pub(crate) struct Cast {
    dtype: DType,
}

/// Options of `cast`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CastConfig {
    /// The type to store.
    dtype: CastDtype,
}

/// A floating-point type.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CastDtype {
    /// IEEE binary16: 11 bits of precision, at most 65504.
    #[default]
    F16,
    /// The upper half of a binary32: 8 bits of precision, the range of f32.
    Bf16,
    /// IEEE binary32.
    F32,
}

impl GroupTechnique for Cast {
    const ID: &'static str = "cast";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::ANY_TENSOR
        .and(Capabilities::DETERMINISTIC)
        .and(Capabilities::KEEPS_MASK)
        .and(Capabilities::PARALLEL_JOBS);
    type Config = CastConfig;

    fn new(config: CastConfig, _host: &Host<'_>) -> Result<Self, TechniqueError> {
        let dtype = match config.dtype {
            CastDtype::F16 => DType::F16,
            CastDtype::Bf16 => DType::BF16,
            CastDtype::F32 => DType::F32,
        };
        Ok(Self { dtype })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        match descriptor["kind"].as_str() {
            Some("dense") => Ok(()),
            _ => Err(TechniqueError::unsupported(format!("cast takes dense tensors, not {descriptor}"))),
        }
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        group
            .linears()
            .iter()
            .try_for_each(|linear| self.cast(linear, out).map_err(|e| e.about(linear.name())))
    }
}

impl Cast {
    fn cast(&self, linear: &Linear<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        self.accepts(linear.weight().descriptor())?;
        let stored = linear.weight().component("weight")?;
        let (from, bytes) = (stored.dtype(), stored.bytes()?);
        let in_out = linear.weight().descriptor()["layout"] == "in_out";
        let host = out.host();
        let buffer = out.buffer(linear.name(), "weight", self.dtype, stored.shape())?;
        let parts = bytes.chunks(TILE * from.size()).zip(buffer.chunks_mut(TILE * self.dtype.size()));
        let mut values = Vec::new();
        for (bytes, buffer) in parts {
            host.check_cancelled()?;
            values.resize(bytes.len() / from.size(), 0.0);
            convert::to_f32(from, bytes, &mut values)?;
            self.check_range(&values)?;
            buffer.copy_from_slice(&convert::from_f32(self.dtype, &values)?);
        }
        let layout = if in_out { Layout::InOut } else { Layout::OutIn };
        out.commit(linear.name(), &self.descriptor(layout)?, &["weight"])
    }

    /// A value that becomes infinite would poison the network in silence.
    fn check_range(&self, values: &[f32]) -> Result<(), TechniqueError> {
        let lost = values.iter().find(|v| !convert::round_f32(self.dtype, **v).is_finite());
        lost.map_or(Ok(()), |value| {
            let mend =
                if value.is_finite() && self.dtype == DType::F16 { "; use dtype = \"bf16\"" } else { "" };
            Err(TechniqueError::numerical(format!(
                "the value {value} cannot be stored as {}{mend}",
                self.dtype
            )))
        })
    }

    /// As the core spells it, so that there is one place for that.
    fn descriptor(&self, layout: Layout) -> Result<Value, TechniqueError> {
        use tenuis_plugin::core::Representation as _;
        let empty = Tensor::from_f32(self.dtype, vec![0, 0], &[])?;
        Ok(Dense::with_layout(empty, layout)?.descriptor())
    }
}
