//! From scores to a choice: the exact optimum of the sum, then rounds around what is best so far.
//!
//! The divergence of a model is no sum of what its Linears do one by one: `D(ŵ) = Σ D_l + interactions`. So the sum is taken where
//! it matters: at the best state so far, what *one more* change does is measured, and the solver chooses again by these differences,
//! allowed few changes at once where many turn out worse (a trust region; Conn, Gould and Toint 2000). A step is taken only where
//! the divergence that is measured falls.

use super::candidates::Slot;
use super::menu::Menu;
use super::probe::{Probe, State};
use super::problem::{Losses, Problem, Solved, subsets};
use super::record::{Round, Uniform};
use super::{AllocateRequest, Scores};
use crate::error::RunError;
use crate::observer::Observer;

/// What was found, and what was tried on the way.
pub(super) struct Found {
    pub(super) state: State,
    /// What each choice by itself does, or in proportion to what it does.
    pub(super) losses: Losses,
    /// What leaving out a block does.
    pub(super) of_blocks: Vec<f64>,
    /// The optimum of the sum.
    pub(super) sum: Solved,
    /// Its measured divergence.
    pub(super) sum_divergence: Option<f64>,
    pub(super) divergence: Option<f64>,
    pub(super) uniform: Vec<Uniform>,
    pub(super) rounds: Vec<Round>,
}

/// Searches without running the model: by the error of the outputs.
pub(super) fn by_error(problem: &Problem<'_>) -> Result<Found, RunError> {
    let losses: Losses = scored(problem, |slot, choice| Ok(slot.candidates[choice].error))?;
    let sum = problem.solve(&losses, &[], None)?;
    let state = sum.state.clone();
    Ok(Found {
        state,
        losses,
        of_blocks: Vec::new(),
        sum,
        sum_divergence: None,
        divergence: None,
        uniform: Vec::new(),
        rounds: Vec::new(),
    })
}

/// Searches by divergence.
pub(super) fn by_divergence(
    problem: &Problem<'_>,
    probe: &mut Probe<'_>,
    menu: &Menu,
    request: &AllocateRequest,
    n_blocks: usize,
    observer: &dyn Observer,
) -> Result<Found, RunError> {
    let slots = problem.slots;
    let base = probe.place(slots, &State::base(slots))?;
    let losses = match request.scores {
        Scores::Every => measured(problem, probe, &State::base(slots), base, observer, "allocate: scoring")?,
        Scores::Reference | Scores::Error => in_proportion(problem, probe, base, observer)?,
    };
    let mut of_blocks = Vec::new();
    if menu.drop_blocks > 0 && n_blocks > 1 {
        for block in 0..n_blocks {
            of_blocks.push((probe.without(block)? - base).max(0.0));
        }
    }
    let (sum, with_drop) = optimum(problem, &losses, &of_blocks, menu.drop_blocks)?;
    let sum_divergence = probe.place(slots, &sum.state)?;
    let mut best = (sum_divergence, sum.state.clone());
    if let Some(state) = with_drop {
        keep(&mut best, (probe.place(slots, &state)?, state));
    }
    let mut uniform = Vec::new();
    for (name, state) in uniform_states(menu, slots) {
        let (divergence, fits) = (probe.place(slots, &state)?, problem.fits(&state));
        let costs = problem.costs(&state);
        uniform.push(Uniform { name, costs, divergence, fits, predicted: predicted(&losses, slots, &state) });
        if fits {
            keep(&mut best, (divergence, state));
        }
    }
    let mut rounds = Vec::new();
    let most = if request.scores == Scores::Every { request.rounds } else { 0 };
    for round in 0..most {
        let (before, state) = best.clone();
        probe.place(slots, &state)?;
        let label = format!("allocate: round {} of {most}", round + 1);
        let differences = measured(problem, probe, &state, before, observer, &label)?;
        let mut tried: Vec<State> = vec![state.clone()];
        let mut radius = slots.len();
        while radius > 0 {
            let near = problem.limits_changes().then_some((&state, radius));
            let solved = problem.solve(&differences, &state.dropped, near)?;
            if !tried.contains(&solved.state) {
                let divergence = probe.place(slots, &solved.state)?;
                let changes = solved.state.picks.iter().zip(&state.picks).filter(|(a, b)| a != b).count();
                rounds.push(Round {
                    round,
                    changes,
                    expected: before + solved.loss,
                    divergence,
                    gap: solved.gap,
                });
                tried.push(solved.state.clone());
                keep(&mut best, (divergence, solved.state));
            }
            radius = if near.is_some() { radius / 2 } else { 0 };
        }
        if best.1 == state {
            break;
        }
    }
    let (divergence, state) = best;
    let (sum_divergence, divergence) = (Some(sum_divergence), Some(divergence));
    Ok(Found { state, losses, of_blocks, sum, sum_divergence, divergence, uniform, rounds })
}

fn keep(best: &mut (f64, State), found: (f64, State)) {
    if found.0 < best.0 {
        *best = found;
    }
}

/// The sum of the losses of a state's choices, where all are known.
pub(super) fn predicted(losses: &Losses, slots: &[Slot], state: &State) -> Option<f64> {
    let chosen = slots.iter().zip(losses).zip(&state.picks).filter(|((slot, _), _)| !state.lacks(slot));
    chosen.map(|((_, losses), pick)| pick.map_or(Some(0.0), |pick| losses[pick])).sum()
}

/// A loss for every choice that is offered.
fn scored(
    problem: &Problem<'_>,
    mut loss: impl FnMut(&Slot, usize) -> Result<f64, RunError>,
) -> Result<Losses, RunError> {
    let mut all = Vec::with_capacity(problem.slots.len());
    for (slot, offered) in problem.slots.iter().zip(&problem.offered) {
        let mut losses = vec![None; slot.candidates.len()];
        for &choice in offered {
            losses[choice] = Some(loss(slot, choice)?);
        }
        all.push(losses);
    }
    Ok(all)
}

/// By how much the divergence changes from `now` on when one Linear of a state takes another choice.
fn measured(
    problem: &Problem<'_>,
    probe: &Probe<'_>,
    state: &State,
    now: f64,
    observer: &dyn Observer,
    label: &str,
) -> Result<Losses, RunError> {
    observer.begin(label, problem.slots.len() as u64);
    let mut all = Vec::with_capacity(problem.slots.len());
    for ((slot, offered), pick) in problem.slots.iter().zip(&problem.offered).zip(&state.picks) {
        if observer.cancelled() {
            return Err(RunError::Cancelled);
        }
        let mut losses = vec![None; slot.candidates.len()];
        for &choice in offered.iter().filter(|_| !state.lacks(slot)) {
            losses[choice] = Some(if *pick == Some(choice) { 0.0 } else { probe.with(slot, choice)? - now });
        }
        if let Some(pick) = *pick {
            losses[pick] = Some(0.0);
        }
        all.push(losses);
        observer.advance(1);
    }
    observer.end();
    Ok(all)
}

/// One choice per Linear is measured, the one in the middle of those offered; the others follow the squared error of the output,
/// as a divergence does for small changes: `D ≈ ½·δᵀFδ` (Kullback 1959).
fn in_proportion(
    problem: &Problem<'_>,
    probe: &Probe<'_>,
    base: f64,
    observer: &dyn Observer,
) -> Result<Losses, RunError> {
    observer.begin("allocate: scoring", problem.slots.len() as u64);
    let mut all = Vec::with_capacity(problem.slots.len());
    for (slot, offered) in problem.slots.iter().zip(&problem.offered) {
        if observer.cancelled() {
            return Err(RunError::Cancelled);
        }
        let error = |choice: usize| slot.candidates[choice].error;
        let mut by_error: Vec<usize> =
            offered.iter().copied().filter(|&choice| error(choice) > 0.0).collect();
        by_error.sort_by(|&a, &b| error(a).total_cmp(&error(b)));
        let unit = match by_error.get(by_error.len() / 2) {
            Some(&choice) => (probe.with(slot, choice)? - base).max(0.0) / error(choice),
            None => 0.0,
        };
        let mut losses = vec![None; slot.candidates.len()];
        for &choice in offered {
            losses[choice] = Some(unit * error(choice));
        }
        all.push(losses);
        observer.advance(1);
    }
    observer.end();
    Ok(all)
}

/// The optimum of the sum over all choices of blocks to leave out, and the best one that leaves out any if that is another.
fn optimum(
    problem: &Problem<'_>,
    losses: &Losses,
    of_blocks: &[f64],
    most: usize,
) -> Result<(Solved, Option<State>), RunError> {
    let (mut best, mut best_with_drop): (Option<Solved>, Option<Solved>) = (None, None);
    let mut refused = None;
    for dropped in subsets(of_blocks.len(), most) {
        let mut solved = match problem.solve(losses, &dropped, None) {
            Ok(solved) => solved,
            Err(error) => {
                // With a block less there may be room. What is said is how little the whole model can take.
                refused.get_or_insert(error);
                continue;
            }
        };
        solved.loss += dropped.iter().map(|&block| of_blocks[block]).sum::<f64>();
        if !dropped.is_empty() && best_with_drop.as_ref().is_none_or(|best| solved.loss < best.loss) {
            best_with_drop = Some(solved.clone());
        }
        if best.as_ref().is_none_or(|best| solved.loss < best.loss) {
            best = Some(solved);
        }
    }
    match (best, refused) {
        (Some(best), _) => {
            let other = best_with_drop.map(|solved| solved.state).filter(|state| *state != best.state);
            Ok((best, other))
        }
        (None, Some(refused)) => Err(refused.into()),
        (None, None) => Err(super::AllocateError::Nothing.into()),
    }
}

/// Every choice for all Linears, with the head as well, and with the head as it is where that is a choice.
fn uniform_states(menu: &Menu, slots: &[Slot]) -> Vec<(String, State)> {
    let mut states = Vec::new();
    let has_head = slots.iter().any(|slot| slot.place.is_none());
    let kept = menu.choices.iter().position(|choice| choice.steps.is_empty()).filter(|_| has_head);
    for (index, choice) in menu.choices.iter().enumerate() {
        let mut state = State { dropped: Vec::new(), picks: vec![Some(index); slots.len()] };
        states.push((choice.name.clone(), state.clone()));
        if let Some(kept) = kept.filter(|kept| *kept != index) {
            for (slot, pick) in slots.iter().zip(&mut state.picks) {
                if slot.place.is_none() {
                    *pick = Some(kept);
                }
            }
            states.push((format!("{}, head kept", choice.name), state));
        }
    }
    states
}
