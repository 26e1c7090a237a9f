//! Bad input, through the binary: a documented exit code, one line that names file, tensor and mend, the input
//! unchanged, and nothing at the output path.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use tenuis_tests::cli::{Run, command, plugin_dir, program, snapshot, tenuis};
use tenuis_tests::fixture::Fixture;

const INPUT: i32 = 3;
const RECIPE: i32 = 4;
const OUTPUT: i32 = 6;
const NUMERICAL: i32 = 7;
const USAGE: i32 = 2;
const CHANGED: i32 = 8;

/// Runs `tenuis eval` on a fixture and checks what must hold for every failure.
fn eval(fixture: &Fixture, more: &[&str]) -> Run {
    let before = snapshot(&fixture.model);
    let out = fixture.path("out");
    let mut command = command();
    command.arg("eval").arg("--model").arg(&fixture.model).arg("--data").arg(&fixture.data);
    command
        .arg("--out")
        .arg(&out)
        .args(["--seq-len", "32", "--no-memory", "--speed-repeats", "0"])
        .args(more);
    let run: Run = command.output().unwrap().into();
    assert_eq!(snapshot(&fixture.model), before, "the input was written to");
    if run.code != 0 {
        // The lock, the ledger and what is kept for the next run are no output.
        let kept = [".tenuis-run-lock", "ledger.jsonl", ".stages"];
        let left = std::fs::read_dir(&out).map(|d| d.map(|e| e.unwrap().path()).collect());
        let left: Vec<std::path::PathBuf> = left.unwrap_or_default();
        let left: Vec<_> = left.iter().filter(|path| kept.iter().all(|name| !path.ends_with(name))).collect();
        assert!(left.is_empty(), "something partial is left: {left:?}");
    }
    run
}

fn recipe(fixture: &Fixture, text: &str) -> String {
    let path = fixture.path("recipe.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn rtn(fixture: &Fixture) -> String {
    recipe(fixture, "name = \"x\"\n[[stages]]\ntechnique = \"rtn\"\n")
}

/// Overwrites one f32 of a tensor in the weight file.
fn poke(model: &Path, tensor: &str, value: f32) {
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let start = 8 + length + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn eval_says_what_to_pass() {
    tenuis(&["eval", "--model", "x"]).failed_with(USAGE, &["--data FILE.txt"]);
}

#[test]
fn fault_6_truncated_file() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let path = fixture.model.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    eval(&fixture, &["--recipe", &rtn(&fixture)]).failed_with(INPUT, &["model.safetensors"]);
}

/// Generation reads every weight for every token, straight from the mapped file.
#[cfg(unix)]
#[test]
fn fault_6_truncated_while_mapped() {
    let fixture = Fixture::new("mistral_window");
    // So that it goes on until the file is gone.
    let mut config = fixture.config();
    config["eos_token_id"] = serde_json::Value::Null;
    std::fs::write(fixture.model.join("config.json"), config.to_string()).unwrap();
    let mut child = command()
        .args(["generate", "--prompt", "w1 w2", "--max-new-tokens", "50000", "--model"])
        .arg(&fixture.model)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 16];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(fixture.model.join("model.safetensors"))
        .unwrap()
        .set_len(0)
        .unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    run.failed_with(CHANGED, &["shorter while it was read"]);
}

#[test]
fn fault_11_shape_disagrees_with_config() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let mut config = fixture.config();
    config["intermediate_size"] = 112.into();
    std::fs::write(fixture.model.join("config.json"), config.to_string()).unwrap();
    eval(&fixture, &["--recipe", &rtn(&fixture)]).failed_with(INPUT, &["mlp", "96", "112"]);
}

#[test]
fn fault_12_a_tied_head_is_never_compressed_by_its_other_name() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let text = "name = \"x\"\n[[stages]]\ntechnique = \"rtn\"\n[stages.targets]\nhead = true\n";
    let recipe = recipe(&fixture, text);
    eval(&fixture, &["--recipe", &recipe])
        .failed_with(RECIPE, &["recipe.toml:5", "stages[0].targets.head", "model.embed_tokens", "tied"]);
}

#[test]
fn fault_13_weights_that_are_not_finite() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let tensor = "model.layers.1.mlp.up_proj.weight";
    poke(&fixture.model, tensor, f32::NAN);
    let recipe = rtn(&fixture);
    eval(&fixture, &["--recipe", &recipe])
        .failed_with(NUMERICAL, &["model.layers.1.mlp.up_proj", "not finite", "--allow-nonfinite"]);

    let target = fixture.path("copied");
    let run = tenuis(&[
        "compress",
        "--model",
        fixture.model.to_str().unwrap(),
        "--recipe",
        &recipe,
        "--allow-nonfinite",
        "--out",
        target.to_str().unwrap(),
    ])
    .succeeded();
    assert!(run.stderr.contains("warning:") && run.stderr.contains("up_proj"), "{}", run.stderr);
    let checkpoint = tenuis_core::Checkpoint::open(&target).unwrap();
    assert!(checkpoint.tensor(tensor).unwrap().to_f32().unwrap()[0].is_nan(), "copied through as it was");
    assert!(checkpoint.contains("model.layers.0.mlp.up_proj.weight_packed"), "the others are compressed");
}

#[test]
fn fault_15_too_little_calibration_text() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let gptq = recipe(&fixture, "name = \"x\"\n[[stages]]\ntechnique = \"gptq\"\n");
    eval(&fixture, &["--recipe", &gptq]).failed_with(USAGE, &["gptq", "--calib"]);
    let empty = fixture.path("empty.txt");
    std::fs::write(&empty, "").unwrap();
    eval(&fixture, &["--recipe", &gptq, "--calib", empty.to_str().unwrap()])
        .failed_with(INPUT, &["empty.txt", "0 tokens"]);

    // One window of 128 tokens is enough to run, but not for full rank of 64 and 96 features times anything smaller.
    let text =
        "name = \"x\"\ncalibration = { samples = 1, seq_len = 48 }\n[[stages]]\ntechnique = \"gptq\"\n";
    let one = recipe(&fixture, text);
    let run = eval(&fixture, &["--recipe", &one, "--calib", fixture.calib.to_str().unwrap()]).succeeded();
    assert!(run.stderr.contains("48 calibration rows") && run.stderr.contains("rank 48"), "{}", run.stderr);
}

#[test]
fn fault_16_activations_that_overflow() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    // A finite weight whose product with any input is not.
    poke(&fixture.model, "model.layers.0.input_layernorm.weight", 3e38);
    poke(&fixture.model, "model.layers.0.self_attn.v_proj.weight", 3e38);
    let gptq = recipe(&fixture, "name = \"x\"\n[[stages]]\ntechnique = \"gptq\"\n");
    eval(&fixture, &["--recipe", &gptq, "--calib", fixture.calib.to_str().unwrap()])
        .failed_with(NUMERICAL, &["block", "not finite"]);
}

/// A disk that takes no more: a limit on the size of files, which fails the write as a full disk does.
#[cfg(unix)]
#[test]
fn fault_17_no_room_on_the_disk() {
    let fixture = Fixture::new("llama_linear_headdim");
    let recipe = rtn(&fixture);
    let out = fixture.path("out");
    let mut arguments = vec!["-c".to_owned(), "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"".to_owned()];
    arguments.push(program().to_str().unwrap().to_owned());
    let (model, target) = (fixture.model.to_str().unwrap(), out.to_str().unwrap());
    for argument in ["compress", "--model", model, "--recipe", &recipe, "--out", target] {
        arguments.push(argument.to_owned());
    }
    let run = || -> Run {
        let mut command = std::process::Command::new("sh");
        command.args(&arguments).env("TENUIS_PLUGIN_DIR", plugin_dir()).output().unwrap().into()
    };
    run().failed_with(OUTPUT, &["cannot write", "too large"]);
    assert!(!out.exists());
    let temporary = |dir: &Path| -> Vec<String> {
        let names = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().file_name());
        names.map(|n| n.to_string_lossy().into_owned()).filter(|n| n.contains("tenuis-tmp")).collect()
    };
    assert_eq!(temporary(&fixture.path(".out.stages")), Vec::<String>::new(), "what was begun is removed");
    // With room again the same command ends well.
    arguments[1] = "exec \"$0\" \"$@\"".to_owned();
    let _ = Run::from(
        std::process::Command::new("sh")
            .args(&arguments)
            .env("TENUIS_PLUGIN_DIR", plugin_dir())
            .output()
            .unwrap(),
    )
    .succeeded();
    assert!(out.exists());
}

#[test]
fn fault_19_output_at_the_input() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let before = snapshot(&fixture.model);
    let recipe = rtn(&fixture);
    let link = fixture.path("link");
    std::os::unix::fs::symlink(&fixture.model, &link).unwrap();
    for out in [fixture.model.clone(), fixture.model.join("inside"), link] {
        let args = ["compress", "--model", fixture.model.to_str().unwrap(), "--recipe", &recipe, "--out"];
        let run: Run = command().args(args).arg(&out).output().unwrap().into();
        run.failed_with(OUTPUT, &["model"]);
        assert_eq!(snapshot(&fixture.model), before);
    }
}

#[test]
fn fault_24_pickles() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let weights = fixture.model.join("model.safetensors");
    std::fs::rename(&weights, fixture.model.join("pytorch_model.bin")).unwrap();
    eval(&fixture, &["--recipe", &rtn(&fixture)])
        .failed_with(INPUT, &["pytorch_model.bin", "pickle", "convert it with transformers"]);
}

#[test]
fn fault_25_recipes() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let head = "name = \"x\"\n[[stages]]\ntechnique = \"rtn\"\n";
    for (text, parts) in [
        ("name = \"x\"\nsteps = []\n".to_owned(), vec!["recipe.toml:2", "steps", "`stages`"]),
        (format!("{head}colour = 1\n"), vec!["recipe.toml:4", "colour", "`options`"]),
        (
            format!("{head}options = {{ bits = \"four\" }}\n"),
            vec!["recipe.toml:4", "stages[0].options.bits", "integer"],
        ),
        (
            format!("{head}options = {{ bits = 7 }}\n"),
            vec!["recipe.toml:4", "stages[0].options.bits", "2, 3, 4, 5, 6"],
        ),
        (format!("{head}options = {{ bit = 4 }}\n"), vec!["recipe.toml:4", "bit", "group_size"]),
        (
            "name = \"x\"\n[[stages]]\ntechnique = \"magic\"\n".to_owned(),
            vec!["recipe.toml:3", "stages[0].technique", "magic", "gptq", "rtn", "cast"],
        ),
        (
            format!("{head}targets = {{ include = [\"*.nothing\"] }}\n"),
            vec!["recipe.toml:4", "stages[0].targets.include[0]", "matches no weight", "model.layers.0"],
        ),
        (format!("{head}targets = {{ blocks = [3] }}\n"), vec!["recipe.toml:4", "blocks[0]", "0..3"]),
        (format!("{head}targets = {{ blocks = [\"2-3\"] }}\n"), vec!["recipe.toml:4", "0..4"]),
        ("name = \"a/b\"\nstages = []\n".to_owned(), vec!["recipe.toml:1", "name", "letters"]),
        ("name = \"x\"\nstages = []\n".to_owned(), vec!["recipe.toml:2", "stages"]),
        ("name = \"x\n".to_owned(), vec!["recipe.toml:1"]),
    ] {
        let recipe = recipe(&fixture, &text);
        eval(&fixture, &["--recipe", &recipe]).failed_with(RECIPE, &parts);
    }
    let same = rtn(&fixture);
    eval(&fixture, &["--recipe", &same, "--recipe", &same]).failed_with(RECIPE, &["\"x\"", "its own name"]);
}

#[test]
fn fault_26_tokenizer() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let recipe = rtn(&fixture);
    fixture.write_tokenizer(161);
    eval(&fixture, &["--recipe", &recipe])
        .failed_with(INPUT, &["tokenizer.json", "\"w160\"", "vocabulary ends at 160"]);
    std::fs::remove_file(fixture.model.join("tokenizer.json")).unwrap();
    eval(&fixture, &["--recipe", &recipe]).failed_with(INPUT, &["tokenizer.json"]);
}

#[test]
fn without_its_library_a_first_party_technique_is_gone() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let recipe = rtn(&fixture);
    let empty = fixture.path("no-plugins");
    std::fs::create_dir(&empty).unwrap();
    eval(&fixture, &["--recipe", &recipe, "--plugin-dir", empty.to_str().unwrap()])
        .failed_with(RECIPE, &["recipe.toml:3", "rtn", "\"tenuis-quant\""]);

    // The manifest alone is not enough either.
    for entry in std::fs::read_dir(plugin_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".plugin.json") {
            std::fs::copy(&path, empty.join(path.file_name().unwrap())).unwrap();
        }
    }
    eval(&fixture, &["--recipe", &recipe, "--plugin-dir", empty.to_str().unwrap()])
        .failed_with(RECIPE, &["rtn", "quant"]);
}

#[test]
fn plugins_are_listed_with_their_place() {
    let run = tenuis(&["plugins", "list"]).succeeded();
    for part in ["quant", "cast", "rtn", "gptq", plugin_dir().to_str().unwrap()] {
        assert!(run.stdout.contains(part), "{part} is not in {}", run.stdout);
    }
}

/// What is asked of plugins of others holds for those that come along. How soon they stop is left out: it is a matter of time.
#[test]
fn plugins_that_come_along_conform() {
    use tenuis_orchestrator::plugin::conformance::{Subject, TESTS, Verdict};
    let libraries: Vec<_> = std::fs::read_dir(plugin_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| *extension != *"json"))
        .collect();
    assert!(libraries.len() >= 4, "{libraries:?}");
    for library in libraries {
        let subject = Subject::new(&library);
        for test in TESTS.iter().filter(|test| test.name != "cancel") {
            let verdict = (test.run)(&subject);
            assert!(
                !matches!(verdict, Verdict::Failed(_)),
                "{} {}: {verdict:?}",
                library.display(),
                test.name
            );
        }
    }
}
