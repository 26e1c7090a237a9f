//! The recipes that run when none is given.

use crate::{LoadedRecipe, RecipeError};

/// The texts, in the order in which they run.
const RECIPES: [(&str, &str); 5] = [
    ("built-in recipe f16", include_str!("../recipes/f16.toml")),
    ("built-in recipe int8-rtn", include_str!("../recipes/int8-rtn.toml")),
    ("built-in recipe int4-rtn", include_str!("../recipes/int4-rtn.toml")),
    ("built-in recipe int4-gptq", include_str!("../recipes/int4-gptq.toml")),
    ("built-in recipe distilled", include_str!("../recipes/distilled.toml")),
];

/// The recipes `f16`, `int8-rtn`, `int4-rtn`, `int4-gptq` and `distilled`.
///
/// # Errors
/// None for the texts that ship; the signature is that of parsing.
pub fn builtin_recipes() -> Result<Vec<LoadedRecipe>, RecipeError> {
    RECIPES.iter().map(|(file, text)| LoadedRecipe::parse(file, text)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_built_in_recipe_parses_under_its_name() {
        let names: Vec<String> =
            super::builtin_recipes().unwrap().into_iter().map(|r| r.recipe.name).collect();
        assert_eq!(names, ["f16", "int8-rtn", "int4-rtn", "int4-gptq", "distilled"]);
    }
}
