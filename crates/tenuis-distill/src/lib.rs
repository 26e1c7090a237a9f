//! Training on candle autograd: from nothing, by distillation, or to recover what compression lost.

mod curve;
mod data;
mod error;
mod export;
mod lora;
mod matching;
mod network;
mod network_teacher;
mod objective;
mod ops;
mod optimizer;
mod options;
mod params;
mod rounding;
mod run;
mod state;
mod step;
mod teacher;
mod trainer;

pub use curve::{LearningCurve, Verdict};
pub use data::Sequences;
pub use error::TrainError;
pub use lora::LoraConfig;
pub use network::{Extent, Network};
pub use network_teacher::NetworkTeacher;
pub use objective::{Divergence, Objective};
pub use options::{Precision, Schedule, TrainOptions};
pub use params::{Params, Selection, stored_values};
pub use teacher::{Answer, CachedTeacher, ModelTeacher, Teacher};
pub use trainer::{Observer, Outcome, StepRecord, Texts, Unobserved, ValidRecord, train};
