//! A technique's options schema: compiled once, with messages that name the path and what is allowed.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use std::fmt;

/// One thing that is wrong with the options of a technique.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaProblem {
    /// The JSON pointer of the option, such as `/group_size`; empty for the options as a whole.
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for SchemaProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct OptionsSchema {
    value: Value,
    validator: Validator,
}

impl OptionsSchema {
    /// Parses and compiles a schema, checking the rules of the ABI: an object without references to elsewhere and without
    /// unknown options.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        if value.get("type").and_then(Value::as_str) != Some("object") {
            return Err("its \"type\" must be \"object\"".to_owned());
        }
        if value.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err("it must say \"additionalProperties\": false".to_owned());
        }
        if let Some(reference) = foreign_reference(&value) {
            return Err(format!("it refers to {reference:?}; a schema must be self-contained"));
        }
        let validator = jsonschema::draft202012::new(&value).map_err(|e| e.to_string())?;
        Ok(Self { value, validator })
    }

    pub(crate) const fn value(&self) -> &Value {
        &self.value
    }

    /// Every problem of `options`.
    pub(crate) fn problems(&self, options: &Value) -> Vec<SchemaProblem> {
        self.validator
            .iter_errors(options)
            .map(|error| SchemaProblem {
                pointer: error.instance_path().as_str().to_owned(),
                message: self.describe(&error),
            })
            .collect()
    }

    fn describe(&self, error: &ValidationError<'_>) -> String {
        let found = error.instance();
        let at = error.schema_path().as_str();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
                let known = self.value.pointer(parent).and_then(|s| s.get("properties"));
                let known = known.and_then(Value::as_object).map(|p| p.keys().cloned().collect::<Vec<_>>());
                format!(
                    "unknown option {}; allowed are {}",
                    quoted(unexpected),
                    quoted(&known.unwrap_or_default())
                )
            }
            ValidationErrorKind::Enum { options } => {
                format!("{found} is not allowed; allowed are {}", listed(options))
            }
            ValidationErrorKind::Constant { expected_value } => {
                format!("{found} is not allowed; allowed is {expected_value}")
            }
            ValidationErrorKind::Type { kind } => {
                let allowed = match kind {
                    TypeKind::Single(one) => one.to_string(),
                    TypeKind::Multiple(many) => {
                        many.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(" or ")
                    }
                };
                format!("{found} has the wrong type; allowed is {allowed}")
            }
            ValidationErrorKind::Minimum { limit } => {
                format!("{found} is too small; allowed is at least {limit}")
            }
            ValidationErrorKind::Maximum { limit } => {
                format!("{found} is too large; allowed is at most {limit}")
            }
            ValidationErrorKind::ExclusiveMinimum { limit } => {
                format!("{found} is too small; allowed is more than {limit}")
            }
            ValidationErrorKind::ExclusiveMaximum { limit } => {
                format!("{found} is too large; allowed is less than {limit}")
            }
            ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. }
            | ValidationErrorKind::OneOfMultipleValid { .. } => {
                let alternatives = self.value.pointer(at).and_then(Value::as_array);
                let allowed: Vec<String> =
                    alternatives.into_iter().flatten().flat_map(|s| self.alternatives(s, 0)).collect();
                format!("{found} is not allowed; allowed are {}", allowed.join(", "))
            }
            _ => error.to_string(),
        }
    }

    /// What a subschema allows, in words.
    fn alternatives(&self, schema: &Value, depth: usize) -> Vec<String> {
        if depth > 8 {
            return Vec::new();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
            return self.value.pointer(target).map(|s| self.alternatives(s, depth + 1)).unwrap_or_default();
        }
        if let Some(value) = schema.get("const") {
            return vec![value.to_string()];
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.iter().map(Value::to_string).collect();
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(schemas) = schema.get(key).and_then(Value::as_array) {
                return schemas.iter().flat_map(|s| self.alternatives(s, depth + 1)).collect();
            }
        }
        let Some(name) = schema.get("type").map(|t| t.as_str().map_or_else(|| t.to_string(), str::to_owned))
        else {
            return Vec::new();
        };
        let bound =
            |key: &str, word: &str| schema.get(key).map(|v| format!(" {word} {v}")).unwrap_or_default();
        vec![format!("{name}{}{}", bound("minimum", "of at least"), bound("maximum", "up to"))]
    }
}

fn foreign_reference(schema: &Value) -> Option<String> {
    match schema {
        Value::Object(map) => map.iter().find_map(|(key, value)| match value.as_str() {
            Some(target) if key == "$ref" || key == "$dynamicRef" => {
                (!target.starts_with('#')).then(|| target.to_owned())
            }
            _ => foreign_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
}

fn listed(options: &Value) -> String {
    match options.as_array() {
        Some(values) => values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
        None => options.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> OptionsSchema {
        let text = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "bits": { "type": "integer", "minimum": 2, "maximum": 8 },
                "mode": { "enum": ["fast", "exact"] },
                "group_size": { "anyOf": [{ "type": "integer", "minimum": 1 }, { "$ref": "#/$defs/Named" }] },
                "search": { "type": "object", "additionalProperties": false, "properties": { "steps": { "type": "integer" } } }
            },
            "$defs": { "Named": { "oneOf": [{ "const": "auto" }, { "const": "channel" }] } }
        });
        OptionsSchema::compile(&text.to_string()).unwrap()
    }

    fn problem(options: &Value) -> (String, String) {
        let mut problems = schema().problems(options);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = problems.remove(0);
        (problem.pointer, problem.message)
    }

    #[test]
    fn messages_name_the_path_and_what_is_allowed() {
        assert!(schema().problems(&json!({ "bits": 4, "group_size": "auto" })).is_empty());
        let cases = [
            (json!({ "bits": 9 }), "/bits", "9 is too large; allowed is at most 8"),
            (json!({ "bits": "4" }), "/bits", "\"4\" has the wrong type; allowed is integer"),
            (json!({ "mode": "slow" }), "/mode", "\"slow\" is not allowed; allowed are \"fast\", \"exact\""),
            (
                json!({ "group_size": "row" }),
                "/group_size",
                "\"row\" is not allowed; allowed are integer of at least 1, \"auto\", \"channel\"",
            ),
            (
                json!({ "bit": 4 }),
                "",
                "unknown option \"bit\"; allowed are \"bits\", \"mode\", \"group_size\", \"search\"",
            ),
            (json!({ "search": { "step": 4 } }), "/search", "unknown option \"step\"; allowed are \"steps\""),
        ];
        for (options, pointer, message) in cases {
            assert_eq!(problem(&options), (pointer.to_owned(), message.to_owned()));
        }
    }

    #[test]
    fn schemas_that_break_the_rules_are_refused() {
        for (text, part) in [
            ("{", "not JSON"),
            (r#"{"type":"array"}"#, "\"object\""),
            (r#"{"type":"object"}"#, "additionalProperties"),
            (
                r#"{"type":"object","additionalProperties":false,"properties":{"a":{"$ref":"https://x.org/s"}}}"#,
                "self-contained",
            ),
            (r#"{"type":"object","additionalProperties":false,"properties":{"a":{"type":"int"}}}"#, "int"),
        ] {
            let problem = OptionsSchema::compile(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
