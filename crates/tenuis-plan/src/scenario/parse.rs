//! From a file to a scenario that makes sense, or to the place where it does not.

use super::error::{Place, ScenarioError};
use super::{Constraint, LOSS, Objective, Scenario, Term};
use serde::Deserialize;
use tenuis_metrics::Direction;
use toml::Spanned;

/// The file as it is read: every value that can be wrong on its own knows where it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    objective: Spanned<Objective>,
    #[serde(default = "default_tokens")]
    prompt_tokens: Spanned<usize>,
    #[serde(default = "default_tokens")]
    output_tokens: Spanned<usize>,
    #[serde(default)]
    terms: Vec<Spanned<Term>>,
    #[serde(default)]
    constraints: Vec<Spanned<Constraint>>,
}

fn default_tokens() -> Spanned<usize> {
    Spanned::new(0..0, 128)
}

impl Scenario {
    /// Parses a TOML; `file` is for messages.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Toml`] for what is no TOML or has unknown keys, [`ScenarioError::Value`] for what makes no sense.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let read: File = toml::from_str(text).map_err(|error| ScenarioError::Toml {
            place: Place::of(file, text, error.span().map_or(0, |span| span.start)),
            problem: error.message().replace('\n', "; "),
        })?;
        let at = |start: usize| Place::of(file, text, start);
        let terms = read.terms.iter().map(|term| at(term.span().start)).collect::<Vec<_>>();
        let constraints = read.constraints.iter().map(|bound| at(bound.span().start)).collect::<Vec<_>>();
        let places = Places {
            name: at(read.name.span().start),
            objective: at(read.objective.span().start),
            prompt_tokens: at(read.prompt_tokens.span().start),
            output_tokens: at(read.output_tokens.span().start),
            terms,
            constraints,
        };
        let scenario = Self {
            name: read.name.into_inner(),
            description: read.description,
            objective: read.objective.into_inner(),
            prompt_tokens: read.prompt_tokens.into_inner(),
            output_tokens: read.output_tokens.into_inner(),
            terms: read.terms.into_iter().map(Spanned::into_inner).collect(),
            constraints: read.constraints.into_iter().map(Spanned::into_inner).collect(),
        };
        scenario.check(&places)?;
        Ok(scenario)
    }

    fn check(&self, places: &Places) -> Result<(), ScenarioError> {
        let value = |place: &Place, key: &'static str, problem: String| {
            Err(ScenarioError::Value { place: place.clone(), key, problem })
        };
        if self.name.trim().is_empty() {
            return value(&places.name, "name", "is empty; give the scenario a name".into());
        }
        for (tokens, key, place) in [
            (self.prompt_tokens, "prompt_tokens", &places.prompt_tokens),
            (self.output_tokens, "output_tokens", &places.output_tokens),
        ] {
            if tokens == 0 {
                return value(place, key, "is 0; a latency needs at least 1 token".into());
            }
        }
        let takes_terms = self.objective != Objective::MaxQuality;
        if takes_terms == self.terms.is_empty() {
            let problem = if takes_terms {
                "minimises or weighs nothing; add [[terms]] with a figure each"
            } else {
                "takes no [[terms]]; use \"score\" to weigh figures, with one term for \"loss\""
            };
            return value(&places.objective, "objective", problem.into());
        }
        for (term, place) in self.terms.iter().zip(&places.terms) {
            if !(term.weight > 0.0 && term.weight.is_finite()) {
                return value(place, "weight", format!("is {}; it must be positive and finite", term.weight));
            }
            if term.figure == LOSS && self.objective == Objective::MinCost {
                let problem =
                    "is \"loss\", which is no cost; bound it by a constraint, or use the objective \"score\"";
                return value(place, "figure", problem.into());
            }
            if term.figure == LOSS && term.direction == Direction::HigherIsBetter {
                return value(place, "direction", "asks for more loss; leave it out".into());
            }
            if self.terms.iter().filter(|other| other.figure == term.figure).count() > 1 {
                return value(
                    place,
                    "figure",
                    format!("is {:?} in two terms; add their weights", term.figure),
                );
            }
        }
        for (constraint, place) in self.constraints.iter().zip(&places.constraints) {
            let ((Some(bound), None) | (None, Some(bound))) = (constraint.at_most, constraint.at_least)
            else {
                let problem = "and at_least exclude each other; give exactly one";
                return value(place, "at_most", problem.into());
            };
            if !(bound.is_finite() && bound >= 0.0) {
                return value(
                    place,
                    "at_most",
                    format!("or at_least is {bound}; it must be finite and not negative"),
                );
            }
            if !(constraint.penalty.is_finite() && constraint.penalty >= 0.0) {
                return value(
                    place,
                    "penalty",
                    format!("is {}; it must be finite and not negative", constraint.penalty),
                );
            }
        }
        Ok(())
    }
}

/// Where the values of a file stand.
struct Places {
    name: Place,
    objective: Place,
    prompt_tokens: Place,
    output_tokens: Place,
    terms: Vec<Place>,
    constraints: Vec<Place>,
}
