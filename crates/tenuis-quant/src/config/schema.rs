//! JSON Schemas of the types that serialise by hand.

use super::GroupSizing;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use tenuis_core::Bits;

/// One of the widths that have a codec.
pub(crate) fn bits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "enum": Bits::ALLOWED })
}

impl JsonSchema for GroupSizing {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GroupSizing".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "enum": ["auto", "channel"] },
                { "type": "integer", "minimum": 1 },
            ]
        })
    }
}
