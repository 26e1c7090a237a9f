//! Rounds weight matrices to a few bits: to nearest ([`rtn`]), with error compensation ([`gptq`]), or after scaling what
//! the activations say matters ([`awq()`], [`smooth_scale`]).
//!
//! Pure functions on matrices. A weight is a row-major f32 slice `[out_features, in_features]`, the result a
//! [`tenuis_core::GroupedInt`] and a [`QuantReport`] that says what happened on the way.
//!
//! ```
//! use tenuis_linalg::{LayerStats, StatsNeeds};
//! use tenuis_quant::{GptqConfig, GroupSizing, gptq};
//!
//! let (out_features, in_features, rows) = (4, 32, 64);
//! let wave = |i: usize, f: f32| (i as f32 * f).sin();
//! let weight: Vec<f32> = (0..out_features * in_features).map(|i| wave(i, 0.7)).collect();
//! let input: Vec<f32> = (0..rows * in_features).map(|i| wave(i, 1.3) + wave(i / in_features, 0.3)).collect();
//!
//! let mut stats = LayerStats::new(in_features, StatsNeeds { hessian: true, moments: false });
//! stats.update(&input)?;
//!
//! let mut config = GptqConfig::default();
//! config.group_size = GroupSizing::Columns(16);
//! let hessian = stats.gram().unwrap().view();
//! let quantized = gptq(&weight, [out_features, in_features], hessian, stats.rows(), &config)?;
//! assert_eq!(quantized.weight.groups(), 2);
//! assert!(quantized.report.fallback.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod awq;
mod config;
mod error;
mod gptq;
mod grid;
mod proxy;
mod report;
mod rtn;
mod smooth;

pub use awq::{
    Awq, AwqConfig, Clip, FoundScale, awq, awq_clip, awq_clip_while, awq_round, awq_scale, search_scale,
    share_channels,
};
pub use config::{FallbackPolicy, GptqConfig, GroupSizing, MseSearch, Precision, RtnConfig, ScaleDtype};
pub use error::QuantError;
pub use gptq::{GptqFactor, gptq};
pub use grid::{Grid, GridFit};
pub use proxy::proxy_error;
pub use report::{FallbackReason, QuantReport, Quantized};
pub use rtn::rtn;
pub use smooth::{Int8DynamicConfig, SmoothQuantConfig, column_max_abs, int8_per_channel, smooth_scale};

/// The statistics that [`gptq()`] reads; re-exported so that one dependency is enough.
pub use tenuis_linalg as linalg;
