//! Every golden case, product for product; the data says how it was computed.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use safetensors::SafeTensors;
use tenuis_linalg::Gram;
use tenuis_lowrank::{AsvdConfig, Decomposed, RankChoice, SvdConfig, SvdLlmConfig, asvd, svd, svdllm};

const SHAPE: [usize; 2] = [64, 128];
const RANK: usize = 16;

/// Relative to the norm of the product. Ours are f32, and the Gram matrix is rounded to f32 as everywhere.
const TOLERANCE: f64 = 1e-5;

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self(std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden.safetensors")).unwrap())
    }

    fn data(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.data(name).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        self.data(name).as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
    }
}

fn compare(outcome: &Decomposed, expected: &[f64]) {
    let factors = outcome.factors.as_ref().unwrap();
    assert_eq!((factors.rank, outcome.report.rank), (RANK, RANK));
    let product = |at: usize| -> f64 {
        let (out, input) = (at / SHAPE[1], at % SHAPE[1]);
        (0..RANK)
            .map(|k| f64::from(factors.b[out * RANK + k]) * f64::from(factors.a[k * SHAPE[1] + input]))
            .sum()
    };
    let size = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
    let error = expected.iter().enumerate().map(|(at, v)| (product(at) - v).powi(2)).sum::<f64>().sqrt();
    assert!(error < TOLERANCE * size, "off by {:e}", error / size);
    let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    assert!((norm(&factors.a) / norm(&factors.b) - 1.0).abs() < 1e-4, "the factors are balanced");
}

#[test]
fn svd_matches() {
    let golden = Golden::open();
    let mut config = SvdConfig::default();
    config.rank = RankChoice::Fixed(RANK);
    let outcome = svd(&golden.floats("weight"), SHAPE, &config).unwrap();
    let expected = golden.doubles("svd/product");
    compare(&outcome, &expected);
    let error: f64 =
        golden.floats("weight").iter().zip(&expected).map(|(w, e)| (f64::from(*w) - e).powi(2)).sum();
    assert!((outcome.report.weight_error / error - 1.0).abs() < 1e-6);
    assert!((outcome.report.truncation_loss / error - 1.0).abs() < 1e-6);
}

#[test]
fn asvd_matches() {
    let golden = Golden::open();
    let mut config = AsvdConfig::default();
    config.rank = RankChoice::Fixed(RANK);
    let outcome = asvd(&golden.floats("weight"), SHAPE, &golden.doubles("mean_abs"), &config).unwrap();
    compare(&outcome, &golden.doubles("asvd/product"));
}

#[test]
fn svdllm_matches() {
    let golden = Golden::open();
    let gram = Gram::from_upper(SHAPE[1], golden.floats("gram")).unwrap();
    let mut config = SvdLlmConfig::default();
    config.rank = RankChoice::Fixed(RANK);
    let outcome = svdllm(&golden.floats("weight"), SHAPE, gram.view(), 512, &config).unwrap();
    compare(&outcome, &golden.doubles("svdllm/product"));
    let squared: Vec<f64> = golden.doubles("svdllm/values").iter().map(|v| v * v).collect();
    let (all, tail): (f64, f64) = (squared.iter().sum(), squared[RANK..].iter().sum());
    assert!((outcome.report.truncation_loss / tail - 1.0).abs() < 1e-5);
    assert!((outcome.report.retained_energy - (1.0 - tail / all)).abs() < 1e-6);
}
