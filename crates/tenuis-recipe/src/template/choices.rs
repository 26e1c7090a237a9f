//! Chosen values: putting them in, and what a stage asks of them.

use super::Text;
use serde_json::{Map, Value};

/// Replaces the texts that stand for choices, at any depth.
pub(super) fn fill(value: &mut Value, choices: &Map<String, Value>) {
    match value {
        Value::String(text) => match Text::from(text.as_str()) {
            Text::Choice(axis) => {
                if let Some(choice) = choices.get(axis) {
                    *value = choice.clone();
                }
            }
            Text::Literal(literal) => *value = literal.into(),
            Text::Plain => {}
        },
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, choices)),
        Value::Object(entries) => entries.values_mut().for_each(|entry| fill(entry, choices)),
        _ => {}
    }
}

/// One value of an axis: the first of a list, or the beginning of a range.
pub(super) fn example(axis: &Value) -> Option<Value> {
    match axis {
        Value::Array(values) => values.first().cloned(),
        Value::Object(range) => {
            let from = range.get("from")?;
            let whole = range.get("integer") == Some(&Value::Bool(true));
            if whole { from.as_f64().map(|from| (from.round() as i64).into()) } else { Some(from.clone()) }
        }
        _ => None,
    }
}

/// What an entry of `only_if` asks of a choice.
pub(super) struct Condition<'a> {
    /// The value itself, or a list of them.
    value: &'a Value,
    /// Whether the choice has to be another one.
    not: bool,
}

impl<'a> Condition<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, String> {
        match value.as_object() {
            None => Ok(Self { value, not: false }),
            Some(table) => match (table.get("not"), table.len()) {
                (Some(value), 1) if !value.is_object() => Ok(Self { value, not: true }),
                _ => Err("must be a value, a list of values, or `{ not = … }` with either".to_owned()),
            },
        }
    }

    /// A condition that no choice can meet, or all do, is a slip of the pen.
    pub(super) fn check(&self, axis: &Value) -> Result<(), String> {
        let Value::Array(values) = axis else { return Ok(()) };
        let wanted = match self.value {
            Value::Array(wanted) if !values.contains(self.value) => wanted.as_slice(),
            _ => std::slice::from_ref(self.value),
        };
        match wanted.iter().find(|wanted| !values.iter().any(|value| equal(value, wanted))) {
            None if wanted.is_empty() => Err("lists no value".to_owned()),
            None => Ok(()),
            Some(never) => {
                Err(format!("{never} is never chosen; the values are {}", Value::from(values.clone())))
            }
        }
    }

    pub(super) fn holds(&self, choice: &Value) -> bool {
        let listed = || self.value.as_array().is_some_and(|list| list.iter().any(|v| equal(v, choice)));
        (equal(self.value, choice) || listed()) != self.not
    }
}

/// Whether two values are the same, `1` and `1.0` included.
fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
