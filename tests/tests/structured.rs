//! Structured pruning through the program and the plugin: what is pruned and read again is the masked original.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CheckpointWriter, CodecRegistry, DType, Layout, Tensor, WriterOptions};
use tenuis_model::{Model, Tap, Tokenizer};
use tenuis_spec::{DimensionKind, LayerSpec, LinearSpec, MlpSpec};
use tenuis_tests::cli::{Run, shared, snapshot, tenuis};
use tenuis_tests::fixture::{FIXTURES, Fixture};

/// Largest difference to the masked original, as a share of its largest logit. Both compute in f32; zeros in the sums
/// change the order of additions.
const TOLERANCE: f32 = 1e-4;

fn model(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

fn recipe(fixture: &Fixture, name: &str, stages: &str) -> PathBuf {
    let path = fixture.path(&format!("{name}.toml"));
    fs::write(&path, format!("name = \"{name}\"\n{stages}")).unwrap();
    path
}

fn stage(technique: &str, options: &str) -> String {
    format!("[[stages]]\ntechnique = \"{technique}\"\noptions = {{ {options} }}\n")
}

fn compress(model: &Path, recipe: &Path, out: &Path, more: &[&str]) -> Run {
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let (model, recipe, out) = (path(model), path(recipe), path(out));
    let mut arguments =
        vec!["compress", "--model", &model, "--recipe", &recipe, "--out", &out, "--threads", "2"];
    arguments.extend(more);
    tenuis(&arguments)
}

/// Runs a recipe of one stage without any text.
fn prune(fixture: &Fixture, name: &str, technique: &str, options: &str) -> (Run, PathBuf) {
    let out = fixture.path(name);
    let recipe = recipe(fixture, name, &stage(technique, options));
    (compress(&fixture.model, &recipe, &out, &[]), out)
}

/// A copy of a checkpoint in which some tensors are other ones.
fn with_tensors(original: &Model, dir: &Path, changed: &BTreeMap<String, Vec<f32>>) -> Model {
    let checkpoint = original.checkpoint();
    let mut writer =
        CheckpointWriter::create(dir, &[checkpoint.dir()], WriterOptions::default().overwrite(true)).unwrap();
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        let tensor = changed.get(name).map_or(tensor.clone(), |values| {
            Tensor::from_f32(DType::F32, tensor.shape().to_vec(), values).unwrap()
        });
        writer.put(name, &tensor).unwrap();
    }
    writer.finish(checkpoint.config(), json!({})).unwrap();
    model(dir)
}

/// The columns of a Linear, `in_features` of them.
fn columns(model: &Model, linear: &LinearSpec) -> Vec<Vec<f32>> {
    let dense = model.weight(linear).unwrap().to_dense().unwrap();
    (0..linear.shape[1])
        .map(|column| dense.chunks(linear.shape[1]).map(|row| row[column]).collect())
        .collect()
}

/// The original with zeros in the columns that the pruned model lacks, found by their numbers alone.
fn masked(original: &Model, pruned: &Model, kind: DimensionKind, dir: &Path) -> (Model, Vec<usize>) {
    let mut changed = BTreeMap::new();
    let mut removed = Vec::new();
    for (old, new) in original.spec().layers.iter().zip(&pruned.spec().layers) {
        let consumers = |layer: &LayerSpec| match kind {
            DimensionKind::FfnChannels => layer.mlp.parts().iter().filter_map(MlpSpec::output).collect(),
            DimensionKind::KvGroups | DimensionKind::QueryHeads => vec![layer.attention.o.clone()],
        };
        for (old, new) in consumers(old).iter().zip(&consumers(new)) {
            let left = columns(pruned, new);
            let whole = columns(original, old);
            let places: Vec<usize> =
                left.iter().map(|column| whole.iter().position(|other| other == column).unwrap()).collect();
            assert!(places.is_sorted(), "{}: the order stays", old.name);
            removed.push(whole.len() - places.len());
            let kept: BTreeSet<usize> = places.into_iter().collect();
            let stored = original.checkpoint().tensor(&old.weight_name()).unwrap();
            let mut values = stored.to_f32().unwrap().into_owned();
            let [out, inputs] = old.shape;
            for column in (0..inputs).filter(|column| !kept.contains(column)) {
                for row in 0..out {
                    let at = match old.layout {
                        Layout::OutIn => row * inputs + column,
                        Layout::InOut => column * out + row,
                    };
                    values[at] = 0.0;
                }
            }
            changed.insert(old.weight_name(), values);
        }
    }
    (with_tensors(original, dir, &changed), removed)
}

fn tokens(model: &Model) -> Vec<u32> {
    (0..24).map(|i| (i * 37 + 11) % model.spec().vocab as u32).collect()
}

fn assert_same(what: &str, expected: &Model, found: &Model) {
    let tokens = tokens(expected);
    let expected = expected.logits_vec(&tokens, 2, 12).unwrap();
    let found = found.logits_vec(&tokens, 2, 12).unwrap();
    let largest = expected.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    let off = expected.iter().zip(&found).fold(0.0f32, |a, (e, f)| a.max((e - f).abs()));
    assert!(off <= TOLERANCE * largest, "{what}: off by {:.2e} of the largest logit", off / largest);
    assert!(found.iter().all(|logit| logit.is_finite()) && largest > 0.0);
}

fn record(dir: &Path) -> Value {
    Checkpoint::open(dir).unwrap().manifest().unwrap().provenance["record"].clone()
}

fn metric(record: &Value, key: &str) -> f64 {
    let metrics = record["metrics"].as_array().unwrap();
    let found =
        metrics.iter().find(|m| m["key"] == key).unwrap_or_else(|| panic!("no {key:?} in {metrics:?}"));
    found["value"].as_f64().unwrap()
}

/// Channels and heads, the same number in every layer, by one ranking of all, and in one layer alone.
#[test]
fn what_is_cut_equals_the_masked_original() {
    let cases = [
        ("channels", "prune-channels", DimensionKind::FfnChannels, "ratio = 0.5, round_to = 8"),
        ("global", "prune-channels", DimensionKind::FfnChannels, "ratio = 0.4, scope = \"global\""),
        ("layer", "prune-channels", DimensionKind::FfnChannels, "keep = 40, layers = [1]"),
        ("heads", "prune-heads", DimensionKind::KvGroups, "ratio = 0.5"),
        ("head", "prune-heads", DimensionKind::KvGroups, "keep = 1, layers = [0]"),
        ("queries", "prune-query-heads", DimensionKind::QueryHeads, "ratio = 0.5"),
    ];
    for name in FIXTURES {
        let fixture = Fixture::new(name);
        let original = model(&fixture.model);
        let before = snapshot(&fixture.model);
        for (case, technique, kind, options) in cases {
            let what = format!("{name} {case}");
            let options = format!("criterion = \"magnitude\", compensate = false, {options}");
            let (run, out) = prune(&fixture, case, technique, &options);
            let layer = &original.spec().layers[0];
            if kind != DimensionKind::FfnChannels && layer.dimensions(kind)[0].units == 1 {
                run.failed_with(5, &["nothing would be removed"]);
                assert!(!out.exists());
                continue;
            }
            if case == "global" && layer.mlp.router().is_some() {
                run.failed_with(5, &["would keep"]);
                continue;
            }
            let _ = run.succeeded();
            let pruned = model(&out);
            pruned.checkpoint().verify().unwrap();
            let (masked, removed) =
                masked(&original, &pruned, kind, &fixture.path(&format!("{case}-masked")));
            assert!(removed.iter().sum::<usize>() > 0, "{what}");
            assert_same(&what, &masked, &pruned);
            let uniform = removed.iter().all(|count| *count == removed[0]);
            match case {
                "channels" | "heads" | "queries" => assert!(uniform, "{what}: {removed:?}"),
                "layer" | "head" => assert!(!uniform, "{what}: {removed:?}"),
                _ => {}
            }
            let smaller = original.checkpoint().tensor_bytes() - pruned.checkpoint().tensor_bytes();
            assert_eq!(metric(&record(&out), "parameters_removed") as u64 * 4, smaller, "{what}");
            let lists = pruned.checkpoint().config().as_object().unwrap().iter();
            let lists =
                lists.filter(|(name, v)| v.is_array() && !name.contains("layer") && *name != "architectures");
            let lists: Vec<_> = lists.map(|(name, _)| name).collect();
            assert_eq!(lists.is_empty(), uniform, "{what}: {lists:?}");
            // Some families have no field for a head's width elsewhere, or none for key heads.
            let notes = record(&out)["notes"].to_string();
            assert!(uniform || notes.contains("only Tenuis reads the result"), "{what}: {notes}");
            let plain = uniform && (kind == DimensionKind::FfnChannels || name.starts_with("qwen"));
            assert!(!plain || !notes.contains("only Tenuis reads the result"), "{what}: {notes}");
        }
        assert_eq!(snapshot(&fixture.model), before, "the input is read-only");
    }
}

/// A block without its last Linears adds nothing to the residual stream.
#[test]
fn a_removed_block_equals_one_that_adds_nothing() {
    for name in FIXTURES {
        let fixture = Fixture::new(name);
        let original = model(&fixture.model);
        for remove in [0, original.spec().layers.len() - 1] {
            let case = format!("without-{remove}");
            let (run, out) = prune(&fixture, &case, "prune-blocks", &format!("remove = [{remove}]"));
            let _ = run.succeeded();
            let pruned = model(&out);
            assert_eq!(pruned.spec().layers.len() + 1, original.spec().layers.len());
            pruned.checkpoint().verify().unwrap();
            let layer = &original.spec().layers[remove];
            let last = std::iter::once(layer.attention.o.clone())
                .chain(layer.mlp.parts().iter().filter_map(MlpSpec::output))
                .collect::<Vec<_>>();
            let names = last.iter().flat_map(|linear| [Some(linear.weight_name()), linear.bias_name()]);
            let zeros = names.flatten().map(|name| {
                let count = original.checkpoint().tensor(&name).unwrap().elements();
                (name, vec![0.0; count])
            });
            let masked = with_tensors(&original, &fixture.path(&format!("{case}-masked")), &zeros.collect());
            assert_same(&format!("{name} {case}"), &masked, &pruned);
            // Nothing of the removed layer is left behind.
            let named: BTreeSet<String> = pruned.spec().tensors().into_iter().map(|t| t.name).collect();
            let extra = pruned.checkpoint().names().filter(|name| !named.contains(*name)).count();
            let before: BTreeSet<String> = original.spec().tensors().into_iter().map(|t| t.name).collect();
            assert_eq!(extra, original.checkpoint().names().filter(|name| !before.contains(*name)).count());
        }
    }
}

/// What the host measures is what the model computes: the cosine around a block, and the squares behind the Gram matrix.
#[test]
fn statistics_are_those_of_the_model() {
    struct Last(Vec<f32>);
    impl Tap for Last {
        fn input(&mut self, _group: usize, x: &[f32]) {
            self.0 = x.to_vec();
        }
    }
    let fixture = Fixture::new("qwen2");
    let original = model(&fixture.model);
    let tokenizer = Tokenizer::from_dir(&fixture.model, original.spec().vocab).unwrap();
    let text = fs::read_to_string(&fixture.calib).unwrap();
    let tokens = tokenizer.encode(&text, false).unwrap()[..32].to_vec();
    let calibration = "[calibration]\nsamples = 1\nseq_len = 32\n";
    let calib = ["--calib", fixture.calib.to_str().unwrap()];
    let run = |name: &str, stage: &str| {
        let out = fixture.path(name);
        let recipe = recipe(&fixture, name, &format!("{calibration}{stage}"));
        let _ = compress(&fixture.model, &recipe, &out, &calib).succeeded();
        out
    };
    let out = run("influence", &stage("prune-blocks", "count = 1"));
    let states = original.hidden_states(&tokens, 1, 32).unwrap();
    let rows = |index: usize| -> Vec<Vec<f32>> { states[index].squeeze(0).unwrap().to_vec2().unwrap() };
    let cosine = |x: &[f32], y: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
    };
    let mean = rows(0).iter().zip(&rows(1)).map(|(x, y)| cosine(x, y)).sum::<f64>() / 32.0;
    assert_eq!(record(&out)["calibration_rows"], 32);
    let found = metric(&record(&out), "block 0/influence");
    assert!((found - (1.0 - mean)).abs() < 1e-5, "{found} {mean}");

    let out = run("gram", &stage("prune-channels", "ratio = 0.5, criterion = \"magnitude\""));
    let (dropped, pruned) = prune(
        &fixture,
        "dropped",
        "prune-channels",
        "ratio = 0.5, criterion = \"magnitude\", compensate = false",
    );
    let _ = dropped.succeeded();
    let pruned = model(&pruned);
    let block = original.load_block(0).unwrap();
    let mut last = Last(Vec::new());
    block.forward(&original.embed(&tokens, 1, 32, 0).unwrap(), Some(&mut last)).unwrap();
    let down = block.spec().linears().pop().unwrap();
    let left: Vec<_> = columns(&pruned, &pruned.spec().layers[0].linears().pop().unwrap());
    let gone: Vec<_> =
        columns(&original, &down).into_iter().enumerate().filter(|(_, c)| !left.contains(c)).collect();
    let mut error = 0.0;
    for x in last.0.chunks(down.shape[1]) {
        for row in 0..down.shape[0] {
            error += gone.iter().map(|(c, column)| f64::from(x[*c] * column[row])).sum::<f64>().powi(2);
        }
    }
    let (found, after) = (
        metric(&record(&out), &format!("{}/error_dropped", down.name)),
        metric(&record(&out), &format!("{}/error_compensated", down.name)),
    );
    assert!((found / error - 1.0).abs() < 1e-3, "{found} {error}");
    assert!(after < found, "{after} {found}");
}

/// The mean loss of the first windows of the validation text.
fn loss(model: &Model, tokens: &[u32]) -> f64 {
    let (seq, vocab) = (128, model.spec().vocab);
    let windows: Vec<&[u32]> = tokens.chunks_exact(seq).take(16).collect();
    let (mut sum, mut count) = (0.0, 0);
    for window in windows {
        let logits = model.logits_vec(window, 1, seq).unwrap();
        for (logits, &next) in logits.chunks(vocab).zip(&window[1..]) {
            let largest = logits.iter().fold(f32::MIN, |a, &v| a.max(v));
            let total: f64 = logits.iter().map(|v| f64::from(v - largest).exp()).sum();
            sum += total.ln() - f64::from(logits[next as usize] - largest);
            count += 1;
        }
    }
    sum / f64::from(count)
}

/// On a trained model: least squares make up for a part of what is lost, by every criterion and in both dimensions.
#[test]
fn compensation_lessens_the_loss() {
    let Some(shared) = shared() else { return };
    let (dir, root) = (shared.join("models/tiny1m"), tempfile::tempdir().unwrap());
    let original = model(&dir);
    let tokenizer = Tokenizer::from_dir(&dir, original.spec().vocab).unwrap();
    let text = fs::read_to_string(shared.join("data/tinystories_val.txt")).unwrap();
    let end = text.char_indices().map(|(at, _)| at).take_while(|&at| at <= 20_000).last().unwrap();
    let tokens = tokenizer.encode(&text[..end], false).unwrap();
    let calib = shared.join("data/tinystories_train_head.txt");
    let run = |name: &str, technique: &str, options: &str| {
        let (path, out) = (root.path().join(format!("{name}.toml")), root.path().join(name));
        let calibration = "[calibration]\nsamples = 32\nseq_len = 128\n";
        fs::write(&path, format!("name = \"{name}\"\n{calibration}{}", stage(technique, options))).unwrap();
        let _ = compress(&dir, &path, &out, &["--calib", calib.to_str().unwrap()]).succeeded();
        loss(&model(&out), &tokens)
    };
    let whole = loss(&original, &tokens);
    for (technique, target) in
        [("prune-channels", "ratio = 0.3, round_to = 32"), ("prune-heads", "ratio = 0.5")]
    {
        for criterion in ["magnitude", "activation", "wanda_sp", "flap"] {
            let of = |compensate: bool| {
                let name = format!("{technique}-{criterion}-{compensate}");
                let options = format!("{target}, criterion = \"{criterion}\", compensate = {compensate}");
                run(&name, technique, &options)
            };
            let (plain, compensated) = (of(false), of(true));
            assert!(
                whole < compensated && compensated < plain,
                "{technique} {criterion}: {whole} whole, {compensated} compensated, {plain} dropped"
            );
        }
    }
    // Either criterion removes one whole block. The search finds the one that costs least; influence need not: with four
    // blocks the first turns the hidden state least, and nothing can do without it.
    let single: Vec<f64> = (0..4)
        .map(|block| run(&format!("without-{block}"), "prune-blocks", &format!("remove = [{block}]")))
        .collect();
    let influence = run("influence", "prune-blocks", "count = 1");
    let searched = run("searched", "prune-blocks", "count = 1, criterion = \"perplexity\"");
    let least = single.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(single.contains(&influence), "{influence} of {single:?}");
    assert_eq!(searched, least, "of {single:?}");
}

/// The shipped recipes run on a trained model: with the pruning that they ship with, and a few steps of training.
#[test]
fn shipped_recipes_run() {
    let Some(shared) = shared() else { return };
    let root = tempfile::tempdir().unwrap();
    let calib = shared.join("data/tinystories_train_head.txt");
    for name in ["depth-distill-gptq", "structured-distill"] {
        let text = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/recipes/{name}.toml")),
        )
        .unwrap();
        let short: String = text
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some(("steps", _)) => "steps = 2\n".to_owned(),
                Some(("valid_every" | "warmup", _)) => String::new(),
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(short.contains("steps = 2"), "{name} trains");
        let (path, out) = (root.path().join(format!("{name}.toml")), root.path().join(name));
        fs::write(&path, short.replace("[stages.options.training]", "[stages.options.training]\nwarmup = 0"))
            .unwrap();
        let dir = shared.join("models/tiny1m");
        let _ = compress(&dir, &path, &out, &["--calib", calib.to_str().unwrap()]).succeeded();
        let (new, old) = (model(&out), model(&dir));
        assert!(new.checkpoint().tensor_bytes() < old.checkpoint().tensor_bytes(), "{name}");
        assert!(new.logits_vec(&tokens(&new), 1, 24).unwrap().iter().all(|l| l.is_finite()), "{name}");
    }
}

#[test]
fn bad_wishes_are_refused_before_work() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let run = |name: &str, technique: &str, options: &str, code: i32, parts: &[&str]| {
        let (run, out) = prune(&fixture, name, technique, options);
        run.failed_with(code, parts);
        assert!(!out.exists(), "{name}");
    };
    run("ratio", "prune-channels", "ratio = 1.5", 4, &["ratio is 1.5", "between 0 and 1"]);
    run("both", "prune-heads", "ratio = 0.5, keep = 1", 4, &["ratio and keep"]);
    run("unknown", "prune-channels", "ration = 0.5", 4, &["unknown.toml:4", "ration"]);
    run("criterion", "prune-channels", "criterion = \"random\"", 4, &["criterion", "wanda_sp"]);
    run("empty", "prune-channels", "layers = []", 4, &["no layer is chosen"]);
    run("text", "prune-channels", "ratio = 0.5", 2, &["--calib"]);
    let magnitude = "criterion = \"magnitude\", compensate = false";
    run("more", "prune-heads", &format!("keep = 9, {magnitude}"), 5, &["has 2 units, fewer than the 9"]);
    run("all", "prune-channels", &format!("ratio = 0.999, {magnitude}"), 5, &["nothing would be left"]);
    run("layer", "prune-heads", &format!("layers = [7], {magnitude}"), 5, &["layer 7 is not there"]);
    run("none", "prune-heads", &format!("ratio = 0.1, {magnitude}"), 5, &["nothing would be removed"]);
    run("blocks", "prune-blocks", "count = 3, criterion = \"perplexity\"", 5, &["at least one has to stay"]);
    run("block", "prune-blocks", "remove = [5]", 5, &["layer 5 is not there"]);
    run("search", "prune-blocks", "count = 1, criterion = \"perplexity\"", 5, &["no text"]);
    run("targets", "prune-heads", "keep = 1 }\ntargets = { include = [\"*\"]", 4, &["whole model"]);
}

/// Channels cannot be cut out of packed integers, which is said when the recipe is checked; whole blocks can go.
#[test]
fn compressed_weights_are_refused_or_moved_whole() {
    let fixture = Fixture::new("qwen3");
    let packed = fixture.path("packed");
    let rtn = recipe(&fixture, "rtn", &stage("rtn", "bits = 4, group_size = 32"));
    let _ = compress(&fixture.model, &rtn, &packed, &[]).succeeded();
    let out = fixture.path("out");
    let channels =
        recipe(&fixture, "c", &stage("prune-channels", "criterion = \"magnitude\", compensate = false"));
    compress(&packed, &channels, &out, &[])
        .failed_with(4, &["c.toml:3", "grouped_int", "before it is compressed"]);
    assert!(!out.exists());
    let late = format!(
        "{}{}",
        stage("rtn", "bits = 4, group_size = 32"),
        stage("prune-heads", "keep = 1, criterion = \"magnitude\", compensate = false")
    );
    compress(&fixture.model, &recipe(&fixture, "d", &late), &out, &[])
        .failed_with(4, &["d.toml", "after rtn, ", "grouped_int", "before it is compressed"]);
    assert!(!out.exists());
    let blocks = recipe(&fixture, "b", &stage("prune-blocks", "remove = [0]"));
    let _ = compress(&packed, &blocks, &out, &[]).succeeded();
    let (whole, pruned) = (model(&packed), model(&out));
    let weight = |model: &Model, layer: usize| {
        let linear = model.spec().layers[layer].attention.o.clone();
        let weight = model.weight(&linear).unwrap();
        (weight.kind().to_owned(), weight.to_dense().unwrap())
    };
    assert_eq!(weight(&pruned, 0), weight(&whole, 1));
    assert_eq!(weight(&pruned, 0).0, "grouped_int");
}

/// The recipe's seed reaches a technique that draws at random, unless its options name one.
#[test]
fn the_seed_of_a_recipe_reaches_its_techniques() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let calib = ["--calib", fixture.calib.to_str().unwrap()];
    let run = |name: &str, seed: u64, training: &str| {
        let stage = format!(
            "[[stages]]\ntechnique = \"distill\"\n[stages.options]\nobjective = {{ kd = 0.0, ce = 1.0 }}\n\
             [stages.options.training]\nsteps = 2\nbatch_size = 2\nseq_len = 16\n\
             warmup = 0\n{training}\n"
        );
        let (path, out) = (fixture.path(&format!("{name}.toml")), fixture.path(name));
        fs::write(&path, format!("name = \"{name}\"\nseed = {seed}\n{stage}")).unwrap();
        let _ = compress(&fixture.model, &path, &out, &calib).succeeded();
        Checkpoint::open(&out).unwrap().tensor("model.norm.weight").unwrap().data().to_vec()
    };
    let seven = run("seven", 7, "");
    assert_eq!(seven, run("named", 1, "seed = 7"));
    assert_ne!(seven, run("one", 1, ""));
}
