//! `tenuis recipe`.

use super::{print, recipe};
use crate::args::{RecipeAction, RecipeArgs};
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use comfy_table::{Table, presets};
use std::fmt::Write;
use std::path::PathBuf;
use tenuis_orchestrator::recipe::{builtin_search, explain, schema};
use tenuis_orchestrator::{builtin_recipes, check_recipe};

pub(crate) fn run(args: &RecipeArgs) -> Result<(), Failure> {
    match &args.action {
        RecipeAction::List => list(),
        RecipeAction::Schema => {
            let text =
                serde_json::to_string_pretty(&schema()).map_err(|e| Failure::new(Code::Internal, e))?;
            print(&format!("{text}\n"))
        }
        RecipeAction::Check { recipes, plugins } => {
            let (registry, _) = plugin_dirs::load(plugins)?;
            check(recipes, |loaded| check_recipe(&registry, loaded))
        }
        RecipeAction::Explain { recipe: path } => print(&explain(&recipe(path)?)),
    }
}

fn list() -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["recipe", "stages", "description"]);
    for loaded in builtin_recipes()?.iter().chain([&builtin_search()?]) {
        let stages: Vec<&str> = loaded.recipe.stages.iter().map(|stage| stage.technique.as_str()).collect();
        let stages = if loaded.is_template() { "a search".to_owned() } else { stages.join(", ") };
        let described = loaded.recipe.description.clone().unwrap_or_default();
        let name = if loaded.is_template() { "search" } else { &loaded.recipe.name };
        table.add_row([name.to_owned(), stages, described]);
    }
    print(&format!("{table}\n"))
}

/// Checks every recipe, whatever is wrong with the others.
fn check(
    recipes: &[PathBuf],
    against: impl Fn(&tenuis_orchestrator::LoadedRecipe) -> Result<(), tenuis_orchestrator::RunError>,
) -> Result<(), Failure> {
    let mut text = String::new();
    let mut wrong = Vec::new();
    for path in recipes {
        let checked = recipe(path).and_then(|loaded| Ok(against(&loaded)?));
        match checked {
            // Writing to a string cannot fail.
            Ok(()) => {
                let _ = writeln!(text, "{}: ok", path.display());
            }
            Err(failure) => wrong.push(failure),
        }
    }
    print(&text)?;
    let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    match wrong.pop() {
        None => Ok(()),
        Some(only) if all.len() == 1 => Err(only),
        Some(_) => Err(Failure::new(Code::Recipe, all.join("; "))),
    }
}
