use crate::{LoadedRecipe, RecipeError};
use std::path::Path;

/// Writes files into a new directory and opens the first.
fn open(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<LoadedRecipe, RecipeError>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let loaded = LoadedRecipe::open(&dir.path().join(files[0].0));
    (dir, loaded)
}

const BASE: &str = r#"name = "base"
description = "of the parent alone"
seed = 7
gates = ["bytes <= 1e6"]
calibration = { samples = 64, seq_len = 256 }
[[stages]]
technique = "distill"
teacher = "../big"
options = { training = { steps = 10, seed = 1 } }
data = { train = "text.txt", valid = "/abs.txt" }
[[stages]]
name = "rounding"
technique = "gptq"
options = { bits = 4, group_size = 32 }
targets = { exclude = ["*.down_proj"] }
"#;

#[test]
fn keys_are_inherited_with_their_places() {
    let middle =
        "name = \"middle\"\nextends = \"deep/base.toml\"\ngates = [\"perplexity <= 1.1x baseline\"]\n";
    let child = r#"name = "child"
extends = "lib/middle.toml"
gates = [
  "relative_error <= 0.1",
]
calibration.seq_len = 128
[changes.rounding.options]
bits = 3
[changes.distill]
options.training.steps = 99
teacher = "other"
"#;
    let (dir, loaded) =
        open(&[("child.toml", child), ("lib/middle.toml", middle), ("lib/deep/base.toml", BASE)]);
    let loaded = loaded.unwrap();
    let recipe = &loaded.recipe;
    assert_eq!((recipe.name.as_str(), recipe.seed), ("child", 7));
    assert_eq!((&recipe.description, &recipe.extends), (&None, &None));
    assert!(recipe.changes.is_empty());
    assert_eq!((recipe.calibration.samples, recipe.calibration.seq_len), (64, Some(128)));
    assert_eq!(recipe.gates, ["bytes <= 1e6", "perplexity <= 1.1x baseline", "relative_error <= 0.1"]);
    let [distill, rounding] = recipe.stages.as_slice() else { panic!("{recipe:?}") };
    assert_eq!(distill.options["training"], serde_json::json!({ "steps": 99, "seed": 1 }));
    assert_eq!((rounding.label(), &rounding.options["bits"]), ("rounding", &3.into()));
    assert_eq!(rounding.options["group_size"], 32);
    // Paths are as seen from the file that is run.
    assert_eq!(distill.teacher.as_deref(), Some(Path::new("other")));
    assert_eq!(distill.data.train.as_deref(), Some(Path::new("lib/deep/text.txt")));
    assert_eq!(distill.data.valid.as_deref(), Some(Path::new("/abs.txt")));

    let place = |pointer: &str| {
        let error = loaded.origin.error(pointer, "");
        let file = error.file.strip_prefix(dir.path().to_str().unwrap()).unwrap()[1..].to_owned();
        (file, error.line.unwrap(), error.column.unwrap(), error.key.unwrap())
    };
    let at = |file: &str, line, column, key: &str| (file.to_owned(), line, column, key.to_owned());
    assert_eq!(place("/seed"), at("lib/deep/base.toml", 3, 1, "seed"));
    assert_eq!(place("/gates/0"), at("lib/deep/base.toml", 4, 10, "gates[0]"));
    assert_eq!(place("/gates/1"), at("lib/middle.toml", 3, 10, "gates[0]"));
    assert_eq!(place("/gates/2"), at("child.toml", 4, 3, "gates[0]"));
    assert_eq!(place("/calibration/samples"), at("lib/deep/base.toml", 5, 17, "calibration.samples"));
    assert_eq!(place("/calibration/seq_len"), at("child.toml", 6, 13, "calibration.seq_len"));
    assert_eq!(place("/stages/1/options/bits"), at("child.toml", 8, 1, "changes.rounding.options.bits"));
    let group_size = at("lib/deep/base.toml", 14, 23, "stages[1].options.group_size");
    assert_eq!(place("/stages/1/options/group_size"), group_size);
    // What a schema misses is told at what encloses it.
    assert_eq!(place("/stages/1/options/new").1, 14);
    assert_eq!(place("/stages/0/teacher"), at("child.toml", 11, 1, "changes.distill.teacher"));
    assert!(loaded.origin.file_of("/seed").unwrap().ends_with("base.toml"));
}

#[test]
fn stages_of_ones_own_replace_the_others() {
    let child = "name = \"c\"\nextends = \"base.toml\"\n[[stages]]\ntechnique = \"rtn\"\n";
    let (_dir, loaded) = open(&[("child.toml", child), ("base.toml", BASE)]);
    let loaded = loaded.unwrap();
    assert_eq!(loaded.recipe.stages.len(), 1);
    assert_eq!(loaded.origin.error("/stages/0/options", "").line, Some(3));
    assert_eq!(loaded.origin.file_of("/stages/1"), None);
}

#[test]
fn another_technique_has_options_of_its_own() {
    let change = |technique: &str| {
        let text = format!(
            "name = \"c\"\nextends = \"base.toml\"\n[changes.rounding]\ntechnique = {technique:?}\noptions = {{ bits = 8 }}\n"
        );
        let (_dir, loaded) = open(&[("child.toml", &text), ("base.toml", BASE)]);
        serde_json::Value::from(loaded.unwrap().recipe.stages[1].options.clone())
    };
    assert_eq!(change("rtn"), serde_json::json!({ "bits": 8 }));
    assert_eq!(change("gptq"), serde_json::json!({ "bits": 8, "group_size": 32 }));
}

#[test]
fn what_cannot_be_inherited_is_told() {
    let head = "name = \"c\"\nextends = \"base.toml\"\n";
    let gptq = "[[stages]]\ntechnique = \"gptq\"\n";
    for (child, base, wanted) in [
        (
            head.to_owned(),
            "extends = \"child.toml\"\n".to_owned(),
            vec!["base.toml:1:1: key `extends`", "itself: "],
        ),
        (
            "name = \"c\"\nextends = \"child.toml\"\n".into(),
            String::new(),
            vec!["child.toml:2:1", "itself: "],
        ),
        (
            "name = \"c\"\nextends = \"none.toml\"\n".into(),
            String::new(),
            vec!["child.toml:2:1", "none.toml cannot be read", "int4-gptq"],
        ),
        (
            "name = \"c\"\nextends = 3\n".into(),
            String::new(),
            vec!["child.toml:2:1: key `extends`", "built-in"],
        ),
        (head.into(), "seeed = 3\n".into(), vec!["base.toml:1:1: key `seeed`", "did you mean `seed`?"]),
        (head.into(), format!("seed = -1\n{gptq}"), vec!["base.toml:1:1: key `seed`", "-1"]),
        (
            head.into(),
            format!("{gptq}targets = {{ head = 1 }}\n"),
            vec!["base.toml:3:13: key `stages[0].targets.head`", "boolean"],
        ),
        (head.into(), "seed = \n".into(), vec!["base.toml:1:8: "]),
        (head.into(), "seed = 1\n".into(), vec!["child.toml: key `stages`: holds no stage"]),
        (
            format!("{head}{gptq}[changes.gptq]\n"),
            gptq.into(),
            vec!["child.toml:5:2: key `changes`", "of its own"],
        ),
        (
            format!("{head}[changes.gtpq]\n"),
            gptq.into(),
            vec!["child.toml:3:10: key `changes.gtpq`", "did you mean `gptq`?"],
        ),
        (
            format!("{head}[changes.gptq]\n"),
            format!("{gptq}{gptq}"),
            vec!["child.toml:3:10", "2 inherited stages"],
        ),
        (
            format!("{head}[changes.gptq]\nbits = 3\n"),
            gptq.into(),
            vec!["child.toml:4:1: key `changes.gptq.bits`", "`options`"],
        ),
        (
            format!("{head}[changes.gptq]\ntrue_sequential = 3\n"),
            gptq.into(),
            vec!["child.toml:4:1: key `changes.gptq.true_sequential`", "boolean"],
        ),
        (format!("{head}changes = 3\n"), gptq.into(), vec!["child.toml:3:1: key `changes`", "table"]),
        (
            format!("name = \"c\"\n[changes.gptq]\n{gptq}"),
            String::new(),
            vec!["child.toml:2:2: key `changes`", "no `extends`"],
        ),
    ] {
        let (_dir, loaded) = open(&[("child.toml", &child), ("base.toml", &base)]);
        let message = loaded.unwrap_err().to_string();
        assert!(wanted.iter().all(|part| message.contains(part)), "{wanted:?} in {message}");
    }
}
