//! Folding changes no function, for the blocks of every fixture.

use super::*;
use candle_core::{Device, Tensor as Activations};
use std::path::{Path, PathBuf};
use tenuis_core::{Bits, CodecRegistry, DType, GroupSize, GroupedInt, GroupedIntSpec};
use tenuis_model::Model;

/// Largest difference as a share of the largest magnitude: scales up to e^±1.5 cost a few units in the last place of
/// f32 in every term.
const TOLERANCE: f32 = 2e-5;

struct Random(u64);

impl Random {
    /// Within −1 and 1.
    fn float(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/parity");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    assert!(dirs.len() >= 8);
    dirs
}

fn open(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

fn hidden(model: &Model, random: &mut Random) -> Activations {
    let d_model = model.spec().d_model;
    let values = (0..2 * 9 * d_model).map(|_| random.float()).collect();
    Activations::from_vec(values, (2, 9, d_model), &Device::Cpu).unwrap()
}

fn run(block: &Block, hidden: &Activations) -> Vec<f32> {
    block.forward(hidden, None).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_same(what: &str, expected: &[f32], found: &[f32]) {
    let largest = expected.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    for (e, f) in expected.iter().zip(found) {
        let off = (e - f).abs();
        assert!(off <= TOLERANCE * largest, "{what}: {f} instead of {e} (largest {largest})");
    }
}

/// Scales within e^±1.5, the same for channels that come from one row of the producer.
fn scales(group: &InputGroup, random: &mut Random) -> Vec<f32> {
    let own: Vec<f32> = (0..group.in_features()).map(|_| (1.5 * random.float()).exp()).collect();
    match &group.producer {
        Producer::Linear { rows, .. } => {
            let first =
                |channel| (0..=channel).find(|&c| rows.row(c) == rows.row(channel)).unwrap_or(channel);
            (0..own.len()).map(|channel| own[first(channel)]).collect()
        }
        _ => own,
    }
}

/// What a technique makes that does nothing but move `scale` from the input into the weights of these members.
fn moved(block: &Block, members: &[&str], scale: &[f32]) -> Made {
    let weights = members.iter().map(|&name| {
        let scaled = block.weight(name).unwrap().scale_columns(scale).unwrap().unwrap();
        (name.to_owned(), scaled)
    });
    let folds = members.iter().map(|&name| (name.to_owned(), scale.to_vec()));
    Made { weights: weights.collect(), folds: folds.collect() }
}

/// A block as it would be read back: the weights that are in it, and norms and biases from what will be written.
fn reloaded(model: &Model, index: usize, block: &Block, changed: &Changed) -> Block {
    let mut again = model.load_block(index).unwrap();
    for linear in block.linears() {
        again.set_weight(&linear.spec().name, linear.weight().clone()).unwrap();
    }
    let values = |name: &str| changed.get(name).map(|t| t.to_f32().unwrap().into_owned());
    for linear in again.spec().linears() {
        if let Some(bias) = values(&format!("{}.bias", linear.name)) {
            again.set_bias(&linear.name, bias).unwrap();
        }
    }
    let norms: Vec<NormSpec> = again.spec().norms().cloned().collect();
    for norm in norms {
        if let Some(weight) = values(&format!("{}.weight", norm.name)) {
            again.set_norm(&norm.name, weight, values(&format!("{}.bias", norm.name))).unwrap();
        }
    }
    again
}

#[test]
fn folding_changes_no_function() {
    let mut random = Random(1);
    let (mut folded, mut at_run_time) = (0, 0);
    for dir in fixtures() {
        let model = open(&dir);
        for index in 0..model.spec().layers.len() {
            for only_first in [false, true] {
                let mut block = model.load_block(index).unwrap();
                let hidden = hidden(&model, &mut random);
                let expected = run(&block, &hidden);
                let mut changed = Changed::new();
                for group in block.spec().groups() {
                    let names: Vec<&str> = group.linears.iter().map(|l| l.name.as_str()).collect();
                    let members = if only_first { &names[..1] } else { &names[..] };
                    let scale = scales(&group, &mut random);
                    let made = moved(&block, members, &scale);
                    let mut vectors = Vectors { checkpoint: model.checkpoint(), changed: &mut changed };
                    let placed = place(&mut block, &group, made, &mut vectors).unwrap();
                    match group.producer {
                        Producer::None => assert!(matches!(placed, Placed::AtRunTime(_)), "{placed:?}"),
                        _ => assert_eq!(placed, Placed::Folded, "{names:?}"),
                    }
                    if placed == Placed::Folded {
                        folded += 1;
                    } else {
                        at_run_time += 1;
                    }
                    assert_same(&format!("{} {names:?}", dir.display()), &expected, &run(&block, &hidden));
                }
                assert!(!changed.is_empty());
                let again = reloaded(&model, index, &block, &changed);
                assert_eq!(run(&again, &hidden), run(&block, &hidden), "what runs is what is written");
            }
        }
    }
    assert!(folded > 50 && at_run_time > 0, "{folded} {at_run_time}: GPT-2's second Linear follows a GELU");
}

/// The producers are grouped integers already when the scales of what reads them are known.
#[test]
fn compressed_producers_take_scales() {
    let mut random = Random(2);
    for dir in fixtures() {
        let model = open(&dir);
        let mut block = model.load_block(0).unwrap();
        let groups = block.spec().groups();
        let producers = groups.iter().filter_map(|group| match &group.producer {
            Producer::Linear { name, .. } => Some(name.clone()),
            _ => None,
        });
        for name in producers.collect::<Vec<_>>() {
            let shape @ [outs, ins] = block.weight(&name).unwrap().shape();
            let spec = GroupedIntSpec {
                bits: Bits::FOUR,
                group_size: GroupSize::Channel,
                symmetric: false,
                scale_dtype: DType::F32,
                group_index: false,
            };
            let codes: Vec<u8> = (0..outs * ins).map(|i| (i * 7 % 16) as u8).collect();
            let step: Vec<f32> = (0..outs).map(|_| 0.01 + 0.005 * random.float()).collect();
            let weight =
                GroupedInt::from_codes(spec, shape, &codes, &step, Some(&vec![8; outs]), None).unwrap();
            block.set_weight(&name, Arc::new(weight)).unwrap();
        }
        let hidden = hidden(&model, &mut random);
        let expected = run(&block, &hidden);
        for group in groups.iter().filter(|group| matches!(group.producer, Producer::Linear { .. })) {
            let names: Vec<&str> = group.linears.iter().map(|l| l.name.as_str()).collect();
            let scale = scales(group, &mut random);
            let made = moved(&block, &names, &scale);
            let mut changed = Changed::new();
            let mut vectors = Vectors { checkpoint: model.checkpoint(), changed: &mut changed };
            assert_eq!(place(&mut block, group, made, &mut vectors).unwrap(), Placed::Folded);
            assert_same(&dir.display().to_string(), &expected, &run(&block, &hidden));
        }
    }
}

#[test]
fn scales_that_no_producer_takes_stay_beside_the_weight() {
    let mut random = Random(3);
    let model = open(&fixtures().into_iter().find(|d| d.ends_with("llama_gqa_llama3rope")).unwrap());
    let mut block = model.load_block(0).unwrap();
    let group = block.spec().groups().remove(1);
    let name = group.linears[0].name.clone();
    let hidden = hidden(&model, &mut random);
    let expected = run(&block, &hidden);
    // Query heads of one value head disagree.
    let scale: Vec<f32> = (0..group.in_features()).map(|i| 1.0 + i as f32 / 64.0).collect();
    let made = moved(&block, &[&name], &scale);
    let mut changed = Changed::new();
    let mut vectors = Vectors { checkpoint: model.checkpoint(), changed: &mut changed };
    let placed = place(&mut block, &group, made, &mut vectors).unwrap();
    assert!(matches!(placed, Placed::AtRunTime(reason) if reason.contains("share a row")), "{placed:?}");
    assert_eq!(block.weight(&name).unwrap().kind(), "input_scaled");
    assert!(changed.is_empty());
    assert_same("divided at run time", &expected, &run(&block, &hidden));
}
