//! Recipes, the plugin loader and the streaming compression pipeline
