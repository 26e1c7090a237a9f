//! The problem as arrays, without dominated alternatives.

use super::{Alternative, Budget, Layer, MAX_RESOURCES, SolverError};

/// Costs or prices; resources that a problem does not have cost 0 and have no price.
pub(super) type Resources = [f64; MAX_RESOURCES];

/// Sums of costs are rounded: a budget is kept if they exceed it by no more than this share.
const SLACK: f64 = 1e-12;

/// An alternative that is not dominated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// Its index among the layer's alternatives.
    pub(super) index: usize,
    pub(super) costs: Resources,
    pub(super) loss: f64,
}

/// What is solved; picks are indices into the lists of `layers`.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) layers: Vec<Vec<Pick>>,
    pub(super) limits: Resources,
    pub(super) resources: usize,
}

impl Problem {
    pub(super) fn new(layers: &[Layer], budgets: &[Budget]) -> Result<Self, SolverError> {
        if layers.is_empty() {
            return Err(SolverError::NoLayers);
        }
        if !(1..=MAX_RESOURCES).contains(&budgets.len()) {
            return Err(SolverError::Budgets { found: budgets.len() });
        }
        let mut limits = [0.0; MAX_RESOURCES];
        for (limit, budget) in limits.iter_mut().zip(budgets) {
            if !budget.limit.is_finite() {
                let what = format!("the budget of {}", budget.resource);
                return Err(SolverError::Number { what, value: budget.limit });
            }
            *limit = budget.limit;
        }
        let layers = layers.iter().map(|layer| picks(layer, budgets.len())).collect::<Result<Vec<_>, _>>()?;
        let problem = Self { layers, limits, resources: budgets.len() };
        let needed = problem.cheapest_from(0);
        match (0..budgets.len()).find(|&r| needed[r] > problem.tolerated(r)) {
            Some(r) => Err(SolverError::Infeasible {
                resource: budgets[r].resource.clone(),
                needed: needed[r],
                limit: limits[r],
            }),
            None => Ok(problem),
        }
    }

    /// The least cost of all layers from one on, in each resource alone.
    pub(super) fn cheapest_from(&self, layer: usize) -> Resources {
        let mut sums = [0.0; MAX_RESOURCES];
        for picks in &self.layers[layer..] {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum += picks.iter().map(|pick| pick.costs[r]).fold(f64::INFINITY, f64::min);
            }
        }
        sums
    }

    /// A limit and what rounding may add to it.
    pub(super) fn tolerated(&self, resource: usize) -> f64 {
        self.limits[resource] + self.limits[resource].abs() * SLACK
    }

    pub(super) fn within(&self, costs: &Resources) -> bool {
        (0..self.resources).all(|r| costs[r] <= self.tolerated(r))
    }

    pub(super) fn costs_of(&self, picks: &[usize]) -> Resources {
        let mut sums = [0.0; MAX_RESOURCES];
        for (layer, &pick) in self.layers.iter().zip(picks) {
            add(&mut sums, &layer[pick].costs);
        }
        sums
    }

    pub(super) fn loss_of(&self, picks: &[usize]) -> f64 {
        self.layers.iter().zip(picks).map(|(layer, &pick)| layer[pick].loss).sum()
    }

    pub(super) fn alternatives_of(&self, picks: &[usize]) -> Vec<usize> {
        self.layers.iter().zip(picks).map(|(layer, &pick)| layer[pick].index).collect()
    }
}

pub(super) fn add(sums: &mut Resources, costs: &Resources) {
    for (sum, cost) in sums.iter_mut().zip(costs) {
        *sum += cost;
    }
}

pub(super) fn dot(a: &Resources, b: &Resources) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Checks a layer and drops the alternatives that another one undercuts in loss and all costs, or equals and precedes.
fn picks(layer: &Layer, resources: usize) -> Result<Vec<Pick>, SolverError> {
    if layer.alternatives.is_empty() {
        return Err(SolverError::NoAlternatives { layer: layer.name.clone() });
    }
    let all = layer
        .alternatives
        .iter()
        .enumerate()
        .map(|(index, alternative)| pick(layer, index, alternative, resources));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let covers = |a: &Pick, b: &Pick| a.loss <= b.loss && a.costs.iter().zip(&b.costs).all(|(a, b)| a <= b);
    let dominated = |b: &Pick| {
        all.iter().any(|a| a.index != b.index && covers(a, b) && (!covers(b, a) || a.index < b.index))
    };
    Ok(all.iter().copied().filter(|pick| !dominated(pick)).collect())
}

fn pick(
    layer: &Layer,
    index: usize,
    alternative: &Alternative,
    resources: usize,
) -> Result<Pick, SolverError> {
    let Alternative { name, costs, loss } = alternative;
    if costs.len() != resources {
        return Err(SolverError::Costs {
            layer: layer.name.clone(),
            alternative: name.clone(),
            expected: resources,
            found: costs.len(),
        });
    }
    let wrong = |what: &str, value| SolverError::Number {
        what: format!("{what} of {name} of layer {}", layer.name),
        value,
    };
    if !loss.is_finite() {
        return Err(wrong("the loss", *loss));
    }
    let mut padded = [0.0; MAX_RESOURCES];
    for (slot, &cost) in padded.iter_mut().zip(costs) {
        if !(cost.is_finite() && cost >= 0.0) {
            return Err(wrong("a cost", cost));
        }
        *slot = cost;
    }
    Ok(Pick { index, costs: padded, loss: *loss })
}
