//! Models in the formats of other programs: written, read again, and equal to what they were made of.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod parity_support;

use parity_support::{Expected, data, open};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CheckpointWriter, CodecRegistry, DType, StoredWeights, WriterOptions};
use tenuis_model::Tokenizer;
use tenuis_orchestrator::formats::{ExportOptions, Format};
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{
    CompressOptions, Exported, LoadedRecipe, Observer, RunError, Silent, Workshop, export,
};
use tenuis_tests::cli::{plugin_dir, shared, snapshot, tenuis};
use tenuis_tests::fixture::Fixture;

/// Exit codes of `docs/exit-codes.md`.
const USAGE: i32 = 2;
const INPUT: i32 = 3;
const OUTPUT: i32 = 6;

/// Logits of f16 weights beside f32 ones, as a share of the largest.
const F16: f32 = 5e-3;

/// A llama with a byte-level tokenizer of the tokens that are listed.
fn model(root: &Path) -> PathBuf {
    let dir = root.join("model");
    fs::create_dir(&dir).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(data("micro_llama").join(file), dir.join(file)).unwrap();
    }
    let vocab =
        json!({ "<end>": 0, "a": 1, "b": 2, "c": 3, "\u{120}": 4, "ab": 5, "\u{120}ab": 6, "\u{120}c": 7 });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{ "id": 0, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true }],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab,
            "merges": [["a", "b"], ["\u{120}", "ab"], ["\u{120}", "c"]] },
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    dir
}

/// Rounds to nearest with the given options.
fn compressed(model: &Path, options: &str, target: &Path) {
    let plugins = PluginRegistry::discover(&[plugin_dir()]).unwrap();
    let codecs = CodecRegistry::builtin();
    let observer = Arc::new(Silent);
    let workshop = Workshop::new(&plugins, &codecs, observer, CompressOptions::default());
    let text = format!("name = \"r\"\n[[stages]]\ntechnique = \"rtn\"\n[stages.options]\n{options}\n");
    let file = target.with_extension("toml");
    fs::write(&file, text).unwrap();
    let recipe = LoadedRecipe::open(&file).unwrap();
    workshop.compress(&open(model), &recipe, None, target).unwrap();
}

fn exported(
    model: &Path,
    format: &str,
    target: &Path,
    dtype: Option<DType>,
) -> Result<Exported, Box<RunError>> {
    let mut options = ExportOptions::default();
    options.dtype = dtype;
    let format = Format::from_name(format).unwrap();
    let observer: Arc<dyn Observer> = Arc::new(Silent);
    export(&open(model), &CodecRegistry::builtin(), format, target, &options, &observer).map_err(Box::new)
}

fn logits(dir: &Path) -> Vec<f32> {
    let tokens: Vec<u32> = (0..24).map(|i| i * 37 % 200).collect();
    open(dir).logits_vec(&tokens, 1, tokens.len()).unwrap()
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(found.len() == expected.len() && worst <= tolerance * largest, "{what}: {worst} of {largest}");
}

/// Every width and grid that a format holds has the logits of the original, to the bit but for what is rounded.
#[test]
fn packed_weights_keep_their_numbers() {
    let root = tempfile::tempdir().unwrap();
    let model = model(root.path());
    for (name, options, formats) in [
        ("w4", "bits = 4\ngroup_size = 32", &["gptq", "gptq-v2", "awq", "gguf", "compressed-tensors"][..]),
        (
            "w4a",
            "bits = 4\ngroup_size = 64\nsymmetric = false",
            &["gptq", "gptq-v2", "awq", "compressed-tensors"],
        ),
        ("w8", "bits = 8\ngroup_size = 64", &["gptq", "gguf"]),
        ("w3", "bits = 3\ngroup_size = \"channel\"\nsymmetric = false", &["gptq", "gptq-v2"]),
        ("w2", "bits = 2\ngroup_size = 32", &["gptq-v2", "gguf"]),
    ] {
        let source = root.path().join(name);
        compressed(&model, options, &source);
        let expected = logits(&source);
        for format in formats {
            let target = root.path().join(format!("{name}-{format}"));
            let done = exported(&source, format, &target, Some(DType::F32)).unwrap();
            assert_eq!(done.report.dense_by_need().count(), 0, "{name} {format}: {:?}", done.report);
            assert!(done.report.is_exact() && done.round_trip.weights == 15, "{name} {format}: {done:?}");
            // Sums run in another order where groups are split or zero points are stored.
            assert_near(&logits(&target), &expected, 1e-5, &format!("{name} {format}"));
            assert!(Checkpoint::open(&target).unwrap().verify().is_ok());
        }
    }
}

/// An asymmetric grid in blocks has its offsets rounded to f16, and says so.
#[test]
fn offsets_are_rounded_in_blocks() {
    let root = tempfile::tempdir().unwrap();
    let (model, source) = (model(root.path()), root.path().join("w4a"));
    compressed(&model, "bits = 4\ngroup_size = 32\nsymmetric = false", &source);
    let target = root.path().join("gguf");
    let done = exported(&source, "gguf", &target, Some(DType::F32)).unwrap();
    assert!(!done.report.is_exact());
    assert_eq!(done.report.counts()["Q4_1"], 14);
    assert_near(&logits(&target), &logits(&source), F16, "Q4_1");
}

/// What a format cannot hold is f16 in it, with the reason; everything else is packed.
#[test]
fn what_does_not_fit_is_dense_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (model, source) = (model(root.path()), root.path().join("w5"));
    compressed(&model, "bits = 5\ngroup_size = 16", &source);
    for (format, reason) in [("gptq", "5 bits"), ("awq", "5 bits"), ("gguf", "blocks of 32")] {
        let target = root.path().join(format);
        let done = exported(&source, format, &target, None).unwrap();
        assert_eq!(done.report.dense_by_need().count(), 14);
        assert!(
            done.report.dense_by_need().all(|(name, why)| name.contains("layers") && why.contains(reason))
        );
        assert_near(&logits(&target), &logits(&source), F16, format);
        let checkpoint = Checkpoint::open(&target).unwrap();
        assert_eq!(StoredWeights::from_checkpoint(&checkpoint).unwrap().descriptors().count(), 0);
    }
    // The command says so on standard error and succeeds.
    let out = root.path().join("said");
    let run = tenuis(&[
        "export",
        "--model",
        source.to_str().unwrap(),
        "--format",
        "awq",
        "--out",
        out.to_str().unwrap(),
    ]);
    let run = run.succeeded();
    assert!(run.stderr.contains("model.layers.0.mlp.up_proj is dense in this format"), "{}", run.stderr);
    assert!(run.stdout.contains("14 in f16, 1 in f32"), "{}", run.stdout);
}

/// A GGUF file is a model like any other: inspected, measured, continued and written again, byte for byte.
#[test]
fn a_gguf_file_is_a_model() {
    let root = tempfile::tempdir().unwrap();
    let (model, source) = (model(root.path()), root.path().join("w8"));
    compressed(&model, "bits = 8\ngroup_size = 32", &source);
    let first = root.path().join("first");
    exported(&source, "gguf", &first, None).unwrap();
    let file = first.join("model.gguf");
    let alone = root.path().join("alone.gguf");
    fs::copy(&file, &alone).unwrap();

    let described = tenuis(&["inspect", "--json", alone.to_str().unwrap()]).succeeded();
    let described: Value = serde_json::from_str(&described.stdout).unwrap();
    assert_eq!(described["linears"][0]["representation"]["kind"], "grouped_int");
    assert_eq!(logits(&alone), logits(&first));
    // The tokenizer within gives the tokens of the file beside the original.
    let (ours, theirs) = (Checkpoint::open(&alone).unwrap(), Checkpoint::open(&model).unwrap());
    let (ours, theirs) =
        (Tokenizer::from_checkpoint(&ours, 512).unwrap(), Tokenizer::from_checkpoint(&theirs, 512).unwrap());
    for text in ["ab ab c", "c abab", " c  ab"] {
        assert_eq!(ours.encode(text, true).unwrap(), theirs.encode(text, true).unwrap(), "{text:?}");
    }
    let run = tenuis(&[
        "generate",
        "--model",
        alone.to_str().unwrap(),
        "--prompt",
        "ab ab",
        "--max-new-tokens",
        "4",
    ]);
    assert!(run.succeeded().stdout.starts_with("ab ab"));

    let second = root.path().join("second");
    exported(&first, "gguf", &second, None).unwrap();
    assert_eq!(data_of(&second.join("model.gguf")), data_of(&file), "tensors survive a second export");
    let back = root.path().join("back");
    exported(&alone, "compressed-tensors", &back, None).unwrap();
    assert_eq!(logits(&back), logits(&first));
    assert!(back.join("tokenizer.json").exists() && back.join("config.json").exists());
    // A further stage takes it as any model.
    compressed(&alone, "bits = 4\ngroup_size = 32", &root.path().join("again"));
    assert_eq!(Checkpoint::open(&root.path().join("again")).unwrap().config()["model_type"], "llama");
}

fn data_of(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let header = tenuis_core::gguf::parse(&bytes).unwrap().header_bytes;
    bytes[header..].to_vec()
}

/// Biases, a tied head and per-head widths of their own: every llama-like fixture that llama.cpp has an architecture for.
#[test]
fn dense_models_become_gguf_files() {
    for name in ["qwen2", "llama_linear_headdim", "llama_gqa_llama3rope", "llama_yarn"] {
        let fixture = Fixture::new(name);
        let other = tempfile::tempdir().unwrap();
        fs::copy(model(other.path()).join("tokenizer.json"), fixture.model.join("tokenizer.json")).unwrap();
        let vocab = fixture.config()["vocab_size"].as_u64().unwrap();
        let target = fixture.path("gguf");
        match exported(&fixture.model, "gguf", &target, Some(DType::F32)).map_err(|error| *error) {
            Ok(_) => {}
            // llama.cpp has no keys for all of YaRN's settings.
            Err(RunError::Export(error)) if name == "llama_yarn" => {
                assert!(error.to_string().contains("YaRN"), "{error}");
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        }
        let tokens: Vec<u32> = (0..16).map(|i| i * 37 % vocab as u32).collect();
        let run = |dir: &Path| open(dir).logits_vec(&tokens, 1, tokens.len()).unwrap();
        assert_near(&run(&target), &run(&fixture.model), 1e-5, name);
    }
}

#[test]
fn dense_files_are_plain() {
    let root = tempfile::tempdir().unwrap();
    let (model, source) = (model(root.path()), root.path().join("w4"));
    compressed(&model, "bits = 4\ngroup_size = 32", &source);
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, F16), (DType::BF16, 2e-2)] {
        let target = root.path().join(dtype.name());
        exported(&source, "dense", &target, Some(dtype)).unwrap();
        let checkpoint = Checkpoint::open(&target).unwrap();
        assert!(checkpoint.config().get("quantization_config").is_none());
        assert!(checkpoint.names().all(|n| checkpoint.info(n).unwrap().dtype.known() == Some(dtype)));
        assert_near(&logits(&target), &logits(&source), tolerance, dtype.name());
    }
    // A layout of its own stays.
    let gpt2 = Fixture::new("gpt2");
    let (packed, target) = (gpt2.path("packed"), gpt2.path("dense"));
    compressed(&gpt2.model, "bits = 8\ngroup_size = \"channel\"", &packed);
    exported(&packed, "dense", &target, Some(DType::F32)).unwrap();
    let (old, new) = (Checkpoint::open(&gpt2.model).unwrap(), Checkpoint::open(&target).unwrap());
    for name in old.names() {
        assert_eq!(old.info(name).unwrap().shape, new.info(name).unwrap().shape, "{name}");
    }
}

/// Failures name what is in the way, end with their code and leave nothing.
#[test]
fn refusals() {
    let gpt2 = Fixture::new("gpt2");
    let before = snapshot(&gpt2.model);
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let run = |model: &Path, format: &str, out: &Path, more: &[&str]| {
        let mut args = vec!["export".to_owned(), "--model".to_owned(), path(model)];
        args.extend(["--format".to_owned(), format.to_owned(), "--out".to_owned(), path(out)]);
        args.extend(more.iter().map(|m| (*m).to_owned()));
        tenuis(&args)
    };
    let out = gpt2.path("out");
    run(&gpt2.model, "gguf", &out, &[]).failed_with(INPUT, &["gguf", "gpt2", "dense"]);
    assert_eq!(run(&gpt2.model, "exl2", &out, &[]).code, USAGE);
    run(&gpt2.model, "dense", &gpt2.model, &[]).failed_with(OUTPUT, &["is the same as input"]);
    let llama = Fixture::new("qwen2");
    run(&llama.model, "gguf", &out, &[]).failed_with(INPUT, &["tokenizer.json", "WordLevel"]);
    assert!(!out.exists());
    drop(run(&llama.model, "dense", &out, &[]).succeeded());
    run(&llama.model, "dense", &out, &[]).failed_with(OUTPUT, &["exists"]);
    drop(run(&llama.model, "dense", &out, &["--overwrite"]).succeeded());
    let left: Vec<String> = fs::read_dir(gpt2.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(snapshot(&gpt2.model), before);

    let broken = gpt2.path("broken.gguf");
    fs::write(&broken, b"GGUF\x03\x00\x00\x00").unwrap();
    run(&broken, "dense", &gpt2.path("x"), &[]).failed_with(INPUT, &["broken.gguf", "truncated"]);
}

/// Damages what was written while it is about to be read again.
struct Saboteur(PathBuf);

impl Observer for Saboteur {
    fn begin(&self, phase: &str, _total: u64) {
        if phase != "reading it again" {
            return;
        }
        let hidden = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let written = hidden
            .filter(|p| p.file_name().unwrap().to_string_lossy().contains("tenuis-tmp"))
            .last()
            .unwrap();
        let file = written.join("model.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
    }
}

/// A bit that flips on its way to the disk is found, and nothing is kept.
#[test]
fn a_damaged_export_is_not_kept() {
    let root = tempfile::tempdir().unwrap();
    let (model, target) = (model(root.path()), root.path().join("out"));
    let observer: Arc<dyn Observer> = Arc::new(Saboteur(root.path().to_owned()));
    let options = ExportOptions::default();
    let failed =
        export(&open(&model), &CodecRegistry::builtin(), Format::Dense, &target, &options, &observer);
    let error = failed.unwrap_err();
    assert!(matches!(error, RunError::RoundTrip { .. }) && error.to_string().contains("tensor"), "{error}");
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["model"], "neither the target nor anything hidden");
}

/// The packed weights of one checkpoint with everything else of another.
fn with_the_rest_of(rest: &Path, packed: &Path, target: &Path) {
    let (rest, packed) = (Checkpoint::open(rest).unwrap(), Checkpoint::open(packed).unwrap());
    let mut writer = CheckpointWriter::create(target, &[], WriterOptions::default()).unwrap();
    for name in packed.names() {
        let from = if rest.contains(name) { &rest } else { &packed };
        writer.put(name, &from.tensor(name).unwrap()).unwrap();
    }
    writer.finish(packed.config(), Value::Null).unwrap();
}

/// Checkpoints of GPTQModel: their logits, a further stage, and their tensors once more.
#[test]
fn gptqmodels_checkpoints_are_models() {
    let Some(shared) = shared() else { return };
    let root = tempfile::tempdir().unwrap();
    for name in ["sym", "sym_act", "asym"] {
        let dir = shared.join("golden").join(format!("micro_llama_gptq_{name}"));
        let expected = Expected::read(&dir.join("golden.safetensors"));
        let (tokens, batch, seq) = expected.tokens();
        let wanted: Vec<f32> = expected.values("logits_f64_dequant").iter().map(|&v| v as f32).collect();
        let run = |dir: &Path| open(dir).logits_vec(&tokens, batch, seq).unwrap();
        // f32 against f64, both with the weights out of the file and everything else as it was before it was rounded.
        let joined = root.path().join(format!("{name}-joined"));
        with_the_rest_of(&shared.join("golden/micro_llama"), &dir, &joined);
        assert_near(&run(&joined), &wanted, 1e-5, name);
        // As it is: embedding, norms and head are bfloat16.
        assert_near(&run(&dir), &wanted, 1.5e-2, name);

        let again = root.path().join(name);
        let done = exported(&dir, "gptq", &again, None).unwrap();
        assert!(done.report.is_exact());
        let (old, new) = (Checkpoint::open(&dir).unwrap(), Checkpoint::open(&again).unwrap());
        assert!(old.names().eq(new.names()));
        for tensor in old.names() {
            let (a, b) = (old.tensor(tensor).unwrap(), new.tensor(tensor).unwrap());
            assert_eq!(
                (a.dtype(), a.shape(), &a.data()[..]),
                (b.dtype(), b.shape(), &b.data()[..]),
                "{tensor}"
            );
        }
        for key in ["bits", "group_size", "desc_act", "sym", "checkpoint_format", "quant_method", "lm_head"] {
            let of = |c: &Checkpoint| c.config()["quantization_config"][key].clone();
            assert_eq!(of(&new), of(&old), "{name}: {key}");
        }
        let further = root.path().join(format!("{name}-w8"));
        compressed(&dir, "bits = 8\ngroup_size = 32", &further);
        let checkpoint = Checkpoint::open(&further).unwrap();
        assert_eq!(checkpoint.config()["quantization_config"]["quant_method"], "compressed-tensors");
        assert!(!further.join("quantize_config.json").exists());
        assert_near(&run(&further), &wanted, 5e-2, "eight bits of four");
    }
}
