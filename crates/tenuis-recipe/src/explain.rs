//! What a recipe will do, in sentences.

use crate::origin::escaped;
use crate::{LoadedRecipe, Origin};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Tells what a recipe will do, stage by stage, and which of it was inherited from where.
///
/// ```
/// use tenuis_recipe::{LoadedRecipe, explain};
/// let text = "name = \"int3\"\nextends = \"int4-gptq\"\n[changes.gptq]\noptions = { bits = 3 }\n";
/// let told = explain(&LoadedRecipe::parse("int3.toml", text)?);
/// assert!(told.contains("1. gptq on all that it takes (from built-in recipe int4-gptq)"), "{told}");
/// assert!(told.contains("options: bits = 3\n"), "{told}");
/// assert!(told.contains("from built-in recipe int4-gptq: damp_percent = 0.01"), "{told}");
/// # Ok::<(), tenuis_recipe::RecipeError>(())
/// ```
pub fn explain(loaded: &LoadedRecipe) -> String {
    // A template's stages are told as they were written, before anything is chosen.
    let values = match &loaded.template {
        Some(template) => Value::Object(template.values.clone()),
        None => serde_json::to_value(&loaded.recipe).unwrap_or_default(),
    };
    let mut account = Account { origin: &loaded.origin, text: String::new() };
    account.recipe(&values);
    account.text
}

struct Account<'a> {
    origin: &'a Origin,
    text: String,
}

impl Account<'_> {
    /// Adds a line. Writing to a string cannot fail.
    fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    /// The file that has the value, where it is another one.
    fn elsewhere(&self, pointer: &str) -> Option<&str> {
        self.origin.file_of(pointer).filter(|file| *file != self.origin.file())
    }

    /// ` (from FILE)` where another file has the value.
    fn from(&self, pointer: &str) -> String {
        self.elsewhere(pointer).map(|file| format!(" (from {file})")).unwrap_or_default()
    }

    fn recipe(&mut self, recipe: &Value) {
        let description = text(recipe, "description").map(|d| format!(": {d}")).unwrap_or_default();
        self.line(0, &format!("{}{description}", text(recipe, "name").unwrap_or_default()));
        self.search(recipe.get("search"));
        let seed = recipe.get("seed").map_or_else(|| "0".to_owned(), shown);
        self.line(0, &format!("seed {seed}{}", self.from("/seed")));
        let calibration = recipe.get("calibration").cloned().unwrap_or_default();
        let samples = calibration.get("samples").map_or_else(|| "128".to_owned(), shown);
        let length = match calibration.get("seq_len") {
            Some(length) => format!("{} tokens", shown(length)),
            None => "2048 tokens, or as many as the model has positions".to_owned(),
        };
        let from = [self.from("/calibration/samples"), self.from("/calibration/seq_len")]
            .into_iter()
            .find(|from| !from.is_empty());
        let from = from.unwrap_or_default();
        self.line(
            0,
            &format!("where a stage needs calibration: {samples} windows of at most {length}{from}"),
        );
        self.gates(0, recipe, "", "gates", "after every stage");
        let stages = items(recipe, "stages");
        let guarded = |key: &str| stages.iter().any(|stage| !items(stage, key).is_empty());
        if !items(recipe, "gates").is_empty() || guarded("gates") {
            let end = match text(recipe, "on_failure") {
                Some("skip") => {
                    "a stage that fails its gates on every rung is left out, and the next one goes on"
                }
                _ => "a stage that fails its gates on every rung is undone and ends the recipe",
            };
            self.line(0, &format!("{end}{}", self.from("/on_failure")));
        }
        for (index, stage) in stages.iter().enumerate() {
            self.text.push('\n');
            self.stage(index, stage);
        }
    }

    fn search(&mut self, search: Option<&Value>) {
        let Some(search) = search else { return };
        let method = text(search, "method").map(|m| format!("{m} ")).unwrap_or_default();
        let trials =
            search.get("trials").map(|n| format!(" of at most {} trials", shown(n))).unwrap_or_default();
        self.line(0, &format!("a template of a {method}search{trials}{}; it varies", self.from("/search")));
        for (axis, values) in search.get("axes").and_then(Value::as_object).into_iter().flatten() {
            self.line(2, &format!("${axis}: {}", shown(values)));
        }
    }

    fn gates(&mut self, indent: usize, value: &Value, pointer: &str, key: &str, when: &str) {
        for (index, gate) in items(value, key).iter().enumerate() {
            let gate = gate.as_str().unwrap_or_default();
            let from = self.from(&format!("{pointer}/{key}/{index}"));
            self.line(indent, &format!("{when} has to hold: {gate}{from}"));
        }
    }

    fn stage(&mut self, index: usize, stage: &Value) {
        let pointer = format!("/stages/{index}");
        let technique = text(stage, "technique").unwrap_or_default();
        let name = text(stage, "name").map(|name| format!("{name}: ")).unwrap_or_default();
        let targets = match stage.get("targets") {
            Some(given @ Value::Object(keys)) if !keys.is_empty() => targets(given),
            Some(Value::String(open)) => open.clone(),
            _ => "all that it takes".to_owned(),
        };
        let from = self.from(&format!("{pointer}/technique"));
        self.line(0, &format!("{}. {name}{technique} on {targets}{from}", index + 1));
        self.only_if(stage);
        self.options(stage, &pointer);
        if stage.get("true_sequential") == Some(&Value::Bool(true)) {
            self.line(3, "the Linears of a block are calibrated one input group after the other");
        }
        for (key, told) in [
            ("/teacher", "learns from the checkpoint"),
            ("/data/train", "trains on"),
            ("/data/valid", "validates on"),
        ] {
            if let Some(path) = stage.pointer(key).and_then(Value::as_str) {
                let from = self.from(&format!("{pointer}{key}"));
                self.line(3, &format!("{told} {path}{from}"));
            }
        }
        self.gates(3, stage, &pointer, "gates", "after it");
        self.gates(3, stage, &pointer, "layer_gates", "in every group of Linears");
        for (rung, step) in items(stage, "ladder").iter().enumerate() {
            let technique = text(step, "technique").map(|technique| format!("{technique} "));
            let with = if technique.is_some() { "with" } else { "again with" };
            let options = assignments(step.get("options").and_then(Value::as_object));
            let options = if options.is_empty() { "its defaults".to_owned() } else { options };
            let name = text(step, "name").map(|name| format!(" ({name})")).unwrap_or_default();
            let from = self.from(&format!("{pointer}/ladder/{rung}"));
            let order = if rung == 0 { "if that fails" } else { "then" };
            self.line(3, &format!("{order}{name}: {}{with} {options}{from}", technique.unwrap_or_default()));
        }
        match text(stage, "on_failure") {
            Some("skip") => self.line(3, "if all fails, it is left out"),
            Some(_) => self.line(3, "if all fails, it is undone and the recipe ends"),
            None => {}
        }
    }

    /// The options that are set, those of each file apart.
    fn options(&mut self, stage: &Value, pointer: &str) {
        let Some(options) = stage.get("options").and_then(Value::as_object) else { return };
        let mut groups: Vec<(Option<String>, Map<String, Value>)> = vec![(None, Map::new())];
        for (key, value) in options {
            let from = self.elsewhere(&format!("{pointer}/options/{}", escaped(key))).map(str::to_owned);
            let group = groups.iter().position(|(file, _)| *file == from).unwrap_or_else(|| {
                groups.push((from, Map::new()));
                groups.len() - 1
            });
            groups[group].1.insert(key.clone(), value.clone());
        }
        for (from, options) in groups.iter().filter(|(_, options)| !options.is_empty()) {
            let from = from.as_ref().map(|file| format!(" from {file}")).unwrap_or_default();
            self.line(3, &format!("options{from}: {}", assignments(Some(options))));
        }
    }

    fn only_if(&mut self, stage: &Value) {
        for (axis, value) in stage.get("only_if").and_then(Value::as_object).into_iter().flatten() {
            let (is, value) = value.get("not").map_or(("is", value), |value| ("is not", value));
            let one_of = if value.is_array() { " one of" } else { "" };
            self.line(3, &format!("only where ${axis} {is}{one_of} {}", shown(value)));
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Which weights targets choose.
fn targets(targets: &Value) -> String {
    let patterns = |key: &str, otherwise: &str| match targets.get(key) {
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|p| p.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", ")
        }
        Some(Value::String(open)) => open.clone(),
        _ => otherwise.to_owned(),
    };
    let mut told = patterns("include", "every Linear");
    match targets.get("blocks") {
        None | Some(Value::Null) => told.push_str(" of every block"),
        // Writing to a string cannot fail.
        Some(blocks) => drop(write!(told, " of blocks {}", shown(blocks))),
    }
    let except = patterns("exclude", "");
    if !except.is_empty() {
        let _ = write!(told, ", except {except}");
    }
    match targets.get("head") {
        Some(Value::Bool(true)) => told.push_str(", and on the head"),
        Some(Value::String(open)) => drop(write!(told, ", and on the head if {open}")),
        _ => {}
    }
    told
}

fn assignments(options: Option<&Map<String, Value>>) -> String {
    let one = |(key, value): (&String, &Value)| format!("{key} = {}", shown(value));
    options.into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

/// A value as TOML writes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => format!("{{ {} }}", assignments(Some(entries))),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_told_as_it_was_written() {
        let text = r#"name = "phone"
description = "as small as goes"
gates = ["bytes <= 1e6"]
on_failure = "skip"
[search]
method = "random"
trials = 9
axes = { bits = [3, 4], sparsity = { from = 0, to = 0.5 } }
[[stages]]
technique = "sparsegpt"
options = { sparsity = "$sparsity" }
targets = { exclude = ["*.down_proj"], blocks = [0, "2..4"] }
only_if = { bits = { not = [3] } }
layer_gates = ["relative_error <= 0.1"]
[[stages]]
name = "round"
technique = "gptq"
options = { bits = "$bits" }
targets = { head = true }
true_sequential = true
ladder = [{ name = "careful", options = { bits = 8 } }, { technique = "rtn" }]
on_failure = "stop"
"#;
        let told = explain(&LoadedRecipe::parse("t.toml", text).unwrap());
        let expected = r#"phone: as small as goes
a template of a random search of at most 9 trials; it varies
  $bits: [3, 4]
  $sparsity: { from = 0, to = 0.5 }
seed 0
where a stage needs calibration: 128 windows of at most 2048 tokens, or as many as the model has positions
after every stage has to hold: bytes <= 1e6
a stage that fails its gates on every rung is left out, and the next one goes on

1. sparsegpt on every Linear of blocks [0, "2..4"], except *.down_proj
   only where $bits is not one of [3]
   options: sparsity = "$sparsity"
   in every group of Linears has to hold: relative_error <= 0.1

2. round: gptq on every Linear of every block, and on the head
   options: bits = "$bits"
   the Linears of a block are calibrated one input group after the other
   if that fails (careful): again with bits = 8
   then: rtn with its defaults
   if all fails, it is undone and the recipe ends
"#;
        assert_eq!(told, expected);
    }
}
