//! Statistics of a layer's input and the factorisations that compression needs of them.
//!
//! Linears that read the same input (q, k, v; gate, up) share one [`LayerStats`]: the Gram matrix `XᵀX`, which GPTQ
//! and its relatives call the Hessian, and per channel moments. [`factor_hessian`] turns the former into the one
//! factor from which GPTQ and SparseGPT read everything.
//!
//! ```
//! use tenuis_linalg::{LayerStats, StatsNeeds};
//! let mut stats = LayerStats::new(2, StatsNeeds { hessian: true, moments: true });
//! stats.update(&[1.0, 2.0, 3.0, 4.0])?; // two rows
//! let gram = stats.gram().unwrap();
//! assert_eq!((gram.view().get(0, 0), gram.view().get(0, 1)), (10.0, 14.0));
//! assert_eq!(stats.moments().unwrap().max_abs(), [3.0, 4.0]);
//! # Ok::<(), tenuis_linalg::StatsError>(())
//! ```

pub mod float;

mod eigen;
mod energy;
mod factor;
mod finite;
mod gram;
mod huge;
mod matmul;
mod project;
mod real;
mod stats;
mod svd;
mod transpose;
mod whitening;

pub use eigen::{EigenError, SymmetricEigen, symmetric_eigen, symmetric_eigenvalues};
pub use energy::Energy;
pub use factor::{FactorError, HessianFactor, factor_hessian};
pub use finite::first_non_finite;
pub use gram::{Gram, GramError, GramView};
pub use matmul::{MatMut, MatRef, multiply_add, multiply_add_parallel};
pub use project::project;
pub use real::Real;
pub use stats::{LayerStats, Moments, StatsError, StatsNeeds};
pub use svd::{RandomizedSvd, Svd, SvdError, singular_values, svd, svd_randomized};
pub use transpose::transpose;
pub use whitening::{Whitening, WhiteningError, WhiteningMethod, WhiteningOptions};
