//! Limits that a report states, and whether they hold.

use serde::Serialize;
use serde_json::Value;

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What is limited.
    pub name: String,
    /// Whether it holds, where the report says so.
    pub holds: Option<bool>,
    /// What else the report says of it.
    pub detail: String,
}

/// Reads limits from a list of objects (`name` or `metric`, `holds` or `passed`, anything else is shown as it is) or from an
/// object of names and values. The report judges, this only reads: a limit without a judgement is neither held nor broken.
pub fn checks(value: &Value) -> Vec<Check> {
    match value {
        Value::Array(items) => items.iter().map(check).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::Object(_) => Check { name: name.clone(), ..check(value) },
                Value::Bool(holds) => {
                    Check { name: name.clone(), holds: Some(*holds), detail: String::new() }
                }
                value => Check { name: name.clone(), holds: None, detail: plain(value) },
            })
            .collect(),
        Value::Null => Vec::new(),
        value => vec![Check { name: plain(value), holds: None, detail: String::new() }],
    }
}

fn check(item: &Value) -> Check {
    const NAMES: [&str; 2] = ["name", "metric"];
    const JUDGEMENTS: [&str; 3] = ["holds", "passed", "satisfied"];
    let Value::Object(fields) = item else {
        return Check { name: plain(item), holds: None, detail: String::new() };
    };
    let text = |key: &&str| fields.get(*key).and_then(Value::as_str);
    let rest = fields.iter().filter(|(key, value)| {
        !NAMES.contains(&key.as_str()) && !JUDGEMENTS.contains(&key.as_str()) && !value.is_null()
    });
    Check {
        name: NAMES.iter().find_map(text).unwrap_or("limit").to_owned(),
        holds: JUDGEMENTS.iter().find_map(|key| fields.get(*key).and_then(Value::as_bool)),
        detail: rest.map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(", "),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
