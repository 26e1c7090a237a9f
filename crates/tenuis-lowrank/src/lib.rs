//! Replaces weight matrices by products of two thin ones: by [`svd`], [`asvd`] and [`svdllm`], and corrects quantised
//! weights by a product ([`correct`]).
//!
//! Pure functions on matrices. A weight is a row-major f32 slice `[out_features, in_features]`, the result the two
//! [`Factors`], `W ≈ B·A`, and a [`LowRankReport`] that says what happened on the way. What sets the methods apart is
//! which error they minimise: that of the weight, of a scaled weight, or of the output over the calibration rows.
//!
//! ```
//! use tenuis_linalg::{LayerStats, StatsNeeds};
//! use tenuis_lowrank::{RankChoice, SvdLlmConfig, svdllm};
//!
//! let (out_features, in_features, rows) = (16, 24, 64);
//! let wave = |i: usize, f: f32| (i as f32 * f).sin() + (i as f32 * f * f).cos();
//! let weight: Vec<f32> = (0..out_features * in_features).map(|i| wave(i, 0.7)).collect();
//! let input: Vec<f32> = (0..rows * in_features).map(|i| wave(i, 1.3)).collect();
//!
//! let mut stats = LayerStats::new(in_features, StatsNeeds { hessian: true, moments: false });
//! stats.update(&input)?;
//! let mut config = SvdLlmConfig::default();
//! config.rank = RankChoice::Fixed(4);
//! let hessian = stats.gram().unwrap().view();
//! let outcome = svdllm(&weight, [out_features, in_features], hessian, stats.rows(), &config)?;
//! let factors = outcome.factors.unwrap();
//! assert_eq!((factors.b.len(), factors.a.len()), (16 * 4, 4 * 24));
//! assert!(outcome.report.retained_energy > 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allocate;
mod config;
mod correct;
mod decompose;
mod error;
mod methods;
mod report;
mod spectrum;

pub use allocate::{LayerSpectrum, allocate};
pub use config::{
    AsvdConfig, BudgetConfig, CorrectConfig, FactorDtype, FallbackPolicy, RankChoice, Solver, SolverMethod,
    SvdConfig, SvdLlmConfig,
};
pub use correct::correct;
pub use error::LowRankError;
pub use methods::{SvdLlm, asvd, svd, svdllm};
pub use report::{Decomposed, Factors, FallbackReason, LowRankReport};
pub use spectrum::Spectrum;

/// The statistics that the methods read; re-exported so that one dependency is enough.
pub use tenuis_linalg as linalg;
