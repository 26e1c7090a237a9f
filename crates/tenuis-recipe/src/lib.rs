//! Recipes: a name, a seed and the stages that turn a checkpoint into a smaller one.

mod builtin;
mod origin;
mod recipe;
mod targets;

pub use builtin::builtin_recipes;
pub use origin::{Origin, RecipeError};
pub use recipe::{CalibrationSpec, LoadedRecipe, OnFailure, Recipe, Rung, SearchSpec, Stage, StageData};
pub use targets::{BlockSelector, ResolvedTargets, Targets};
