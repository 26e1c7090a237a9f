//! Plans of networks whose numbers were worked out by hand, and of one that the project has measured.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::{Value, json};
use tenuis_preflight::{
    Evaluation, Needs, Network, Plan, PreflightError, Probe, Request, Room, StagePlan, StageShape,
};
use tenuis_spec::DecoderSpec;

const GIB: f64 = (1u64 << 30) as f64;
/// What `benches/seven_b_memory.rs` measured: four blocks of 7B shape, 4×2048 tokens, GPTQ (README).
const MEASURED_GIB: f64 = 1.83;
const MEASURED_SECONDS: f64 = 177.0;
/// The rate of `XᵀX` of 16384×4096 on that machine: 2.75·10¹¹ operations in 0.82 s.
const MEASURED_GFLOPS: f64 = 335.0;
/// What an allocator and the page cache may do beside the sum of what is asked for.
const MEMORY_TOLERANCE: f64 = 0.10;
/// Two measurements of the same on a shared machine differ by as much.
const TIME_TOLERANCE: f64 = 0.25;

fn llama(layers: usize, d: usize, ff: usize, heads: usize, vocab: usize, tied: bool) -> DecoderSpec {
    DecoderSpec::from_config(&json!({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": d, "intermediate_size": ff,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads,
        "tie_word_embeddings": tied,
    }))
    .unwrap()
}

fn seven_b(layers: usize) -> Network {
    Network::dense(&llama(layers, 4096, 11_008, 32, 32_000, false), 2)
}

fn gptq() -> StageShape {
    StageShape::group("gptq", json!({ "bits": 4, "group_size": 128 }))
}

fn plan(network: &Network, stages: &[StageShape], samples: u64, seq_len: u64) -> Plan {
    Plan::of(&Request::new(network, stages).calibration(samples, seq_len))
}

fn seconds(stage: &StagePlan, phase: &str) -> f64 {
    stage.phases.iter().find(|p| p.name == phase).unwrap().seconds.unwrap()
}

/// d = 64, two heads of 32, ff = 128, one block, f16; 4 windows of 32 tokens; RTN of nothing but `down_proj`.
#[test]
fn small_shapes_add_up_by_hand() {
    let network = Network::dense(&llama(1, 64, 128, 2, 100, true), 2);
    let block = 2 * (4 * 64 * 64 + 3 * 64 * 128);
    let rest = 2 * (100 * 64 + 3 * 64);
    assert_eq!(network.stored_bytes(), block + rest);
    let down = "model.layers.0.mlp.down_proj".to_owned();
    let needs = StageShape::group("gptq", json!({})).needs;
    let mut stage = StageShape::group("mine", json!({})).needs(needs).targets([down.clone()]);
    stage.workspace_bytes = Some(1 << 30);
    let plan = plan(&network, &[stage], 4, 32);
    let stage = &plan.stages[0];
    assert!(stage.guessed && stage.peak_at == down);
    let memory = stage.memory;
    assert_eq!(memory.block_bytes, block);
    assert_eq!(memory.hidden_bytes, 4 * 128 * 64, "f32, 128 tokens");
    assert_eq!(memory.embedding_bytes, 100 * 128, "every row at most once");
    assert_eq!(memory.statistics_bytes, 4 * 128 * 128);
    assert_eq!(memory.decoded_bytes, 4 * 64 * 128);
    assert_eq!((memory.workspace_bytes, memory.original_bytes, memory.result_bytes), (1 << 30, 0, 0));
    assert_eq!(memory.total(), plan.peak_ram_bytes);
    // Two passes of two operations for each weight and token, and attention over 1 + 2 + … + 32 pairs in 4 windows.
    let weights = (4 * 64 * 64 + 3 * 64 * 128) as f64;
    let pass = 128.0 * 2.0 * weights + 4.0 * 64.0 * 4.0 * 528.0;
    assert_eq!(stage.phases[0].flops, 2.0 * pass);
    assert_eq!(stage.phases[1].flops, 128.0 * 128.0 * 128.0);
    // Nothing becomes smaller as nothing is known of it; the shard is written and joined.
    assert_eq!((stage.output_bytes, stage.disk_bytes), (block + rest, 2 * (block + rest)));
    assert_eq!(plan.seconds, None);
}

/// Sizes by hand at `down_proj`, and the whole against what was measured.
#[test]
fn seven_b_shape_is_near_its_measurement() {
    let network = seven_b(4);
    let probe = Probe::known(2, MEASURED_GFLOPS, 20e9);
    let stages = [gptq()];
    let plan = Plan::of(&Request::new(&network, &stages).calibration(4, 2048).probe(&probe));
    let stage = &plan.stages[0];
    assert_eq!(stage.peak_at, "model.layers.0.mlp.down_proj");
    let memory = stage.memory;
    assert_eq!(memory.block_bytes, 404_750_336);
    assert_eq!(memory.hidden_bytes, 134_217_728);
    assert_eq!(memory.statistics_bytes, 484_704_256, "11008² f32; the others were dropped with their groups");
    assert_eq!(memory.decoded_bytes, 180_355_072);
    assert_eq!(memory.result_bytes, 81_100_896, "157,286,400 weights of 4.125 bits and six shapes");
    let off = plan.peak_ram_bytes as f64 / GIB / MEASURED_GIB - 1.0;
    assert!(off.abs() < MEMORY_TOLERANCE, "{} bytes are {off:+.3} off", plan.peak_ram_bytes);
    let off = stage.seconds.unwrap() / MEASURED_SECONDS - 1.0;
    assert!(off.abs() < TIME_TOLERANCE, "{:?} s are {off:+.3} off", stage.seconds);
    assert!(seconds(stage, "forward passes") > seconds(stage, "technique"));
    // 4.125 bits of 809,500,672 weights, 28 shapes, and two matrices of f16 with nine norms.
    assert_eq!(stage.output_bytes, 417_398_784 + 28 * 16 + 2 * (2 * 32_000 * 4096 + 9 * 4096));
}

/// 128 windows of 2048 tokens: 4 GiB of hidden states come on top of what eight windows of the bench take.
#[test]
fn published_calibration_of_a_seven_b_model() {
    let network = seven_b(32);
    let small = plan(&network, &[gptq()], 4, 2048);
    let full = plan(&network, &[gptq()], 128, 2048);
    let hidden = |samples: u64| samples * 2048 * 4096 * 4;
    assert_eq!(full.stages[0].memory.hidden_bytes, hidden(128));
    // More tokens than the vocabulary has touch the whole embedding: 32000 rows instead of 8192.
    let embedding = (32_000 - 8192) * 8192;
    assert_eq!(full.peak_ram_bytes - small.peak_ram_bytes, hidden(124) + embedding);
    assert!((5.5..6.5).contains(&(full.peak_ram_bytes as f64 / GIB)), "{}", full.peak_ram_bytes);
}

#[test]
fn more_text_never_takes_less() {
    let network = seven_b(2);
    let probe = Probe::known(2, 100.0, 1e10);
    for stage in [gptq(), gptq().true_sequential(true), StageShape::group("awq", json!({}))] {
        let stages = [stage];
        let of = |samples, seq_len| {
            let plan = Plan::of(&Request::new(&network, &stages).calibration(samples, seq_len).probe(&probe));
            (plan.peak_ram_bytes, plan.disk_bytes, plan.seconds.unwrap())
        };
        let mut before = of(1, 512);
        for (samples, seq_len) in [(2, 512), (8, 512), (8, 2048), (64, 2048), (64, 4096)] {
            let now = of(samples, seq_len);
            assert!(now.0 > before.0 && now.1 >= before.1 && now.2 > before.2, "{samples}×{seq_len}");
            before = now;
        }
    }
}

/// One group after the other: fewer statistics at a time, and a pass for each of the four rounds instead of one for all.
#[test]
fn true_sequential_takes_passes_and_spares_memory() {
    let network = Network::dense(&llama(1, 1024, 4096, 8, 1000, true), 4);
    let all = plan(&network, &[StageShape::group("gptq", json!({}))], 8, 512);
    let turns = plan(&network, &[StageShape::group("gptq", json!({})).true_sequential(true)], 8, 512);
    assert_eq!(turns.stages[0].phases[0].flops / all.stages[0].phases[0].flops, 5.0 / 2.0);
    assert_eq!(turns.stages[0].phases[1], all.stages[0].phases[1]);
    // f32 weights are read where they lie.
    assert_eq!(all.stages[0].memory.decoded_bytes, 0);
    assert!(turns.peak_ram_bytes <= all.peak_ram_bytes);
}

/// Two stages side by side share the pass; in turn each has its own, and the first leaves a checkpoint.
#[test]
fn stages_that_go_together_share_calibration_and_disk() {
    let network = Network::dense(&llama(2, 256, 512, 4, 1000, true), 2);
    let of = |part: &str| {
        let names = (0..2).flat_map(|block| {
            ["gate_proj", "up_proj", "down_proj", "q_proj", "k_proj", "v_proj", "o_proj"].map(|linear| {
                let part = if linear.len() < 7 { "self_attn" } else { "mlp" };
                format!("model.layers.{block}.{part}.{linear}")
            })
        });
        StageShape::group("gptq", json!({})).targets(names.filter(|name| name.contains(part)))
    };
    let first = of("mlp");
    let apart = [first.clone(), of("self_attn")];
    let mut second = of("self_attn");
    second.joins_previous = true;
    let together = [first, second];
    let (apart, together) = (plan(&network, &apart, 8, 512), plan(&network, &together, 8, 512));
    assert!(together.stages[1].joined && together.stages[1].phases.len() == 1, "only the technique");
    assert_eq!(together.stages[0].phases[0].flops, apart.stages[0].phases[0].flops);
    let technique = |plan: &Plan| {
        plan.stages
            .iter()
            .map(|s| s.phases.iter().find(|p| p.name == "technique").unwrap().flops)
            .sum::<f64>()
    };
    assert_eq!(technique(&together), technique(&apart));
    assert_eq!(together.stages[1].output_bytes, apart.stages[1].output_bytes);
    assert_eq!(apart.disk_bytes, apart.stages[0].output_bytes + 2 * apart.stages[1].output_bytes);
    assert!(together.disk_bytes < apart.disk_bytes);
    // The second stage finds packed weights and compares with none.
    assert!(apart.stages[1].memory.original_bytes == 0);
}

/// A correction behind a quantisation reads the original block as well.
#[test]
fn originals_are_held_by_those_who_compare() {
    let network = seven_b(1);
    let stages = [gptq(), StageShape::group("correct", json!({ "rank": 32 }))];
    let plan = plan(&network, &stages, 1, 512);
    assert_eq!(plan.stages[1].memory.original_bytes, 404_750_336);
    // The packed weight and the original, each as f32, of the widest group.
    assert_eq!(plan.stages[1].memory.decoded_bytes % 180_355_072, 0);
    assert!(plan.stages[1].output_bytes > plan.stages[0].output_bytes);
}

/// Five f32 copies of the parameters, activations of a batch, all weights of the teacher and the result.
#[test]
fn training_follows_its_own_formula() {
    let network = Network::dense(&llama(2, 64, 128, 2, 100, true), 4);
    let stage = StageShape::model("distill", json!({ "steps": 10, "batch_size": 2, "seq_len": 16 }));
    let stages = [stage];
    let plan = Plan::of(&Request::new(&network, &stages));
    let weights = 2 * (4 * 64 * 64 + 3 * 64 * 128);
    let parameters = weights + 100 * 64;
    let width = 2 * (4 * 128 + 3 * 192);
    let memory = plan.stages[0].memory;
    assert_eq!(memory.workspace_bytes, 4 * (5 * parameters + 2 * 32 * width));
    assert_eq!(memory.block_bytes, network.stored_bytes());
    let tokens = 10.0 * 2.0 * 16.0;
    assert_eq!(plan.stages[0].flops, tokens * 8.0 * parameters as f64);
    // Two saved states of three numbers for each parameter.
    assert_eq!(plan.stages[0].temporary_bytes, 24 * parameters + plan.stages[0].output_bytes);
}

/// What a model technique wants to know is written to disk, block by block.
#[test]
fn statistics_of_a_whole_model_lie_on_the_disk() {
    let network = Network::dense(&llama(3, 64, 128, 2, 100, true), 2);
    let mut needs = Needs::default();
    needs.hessian = true;
    let stage = StageShape::model("prune-channels", json!({ "ratio": 0.5 })).needs(needs);
    let plan = plan(&network, &[stage], 2, 16);
    let grams = 3 * 4 * (3 * 64 * 64 + 128 * 128);
    assert_eq!(plan.stages[0].temporary_bytes, grams + plan.stages[0].output_bytes);
    assert_eq!(plan.stages[0].phases[1].flops, 32.0 * 3.0 * f64::from(3 * 64 * 64 + 128 * 128));
}

fn refusal(plan: &Plan, ram: f64, disk: Option<u64>) -> String {
    plan.check(&Room::new(Some((ram * GIB) as u64), disk)).unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_refused_with_numbers_and_mend() {
    let network = seven_b(32);
    let full = plan(&network, &[gptq()], 128, 2048);
    full.check(&Room::new(Some(8 << 30), Some(100 << 30))).unwrap();
    full.check(&Room::default()).unwrap();
    let told = refusal(&full, 4.0, None);
    assert!(told.starts_with("stage 1 (gptq) needs about 5."), "{told}");
    assert!(
        told.contains(" GiB of memory at model.layers.0.mlp.down_proj, of which 4.0 GiB are hidden states, but 4.0 GiB are free;"),
        "{told}"
    );
    assert!(!told.contains('\n'), "one line");
    // The number of samples that it names fits, and one more does not.
    let told = told.split("(up to ").nth(1).unwrap().split_once(' ').unwrap().0.parse::<u64>().unwrap();
    let room = Room::new(Some(4 << 30), None);
    plan(&network, &[gptq()], told, 2048).check(&room).unwrap();
    plan(&network, &[gptq()], told + 1, 2048).check(&room).unwrap_err();
    // Where no number of samples fits, another mend.
    let told = refusal(&plan(&network, &[gptq()], 4, 2048), 1.0, None);
    assert!(told.contains("targets.exclude"), "{told}");
    let error = full.check(&Room::new(None, Some(1 << 30))).unwrap_err();
    assert!(matches!(&error, PreflightError::Disk { stage: 1, needed, .. } if *needed == full.disk_bytes));
    assert!(
        error.to_string().contains("1.0 GiB free; make room or choose an output on another disk"),
        "{error}"
    );
}

/// The writer wants room for what it copies before it begins, however small the result is.
#[test]
fn disk_is_never_less_than_the_writer_asks_for() {
    let network = seven_b(1);
    let plan = plan(&network, &[StageShape::group("rtn", json!({ "bits": 2 }))], 1, 512);
    assert!(2 * plan.stages[0].output_bytes > network.stored_bytes());
    let mut small = StageShape::group("rtn", json!({}));
    small.output_ratio = Some(100.0);
    let tiny = Network::dense(&llama(8, 256, 1024, 4, 10, true), 2);
    let plan = Plan::of(&Request::new(&tiny, &[small]));
    assert_eq!(plan.disk_bytes, tiny.stored_bytes());
}

#[test]
fn evaluation_counts_every_model_and_refuses_large_windows() {
    let network = seven_b(32);
    let probe = Probe::known(2, 100.0, 1e10);
    let mut asked = Evaluation { tokens: 4096, seq_len: 2048, models: 2 };
    let of = |asked| Plan::of(&Request::new(&network, &[]).evaluation(asked).probe(&probe));
    let plan = of(asked);
    let weights = 32.0 * 202_375_168.0 + 32_000.0 * 4096.0;
    let attention = 4096.0 * 32.0 * 4.0 * 4096.0 * 1024.5;
    let flops = 2.0 * (4096.0 * 2.0 * weights + attention);
    let phase = &plan.evaluation.as_ref().unwrap().phase;
    assert!((phase.flops / flops - 1.0).abs() < 1e-12);
    assert_eq!(plan.seconds, phase.seconds);
    asked.seq_len = 65_536;
    let error = of(asked).check(&Room::new(Some(8 << 30), None)).unwrap_err();
    assert!(matches!(error, PreflightError::Evaluation { .. }), "{error}");
}

/// What a terminal shows, and what a file keeps.
#[test]
fn plans_are_shown_and_kept() {
    let network = seven_b(4);
    let probe = Probe::known(2, MEASURED_GFLOPS, 20e9);
    let stages = [gptq(), StageShape::group("mine", Value::Null)];
    let plan = Plan::of(&Request::new(&network, &stages).calibration(4, 2048).probe(&probe));
    let shown = plan.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("stage") && lines[0].ends_with("time"));
    assert!(lines[1].starts_with("gptq ") && lines[1].contains("technique 51"), "{shown}");
    assert!(lines[2].starts_with("mine (guessed)"), "{shown}");
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}
