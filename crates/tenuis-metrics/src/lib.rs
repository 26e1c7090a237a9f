//! Says how good predictions are, how sure that is, and what of a baseline's quality a candidate keeps.
//!
//! Metrics work on predictions, wherever they come from: no model is run here. Each is a function or a config struct with its
//! formula, source, range and direction; [`METRICS`] lists them by name, and [`compute`] takes a name and a file.
//!
//! | what | where |
//! |---|---|
//! | translations | [`BleuConfig`], [`ChrfConfig`], [`TerConfig`] |
//! | summaries | [`RougeConfig`] |
//! | answers | [`exact_match`], [`squad_f1`], [`numeric_match`] |
//! | classes | [`Confusion`], [`roc_auc`], [`roc_auc_multiclass`], [`average_precision`], [`log_loss`], [`brier`], [`top_k_accuracy`] |
//! | numbers | [`regression`], [`pearson`], [`spearman`], [`kendall`] |
//! | entities | [`EntityConfig`], [`token_accuracy`] |
//! | features | [`FeatureStats`], [`frechet_distance`] |
//! | variety | [`distinct`], [`repetition`], [`self_bleu`] |
//! | ratings by people | [`write_rating_sheet`], [`Ratings`], [`krippendorff_alpha`], [`weighted_kappa`] |
//! | how sure a value is | [`bootstrap`](bootstrap()), [`paired_bootstrap`], [`Spread`] |
//! | beside a baseline | [`retention`], [`compression_ratio`], [`compression_fraction`], [`speed_up`], [`efficiency`], [`Weights`] |
//!
//! Nothing yields a NaN: an empty input, a single class or a constant is an error of [`MetricError`] that says so.
//!
//! ```
//! use tenuis_metrics::{BleuConfig, Direction, retention};
//! let references = [["the cat sat on the mat"]];
//! let baseline = BleuConfig::default().corpus(&["the cat sat on the mat"], &references)?;
//! let candidate = BleuConfig::default().corpus(&["the cat sat on a mat"], &references)?;
//! let kept = retention(Direction::HigherIsBetter, baseline.score, candidate.score)?;
//! assert!((kept - 53.73).abs() < 0.01);
//! # Ok::<(), tenuis_metrics::MetricError>(())
//! ```

mod answers;
mod bleu;
mod bootstrap;
mod chrf;
mod classification;
mod comparison;
mod compute;
mod correlation;
mod distribution;
mod diversity;
mod entities;
mod error;
mod frechet;
mod metric;
mod predictions;
mod random;
mod ratings;
mod rouge;
mod ter;
mod text;

pub use answers::{Normalization, NumericResult, exact_match, numeric_match, squad_f1};
pub use bleu::{Bleu, BleuConfig, BleuCounts, BleuTokenizer, Smoothing};
pub use bootstrap::{
    BootstrapConfig, BootstrapMethod, Interval, Spread, Statistic, bootstrap, paired_bootstrap,
};
pub use chrf::{ChrfConfig, ChrfCounts};
pub use classification::{
    Average, ClassScore, ClassScores, Confusion, MultiClass, average_precision, brier, log_loss, roc_auc,
    roc_auc_multiclass, top_k_accuracy,
};
pub use comparison::{
    Criteria, Weights, change_percent, compression_fraction, compression_ratio, efficiency, retention,
    speed_up,
};
pub use compute::{Comparison, Options, Report, Verdict, compare, compute};
pub use correlation::{Regression, kendall, pearson, regression, spearman};
pub use diversity::{distinct, mean_repetition, repetition, self_bleu};
pub use entities::{Entity, EntityConfig, EntityCounts, EntityReport, TagScheme, token_accuracy};
pub use error::MetricError;
pub use frechet::{FeatureStats, frechet_distance};
pub use metric::{Direction, METRICS, MetricInfo, Range, metric};
pub use predictions::{FieldProblem, Fields, FileError, Predictions, Row};
pub use ratings::{
    Agreement, CRITERIA, CriterionRating, KappaWeights, Level, OutputPair, Rating, RatingDifference,
    RatingError, RatingSummary, Ratings, SystemRatings, krippendorff_alpha, weighted_kappa,
    write_rating_sheet,
};
pub use rouge::{PrecisionRecall, RougeConfig, RougeKind};
pub use ter::{TerConfig, TerCounts};
