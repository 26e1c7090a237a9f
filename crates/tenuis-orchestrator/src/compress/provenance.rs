//! What a candidate's manifest says of how it came about.

use super::Course;
use super::attempt::State;
use serde_json::{Value, json};
use tenuis_plan::gate::Decision;

/// The key of what was made, the resolved recipe, what every stage did, what gates decided, and the lineage back to the
/// checkpoint that nothing is known about.
pub(super) fn of(course: &Course<'_>, state: &State, decisions: &[Decision]) -> Value {
    let mut provenance = json!({
        "key": state.key,
        "recipe": course.loaded.recipe,
        "walks": state.walks,
        "record": state.records.last(),
        "stages": state.records,
        "lineage": state.lineage,
        "seconds": state.seconds,
    });
    if !decisions.is_empty() {
        provenance["decisions"] = serde_json::to_value(decisions).unwrap_or_default();
    }
    provenance
}
