//! What representations that are made of others share: their parts' components carry the part's name as a prefix.

use super::{CodecRegistry, Component, Components, Representation, Weight, WeightError};
use serde_json::Value;

/// The components of a part as components of the whole: `{part}.{suffix}`.
pub(super) fn prefixed(part: &str, weight: &dyn Representation) -> impl Iterator<Item = Component> + use<> {
    let part = part.to_owned();
    weight
        .components()
        .into_iter()
        .map(move |component| Component::new(format!("{part}.{}", component.suffix), component.tensor))
}

/// Takes the components of a part out of those of the whole and builds it with the codecs of this crate.
///
/// A part of a kind in `refused` is refused, which also bounds the depth of a descriptor.
pub(super) fn decode(
    part: &str,
    shape: [usize; 2],
    descriptor: &Value,
    components: &mut Components,
    refused: &[&str],
) -> Result<Weight, WeightError> {
    let kind = descriptor.get("kind").and_then(Value::as_str).unwrap_or_default();
    if refused.contains(&kind) {
        return Err(WeightError::Descriptor {
            descriptor: descriptor.to_string(),
            problem: format!("kind {kind:?} is not allowed as part {part:?}"),
        });
    }
    let prefix = format!("{part}.");
    let mut own = Components::new();
    components.retain(|suffix, tensor| match suffix.strip_prefix(&prefix) {
        Some(rest) => {
            own.insert(rest.to_owned(), tensor.clone());
            false
        }
        None => true,
    });
    CodecRegistry::builtin().decode(shape, descriptor, own).map_err(|error| within(part, error))
}

/// Says in an error about a part which part it is.
fn within(part: &str, error: WeightError) -> WeightError {
    let name = |component: String| format!("{part}.{component}");
    match error {
        WeightError::MissingComponent { component } => {
            WeightError::MissingComponent { component: name(component) }
        }
        WeightError::UnexpectedComponent { component, kind } => {
            WeightError::UnexpectedComponent { component: name(component), kind }
        }
        WeightError::Component { component, expected, found } => {
            WeightError::Component { component: name(component), expected, found }
        }
        WeightError::Value { component, index, value, allowed } => {
            WeightError::Value { component: name(component), index, value, allowed }
        }
        other => other,
    }
}

/// Fails on a key of a descriptor that its kind does not have.
pub(super) fn check_keys(descriptor: &Value, known: &[&str]) -> Result<(), WeightError> {
    let unknown = descriptor.as_object().and_then(|keys| keys.keys().find(|k| !known.contains(&k.as_str())));
    match unknown {
        None => Ok(()),
        Some(key) => Err(WeightError::Descriptor {
            descriptor: descriptor.to_string(),
            problem: format!("unknown key {key:?}, allowed are {}", known.join(", ")),
        }),
    }
}

#[cfg(test)]
mod tests;
