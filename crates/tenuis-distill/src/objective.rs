//! What a student is trained toward.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the student's distribution `p` is from the teacher's `q`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// `KL(q ‖ p)` (Hinton et al. 2015, 1503.02531): the student covers everything that the teacher finds likely.
    #[default]
    ForwardKl,
    /// `KL(p ‖ q)` (Gu et al. 2023, MiniLLM, 2306.08543): the student keeps to what the teacher finds likely.
    ReverseKl,
    /// `½ KL(p ‖ m) + ½ KL(q ‖ m)` with `m = (p + q)/2` (Agarwal et al. 2023, GKD, 2306.13649): between the two, bounded.
    JensenShannon,
}

/// Loss terms and their weights:
/// `ce · CE + kd · T² · D(teacher, student at temperature T) + hidden · MSE(projected student states, teacher states)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Objective {
    /// Weight of the cross-entropy with the text itself.
    #[schemars(range(min = 0.0))]
    pub ce: f64,
    /// Weight of the divergence from the teacher.
    #[schemars(range(min = 0.0))]
    pub kd: f64,
    /// Which divergence.
    pub divergence: Divergence,
    /// The temperature T that both distributions are softened with; the term is multiplied by T² so that its gradient
    /// keeps its size.
    #[schemars(range(min = 0.1, max = 100.0))]
    pub temperature: f64,
    /// Weight of the match of hidden states (Jiao et al. 2019, TinyBERT, 1909.10351), each through a learned projection
    /// where the widths differ.
    #[schemars(range(min = 0.0))]
    pub hidden: f64,
    /// Which teacher block each student block imitates; without it blocks are spread evenly, the last onto the last.
    pub layer_map: Option<Vec<usize>>,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            ce: 0.0,
            kd: 1.0,
            divergence: Divergence::ForwardKl,
            temperature: 1.0,
            hidden: 0.0,
            layer_map: None,
        }
    }
}

impl Objective {
    /// Cross-entropy alone: plain language modelling.
    pub fn cross_entropy() -> Self {
        Self { ce: 1.0, kd: 0.0, ..Self::default() }
    }

    /// Whether a teacher is needed.
    pub fn needs_teacher(&self) -> bool {
        self.kd > 0.0 || self.hidden > 0.0
    }

    /// The teacher block for each of `student` blocks: the given map, or an even spread
    /// `⌈(i + 1) · teacher / student⌉ − 1`.
    pub fn teacher_blocks(&self, student: usize, teacher: usize) -> Vec<usize> {
        match &self.layer_map {
            Some(map) => map.clone(),
            None => (1..=student).map(|i| (i * teacher).div_ceil(student) - 1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_spread_with_the_last_on_the_last() {
        let objective = Objective::default();
        assert_eq!(objective.teacher_blocks(2, 4), [1, 3]);
        assert_eq!(objective.teacher_blocks(3, 4), [1, 2, 3]);
        assert_eq!(objective.teacher_blocks(4, 2), [0, 0, 1, 1]);
    }
}
