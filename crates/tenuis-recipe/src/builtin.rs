//! The recipes that run when none is given.

use crate::{LoadedRecipe, RecipeError};

/// The names and texts, in the order in which they run.
const RECIPES: [(&str, &str); 5] = [
    ("f16", include_str!("../recipes/f16.toml")),
    ("int8-rtn", include_str!("../recipes/int8-rtn.toml")),
    ("int4-rtn", include_str!("../recipes/int4-rtn.toml")),
    ("int4-gptq", include_str!("../recipes/int4-gptq.toml")),
    ("distilled", include_str!("../recipes/distilled.toml")),
];

/// The recipes `f16`, `int8-rtn`, `int4-rtn`, `int4-gptq` and `distilled`.
///
/// # Errors
/// None for the texts that ship; the signature is that of parsing.
pub fn builtin_recipes() -> Result<Vec<LoadedRecipe>, RecipeError> {
    RECIPES.iter().map(|(name, text)| LoadedRecipe::parse(&file(name), text)).collect()
}

/// The template that a search varies when no recipe is given for it.
///
/// # Errors
/// As [`builtin_recipes`].
pub fn builtin_search() -> Result<LoadedRecipe, RecipeError> {
    LoadedRecipe::parse(&file("search"), include_str!("../recipes/search.toml"))
}

/// The name in messages and the text of a built-in recipe.
pub(crate) fn text(name: &str) -> Option<(String, &'static str)> {
    RECIPES.iter().find(|(known, _)| *known == name).map(|(name, text)| (file(name), *text))
}

/// The names of all.
pub(crate) fn names() -> String {
    RECIPES.map(|(name, _)| name).join(", ")
}

fn file(name: &str) -> String {
    format!("built-in recipe {name}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_built_in_recipe_parses_under_its_name() {
        let names: Vec<String> =
            super::builtin_recipes().unwrap().into_iter().map(|r| r.recipe.name).collect();
        assert_eq!(names.join(", "), super::names());
    }
}
