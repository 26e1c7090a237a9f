//! What a trial is called.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Characters of a name beyond which choices are cut off; file systems take 255 bytes, and a run adds endings of its own.
const LONGEST: usize = 120;
/// Hexadecimal digits that tell trials apart whose choices cannot be written out; a search has some thousand trials.
const DIGITS: usize = 10;

/// A name that is a directory's, the same for the same choices and another for others.
pub(super) fn of(template: &str, choices: &Map<String, Value>) -> String {
    let choices: BTreeMap<&String, &Value> = choices.iter().collect();
    let mut name = template.to_owned();
    let mut plain = true;
    for (axis, value) in &choices {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        plain &= is_plain(value, &text, choices.keys());
        let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        name.push('-');
        name.push_str(axis);
        name.push('-');
        name.extend(text.chars().map(legal));
    }
    if plain && name.len() <= LONGEST {
        return name;
    }
    let digest = blake3::hash(format!("{choices:?}").as_bytes()).to_hex();
    name.truncate(LONGEST);
    format!("{name}-{}", &digest[..DIGITS])
}

/// Whether a value can be read back from its text among the others: it is no other value's, and has no axis's name in it.
fn is_plain<'a>(value: &Value, text: &str, mut axes: impl Iterator<Item = &'a &'a String>) -> bool {
    match value {
        Value::Number(_) | Value::Bool(_) => true,
        Value::String(_) => {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && !["true", "false", "null"].contains(&text)
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
                && !axes.any(|axis| text.contains(&format!("-{axis}")))
        }
        _ => false,
    }
}
