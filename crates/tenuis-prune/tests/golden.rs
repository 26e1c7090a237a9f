//! Every golden case of the SparseGPT and Wanda references: the same masks, the same values.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use safetensors::SafeTensors;
use serde_json::Value;
use tenuis_core::{GroupSize, Representation};
use tenuis_linalg::Gram;
use tenuis_prune::{
    GlobalConfig, JointConfig, MagnitudeConfig, NofM, Pruned, SparseGptConfig, SparsityTarget, WandaConfig,
    magnitude, magnitude_global, sparsegpt, wanda,
};
use tenuis_quant::{Precision, ScaleDtype};

const SHAPE: [usize; 2] = [64, 128];

/// Weights are about 0.05 in size; the golden ones are f64 rounded to f32.
const TOLERANCE: f32 = 1e-6;

/// The plan's bound for computing in f32: the factor there is good to four or five digits.
const TOLERANCE_F32: f32 = 1e-5;

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self(std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden.safetensors")).unwrap())
    }

    fn case(&self, name: &str) -> Value {
        let (_, header) = SafeTensors::read_metadata(&self.0).unwrap();
        serde_json::from_str(&header.metadata().as_ref().unwrap()[name]).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn hessian(&self) -> Gram {
        Gram::from_upper(SHAPE[1], self.floats("hessian")).unwrap()
    }

    fn compare_mask(&self, name: &str, pruned: &Pruned) {
        let mask = self.bytes(&format!("{name}/mask"));
        assert_eq!(self.case(name)["zeros"], pruned.report.pruned, "{name}: zeros");
        let wrong = mask.iter().zip(pruned.mask.kept()).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{name}: entries of the mask");
        let zero = |(w, kept): (&f32, &u8)| *kept == 0 && *w != 0.0;
        assert!(
            !pruned.weight.iter().zip(pruned.mask.kept()).any(zero),
            "{name}: a pruned weight is not zero"
        );
    }

    fn compare(&self, name: &str, pruned: &Pruned, tolerance: f32) {
        self.compare_mask(name, pruned);
        let expected = self.floats(&format!("{name}/weight"));
        let worst = expected.iter().zip(&pruned.weight).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < tolerance, "{name}: a weight is off by {worst:e}");
    }
}

fn pattern(text: &str) -> SparsityTarget {
    SparsityTarget::NofM(text.parse().unwrap())
}

#[test]
fn magnitude_matches_the_reference() {
    let golden = Golden::open();
    let weight = golden.floats("weight");
    let mut config = MagnitudeConfig::default();
    golden.compare_mask("magnitude_50_global", &magnitude(&weight, SHAPE, &config).unwrap());
    config.sparsity = pattern("2:4");
    golden.compare_mask("magnitude_2_4", &magnitude(&weight, SHAPE, &config).unwrap());

    // Several matrices together are one matrix.
    let (top, bottom) = weight.split_at(24 * SHAPE[1]);
    let parts = [(top, [24, SHAPE[1]]), (bottom, [40, SHAPE[1]])];
    let parts = magnitude_global(&parts, &GlobalConfig::default()).unwrap();
    let kept = [parts[0].mask.kept(), parts[1].mask.kept()].concat();
    assert_eq!(kept, golden.bytes("magnitude_50_global/mask"));
}

#[test]
fn wanda_matches_the_reference() {
    let golden = Golden::open();
    let (weight, hessian) = (golden.floats("weight"), golden.hessian());
    let squares: Vec<f32> = hessian.view().diagonal().collect();
    for (name, sparsity) in [
        ("wanda_50", SparsityTarget::Share(0.5)),
        ("wanda_2_4", pattern("2:4")),
        ("wanda_4_8", SparsityTarget::NofM(NofM::FOUR_OF_EIGHT)),
    ] {
        let mut config = WandaConfig::default();
        config.sparsity = sparsity;
        golden.compare_mask(name, &wanda(&weight, SHAPE, &squares, &config).unwrap());
    }
}

fn sparsegpt_cases(precision: Precision, tolerance: f32) {
    let golden = Golden::open();
    let (weight, hessian) = (golden.floats("weight"), golden.hessian());
    for (name, sparsity) in [
        ("sparsegpt_50_b128", SparsityTarget::Share(0.5)),
        ("sparsegpt_50_b32", SparsityTarget::Share(0.5)),
        ("sparsegpt_70_b32", SparsityTarget::Share(0.7)),
        ("sparsegpt_2_4_b128", pattern("2:4")),
        ("sparsegpt_2_4_b32", pattern("2:4")),
        ("sparsegpt_4_8_b128", pattern("4:8")),
    ] {
        let mut config = SparseGptConfig::default();
        config.sparsity = sparsity;
        config.precision = precision;
        config.block_size = golden.case(name)["block"].as_u64().unwrap() as usize;
        let pruned = sparsegpt(&weight, SHAPE, hessian.view(), 512, &config).unwrap();
        assert_eq!((&pruned.report.fallback, pruned.report.attempts), (&None, 1));
        golden.compare(name, &pruned, tolerance);
    }
}

#[test]
fn sparsegpt_matches_the_reference_in_f64() {
    sparsegpt_cases(Precision::F64, TOLERANCE);
}

#[test]
fn sparsegpt_matches_the_reference_in_f32() {
    sparsegpt_cases(Precision::F32, TOLERANCE_F32);
}

/// The mask of the joint case is where its weight is not zero: rounding adds zeros to those that were pruned.
#[test]
fn the_joint_sweep_matches_the_reference() {
    let golden = Golden::open();
    let (weight, hessian) = (golden.floats("weight"), golden.hessian());
    for (precision, tolerance) in [(Precision::F64, TOLERANCE), (Precision::F32, TOLERANCE_F32)] {
        let mut config = SparseGptConfig::default();
        config.precision = precision;
        let mut joint = JointConfig::default();
        joint.scale_dtype = ScaleDtype::F32;
        config.quantize = Some(joint);
        let pruned = sparsegpt(&weight, SHAPE, hessian.view(), 512, &config).unwrap();
        golden.compare("sparsegpt_50_b128_w4_perchan_asym", &pruned, tolerance);
        let grouped = pruned.quantized.unwrap();
        assert_eq!(grouped.spec().group_size, GroupSize::Channel);
        assert_eq!((&grouped as &dyn Representation).to_dense().unwrap(), pruned.weight);
    }
}

/// What the golden summary says of the output errors holds here too: SparseGPT < Wanda < magnitude.
#[test]
fn methods_come_in_the_order_that_is_expected() {
    let golden = Golden::open();
    let (weight, hessian) = (golden.floats("weight"), golden.hessian());
    let view = hessian.view();
    let error = |pruned: &Pruned| -> f64 {
        let mut sum = 0.0;
        for (w, v) in weight.chunks(SHAPE[1]).zip(pruned.weight.chunks(SHAPE[1])) {
            let off: Vec<f64> = w.iter().zip(v).map(|(w, v)| f64::from(w - v)).collect();
            for i in 0..SHAPE[1] {
                for j in 0..SHAPE[1] {
                    sum += off[i] * off[j] * f64::from(view.get(i, j));
                }
            }
        }
        sum
    };
    let squares: Vec<f32> = view.diagonal().collect();
    let by_magnitude = magnitude(&weight, SHAPE, &MagnitudeConfig::default()).unwrap();
    let by_wanda = wanda(&weight, SHAPE, &squares, &WandaConfig::default()).unwrap();
    let mut config = SparseGptConfig::default();
    config.precision = Precision::F64;
    let by_sparsegpt = sparsegpt(&weight, SHAPE, view, 512, &config).unwrap();
    let errors = [&by_sparsegpt, &by_wanda, &by_magnitude].map(error);
    assert!(errors[0] < errors[1] && errors[1] < errors[2], "{errors:?}");
    // What the sweep reports on the way is what the definition gives.
    let reported = by_sparsegpt.report.proxy_error.unwrap();
    assert!((reported / errors[0] - 1.0).abs() < 1e-4, "{reported} is not {}", errors[0]);
}
