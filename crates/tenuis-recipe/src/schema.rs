//! The JSON Schema of recipe files, for editors.

use crate::Recipe;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Where the schema is found.
const ID: &str = "https://github.com/tenuis/tenuis/blob/main/docs/recipe.schema.json";
/// The texts that stand for a choice in a template.
const CHOICE: &str = r"^\$[A-Za-z_][A-Za-z0-9_-]*$";
/// The tables in which choices may stand in place of what is no text.
const OPEN: [&str; 4] = ["Stage", "Targets", "CalibrationSpec", "Rung"];

/// Describes recipe files as a JSON Schema (draft 2020-12) that needs no other one.
///
/// Options of techniques are open in it: their schemas belong to the plugins.
///
/// ```
/// let schema = tenuis_recipe::schema();
/// assert_eq!(schema["additionalProperties"], false);
/// assert!(schema["properties"]["stages"].is_object());
/// ```
pub fn schema() -> Value {
    let root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Recipe>();
    let mut schema = root.to_value();
    let Some(root) = schema.as_object_mut() else { return schema };
    root.insert("$id".to_owned(), ID.into());
    root.insert("title".to_owned(), "Tenuis recipe".into());
    root.insert("description".to_owned(), "What to do with a checkpoint.".into());
    root.insert("anyOf".to_owned(), json!([{ "required": ["stages"] }, { "required": ["extends"] }]));
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        properties.get_mut("seed").into_iter().for_each(open);
        if let Some(changes) = properties.get_mut("changes") {
            changes["additionalProperties"] = json!({ "$ref": "#/$defs/Change" });
        }
    }
    if let Some(tables) = root.get_mut("$defs").and_then(Value::as_object_mut) {
        for table in OPEN {
            let properties = tables.get_mut(table).and_then(|table| table.get_mut("properties"));
            properties.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut).for_each(open);
        }
        // A change has any of a stage's keys and need have none.
        if let Some(Value::Object(mut change)) = tables.get("Stage").cloned() {
            change.remove("required");
            change.insert("description".to_owned(), "What is different in an inherited stage.".into());
            tables.insert("Change".to_owned(), Value::Object(change));
        }
    }
    schema
}

/// Lets a text that stands for a choice take the place of a number, switch, list or name out of a few.
fn open(property: &mut Value) {
    let Some(own) = property.as_object_mut() else { return };
    let takes = |kind: &str| match own.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    };
    if takes("string") || takes("object") || own.contains_key("$ref") {
        return;
    }
    let mut around = Map::new();
    for key in ["description", "default"] {
        if let Some(value) = own.remove(key) {
            around.insert(key.to_owned(), value);
        }
    }
    let alternatives = [property.take(), json!({ "type": "string", "pattern": CHOICE })];
    around.insert("anyOf".to_owned(), alternatives.into_iter().collect());
    *property = Value::Object(around);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn files(dir: &str) -> Vec<std::path::PathBuf> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
    }

    fn value(text: &str) -> Value {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn it_takes_every_recipe_that_ships() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let recipes = [files("recipes"), files("../../examples/recipes")].concat();
        assert!(recipes.len() > 30, "{recipes:?}");
        for path in recipes {
            let text = std::fs::read_to_string(&path).unwrap();
            crate::LoadedRecipe::open(&path).unwrap();
            if let Err(error) = validator.validate(&value(&text)) {
                panic!("{}: {} {error}", path.display(), error.instance_path());
            }
        }
    }

    #[test]
    fn it_refuses_what_reading_refuses_and_takes_templates() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let head = "name = 'a'\n[[stages]]\ntechnique = 'rtn'\n";
        for right in [
            head.to_owned(),
            "name = 'a'\nextends = 'int4-gptq'\n[changes.gptq]\noptions = { bits = 3 }\n".into(),
            format!(
                "seed = '$s'\n{head}targets = {{ head = '$h', blocks = [1, '$b', '0..2'], include = '$i' }}\ntrue_sequential = '$t'\n"
            ),
            format!(
                "calibration = {{ samples = '$n' }}\n{head}on_failure = 'skip'\nladder = [{{ options = {{ bits = 8 }} }}]\n"
            ),
        ] {
            assert!(validator.is_valid(&value(&right)), "{right}");
        }
        for wrong in [
            "name = 'a'\n".to_owned(),
            "[[stages]]\ntechnique = 'rtn'\n".into(),
            "name = 'a'\n[[stages]]\n".into(),
            format!("seeed = 1\n{head}"),
            format!("seed = -1\n{head}"),
            format!("seed = 'seven'\n{head}"),
            format!("{head}colour = 1\n"),
            format!("{head}options = 3\n"),
            format!("{head}targets = {{ head = 'yes' }}\n"),
            format!("{head}targets = {{ heads = true }}\n"),
            format!("{head}ladder = [{{ bits = 8 }}]\n"),
            format!("{head}on_failure = 'stay'\n"),
            format!("calibration = {{ sample = 1 }}\n{head}"),
            "name = 'a'\nextends = 'b.toml'\n[changes.gptq]\nbits = 3\n".into(),
        ] {
            assert!(!validator.is_valid(&value(&wrong)), "{wrong}");
        }
    }

    #[test]
    fn the_committed_one_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipe.schema.json");
        let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(committed == schema(), "write what `tenuis recipe schema` prints to docs/recipe.schema.json");
    }
}
