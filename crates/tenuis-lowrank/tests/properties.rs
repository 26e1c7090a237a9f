//! What holds for every weight and input.

use proptest::prelude::*;
use tenuis_core::{DType, Representation};
use tenuis_linalg::Gram;
use tenuis_lowrank::{
    AsvdConfig, CorrectConfig, Decomposed, FallbackPolicy, FallbackReason, LowRankError, RankChoice,
    SolverMethod, SvdConfig, SvdLlm, SvdLlmConfig, asvd, correct, svd, svdllm,
};

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Channels of very different activity, as those of language models are.
fn input(rows: usize, features: usize, seed: u32) -> Vec<f32> {
    let mut x = noise(rows * features, seed);
    for row in x.chunks_mut(features) {
        for (i, value) in row.iter_mut().enumerate() {
            *value *= 4f32.powi(i as i32 % 5 - 2);
        }
    }
    x
}

fn gram(x: &[f32], features: usize) -> Gram {
    let mut gram = Gram::zeros(features);
    gram.accumulate(x);
    gram
}

/// `‖X·Eᵀ‖²` for `E = W − B·A`, or `W` itself where nothing was made of it.
fn output_error(outcome: &Decomposed, weight: &[f32], [outs, ins]: [usize; 2], x: &[f32]) -> f64 {
    let Some(factors) = &outcome.factors else { return 0.0 };
    let rank = factors.rank;
    let error: Vec<f64> = (0..outs * ins)
        .map(|at| {
            let (o, i) = (at / ins, at % ins);
            let sum: f64 = (0..rank)
                .map(|k| f64::from(factors.b[o * rank + k]) * f64::from(factors.a[k * ins + i]))
                .sum();
            f64::from(weight[at]) - sum
        })
        .collect();
    x.chunks(ins)
        .map(|row| {
            error
                .chunks(ins)
                .map(|e| e.iter().zip(row).map(|(e, x)| e * f64::from(*x)).sum::<f64>().powi(2))
                .sum::<f64>()
        })
        .sum()
}

fn fixed(rank: usize) -> SvdLlmConfig {
    let mut config = SvdLlmConfig::default();
    (config.rank, config.min_rows) = (RankChoice::Fixed(rank), 0);
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The reported loss is the output's error, and no other method's is less.
    #[test]
    fn svdllm_minimises_the_output_error(
        outs in 6usize..30, ins in 6usize..30, rows in 2usize..80, rank in 1usize..3, seed: u32,
    ) {
        let shape = [outs, ins];
        let (weight, x) = (noise(outs * ins, seed), input(rows, ins, seed ^ 1));
        let gram = gram(&x, ins);
        let ours = svdllm(&weight, shape, gram.view(), rows as u64, &fixed(rank)).unwrap();
        let error = output_error(&ours, &weight, shape, &x);
        let scale = error + ours.report.truncation_loss;
        // Rounding of the Gram matrix and of the factors to f32, relative to the output's energy.
        let energy = ours.report.truncation_loss / (1.0 - ours.report.retained_energy).max(1e-12);
        prop_assert!((error - ours.report.truncation_loss).abs() <= 1e-4 * scale.max(1e-2 * energy));
        let mut plain = SvdConfig::default();
        plain.rank = RankChoice::Fixed(rank);
        let plain = svd(&weight, shape, &plain).unwrap();
        prop_assert!(error <= output_error(&plain, &weight, shape, &x) + 1e-4 * energy);
        let magnitudes: Vec<f64> =
            (0..ins).map(|i| x.chunks(ins).map(|row| f64::from(row[i].abs())).sum::<f64>() / rows as f64).collect();
        let mut scaled = AsvdConfig::default();
        scaled.rank = RankChoice::Fixed(rank);
        let scaled = asvd(&weight, shape, &magnitudes, &scaled).unwrap();
        prop_assert!(error <= output_error(&scaled, &weight, shape, &x) + 1e-4 * energy);
    }

    /// A correction never makes the output worse, and one of full energy makes it right.
    #[test]
    fn corrections_help(outs in 8usize..30, ins in 8usize..30, rank in 1usize..4, seed: u32, whiten: bool) {
        let shape = [outs, ins];
        let (original, x) = (noise(outs * ins, seed), input(60, ins, seed ^ 1));
        let compressed: Vec<f32> = original.iter().map(|w| (w * 3.0).round() / 3.0).collect();
        let gram = gram(&x, ins);
        let mut config = CorrectConfig::default();
        (config.rank, config.whiten) = (RankChoice::Fixed(rank), whiten);
        let outcome = correct(&original, &compressed, shape, Some((gram.view(), 60)), &config).unwrap();
        let error: Vec<f32> = original.iter().zip(&compressed).map(|(w, q)| w - q).collect();
        let before: f64 = {
            let mut none = outcome.clone();
            if let Some(factors) = &mut none.factors {
                factors.b.fill(0.0);
            }
            output_error(&none, &error, shape, &x)
        };
        let after = output_error(&outcome, &error, shape, &x);
        if whiten {
            prop_assert!(after <= before * (1.0 + 1e-5), "{after} after {before}");
        }
        prop_assert!(outcome.report.weight_error <= error.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>());
    }
}

#[test]
fn factors_become_a_weight_of_their_type() {
    let weight = noise(40 * 60, 1);
    let mut config = SvdConfig::default();
    config.rank = RankChoice::keep(0.5);
    let outcome = svd(&weight, [40, 60], &config).unwrap();
    assert_eq!(outcome.report.rank, 12);
    let stored = outcome.factors.unwrap().to_weight(DType::F16).unwrap();
    assert_eq!((stored.rank(), stored.shape(), stored.stored_bytes()), (12, [40, 60], 2 * 12 * 100));
    let back = (&stored as &dyn Representation).to_dense().unwrap();
    let error: f64 = weight.iter().zip(&back).map(|(w, b)| f64::from(w - b).powi(2)).sum();
    assert!((error / outcome.report.weight_error - 1.0).abs() < 1e-3, "{error}");
}

/// Half of the weights of a square matrix is what a product may have; more is kept as it is.
#[test]
fn what_would_not_get_smaller_stays() {
    let weight = noise(16 * 16, 1);
    let mut config = SvdConfig::default();
    for (rank, stays) in [(7, false), (8, true), (16, true)] {
        config.rank = RankChoice::Fixed(rank);
        let outcome = svd(&weight, [16, 16], &config).unwrap();
        assert_eq!((outcome.factors.is_none(), outcome.report.rank), (stays, rank));
    }
}

/// A weight of zeros, or one that the input never reaches, is a product of zeros and no division by them.
#[test]
fn nothing_is_divided_by_zero() {
    let mut config = SvdConfig::default();
    config.rank = RankChoice::Fixed(2);
    let outcome = svd(&[0.0; 64], [8, 8], &config).unwrap();
    let factors = outcome.factors.unwrap();
    assert!(factors.a.iter().all(|v| *v == 0.0) && factors.b.iter().all(|v| v.is_finite()));
    // Rank one, of which three are asked for.
    let weight: Vec<f32> = (0..100).map(|i| ((i / 10) * (i % 10)) as f32).collect();
    config.rank = RankChoice::Fixed(3);
    let factors = svd(&weight, [10, 10], &config).unwrap().factors.unwrap();
    assert!(factors.a.iter().chain(&factors.b).all(|v| v.is_finite() && v.abs() < 100.0), "{factors:?}");
}

/// The Hessian is of no use: recorded, or refused where the recipe says so.
#[test]
fn fallbacks_are_recorded() {
    let weight = noise(12 * 8, 1);
    let mut broken = gram(&input(40, 8, 2), 8).into_upper();
    broken[2 * 8 + 3] = f32::NAN;
    let cases: [(Vec<f32>, u64, &str); 3] = [
        (broken, 40, "not finite at row 2, column 3"),
        (vec![0.0; 64], 40, "no input channel was ever active"),
        (gram(&input(40, 8, 2), 8).into_upper(), 5, "only 5 calibration rows, 32 are needed"),
    ];
    for (hessian, rows, message) in cases {
        let hessian = Gram::from_upper(8, hessian).unwrap();
        let mut config = fixed(2);
        config.min_rows = 32;
        let outcome = svdllm(&weight, [12, 8], hessian.view(), rows, &config).unwrap();
        let reason = outcome.report.fallback.clone().unwrap();
        assert!(reason.to_string().contains(message), "{reason}");
        let mut plain = SvdConfig::default();
        plain.rank = config.rank;
        assert_eq!(outcome.factors, svd(&weight, [12, 8], &plain).unwrap().factors);
        config.fallback = FallbackPolicy::Fail;
        let error = SvdLlm::new(hessian.view(), rows, &config).unwrap_err();
        assert!(matches!(&error, LowRankError::NoFallback(_)) && error.to_string().contains(message));
    }
    let error = asvd(&weight, [12, 8], &[0.0; 8], &AsvdConfig::default()).unwrap();
    assert_eq!(error.report.fallback, Some(FallbackReason::NoActivity));
}

#[test]
fn weights_that_cannot_be_decomposed_are_refused() {
    let config = SvdConfig::default();
    assert!(matches!(svd(&[1.0; 5], [2, 3], &config), Err(LowRankError::Shape { found: 5, .. })));
    let mut weight = noise(12, 1);
    weight[7] = f32::INFINITY;
    let error = svd(&weight, [3, 4], &config).unwrap_err();
    assert!(matches!(error, LowRankError::NonFiniteWeight { row: 1, column: 3, .. }), "{error}");
    let gram = gram(&input(40, 8, 2), 8);
    let error = svdllm(&noise(12, 1), [3, 4], gram.view(), 40, &fixed(1)).unwrap_err();
    assert!(matches!(error, LowRankError::Features { found: 8, in_features: 4 }), "{error}");
}

/// The randomised solver's product is as good, and its seed decides it.
#[test]
fn solvers_agree() {
    let weight = noise(80 * 120, 3);
    let mut config = SvdConfig::default();
    config.rank = RankChoice::Fixed(10);
    config.solver.method = SolverMethod::Exact;
    let exact = svd(&weight, [80, 120], &config).unwrap();
    config.solver.method = SolverMethod::Randomized;
    let random = svd(&weight, [80, 120], &config).unwrap();
    assert!(random.report.randomized && !exact.report.randomized);
    assert!(random.report.truncation_loss < 1.01 * exact.report.truncation_loss);
    assert_eq!(random.factors, svd(&weight, [80, 120], &config).unwrap().factors);
    config.solver.seed = Some(1);
    assert_ne!(random.factors, svd(&weight, [80, 120], &config).unwrap().factors);
}

#[test]
fn options_are_spelled_as_documented() {
    let parse = |text: &str| serde_json::from_str::<SvdLlmConfig>(text);
    assert_eq!(parse("{}").unwrap(), SvdLlmConfig::default());
    assert_eq!(parse(r#"{ "rank": 7 }"#).unwrap().rank, RankChoice::Fixed(7));
    assert_eq!(parse(r#"{ "rank": { "keep": 0.7 } }"#).unwrap().rank, RankChoice::keep(0.7));
    assert_eq!(parse(r#"{ "rank": { "energy": 0.9 } }"#).unwrap().rank, RankChoice::energy(0.9));
    for wrong in [r#"{ "rank": { "keep": 0.7, "energy": 1 } }"#, r#"{ "rank": "all" }"#, r#"{ "ranks": 1 }"#]
    {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    for rank in [RankChoice::Fixed(0), RankChoice::keep(0.0), RankChoice::keep(1.1), RankChoice::energy(-1.0)]
    {
        let mut config = SvdConfig::default();
        config.rank = rank;
        assert!(matches!(config.validate(), Err(LowRankError::Config { .. })), "{rank:?}");
    }
}
