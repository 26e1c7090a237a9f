//! Every golden case of the GPTQ reference, code for code.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use tenuis_core::{Bits, GroupedInt};
use tenuis_linalg::Gram;
use tenuis_quant::{
    GptqConfig, GptqFactor, GroupSizing, MseSearch, Precision, Quantized, RtnConfig, ScaleDtype, gptq, rtn,
};

const SHAPE: [usize; 2] = [64, 128];

/// The golden scales are f64; ours are stored, and used, as f32. Grids of later groups depend on earlier corrections,
/// which adds a few more rounding errors.
const SCALE_TOLERANCE: f64 = 2e-6;

/// The same for corrections in f32: the inverse Hessian there is good to four or five digits.
const SCALE_TOLERANCE_F32: f64 = 2e-5;

struct Golden {
    bytes: Vec<u8>,
    cases: BTreeMap<String, Value>,
}

impl Golden {
    fn open() -> Self {
        let bytes =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden.safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let cases = header.metadata().as_ref().unwrap().iter();
        let cases = cases.map(|(k, v)| (k.clone(), serde_json::from_str(v).unwrap())).collect();
        Self { bytes, cases }
    }

    fn data(&self, name: &str) -> Option<Vec<u8>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        tensors.tensor(name).ok().map(|t| t.data().to_vec())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.data(name).unwrap().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        self.data(name).unwrap().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
    }

    fn hessian(&self) -> Gram {
        Gram::from_upper(SHAPE[1], self.floats("hessian")).unwrap()
    }

    fn compare(&self, name: &str, weight: &GroupedInt, tolerance: f64) {
        let codes = self.data(&format!("{name}/codes")).unwrap();
        let scales = self.doubles(&format!("{name}/scales"));
        let zeros = self.data(&format!("{name}/zeros")).unwrap();
        let mut row_codes = vec![0; SHAPE[1]];
        let mut row_scales = vec![0.0; weight.groups()];
        for row in 0..SHAPE[0] {
            weight.codes_row(row, &mut row_codes);
            assert_eq!(row_codes, codes[row * SHAPE[1]..(row + 1) * SHAPE[1]], "{name}: codes of row {row}");
            let groups = row * weight.groups()..(row + 1) * weight.groups();
            weight.scales_row(row, &mut row_scales).unwrap();
            for (ours, golden) in row_scales.iter().zip(&scales[groups.clone()]) {
                let off = (f64::from(*ours) / golden - 1.0).abs();
                assert!(off < tolerance, "{name}: a scale of row {row} is off by {off:e}");
            }
            let mid = vec![weight.spec().bits.mid_code(); weight.groups()];
            assert_eq!(weight.zeros_row(row).unwrap_or(&mid), &zeros[groups], "{name}: zeros of row {row}");
        }
    }
}

fn group(case: &Value) -> GroupSizing {
    match case["group"].as_str().unwrap() {
        "-1" => GroupSizing::Channel,
        n => GroupSizing::Columns(n.parse().unwrap()),
    }
}

fn flag(case: &Value, name: &str) -> bool {
    case.get(name).is_some_and(|v| v == "True")
}

fn bits(case: &Value) -> Bits {
    Bits::new(case["bits"].as_str().unwrap().parse().unwrap()).unwrap()
}

fn gptq_config(case: &Value) -> GptqConfig {
    let mut config = GptqConfig::default();
    config.bits = bits(case);
    config.group_size = group(case);
    config.symmetric = flag(case, "sym");
    config.act_order = flag(case, "act_order");
    config.static_groups = flag(case, "static_groups");
    config.block_size = case["blocksize"].as_str().unwrap().parse().unwrap();
    config.damp_percent = case["percdamp"].as_str().unwrap().parse().unwrap();
    config.mse = flag(case, "mse").then(MseSearch::default);
    config.scale_dtype = ScaleDtype::F32;
    config
}

#[test]
fn rtn_matches_the_reference() {
    let golden = Golden::open();
    let weight = golden.floats("weight");
    let cases: Vec<_> = golden.cases.iter().filter(|(name, _)| name.starts_with("rtn_")).collect();
    assert_eq!(cases.len(), 8);
    for (name, case) in cases {
        let mut config = RtnConfig::default();
        config.bits = bits(case);
        config.group_size = group(case);
        config.symmetric = flag(case, "sym");
        config.scale_dtype = ScaleDtype::F32;
        let quantized = rtn(&weight, SHAPE, &config).unwrap();
        golden.compare(name, &quantized.weight, SCALE_TOLERANCE);
    }
}

fn gptq_cases(precision: Precision, tolerance: f64) {
    let golden = Golden::open();
    let (weight, hessian) = (golden.floats("weight"), golden.hessian());
    let cases: Vec<_> = golden.cases.iter().filter(|(name, _)| name.starts_with("gptq_")).collect();
    assert_eq!(cases.len(), 22);
    for (name, case) in cases {
        let mut config = gptq_config(case);
        config.precision = precision;
        let factor = GptqFactor::new(hessian.view(), 512, &config).unwrap();
        let Quantized { weight: ours, report, .. } = factor.quantize(&weight, SHAPE).unwrap();
        assert_eq!((report.fallback, report.attempts, report.dead_columns), (None, 1, 0));
        golden.compare(name, &ours, tolerance);
        if let Some(order) = factor.order() {
            let perm = golden.data(&format!("{name}/perm")).unwrap();
            assert!(
                order.iter().eq(perm.iter().map(|&p| u32::from(p)).collect::<Vec<_>>().iter()),
                "{name}: order"
            );
        }
        let index = golden.data(&format!("{name}/g_idx")).unwrap();
        let columns = ours.spec().group_size.columns(SHAPE[1]);
        for (column, &group) in index.iter().enumerate() {
            let found = ours.group_index().map_or(column / columns, |i| i[column] as usize);
            assert_eq!(found, usize::from(group), "{name}: group of column {column}");
        }
        assert_eq!(
            ours.group_index().is_some(),
            config.act_order && !config.static_groups,
            "{name}: an index exactly where groups move"
        );
    }
}

#[test]
fn gptq_matches_the_reference_in_f64() {
    gptq_cases(Precision::F64, SCALE_TOLERANCE);
}

#[test]
fn gptq_matches_the_reference_in_f32() {
    gptq_cases(Precision::F32, SCALE_TOLERANCE_F32);
}

/// `refresh_grids` with any block size is the reference with blocks as wide as groups.
#[test]
fn refreshed_grids_are_those_of_small_blocks() {
    let golden = Golden::open();
    let (weight, hessian) = (golden.floats("weight"), golden.hessian());
    for name in ["gptq_w4_g32_sym_noact_b32", "gptq_w4_g32_asym_act_b32", "gptq_w4_g32_sym_act_b32"] {
        for block_size in [1, 24, 32, 128] {
            let mut config = gptq_config(&golden.cases[name]);
            config.precision = Precision::F64;
            config.refresh_grids = true;
            config.block_size = block_size;
            let quantized = gptq(&weight, SHAPE, hessian.view(), 512, &config).unwrap();
            golden.compare(name, &quantized.weight, SCALE_TOLERANCE);
        }
    }
}
