//! JSON Schemas of the types that serialise by hand.

use schemars::{Schema, SchemaGenerator, json_schema};
use tenuis_core::Bits;

/// One of the widths that have a codec.
pub(crate) fn bits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "enum": Bits::ALLOWED })
}
