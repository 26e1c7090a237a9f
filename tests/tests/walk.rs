//! Stages that go over the model together: one pass of the calibration text serves all of them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod parity_support;

use parity_support::open;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tenuis_core::CodecRegistry;
use tenuis_model::{Model, Tokenizer};
use tenuis_orchestrator::allocate::{AllocateError, AllocateRequest, Limit, Menu, Resource};
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{
    Candidate, CompressOptions, LoadedRecipe, Observer, RunError, Silent, Text, Workshop,
};
use tenuis_tests::cli::plugin_dir;
use tenuis_tests::fixture::Fixture;

/// Remembers what was begun.
#[derive(Default)]
struct Phases(Mutex<Vec<String>>);

impl Observer for Phases {
    fn begin(&self, phase: &str, _total: u64) {
        self.0.lock().unwrap().push(phase.to_owned());
    }
}

/// A stage of a technique on some Linears.
fn stage(technique: &str, options: &str, include: &str) -> String {
    format!(
        "[[stages]]\ntechnique = \"{technique}\"\noptions = {{ {options} }}\ntargets = {{ include = [{include}] }}\n"
    )
}

/// Compresses by a recipe; the phases that were begun, and what was made.
fn compress(fixture: &Fixture, name: &str, stages: &[String]) -> (Vec<String>, Candidate, PathBuf) {
    let file = fixture.path(&format!("{name}.toml"));
    let calibration = "calibration = { samples = 16, seq_len = 32 }\n";
    std::fs::write(&file, format!("name = \"{name}\"\n{calibration}{}", stages.concat())).unwrap();
    let phases = Arc::new(Phases::default());
    let recipe = LoadedRecipe::open(&file).unwrap();
    let made = run(fixture, &recipe, name, phases.clone());
    let begun = phases.0.lock().unwrap().clone();
    (begun, made, fixture.path(name))
}

/// Compresses by a recipe; what was made lies at `name` beside the model.
fn run(fixture: &Fixture, recipe: &LoadedRecipe, name: &str, observer: Arc<dyn Observer>) -> Candidate {
    with_workshop(fixture, observer, |workshop, model, text| {
        workshop.compress(model, recipe, Some(text), &fixture.path(name)).unwrap()
    })
}

fn with_workshop<T>(
    fixture: &Fixture,
    observer: Arc<dyn Observer>,
    work: impl FnOnce(&Workshop<'_>, &Model, &Text) -> T,
) -> T {
    let (plugins, codecs) = (PluginRegistry::discover(&[plugin_dir()]).unwrap(), CodecRegistry::builtin());
    let workshop = Workshop::new(&plugins, &codecs, observer, CompressOptions::default());
    let model = open(&fixture.model);
    let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab).unwrap();
    let text = Text::open(&fixture.calib, &tokenizer).unwrap();
    work(&workshop, &model, &text)
}

fn weight(dir: &Path, module: &str) -> (String, Vec<f32>) {
    let model = open(dir);
    let linear = model.spec().linears().find(|linear| linear.name.ends_with(module)).unwrap();
    let weight = model.weight(&linear).unwrap();
    (weight.kind().to_owned(), weight.to_dense().unwrap())
}

const GPTQ: &str = "bits = 4, group_size = 32";

/// Three techniques on three Linears that read the same input: one walk over the blocks, of which each sees in the first
/// block exactly what it sees alone.
#[test]
fn one_pass_serves_stages_with_different_weights() {
    let fixture = Fixture::new("qwen3");
    let stages = [
        stage("gptq", GPTQ, "\"*.q_proj\", \"*.down_proj\""),
        stage("wanda", "sparsity = 0.5", "\"*.k_proj\""),
        stage("svdllm", "rank = { keep = 0.5 }", "\"*.v_proj\""),
    ];
    let (begun, made, together) = compress(&fixture, "together", &stages);
    assert_eq!(begun, ["together: gptq + wanda + svdllm"]);
    let techniques: Vec<_> = made.compression.stages.iter().map(|s| s.technique.as_str()).collect();
    assert_eq!(techniques, ["gptq", "wanda", "svdllm"]);
    let blocks = open(&fixture.model).spec().layers.len();
    let weights: Vec<_> = made.compression.stages.iter().map(|s| s.weights).collect();
    assert_eq!(weights, [2 * blocks, blocks, blocks]);
    let rows: Vec<_> = made.compression.stages.iter().map(|s| s.calibration_rows).collect();
    assert_eq!(rows, [16 * 32; 3]);
    for (index, (name, module, kind)) in [
        ("gptq", "layers.0.self_attn.q_proj", "grouped_int"),
        ("wanda", "layers.0.self_attn.k_proj", "sparse"),
        ("svdllm", "layers.0.self_attn.v_proj", "low_rank"),
    ]
    .into_iter()
    .enumerate()
    {
        let (begun, _, alone) = compress(&fixture, name, &stages[index..=index]);
        assert_eq!(begun, [format!("{name}: {name}")]);
        assert_eq!(weight(&together, module), weight(&alone, module), "{module}");
        assert_eq!(weight(&together, module).0, kind);
    }
    // A finished walk is found again with all of its records.
    let (begun, again, _) = compress(&fixture, "together", &stages);
    assert!(begun.is_empty() && again.compression.reused, "{begun:?}");
    assert_eq!(again.compression.stages, made.compression.stages);
}

/// A weight that two stages want belongs to one after the other; so does a stage that looks at nothing.
#[test]
fn stages_that_depend_on_each_other_go_one_by_one() {
    let fixture = Fixture::new("qwen3");
    let both = [
        stage("sparsegpt", "sparsity = \"2:4\"", "\"*.q_proj\""),
        stage("gptq", GPTQ, "\"*.q_proj\", \"*.k_proj\""),
    ];
    let (begun, _, out) = compress(&fixture, "both", &both);
    assert_eq!(begun, ["both: sparsegpt", "both: gptq"]);
    assert_eq!(weight(&out, "layers.0.self_attn.q_proj").0, "sparse");
    let blind = [stage("rtn", GPTQ, "\"*.q_proj\""), stage("gptq", GPTQ, "\"*.k_proj\"")];
    assert_eq!(compress(&fixture, "blind", &blind).0, ["blind: rtn", "blind: gptq"]);
}

/// A technique that scales an input changes what its neighbours read: their statistics are taken anew.
#[test]
fn neighbours_of_a_scaled_input_see_the_new_one() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let stages = [
        stage("smoothquant", "", "\"*.q_proj\", \"*.k_proj\""),
        stage("gptq", "bits = 8, group_size = 32", "\"*.v_proj\""),
    ];
    let (begun, made, out) = compress(&fixture, "scaled", &stages);
    assert_eq!(begun, ["scaled: smoothquant + gptq"]);
    assert!(made.compression.stages[0].metrics.iter().any(|m| m.key.ends_with("scales_folded")));
    // The scale that v's columns took is in what was rounded: with the norm that lost it the values are those of v.
    let (original, scaled) = (open(&fixture.model), open(&out));
    let tokens: Vec<u32> = (0..24).map(|i| (i * 37 + 11) % 160).collect();
    let logits = |model: &tenuis_model::Model| model.logits_vec(&tokens, 1, 24).unwrap();
    let (expected, found) = (logits(&original), logits(&scaled));
    let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let off = expected.iter().zip(&found).fold(0.0f32, |most, (e, f)| most.max((e - f).abs()));
    // Eight bits for weights and inputs; scales that were lost would move logits by all of their size.
    assert!(off < 0.1 * largest, "{off} of {largest}");
}

/// What a budget is spent on is what lies on the disk, no single choice does better, and the same request gives the same recipe.
#[test]
fn an_allocation_keeps_its_budget_and_beats_every_single_choice() {
    let fixture = Fixture::new("qwen3");
    let menu = Menu::parse("menu.toml", ALLOCATION_MENU).unwrap();
    let allocate = |share: f64| {
        let mut request = AllocateRequest::new("chosen", fixture.path(".scratch"));
        request.budgets.push((Resource::Bytes, Limit::Share(share)));
        request.budgets.push((Resource::Flops, Limit::Share(1.0)));
        request.menu = Some(menu.clone());
        (request.calibration.samples, request.calibration.seq_len) = (16, Some(32));
        (request.rounds, request.score_tokens) = (1, 256);
        with_workshop(&fixture, Arc::new(Silent), |workshop, model, text| {
            workshop.allocate(model, text, &request)
        })
    };
    let made = allocate(0.3).unwrap();
    assert!(!fixture.path(".scratch").exists());
    let record = &made.record;
    let of = |resource| record.budgets.iter().find(|budget| budget.resource == resource).unwrap();
    let (bytes, flops) = (of(Resource::Bytes), of(Resource::Flops));
    assert!(bytes.used <= bytes.limit && flops.used <= flops.limit, "{:?}", record.budgets);
    let fits = || record.uniform.iter().filter(|uniform| uniform.fits);
    assert!(fits().count() >= 2, "{:?}", record.uniform);
    for uniform in fits() {
        assert!(record.divergence.unwrap() <= uniform.divergence, "{uniform:?}");
        // The optimum of the sum is no worse by the sum; where every choice was scored that can be said.
        assert!(uniform.predicted.is_none_or(|sum| record.sum.predicted <= sum + ROUNDING), "{uniform:?}");
    }
    let chosen: std::collections::BTreeSet<_> =
        record.linears.iter().filter_map(|l| l.chosen.as_ref()).collect();
    assert!(chosen.len() > 1, "{chosen:?}");
    assert_eq!(made.text, allocate(0.3).unwrap().text);
    // The ordinary pipeline makes it, and the bytes are those that were counted.
    let dir = run(&fixture, &made.recipe, "made", Arc::new(Silent)).dir;
    assert_eq!(open(&dir).checkpoint().tensor_bytes() as f64, bytes.used);

    // Less than all choices can do takes a block out; the least of all is told.
    let RunError::Allocate(AllocateError::TooSmall { needed, fixed, limit, .. }) =
        allocate(0.01).unwrap_err()
    else {
        panic!("a hundredth is too little")
    };
    let whole = open(&fixture.model).checkpoint().tensor_bytes() as f64;
    assert!(needed > fixed && fixed > limit && limit == 0.01 * whole, "{needed} {fixed} {limit}");
    let shallow = allocate(0.97 * needed / whole).unwrap();
    assert_eq!(shallow.record.dropped_blocks.len(), 1);
    let model = open(&run(&fixture, &shallow.recipe, "shallow", Arc::new(Silent)).dir);
    assert_eq!(model.spec().layers.len(), 2);
    let off = model.checkpoint().tensor_bytes() as f64 - shallow.record.budgets[0].used;
    assert!(off.abs() <= ZEROS, "{off}");
}

/// A pruned weight whose kept entries round to zero drops them from its mask, and which do depends on the activations that a
/// block is calibrated on: those of a model of which a block is gone are others.
const ZEROS: f64 = 64.0;

/// Two orders of summation of a dozen losses below one differ by less.
const ROUNDING: f64 = 1e-12;

/// Several families, one in two steps.
const ALLOCATION_MENU: &str = r#"
base = [{ technique = "cast", options = { dtype = "f16" } }]
head = true
drop_blocks = 1
choices = [
    { name = "f16" },
    { name = "int8", steps = [{ technique = "gptq", options = { bits = 8 } }] },
    { name = "int4", steps = [{ technique = "gptq", options = { bits = 4 } }] },
    { name = "int2", steps = [{ technique = "gptq", options = { bits = 2 } }] },
    { name = "sparse", steps = [
        { technique = "sparsegpt", options = { sparsity = 0.5 } },
        { technique = "gptq", options = { bits = 4 } },
    ] },
    { name = "rank", steps = [{ technique = "svdllm", options = { rank = { keep = 0.5 } } }] },
]
"#;
