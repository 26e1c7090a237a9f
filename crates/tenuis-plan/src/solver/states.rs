//! Partial sums, layer by layer, without those that cannot become the best.

use super::dual::Dual;
use super::problem::{Problem, Resources, add, dot};
use std::collections::BTreeMap;

/// Bounds are sums: one that misses the best known loss by less than this share of what was summed is no better.
const ROUNDING: f64 = 1e-12;

/// With three resources, how many kept sums a new one is compared with: all would cost the square of their number, and
/// a dominated sum that stays is only slower.
const COMPARED: usize = 128;

/// A choice for the first layers.
#[derive(Clone, Copy, Debug)]
struct State {
    costs: Resources,
    loss: f64,
    /// Its step in the last trail.
    parent: u32,
    pick: u32,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Search {
    /// The best choice and its loss.
    pub(super) best: Option<(f64, Vec<usize>)>,
    /// The least bound of what was dropped for want of room; infinite if nothing was.
    pub(super) dropped_bound: f64,
    /// The most states at once.
    pub(super) states: usize,
}

/// Extends partial sums over all layers.
pub(super) fn search(problem: &Problem, dual: &Dual, max_states: usize) -> Search {
    let mut search = Search { best: dual.incumbent.clone(), dropped_bound: f64::INFINITY, states: 0 };
    let known = search.best.as_ref().map_or(f64::INFINITY, |(loss, _)| *loss);
    let rest = Rest::new(problem, dual);
    let magnitude = rest.magnitude + known.abs().min(f64::MAX);
    let worth = |bound: f64| bound < known - ROUNDING * if known.is_finite() { magnitude } else { 0.0 };
    let mut states = vec![State { costs: [0.0; 3], loss: 0.0, parent: 0, pick: 0 }];
    let mut trail: Vec<Vec<(u32, u32)>> = Vec::with_capacity(problem.layers.len());
    for (l, layer) in problem.layers.iter().enumerate() {
        let mut next = Vec::with_capacity(states.len() * layer.len());
        for (parent, state) in states.iter().enumerate() {
            for (pick, alternative) in layer.iter().enumerate() {
                let mut costs = state.costs;
                add(&mut costs, &alternative.costs);
                let loss = state.loss + alternative.loss;
                if rest.fits(problem, l + 1, &costs) && worth(rest.bound(dual, l + 1, &costs, loss)) {
                    next.push(State { costs, loss, parent: parent as u32, pick: pick as u32 });
                }
            }
        }
        states = undominated(next, problem.resources);
        if states.len() > max_states {
            let bound = |state: &State| rest.bound(dual, l + 1, &state.costs, state.loss);
            states.sort_by(|a, b| bound(a).total_cmp(&bound(b)));
            search.dropped_bound = search.dropped_bound.min(bound(&states[max_states]));
            states.truncate(max_states);
        }
        search.states = search.states.max(states.len());
        trail.push(states.iter().map(|state| (state.parent, state.pick)).collect());
    }
    let least = states.iter().enumerate().min_by(|(_, a), (_, b)| a.loss.total_cmp(&b.loss));
    if let Some((at, state)) = least.filter(|(_, state)| state.loss < known) {
        search.best = Some((state.loss, follow(&trail, at)));
    }
    search
}

fn follow(trail: &[Vec<(u32, u32)>], end: usize) -> Vec<usize> {
    let mut at = end;
    let mut picks: Vec<usize> = Vec::with_capacity(trail.len());
    for level in trail.iter().rev() {
        let (parent, pick) = level[at];
        picks.push(pick as usize);
        at = parent as usize;
    }
    picks.reverse();
    picks
}

/// What the layers that are still to come cost and lose at least.
struct Rest {
    cheapest: Vec<Resources>,
    /// `Σ min (loss + λ·cost)`.
    priced: Vec<f64>,
    /// `λ·B`.
    worth: f64,
    /// The size of the numbers that bounds are sums of.
    magnitude: f64,
}

impl Rest {
    fn new(problem: &Problem, dual: &Dual) -> Self {
        let (mut cheapest, mut priced) = (vec![[0.0; 3]], vec![0.0]);
        let (mut costs, mut sum, mut magnitude) = ([0.0; 3], 0.0, 0.0);
        for layer in problem.layers.iter().rev() {
            let least: Resources =
                std::array::from_fn(|r| layer.iter().map(|pick| pick.costs[r]).fold(f64::INFINITY, f64::min));
            add(&mut costs, &least);
            let values = layer.iter().map(|pick| pick.loss + dot(&dual.prices, &pick.costs));
            let least = values.fold(f64::INFINITY, f64::min);
            sum += least;
            magnitude += least.abs();
            cheapest.push(costs);
            priced.push(sum);
        }
        cheapest.reverse();
        priced.reverse();
        let worth = dot(&dual.prices, &problem.limits);
        Self { cheapest, priced, worth, magnitude: magnitude + worth.abs() }
    }

    fn fits(&self, problem: &Problem, layer: usize, costs: &Resources) -> bool {
        let mut least = self.cheapest[layer];
        add(&mut least, costs);
        problem.within(&least)
    }

    fn bound(&self, dual: &Dual, layer: usize, costs: &Resources, loss: f64) -> f64 {
        loss + dot(&dual.prices, costs) + self.priced[layer] - self.worth
    }
}

/// Drops states that another one undercuts in loss and all costs, or equals.
fn undominated(mut states: Vec<State>, resources: usize) -> Vec<State> {
    states.sort_by(|a, b| {
        let costs = a.costs.iter().zip(&b.costs).map(|(a, b)| a.total_cmp(b));
        costs
            .chain([a.loss.total_cmp(&b.loss)])
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    match resources {
        1 => {
            let mut least = f64::INFINITY;
            states.retain(|state| {
                let better = state.loss < least;
                least = least.min(state.loss);
                better
            });
        }
        2 => {
            let mut stairs = Stairs::default();
            states.retain(|state| stairs.admit(state.costs[1], state.loss));
        }
        _ => {
            let mut kept: Vec<State> = Vec::new();
            states.retain(|state| {
                let covers =
                    |k: &State| k.loss <= state.loss && k.costs.iter().zip(&state.costs).all(|(k, s)| k <= s);
                let new = !kept.iter().rev().take(COMPARED).any(covers);
                if new {
                    kept.push(*state);
                }
                new
            });
        }
    }
    states
}

/// The pairs of second cost and loss that none so far undercuts: the loss falls as the cost rises.
#[derive(Default)]
struct Stairs(BTreeMap<u64, f64>);

impl Stairs {
    /// Admits a pair unless one of the stairs covers it.
    fn admit(&mut self, cost: f64, loss: f64) -> bool {
        // Bits of numbers that are not negative sort as the numbers do.
        let key = (cost + 0.0).to_bits();
        if self.0.range(..=key).next_back().is_some_and(|(_, &known)| known <= loss) {
            return false;
        }
        while let Some((&covered, _)) = self.0.range(key..).next().filter(|(_, known)| **known >= loss) {
            self.0.remove(&covered);
        }
        self.0.insert(key, loss);
        true
    }
}
