//! Recipes, the streaming compression pipeline and the evaluation of what it makes.
//!
//! [`evaluate`] is the main job: open a checkpoint, compress it by every recipe through the techniques of loaded
//! plugins, measure baseline and candidates alike, and return a [`Report`](tenuis_eval::report::Report).

pub mod allocate;
mod calibration;
mod compress;
mod error;
mod evaluate;
mod export;
mod gate;
mod lock;
mod log;
mod observer;
mod preflight;
mod registry;
mod resources;
mod round_trip;
mod search;
mod stage;
mod store;
mod text;
mod whole_file;
mod workshop;

pub use calibration::Calibration;
pub use compress::{Candidate, check_recipe};
pub use error::RunError;
pub use evaluate::{
    BusinessMetric, EvalRequest, RobustnessRequest, STAGES, dry_run, evaluate, measure_only, write_report,
};
pub use export::{Exported, export};
pub use gate::Gatekeeper;
pub use lock::OutputLock;
pub use log::{LEDGER_FILE, RunLog};
pub use observer::{Observer, Silent};
pub use resources::{MeasureRequest, MemoryProbe, SpeedRequest};
pub use round_trip::RoundTrip;
pub use search::{BEST, SearchRequest};
pub use store::{Collected, StageStore, StoreEntry};
/// The formats of other programs.
pub use tenuis_export as formats;
/// The plugin loader.
pub use tenuis_host as plugin;
/// Curves, fronts, scenarios, searches, gates and ledgers.
pub use tenuis_plan as plan;
/// Estimates of memory, disk and time.
pub use tenuis_preflight as estimates;
/// Recipes as they are written.
pub use tenuis_recipe as recipe;
pub use tenuis_recipe::{
    BlockSelector, CalibrationSpec, LoadedRecipe, Origin, Recipe, RecipeError, Stage, StageData, Targets,
    builtin_recipes,
};
pub use text::Text;
pub use workshop::{CompressOptions, Workshop};
