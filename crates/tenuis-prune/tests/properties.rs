//! What holds for every weight and every statistic.

use proptest::prelude::*;
use tenuis_core::Representation;
use tenuis_linalg::Gram;
use tenuis_prune::{
    FallbackPolicy, FallbackReason, GlobalConfig, GlobalScore, JointConfig, MagnitudeConfig, MagnitudeScope,
    PruneError, SparseGptConfig, SparseGptFactor, SparsityTarget, WandaConfig, magnitude, magnitude_global,
    sparsegpt, wanda,
};
use tenuis_quant::Precision;

struct Random(u32);

impl Random {
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }
}

fn problem(shape: [usize; 2], seed: u32) -> (Vec<f32>, Gram) {
    let mut random = Random(seed);
    let weight = random.floats(shape[0] * shape[1]);
    let mut gram = Gram::zeros(shape[1]);
    gram.accumulate(&random.floats(3 * shape[1] * shape[1]));
    (weight, gram)
}

fn share(share: f64) -> SparseGptConfig {
    let mut config = SparseGptConfig::default();
    config.sparsity = SparsityTarget::Share(share);
    config.min_rows = 0;
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Counts, zeros and reports agree for every method, shape and target; 2:4 keeps two of four.
    #[test]
    fn masks_are_as_asked(
        rows in 1usize..40, fours in 1usize..40, asked in 0.0f64..0.9, two: bool, block in 1usize..20, seed: u32,
    ) {
        let shape = [rows, 4 * fours];
        let (weight, gram) = problem(shape, seed);
        let target = if two { SparsityTarget::NofM("2:4".parse().unwrap()) } else { SparsityTarget::Share(asked) };
        let squares: Vec<f32> = gram.view().diagonal().collect();
        let mut config = share(0.0);
        (config.sparsity, config.block_size) = (target, 4 * block);
        let mut by_wanda = WandaConfig::default();
        by_wanda.sparsity = target;
        let mut by_magnitude = MagnitudeConfig::default();
        by_magnitude.sparsity = target;
        let sparse = sparsegpt(&weight, shape, gram.view(), 99, &config);
        if let Err(PruneError::Everything { .. }) = &sparse {
            prop_assert!(((weight.len() as f64 * asked) as usize + 1) == weight.len());
            return Ok(());
        }
        let all = [
            wanda(&weight, shape, &squares, &by_wanda).unwrap(),
            sparse.unwrap(),
            magnitude(&weight, shape, &by_magnitude).unwrap(),
        ];
        for pruned in all {
            for (w, kept) in pruned.weight.iter().zip(pruned.mask.kept()) {
                prop_assert!(*kept <= 1 && (*kept == 1 || *w == 0.0));
            }
            let zeros = pruned.weight.iter().filter(|w| **w == 0.0).count() as u64;
            prop_assert_eq!(pruned.report.pruned, zeros);
            if two {
                prop_assert!(pruned.mask.kept().chunks(4).all(|four| four.iter().sum::<u8>() == 2));
            } else {
                // At most one more for each block and row than the share calls for.
                let parts = (shape[1].div_ceil(4 * block) + rows) as f64;
                let off = zeros as f64 - asked * weight.len() as f64;
                prop_assert!(off.abs() <= parts, "{} zeros of {} at {}", zeros, weight.len(), asked);
            }
        }
    }

    /// Bits do not depend on the number of threads, and blocks change only when masks are chosen.
    #[test]
    fn threads_change_nothing(rows in 1usize..300, features in 1usize..60, seed: u32) {
        let shape = [rows, features];
        let (weight, gram) = problem(shape, seed);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let pruned = pool.install(|| sparsegpt(&weight, shape, gram.view(), 99, &share(0.4)));
            pruned.map(|p| p.weight.into_iter().map(f32::to_bits).collect::<Vec<_>>()).map_err(|e| e.to_string())
        };
        prop_assert_eq!(on(1), on(3));
    }

    /// What a mask rules out stays zero and counts.
    #[test]
    fn masks_are_kept(rows in 1usize..20, fours in 2usize..20, two: bool, seed: u32) {
        let shape = [rows, 4 * fours];
        let (weight, gram) = problem(shape, seed);
        let mask: Vec<u8> = Random(seed ^ 7).floats(weight.len()).iter().map(|v| u8::from(*v > -0.4)).collect();
        let mut config = share(0.6);
        if two {
            config.sparsity = SparsityTarget::NofM("2:4".parse().unwrap());
        }
        let pruned = SparseGptFactor::new(gram.view(), 99, &config).unwrap().prune(&weight, shape, Some(&mask)).unwrap();
        for ((w, kept), may) in pruned.weight.iter().zip(pruned.mask.kept()).zip(&mask) {
            prop_assert!(*may == 1 || (*w == 0.0 && *kept == 0));
        }
        if two {
            prop_assert!(pruned.mask.kept().chunks(4).all(|four| four.iter().sum::<u8>() <= 2));
        } else {
            let wanted = (0.6 * weight.len() as f64) as u64;
            prop_assert!(pruned.report.pruned.abs_diff(wanted) <= 1 + shape[1].div_ceil(128) as u64);
        }
    }
}

/// With inputs that have nothing to do with each other SparseGPT has nothing to make up for.
#[test]
fn a_diagonal_hessian_changes_no_kept_weight() {
    let shape = [16, 24];
    let (weight, _) = problem(shape, 3);
    let mut data = vec![0.0; 24 * 24];
    (0..24).for_each(|i| data[i * 25] = 1.0 + i as f32);
    let gram = Gram::from_upper(24, data).unwrap();
    let mut config = share(0.5);
    config.precision = Precision::F64;
    let pruned = sparsegpt(&weight, shape, gram.view(), 99, &config).unwrap();
    for (found, (w, kept)) in pruned.weight.iter().zip(weight.iter().zip(pruned.mask.kept())) {
        assert_eq!(*found, if *kept == 1 { *w } else { 0.0 });
    }
}

#[test]
fn one_budget_serves_all_matrices() {
    let small: Vec<f32> = (1..9).map(|i| 0.1 * i as f32).collect();
    let large: Vec<f32> = small.iter().map(|v| 90.0 * v).collect();
    let matrices: [(&[f32], [usize; 2]); 2] = [(&small, [2, 4]), (&large, [2, 4])];
    let mut config = GlobalConfig::default();
    config.sparsity = 0.25;
    let pruned = magnitude_global(&matrices, &config).unwrap();
    assert_eq!([&pruned[0], &pruned[1]].map(|p| p.report.pruned), [5, 0]);
    // Relative to what is left of their own matrix both are alike.
    config.score = GlobalScore::Lamp;
    config.sparsity = 0.35;
    let pruned = magnitude_global(&matrices, &config).unwrap();
    assert_eq!([&pruned[0], &pruned[1]].map(|p| p.report.pruned), [3, 3]);
    config.sparsity = 0.99;
    assert!(matches!(magnitude_global(&matrices, &config), Err(PruneError::Everything { total: 16, .. })));
}

#[test]
fn rows_are_pruned_alike() {
    let (weight, _) = problem([10, 20], 4);
    let mut config = MagnitudeConfig::default();
    config.scope = MagnitudeScope::Row;
    let pruned = magnitude(&weight, [10, 20], &config).unwrap();
    assert!(pruned.mask.kept().chunks(20).all(|row| row.iter().sum::<u8>() == 10));
}

#[test]
fn inherit_asks_for_the_zeros_that_are_there() {
    let shape = [8, 32];
    let (mut weight, gram) = problem(shape, 5);
    weight.iter_mut().step_by(4).for_each(|w| *w = 0.0);
    let mut config = share(0.0);
    config.sparsity = SparsityTarget::Inherit;
    let pruned = sparsegpt(&weight, shape, gram.view(), 99, &config).unwrap();
    assert_eq!(pruned.report.pruned, 64 + 1);
}

#[test]
fn dead_columns_go_first_and_harm_nothing() {
    let shape = [4, 8];
    let (weight, _) = problem(shape, 6);
    let mut random = Random(8);
    let mut x = random.floats(64 * 8);
    x.chunks_mut(8).for_each(|row| row[2] = 0.0);
    let mut gram = Gram::zeros(8);
    gram.accumulate(&x);
    let pruned = sparsegpt(&weight, shape, gram.view(), 64, &share(0.3)).unwrap();
    assert_eq!(pruned.report.dead_columns, 1);
    assert!(pruned.weight.chunks(8).all(|row| row[2] == 0.0));
    assert!(pruned.weight.iter().all(|w| w.is_finite()));
}

#[test]
fn fallbacks_are_recorded_or_refused() {
    let shape = [4, 8];
    let (weight, gram) = problem(shape, 7);
    let squares: Vec<f32> = gram.view().diagonal().collect();
    let mut config = share(0.5);
    config.min_rows = 32;
    let pruned = sparsegpt(&weight, shape, gram.view(), 3, &config).unwrap();
    assert_eq!(pruned.report.fallback, Some(FallbackReason::TooFewRows { rows: 3, min_rows: 32 }));
    assert_eq!(pruned.mask, wanda(&weight, shape, &squares, &WandaConfig::default()).unwrap().mask);

    config.quantize = Some(JointConfig::default());
    let pruned = sparsegpt(&weight, shape, gram.view(), 3, &config).unwrap();
    let grouped = pruned.quantized.unwrap();
    assert_eq!((&grouped as &dyn Representation).to_dense().unwrap(), pruned.weight);
    assert!(pruned.report.pruned >= 16);

    let zero = Gram::zeros(8);
    let pruned = sparsegpt(&weight, shape, zero.view(), 99, &share(0.5)).unwrap();
    assert_eq!(pruned.report.fallback, Some(FallbackReason::ZeroHessian));
    let mut config = MagnitudeConfig::default();
    config.sparsity = SparsityTarget::Share(0.5);
    assert_eq!(pruned.mask, magnitude(&weight, shape, &config).unwrap().mask);

    // An indefinite matrix that no damping within bounds repairs.
    let mut data = vec![0.0; 64];
    (0..8).for_each(|i| data[i * 9] = 1.0);
    data[1] = 50.0;
    let broken = Gram::from_upper(8, data).unwrap();
    let pruned = sparsegpt(&weight, shape, broken.view(), 99, &share(0.5)).unwrap();
    assert!(matches!(pruned.report.fallback, Some(FallbackReason::NotPositiveDefinite { attempts: 10, .. })));
    let mut config = share(0.5);
    config.fallback = FallbackPolicy::Fail;
    assert!(matches!(sparsegpt(&weight, shape, broken.view(), 99, &config), Err(PruneError::NoFallback(_))));

    let mut data = vec![1.0; 64];
    data[3] = f32::NAN;
    let broken = Gram::from_upper(8, data).unwrap();
    let pruned = sparsegpt(&weight, shape, broken.view(), 99, &share(0.5)).unwrap();
    assert_eq!(pruned.report.fallback, Some(FallbackReason::NonFiniteHessian { row: 0, column: 3 }));
}

#[test]
fn bad_input_is_named() {
    let (weight, gram) = problem([4, 6], 9);
    let refused = |config: &SparseGptConfig| sparsegpt(&weight, [4, 6], gram.view(), 99, config).unwrap_err();
    for bad in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(refused(&share(bad)), PruneError::Config { option: "sparsity", .. }));
    }
    let mut config = share(0.0);
    config.sparsity = SparsityTarget::NofM("2:4".parse().unwrap());
    assert!(matches!(refused(&config), PruneError::Groups { kept: 2, of: 4, in_features: 6 }));
    config.block_size = 6;
    assert!(matches!(refused(&config), PruneError::Config { option: "block_size", .. }));
    assert!(matches!(refused(&share(0.99)), PruneError::Everything { total: 24, .. }));
    let mut by_magnitude = MagnitudeConfig::default();
    by_magnitude.sparsity = SparsityTarget::Share(0.99);
    let everything = magnitude(&weight, [4, 6], &by_magnitude).unwrap_err();
    assert!(matches!(everything, PruneError::Everything { total: 24, .. }), "{everything}");
    let mut broken = weight.clone();
    broken[13] = f32::INFINITY;
    let refused = magnitude(&broken, [4, 6], &MagnitudeConfig::default()).unwrap_err();
    assert!(matches!(refused, PruneError::NonFiniteWeight { row: 2, column: 1, .. }));
    let refused = wanda(&weight, [4, 6], &[1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0], &WandaConfig::default());
    assert!(matches!(refused, Err(PruneError::Statistic { channel: 1, .. })));
    let refused = wanda(&weight, [4, 6], &[1.0; 5], &WandaConfig::default());
    assert!(matches!(refused, Err(PruneError::Features { found: 5, in_features: 6 })));
    assert!(matches!(magnitude(&weight, [4, 5], &MagnitudeConfig::default()), Err(PruneError::Shape { .. })));
}
