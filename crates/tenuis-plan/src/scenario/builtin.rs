//! The scenarios that come with the library.

use super::{Scenario, ScenarioError};

/// Names and texts of the embedded files. Their loss limits are those of the usual service levels; the other budgets are ours.
const BUILTIN: [(&str, &str); 6] = [
    ("cloud", include_str!("../../scenarios/cloud.toml")),
    ("phone", include_str!("../../scenarios/phone.toml")),
    ("iot", include_str!("../../scenarios/iot.toml")),
    ("realtime", include_str!("../../scenarios/realtime.toml")),
    ("quality-first", include_str!("../../scenarios/quality-first.toml")),
    ("cost-first", include_str!("../../scenarios/cost-first.toml")),
];

/// Lists the names of the scenarios that come with the library.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// Parses a scenario that comes with the library.
///
/// # Errors
///
/// [`ScenarioError::Unknown`] with the names there are.
///
/// ```
/// let phone = tenuis_plan::scenario::builtin("phone")?;
/// assert_eq!(phone.constraints[0].at_most, Some(3.0));
/// # Ok::<(), tenuis_plan::scenario::ScenarioError>(())
/// ```
pub fn builtin(name: &str) -> Result<Scenario, ScenarioError> {
    let Some((_, text)) = BUILTIN.iter().find(|(known, _)| *known == name) else {
        let known = builtin_names().collect::<Vec<_>>().join(", ");
        return Err(ScenarioError::Unknown { name: name.to_owned(), known });
    };
    Scenario::parse(text, &format!("built-in scenario {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::LOSS;

    #[test]
    fn every_file_bears_its_name_and_the_loss_that_it_promises() {
        let wanted =
            [Some(2.0), Some(3.0), Some(5.0), Some(1.0), None, Some(5.0)].into_iter().zip(builtin_names());
        for (loss, name) in wanted {
            let scenario = builtin(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(!scenario.description.is_empty());
            let bound = scenario.constraints.iter().find(|c| c.figure == LOSS && c.hard);
            assert_eq!(bound.and_then(|c| c.at_most), loss, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message = builtin("fone").unwrap_err().to_string();
        assert!(message.contains("fone") && message.contains("quality-first"), "{message}");
    }
}
