//! What a student is trained toward.

use crate::error::TrainError;
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
    /// How many of the teacher's tokens are told apart at each position: its k likeliest ones, while all others count as
    /// one class. Without it every token is. The divergence over the k + 1 classes is never above the whole one, and equals
    /// it where k is the vocabulary. It is what [`CachedTeacher`](crate::CachedTeacher) keeps.
    #[schemars(range(min = 1))]
    pub top_k: Option<usize>,
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
            top_k: None,
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

    /// Checks weights, temperature and `top_k` against the teacher's vocabulary.
    pub(crate) fn validate(&self, vocab: usize, has_teacher: bool) -> Result<(), TrainError> {
        for (option, value) in [("ce", self.ce), ("kd", self.kd), ("hidden", self.hidden)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(TrainError::Option { option, value: value.to_string(), allowed: "at least 0" });
            }
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            let value = self.temperature.to_string();
            return Err(TrainError::Option { option: "temperature", value, allowed: "above 0" });
        }
        if let Some(k) = self.top_k.filter(|k| !(1..=vocab).contains(k)) {
            let allowed = "at least 1 and at most the vocabulary";
            return Err(TrainError::Option { option: "top_k", value: k.to_string(), allowed });
        }
        let needs = self.needs_teacher();
        if (needs && !has_teacher) || (self.ce == 0.0 && !needs) {
            let allowed = if needs {
                "only ce above 0, as there is no teacher"
            } else if has_teacher {
                "above 0 in one term at least"
            } else {
                "above 0 in ce, as there is no teacher"
            };
            let value = format!("ce {}, kd {}, hidden {}", self.ce, self.kd, self.hidden);
            return Err(TrainError::Option { option: "objective", value, allowed });
        }
        Ok(())
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
