//! Which weights a stage works on.

use crate::{Origin, RecipeError};
use globset::{Glob, GlobMatcher};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A choice of weights by name pattern and block.
///
/// Patterns are globs over module names such as `model.layers.3.mlp.down_proj` (`*` also crosses dots). Without
/// `include` every Linear of every block is chosen; the head only where `head = true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Names must match one of these, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Names must match none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Blocks by index or range: `[0, "4..8"]`; all where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Vec<BlockSelector>>,
    /// Whether the output head is a target too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub head: bool,
}

/// One block, or a range `"from..to"` without its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be a block index or a range such as \"0..4\"")]
pub enum BlockSelector {
    /// A block by its index.
    Index(usize),
    /// A half-open range of blocks, `"4..8"`.
    Range(String),
}

impl BlockSelector {
    /// The chosen indices, or `None` where the range is malformed.
    fn range(&self) -> Option<std::ops::Range<usize>> {
        match self {
            Self::Index(index) => Some(*index..index + 1),
            Self::Range(text) => {
                let (from, to) = text.split_once("..")?;
                let range = from.trim().parse().ok()?..to.trim().parse().ok()?;
                (range.start < range.end).then_some(range)
            }
        }
    }
}

impl Targets {
    /// Checks what can be checked without a model.
    pub(super) fn check(&self, origin: &Origin, stage: usize) -> Result<(), RecipeError> {
        for (key, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                Glob::new(pattern).map_err(|e| {
                    origin
                        .error(&format!("/stages/{stage}/targets/{key}/{index}"), format!("bad pattern: {e}"))
                })?;
            }
        }
        for (index, selector) in self.blocks.iter().flatten().enumerate() {
            if selector.range().is_none() {
                let pointer = format!("/stages/{stage}/targets/blocks/{index}");
                return Err(origin.error(&pointer, "must be a block index or a range such as \"0..4\""));
            }
        }
        Ok(())
    }

    /// Prepares the choice for a model of `blocks` blocks.
    ///
    /// # Errors
    /// [`RecipeError`] where a chosen block does not exist.
    pub fn resolve(
        &self,
        origin: &Origin,
        stage: usize,
        blocks: usize,
    ) -> Result<ResolvedTargets, RecipeError> {
        let compile = |patterns: &[String]| -> Vec<GlobMatcher> {
            patterns.iter().filter_map(|p| Glob::new(p).ok()).map(|g| g.compile_matcher()).collect()
        };
        let chosen = match &self.blocks {
            None => vec![true; blocks],
            Some(selectors) => {
                let mut chosen = vec![false; blocks];
                for (index, range) in selectors.iter().map(|s| s.range().unwrap_or_default()).enumerate() {
                    if range.end > blocks {
                        let pointer = format!("/stages/{stage}/targets/blocks/{index}");
                        let problem =
                            format!("block {} does not exist; allowed are 0..{blocks}", range.end - 1);
                        return Err(origin.error(&pointer, problem));
                    }
                    chosen[range].fill(true);
                }
                chosen
            }
        };
        Ok(ResolvedTargets {
            include: compile(&self.include),
            exclude: compile(&self.exclude),
            blocks: chosen,
            everything: self.blocks.is_none(),
            head: self.head,
        })
    }
}

/// A choice that is ready to be asked.
#[derive(Clone, Debug)]
pub struct ResolvedTargets {
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
    blocks: Vec<bool>,
    everything: bool,
    /// Whether the head was asked for.
    pub head: bool,
}

impl ResolvedTargets {
    /// Whether a module or tensor of a block is chosen.
    pub fn in_block(&self, block: usize, name: &str) -> bool {
        self.blocks.get(block).copied().unwrap_or(false) && self.by_name(name)
    }

    /// Whether a tensor outside the blocks is chosen, by a technique that takes any tensor.
    pub fn outside(&self, name: &str) -> bool {
        self.everything && self.by_name(name)
    }

    /// Whether a name passes the patterns.
    pub fn by_name(&self, name: &str) -> bool {
        let any = |globs: &[GlobMatcher]| globs.iter().any(|g| g.is_match(name));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }

    /// The include patterns that match none of `names`.
    pub fn unmatched(&self, names: &[String]) -> Option<usize> {
        self.include.iter().position(|g| !names.iter().any(|n| g.is_match(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::new("r.toml")
    }

    #[test]
    fn patterns_and_blocks_choose() {
        let targets = Targets {
            include: vec!["*.mlp.*".to_owned()],
            exclude: vec!["*.down_proj".to_owned()],
            blocks: Some(vec![BlockSelector::Index(0), BlockSelector::Range("2..4".to_owned())]),
            head: false,
        };
        let chosen = targets.resolve(&origin(), 0, 4).unwrap();
        assert!(chosen.in_block(0, "model.layers.0.mlp.up_proj"));
        assert!(!chosen.in_block(1, "model.layers.1.mlp.up_proj"), "block 1 was not chosen");
        assert!(!chosen.in_block(2, "model.layers.2.mlp.down_proj"), "excluded");
        assert!(!chosen.in_block(3, "model.layers.3.self_attn.q_proj"), "not included");
        assert!(!chosen.outside("model.norm.weight"));
    }

    #[test]
    fn a_block_too_far_is_named() {
        let targets = Targets { blocks: Some(vec![BlockSelector::Index(9)]), ..Targets::default() };
        let error = targets.resolve(&origin(), 0, 4).unwrap_err();
        assert!(error.to_string().contains("block 9 does not exist; allowed are 0..4"), "{error}");
    }
}
