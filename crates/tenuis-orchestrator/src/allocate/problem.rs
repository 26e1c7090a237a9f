//! The choice as the solver sees it.

use super::candidates::{Candidate, Slot};
use super::probe::State;
use super::{AllocateError, Resource};
use tenuis_plan::solver::{self, Alternative, Budget, Layer, MAX_RESOURCES, SolverConfig, SolverError};

/// The resource that limits how many Linears change at once.
const CHANGES: &str = "changes";

/// A budget and what is spent whatever is chosen.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) resource: Resource,
    /// What all may cost, the fixed part included.
    pub(super) limit: f64,
    /// What no choice touches.
    pub(super) fixed: f64,
    /// How much of that goes with each block that is left out.
    pub(super) of_block: Vec<f64>,
}

impl Bound {
    fn fixed_without(&self, dropped: &[usize]) -> f64 {
        self.fixed - dropped.iter().filter_map(|&block| self.of_block.get(block)).sum::<f64>()
    }
}

/// What is lost by slot and choice; `None` where a choice is not offered.
pub(super) type Losses = Vec<Vec<Option<f64>>>;

/// Slots, budgets, and the choices that are worth a look.
pub(super) struct Problem<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) bounds: Vec<Bound>,
    /// By slot, the choices that no other beats in every cost and in the error of the output.
    pub(super) offered: Vec<Vec<usize>>,
}

/// What the solver found.
#[derive(Clone, Debug)]
pub(super) struct Solved {
    pub(super) state: State,
    pub(super) loss: f64,
    pub(super) prices: Vec<f64>,
    pub(super) gap: f64,
}

impl<'a> Problem<'a> {
    pub(super) fn new(slots: &'a [Slot], bounds: Vec<Bound>) -> Self {
        let offered = slots.iter().map(|slot| offered(slot, &bounds)).collect();
        Self { slots, bounds, offered }
    }

    /// What a state costs in each resource.
    pub(super) fn costs(&self, state: &State) -> Vec<f64> {
        let of = |bound: &Bound| {
            let chosen = self.slots.iter().zip(&state.picks).filter(|(slot, _)| !state.lacks(slot));
            let costs = chosen.map(|(slot, pick)| {
                pick.map_or(&slot.base, |pick| &slot.candidates[pick]).cost(bound.resource)
            });
            bound.fixed_without(&state.dropped) + costs.sum::<f64>()
        };
        self.bounds.iter().map(of).collect()
    }

    /// Whether a state keeps every budget.
    pub(super) fn fits(&self, state: &State) -> bool {
        self.costs(state).iter().zip(&self.bounds).all(|(cost, bound)| *cost <= bound.limit)
    }

    /// The least sum of losses within the budgets without the dropped blocks; `near` allows so many changes of a state.
    pub(super) fn solve(
        &self,
        losses: &Losses,
        dropped: &[usize],
        near: Option<(&State, usize)>,
    ) -> Result<Solved, AllocateError> {
        let mut base = State::base(self.slots);
        base.dropped = dropped.to_vec();
        let (mut layers, mut options) = (Vec::new(), Vec::new());
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !base.lacks(slot)) {
            let (mut alternatives, mut choices) = (Vec::new(), Vec::new());
            for (choice, loss) in losses[index].iter().enumerate() {
                let Some(loss) = loss else { continue };
                let mut costs: Vec<f64> =
                    self.bounds.iter().map(|bound| slot.candidates[choice].cost(bound.resource)).collect();
                if let Some((state, _)) = near {
                    costs.push(f64::from(u8::from(state.picks[index] != Some(choice))));
                }
                alternatives.push(Alternative::new("", &costs, *loss));
                choices.push(choice);
            }
            layers.push(Layer::new(&slot.linear.name, alternatives));
            options.push((index, choices));
        }
        let mut budgets: Vec<Budget> = self
            .bounds
            .iter()
            .map(|bound| Budget::new(bound.resource.name(), bound.limit - bound.fixed_without(dropped)))
            .collect();
        budgets.extend(near.map(|(_, most)| Budget::new(CHANGES, most as f64)));
        let found = SolverConfig::default().solve(&layers, &budgets).map_err(|e| self.told(e, dropped))?;
        let solver::Allocation { choices, loss, mut prices, gap, .. } = found;
        for ((index, offered), choice) in options.into_iter().zip(choices) {
            base.picks[index] = Some(offered[choice]);
        }
        prices.truncate(self.bounds.len());
        Ok(Solved { state: base, loss, prices, gap })
    }

    /// Whether the solver can take one more budget.
    pub(super) fn limits_changes(&self) -> bool {
        self.bounds.len() < MAX_RESOURCES
    }

    fn told(&self, error: SolverError, dropped: &[usize]) -> AllocateError {
        let SolverError::Infeasible { resource, needed, .. } = &error else { return error.into() };
        match self.bounds.iter().find(|bound| bound.resource.name() == resource) {
            Some(bound) => {
                let fixed = bound.fixed_without(dropped);
                let (resource, limit) = (bound.resource.name(), bound.limit);
                AllocateError::TooSmall { resource, needed: needed + fixed, fixed, limit }
            }
            None => error.into(),
        }
    }
}

fn offered(slot: &Slot, bounds: &[Bound]) -> Vec<usize> {
    let figures = |candidate: &Candidate| -> Vec<f64> {
        bounds.iter().map(|b| candidate.cost(b.resource)).chain([candidate.error]).collect()
    };
    let all: Vec<Vec<f64>> = slot.candidates.iter().map(figures).collect();
    let beaten = |index: usize| {
        all.iter().enumerate().any(|(other, figures)| {
            let no_worse = figures.iter().zip(&all[index]).all(|(a, b)| a <= b);
            // Of equals the first is offered.
            no_worse && other != index && (figures != &all[index] || other < index)
        })
    };
    (0..all.len()).filter(|&index| !beaten(index)).collect()
}

/// Every choice of at most `most` of `n` blocks that leaves one, smaller ones first.
pub(super) fn subsets(n: usize, most: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..most.min(n.saturating_sub(1)) {
        let longer = |set: &Vec<usize>| {
            let set = set.clone();
            (set.last().map_or(0, |last| last + 1)..n).map(move |next| {
                let mut set = set.clone();
                set.push(next);
                set
            })
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::subsets;

    #[test]
    fn subsets_leave_a_block() {
        assert_eq!(subsets(2, 2), [vec![], vec![0], vec![1]]);
        assert_eq!(subsets(3, 2).len(), 1 + 3 + 3);
        assert_eq!(subsets(1, 1), [Vec::<usize>::new()]);
    }
}
