//! Figures per weight as maps over layers.

use super::charts::Chart;
use crate::chart::{Heat, heat};
use crate::compare::stages;
use crate::data::{Metric, Report};
use std::collections::{BTreeMap, BTreeSet};

/// Which quantities are shown, first those that say most. What varies nowhere is not shown.
const QUANTITIES: [&str; 7] =
    ["bits", "weight_error", "proxy_error", "sparsity", "rank", "truncation_loss", "correction_bytes"];
/// Most maps of one stage.
const MOST_PER_STAGE: usize = 2;

/// Part and layer to value, of one quantity.
type Cells = BTreeMap<(String, u64), f64>;

/// The maps of all candidates; those of one quantity share a range, so that they can be compared.
pub(super) fn maps(report: &Report) -> Vec<Chart> {
    let mut found: Vec<(String, &str, Cells)> = Vec::new();
    for candidate in &report.candidates {
        for stage in stages(candidate) {
            let mut all = cells(&stage.metrics);
            let known = QUANTITIES.into_iter().filter_map(|name| Some((name, all.remove(name)?)));
            let shown = known.filter(|(name, cells)| varies(cells) || *name == "bits").take(MOST_PER_STAGE);
            found.extend(shown.map(|(quantity, cells)| {
                let title =
                    format!("{}: {} of {}", candidate.name, quantity.replace('_', " "), stage.technique);
                (title, quantity, cells)
            }));
        }
    }
    let mut span: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (_, quantity, cells) in &found {
        let range = span.entry(quantity).or_insert((f64::INFINITY, f64::NEG_INFINITY));
        *range = cells.values().fold(*range, |(low, high), &v| (low.min(v), high.max(v)));
    }
    let draw = |(title, quantity, cells): (String, &str, Cells)| {
        let svg = heat(&title, &map(&cells, span[quantity]));
        Chart { title, svg }
    };
    found.into_iter().map(draw).collect()
}

fn varies(cells: &Cells) -> bool {
    let first = cells.values().next();
    cells.values().any(|value| Some(value) != first)
}

fn map(cells: &Cells, range: (f64, f64)) -> Heat {
    let parts: BTreeSet<&String> = cells.keys().map(|(part, _)| part).collect();
    let layers: BTreeSet<u64> = cells.keys().map(|(_, layer)| *layer).collect();
    let value = |part: &String, layer: &u64| cells.get(&(part.clone(), *layer)).copied();
    let values = parts.iter().flat_map(|part| layers.iter().map(move |layer| value(part, layer))).collect();
    Heat { layers: layers.into_iter().collect(), parts: parts.into_iter().cloned().collect(), values, range }
}

/// Every quantity's cells.
fn cells(metrics: &[Metric]) -> BTreeMap<&str, Cells> {
    let mut all: BTreeMap<&str, Cells> = BTreeMap::new();
    for metric in metrics {
        let Some((weight, quantity)) = metric.key.rsplit_once('/') else { continue };
        let (Some((layer, part)), Some(value)) = (place(weight), metric.value) else { continue };
        all.entry(quantity).or_default().insert((part, layer), value);
    }
    all
}

/// A weight's layer and what it is in it: the first number between dots is the layer, the rest of the name is the part.
fn place(weight: &str) -> Option<(u64, String)> {
    let segments: Vec<&str> = weight.split('.').collect();
    let at = segments.iter().position(|segment| segment.parse::<u64>().is_ok())?;
    let part = segments[at + 1..].join(".");
    Some((segments[at].parse().ok()?, if part.is_empty() { "layer".to_owned() } else { part }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_a_name_is_the_layer() {
        assert_eq!(place("model.layers.12.mlp.experts.3.w1"), Some((12, "mlp.experts.3.w1".to_owned())));
        assert_eq!(place("transformer.h.0"), Some((0, "layer".to_owned())));
        assert_eq!(place("lm_head"), None);
    }
}
