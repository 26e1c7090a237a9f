//! Prices of resources: the Lagrangian dual, and the choices that it meets on the way.

use super::MAX_RESOURCES;
use super::problem::{Problem, Resources, add, dot};

/// Doublings after which a price has left any sensible range, and halvings that find it to the last bits.
const DOUBLINGS: usize = 200;
const HALVINGS: usize = 100;

/// Rounds over the resources, each with the prices of the others fixed.
const ROUNDS: usize = 12;

/// Steps along subgradients afterwards: with several resources, moving one price at a time can get stuck on a ridge.
const STEPS: u32 = 400;

/// The best prices and the best choice that were met.
#[derive(Debug)]
pub(super) struct Dual {
    /// λ, loss per unit of each resource.
    pub(super) prices: Resources,
    /// No choice within the budgets has less loss.
    pub(super) bound: f64,
    /// A choice within the budgets and its loss.
    pub(super) incumbent: Option<(f64, Vec<usize>)>,
}

/// What the layers choose at given prices.
struct Priced {
    picks: Vec<usize>,
    costs: Resources,
}

struct Ascent<'a> {
    problem: &'a Problem,
    best: Dual,
}

/// Maximises the bound over the prices.
pub(super) fn maximise(problem: &Problem) -> Dual {
    let best = Dual { prices: [0.0; MAX_RESOURCES], bound: f64::NEG_INFINITY, incumbent: None };
    let mut ascent = Ascent { problem, best };
    let free = ascent.visit([0.0; MAX_RESOURCES]);
    if problem.within(&free.costs) {
        return ascent.best;
    }
    let rounds = if problem.resources == 1 { 1 } else { ROUNDS };
    for _ in 0..rounds {
        let before = ascent.best.bound;
        for resource in 0..problem.resources {
            ascent.price(resource);
        }
        if ascent.best.bound <= before {
            break;
        }
    }
    if problem.resources > 1 {
        ascent.follow_subgradients();
    }
    let mut best = ascent.best;
    if let Some((loss, picks)) = &mut best.incumbent {
        improve(problem, picks);
        *loss = problem.loss_of(picks);
    }
    best
}

impl Ascent<'_> {
    /// Lets every layer choose at prices, and keeps the bound and the choice if they are better.
    fn visit(&mut self, prices: Resources) -> Priced {
        let mut priced =
            Priced { picks: Vec::with_capacity(self.problem.layers.len()), costs: [0.0; MAX_RESOURCES] };
        let (mut total, mut loss) = (0.0, 0.0);
        for layer in &self.problem.layers {
            // Of equals the first is chosen, whatever the prices.
            let mut least = (f64::INFINITY, 0);
            for (index, pick) in layer.iter().enumerate() {
                let value = pick.loss + dot(&prices, &pick.costs);
                if value < least.0 {
                    least = (value, index);
                }
            }
            total += least.0;
            loss += layer[least.1].loss;
            add(&mut priced.costs, &layer[least.1].costs);
            priced.picks.push(least.1);
        }
        let bound = total - dot(&prices, &self.problem.limits);
        if bound > self.best.bound {
            self.best.bound = bound;
            self.best.prices = prices;
        }
        let known = self.best.incumbent.as_ref().map_or(f64::INFINITY, |(loss, _)| *loss);
        if loss < known && self.problem.within(&priced.costs) {
            self.best.incumbent = Some((loss, priced.picks.clone()));
        }
        priced
    }

    /// Finds the best price of one resource, the others being fixed: the one at which its cost falls to the budget.
    fn price(&mut self, resource: usize) {
        let mut prices = self.best.prices;
        let mut exceeds = |ascent: &mut Self, price: f64| {
            prices[resource] = price;
            ascent.visit(prices).costs[resource] > ascent.problem.tolerated(resource)
        };
        if !exceeds(self, 0.0) {
            return;
        }
        let (mut low, mut high) = (0.0, self.unit(resource));
        for _ in 0..DOUBLINGS {
            if !exceeds(self, high) {
                break;
            }
            low = high;
            high *= 2.0;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                break;
            }
            if exceeds(self, middle) { low = middle } else { high = middle }
        }
    }

    /// Loss per unit of a resource, in the order of magnitude of the problem.
    fn unit(&self, resource: usize) -> f64 {
        let spread = |of: &dyn Fn(&super::problem::Pick) -> f64| {
            let range = self.problem.layers.iter().map(|layer| {
                let most = layer.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
                most - layer.iter().map(of).fold(f64::INFINITY, f64::min)
            });
            range.sum::<f64>()
        };
        let unit = spread(&|pick| pick.loss) / spread(&|pick| pick.costs[resource]);
        if unit > 0.0 && unit.is_finite() { unit } else { 1.0 }
    }

    /// Steps of Polyak's length, `(upper − bound) / |g|²`, shortened over time, in prices scaled to the units of their resources.
    fn follow_subgradients(&mut self) {
        let units: Resources =
            std::array::from_fn(|r| if r < self.problem.resources { self.unit(r) } else { 0.0 });
        let mut prices = self.best.prices;
        for step in 1..=STEPS {
            let priced = self.visit(prices);
            let excess: Resources =
                std::array::from_fn(|r| (priced.costs[r] - self.problem.limits[r]) * units[r]);
            let square = dot(&excess, &excess);
            if square == 0.0 {
                break;
            }
            let target = self.best.incumbent.as_ref().map(|(loss, _)| loss - self.best.bound);
            let length = target.unwrap_or(self.best.bound.abs()).max(f64::MIN_POSITIVE)
                / square
                / f64::from(step).sqrt();
            for (r, price) in prices.iter_mut().enumerate() {
                *price = (*price + length * excess[r] * units[r]).max(0.0);
            }
        }
    }
}

/// Changes one layer at a time as long as that lowers the loss within the budgets, the largest gain first.
fn improve(problem: &Problem, picks: &mut [usize]) {
    loop {
        let costs = problem.costs_of(picks);
        let mut best: Option<(f64, usize, usize)> = None;
        for (l, layer) in problem.layers.iter().enumerate() {
            let now = &layer[picks[l]];
            for (index, pick) in layer.iter().enumerate() {
                let gain = now.loss - pick.loss;
                let after = std::array::from_fn(|r| costs[r] - now.costs[r] + pick.costs[r]);
                if gain > best.map_or(0.0, |(gain, ..)| gain) && problem.within(&after) {
                    best = Some((gain, l, index));
                }
            }
        }
        let Some((_, layer, index)) = best else { return };
        picks[layer] = index;
    }
}
