//! Recipes: a name, a seed and the stages that turn a checkpoint into a smaller one.

mod builtin;
mod explain;
mod extend;
mod keys;
mod loaded;
mod origin;
mod recipe;
mod schema;
mod source;
mod targets;
mod template;

pub use builtin::{builtin_recipes, builtin_search};
pub use explain::explain;
pub use loaded::LoadedRecipe;
pub use origin::{Origin, RecipeError};
pub use recipe::{CalibrationSpec, OnFailure, Recipe, Rung, SearchSpec, Stage, StageData};
pub use schema::schema;
pub use targets::{BlockSelector, ResolvedTargets, Targets};
