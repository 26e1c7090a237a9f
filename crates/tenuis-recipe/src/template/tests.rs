use crate::{LoadedRecipe, RecipeError};
use serde_json::{Map, Value, json};

const TEMPLATE: &str = r#"name = "phone"
seed = "$seed"
gates = ["bytes <= 1e6"]
calibration = { samples = "$samples", seq_len = 64 }
[search]
method = "random"
trials = 5
[search.axes]
seed = [0, 1]
samples = { from = 2, to = 9, integer = true }
sparsity = [0, 0.3, "2:4"]
method = ["gptq", "rtn"]
head = [true, false]
keep = [["*.q_proj"], []]
[[stages]]
name = "prune"
technique = "sparsegpt"
options = { sparsity = "$sparsity" }
only_if = { sparsity = { not = 0.0 } }
[[stages]]
name = "round"
technique = "$method"
options = { deep = [{ at = "$sparsity" }], text = "$$method" }
targets = { head = "$head", exclude = "$keep" }
ladder = [{ technique = "$method", options = { bits = 8 } }]
teacher = "$method"
[[stages]]
technique = "distill"
only_if = { sparsity = [0.3, "2:4"], method = "gptq" }
"#;

fn choices(sparsity: &Value, method: &str) -> Map<String, Value> {
    let rest = json!({ "seed": 1, "samples": 5, "head": true, "keep": ["*.q_proj"], "sparsity": sparsity, "method": method });
    rest.as_object().unwrap().clone()
}

fn template() -> LoadedRecipe {
    LoadedRecipe::parse("t.toml", TEMPLATE).unwrap()
}

#[test]
fn choices_take_the_place_of_their_names() {
    let template = template();
    assert!(template.is_template() && template.recipe.stages.is_empty());
    assert_eq!(template.recipe.search.as_ref().unwrap().axes.len(), 6);

    let trial = template.trial(&choices(&json!(0.3), "gptq")).unwrap().unwrap();
    let recipe = &trial.recipe;
    assert!(!trial.is_template() && recipe.search.is_none());
    assert_eq!((recipe.seed, recipe.calibration.samples, recipe.calibration.seq_len), (1, 5, Some(64)));
    assert_eq!(recipe.gates, ["bytes <= 1e6"]);
    let [prune, round, distill] = recipe.stages.as_slice() else { panic!("{recipe:?}") };
    assert_eq!(prune.options["sparsity"], 0.3);
    assert_eq!(Value::from(round.options.clone()), json!({ "deep": [{ "at": 0.3 }], "text": "$method" }));
    assert!(round.targets.head);
    assert_eq!(round.targets.exclude, ["*.q_proj"]);
    assert_eq!((round.technique.as_str(), round.ladder[0].technique.as_deref()), ("gptq", Some("gptq")));
    assert_eq!(round.teacher.as_deref(), Some(std::path::Path::new("gptq")));
    // A stage is the same work whatever condition has let it in.
    assert!(distill.only_if.is_empty());
    assert_eq!(template.trial(&choices(&json!("2:4"), "rtn")).unwrap().unwrap().recipe.stages.len(), 2);
}

#[test]
fn places_follow_stages_that_move_up() {
    let trial = template().trial(&choices(&json!(0), "rtn")).unwrap().unwrap();
    assert_eq!(trial.recipe.stages.len(), 1);
    let error = trial.origin.error("/stages/0/options/deep", "…").to_string();
    assert_eq!(error, "t.toml:23:13: key `stages[1].options.deep`: …");
    assert_eq!(trial.origin.error("/stages/1", "…").line, None);
}

#[test]
fn different_choices_have_different_names() {
    let name = |sparsity: &Value, method: &str| {
        template().trial(&choices(sparsity, method)).unwrap().unwrap().recipe.name
    };
    let plain = "name = \"a\"\n[search.axes]\nlr = [1e-5]\nmethod = ['int8-dynamic', 'x-lr']\n[[stages]]\ntechnique = \"$method\"\noptions = { lr = \"$lr\" }\n";
    let plain = LoadedRecipe::parse("p.toml", plain).unwrap();
    let named = |method: &str| {
        let choices = json!({ "lr": 1e-5, "method": method });
        plain.trial(choices.as_object().unwrap()).unwrap().unwrap().recipe.name
    };
    assert_eq!(named("int8-dynamic"), "a-lr-0.00001-method-int8-dynamic");
    assert!(named("x-lr").starts_with("a-lr-0.00001-method-x-lr-"), "{}", named("x-lr"));
    // A list, and a colon, are no directory's name.
    let names = [
        name(&json!("2:4"), "gptq"),
        name(&json!("2_4"), "gptq"),
        name(&json!(0.5), "gptq"),
        name(&json!("0.5"), "gptq"),
        name(&json!(0.5), "rtn"),
    ];
    let mut unique = names.to_vec();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    assert_eq!(name(&json!("2:4"), "gptq"), names[0]);
    let long = name(&json!("s".repeat(300)), "gptq");
    assert!(long.len() < 140 && long.starts_with("phone-head-true-keep-"), "{long}");
}

#[test]
fn a_trial_without_stages_is_none() {
    let text = "name = \"a\"\n[search.axes]\non = [true, false]\n[[stages]]\ntechnique = \"rtn\"\nonly_if = { on = true }\n";
    let template = LoadedRecipe::parse("a.toml", text).unwrap();
    let trial = |on: bool| template.trial(json!({ "on": on }).as_object().unwrap()).unwrap();
    assert!(trial(false).is_none());
    assert_eq!(trial(true).unwrap().recipe.name, "a-on-true");
}

#[test]
fn slips_in_a_template_are_told_with_their_place() {
    let head = "name = \"a\"\n[search.axes]\nbits = [3, 4]\n[[stages]]\ntechnique = \"rtn\"\n";
    let used = format!("{head}options = {{ bits = \"$bits\" }}\n");
    for (text, wanted) in [
        (
            format!("{head}options = {{ bits = \"$bit\" }}\n"),
            vec!["6:13: key `stages[0].options.bits`", "did you mean `$bits`?", "$$bit"],
        ),
        (head.to_owned(), vec!["3:1: key `search.axes.bits`", "nothing depends on it", "\"$bits\""]),
        (
            format!("{used}only_if = {{ bots = 3 }}\n"),
            vec!["7:13: key `stages[0].only_if.bots`", "did you mean `bits`?"],
        ),
        (
            format!("{used}only_if = {{ bits = 5 }}\n"),
            vec!["7:13: key `stages[0].only_if.bits`", "5 is never chosen", "[3,4]"],
        ),
        (format!("{used}only_if = {{ bits = {{ no = 3 }} }}\n"), vec!["7:13", "{ not = … }"]),
        (format!("{used}only_if = {{ bits = [] }}\n"), vec!["7:13", "lists no value"]),
        (
            format!("{head}targets.include = [\"*.$bits.*\"]\n"),
            vec!["6:20: key `stages[0].targets.include[0]`", "whole text"],
        ),
        (
            format!("{used}targets.head = \"$bits\"\n"),
            vec!["7:9: key `stages[0].targets.head`", "3", "boolean"],
        ),
        (
            format!("{used}targets.heads = true\n"),
            vec!["7:9: key `stages[0].targets.heads`", "did you mean `head`?"],
        ),
        (head.replace("bits =", "\"3\" ="), vec!["3:1: key `search.axes[3]`", "cannot name an axis"]),
        (
            "name = \"a\"\n[search]\ntrials = 3\n[[stages]]\ntechnique = \"rtn\"\n".into(),
            vec!["2:2: key `search.axes`", "table"],
        ),
        ("name = \"a\"\n[search.axes]\nbits = [3]\n".into(), vec!["a.toml: key `stages`", "no stage"]),
        (
            "name = \"a\"\n[[stages]]\ntechnique = \"rtn\"\nonly_if = { bits = 3 }\n".into(),
            vec!["4:1: key `stages[0].only_if`", "[search.axes]"],
        ),
    ] {
        let message = LoadedRecipe::parse("a.toml", &text).unwrap_err().to_string();
        assert!(wanted.iter().all(|part| message.contains(part)), "{wanted:?} in {message}");
    }
    let used = LoadedRecipe::parse("a.toml", &used).unwrap();
    let problem = |choices: Value| -> RecipeError { used.trial(choices.as_object().unwrap()).unwrap_err() };
    assert!(problem(json!({})).to_string().starts_with("a.toml:3:1: key `search.axes.bits`: no value"));
    assert!(problem(json!({ "bits": 3, "rank": 1 })).to_string().contains("`rank` is no axis"));
    let trial = used.trial(json!({ "bits": 3 }).as_object().unwrap()).unwrap().unwrap();
    assert!(trial.trial(&Map::new()).unwrap_err().to_string().contains("nothing to choose"));
}

#[test]
fn a_recipe_without_a_search_keeps_its_dollars() {
    let text = "name = \"a\"\n[[stages]]\ntechnique = \"rtn\"\noptions = { text = \"$bits\" }\n";
    let loaded = LoadedRecipe::parse("a.toml", text).unwrap();
    assert_eq!(loaded.recipe.stages[0].options["text"], "$bits");
}

#[test]
fn the_content_of_a_template_has_its_stages() {
    let other = TEMPLATE.replace("bits = 8", "bits = 6");
    let (one, other) = (template(), LoadedRecipe::parse("t.toml", &other).unwrap());
    assert_eq!(one.recipe, other.recipe, "the stages are not known yet");
    assert_ne!(one.content(), other.content());
    assert_eq!(one.content(), template().content());
}
