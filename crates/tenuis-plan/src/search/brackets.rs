//! The rungs of successive halving, and the brackets of Hyperband.

use super::{Method, SearchError};

/// A rung: how many trials, on which share of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rung {
    pub(super) count: usize,
    pub(super) resource: f64,
}

/// One run of successive halving.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bracket {
    /// The index of its first options.
    pub(super) first: usize,
    /// How many begin.
    pub(super) begin: usize,
    pub(super) rungs: Vec<Rung>,
}

impl Bracket {
    /// Everything on all of the data.
    pub(super) fn flat(count: usize) -> Self {
        Self { first: 0, begin: count, rungs: vec![Rung { count, resource: 1.0 }] }
    }

    /// `count` trials at `η^-s`, a share `1/η` of them at `η^-(s−1)`, and so on up to 1; at least one goes on.
    fn halving(count: usize, eta: usize, s: u32) -> Self {
        let rung = |i: u32| Rung {
            count: (count / eta.saturating_pow(i)).max(1),
            resource: (eta as f64).powi(i as i32 - s as i32),
        };
        Self { first: 0, begin: count, rungs: (0..=s).map(rung).collect() }
    }
}

/// Lays out a method. Grids come with their number of points, later.
pub(super) fn brackets(method: Method) -> Result<Vec<Bracket>, SearchError> {
    match method {
        Method::Grid => Ok(Vec::new()),
        Method::Random { trials } => Ok(vec![Bracket::flat(positive(trials)?)]),
        Method::SuccessiveHalving { trials, eta, min_resource } => {
            let s = growths(eta, min_resource)?;
            Ok(vec![Bracket::halving(positive(trials)?, eta, s)])
        }
        Method::Hyperband { eta, min_resource } => {
            let most = growths(eta, min_resource)?;
            // n = ⌈(s_max + 1) / (s + 1) · η^s⌉ trials begin in bracket s (algorithm 1 of the paper).
            let begin =
                |s: u32| (eta.saturating_pow(s).saturating_mul(most as usize + 1)).div_ceil(s as usize + 1);
            Ok((0..=most).rev().map(|s| Bracket::halving(begin(s), eta, s)).collect())
        }
    }
}

/// Hands the options out to the brackets, in order; where there are fewer different ones than trials, later brackets begin with fewer.
pub(super) fn fit(brackets: Vec<Bracket>, options: usize) -> Vec<Bracket> {
    let mut first = 0;
    let fitted = brackets.into_iter().map(|mut bracket| {
        // A space that is exhausted starts again: the same options on more data from the beginning are not the same trial.
        if first >= options {
            first = 0;
        }
        bracket.first = first;
        bracket.begin = bracket.begin.min(options - first);
        for rung in &mut bracket.rungs {
            rung.count = rung.count.min(bracket.begin);
        }
        first += bracket.begin;
        bracket
    });
    fitted.collect()
}

/// The most trials that a search begins with.
pub(super) const MOST_TRIALS: usize = 100_000;

fn positive(trials: usize) -> Result<usize, SearchError> {
    if (1..=MOST_TRIALS).contains(&trials) {
        Ok(trials)
    } else {
        Err(SearchError::Method { key: "trials", value: trials.to_string(), allowed: "from 1 to 100000" })
    }
}

/// Powers of `1/η` are rounded: a share is one of them within this.
const ROUNDING: f64 = 1e-9;

/// How often the resource can grow by η from `min_resource` without exceeding 1.
fn growths(eta: usize, min_resource: f64) -> Result<u32, SearchError> {
    if !(2..=MOST_TRIALS).contains(&eta) {
        return Err(SearchError::Method { key: "eta", value: eta.to_string(), allowed: "from 2 to 100000" });
    }
    if !(1e-4..=1.0).contains(&min_resource) {
        let allowed = "a share from 0.0001 to 1";
        return Err(SearchError::Method { key: "min_resource", value: min_resource.to_string(), allowed });
    }
    Ok(((1.0 / min_resource).ln() / (eta as f64).ln() + ROUNDING).floor() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(method: Method) -> Vec<Vec<(usize, f64)>> {
        let rungs = |b: Bracket| b.rungs.iter().map(|r| (r.count, (r.resource * 81.0).round())).collect();
        brackets(method).unwrap().into_iter().map(rungs).collect()
    }

    /// Table 1 of Li and others, with R = 81 and η = 3.
    #[test]
    fn hyperband_is_the_table_of_the_paper() {
        let table = vec![
            vec![(81, 1.0), (27, 3.0), (9, 9.0), (3, 27.0), (1, 81.0)],
            vec![(34, 3.0), (11, 9.0), (3, 27.0), (1, 81.0)],
            vec![(15, 9.0), (5, 27.0), (1, 81.0)],
            vec![(8, 27.0), (2, 81.0)],
            vec![(5, 81.0)],
        ];
        assert_eq!(rows(Method::Hyperband { eta: 3, min_resource: 1.0 / 81.0 }), table);
    }

    #[test]
    fn halving_ends_on_all_of_the_data() {
        let halving = Method::SuccessiveHalving { trials: 10, eta: 2, min_resource: 0.2 };
        let [bracket] = brackets(halving).unwrap().try_into().unwrap();
        let rungs = [(10, 0.25), (5, 0.5), (2, 1.0)].map(|(count, resource)| Rung { count, resource });
        assert_eq!(bracket.rungs, rungs);
    }

    #[test]
    fn few_options_are_shared_out_and_then_used_again() {
        let shared = fit(brackets(Method::Hyperband { eta: 3, min_resource: 1.0 / 9.0 }).unwrap(), 11);
        let starts: Vec<_> = shared.iter().map(|b| (b.first, b.begin)).collect();
        assert_eq!(starts, [(0, 9), (9, 2), (0, 3)]);
    }

    #[test]
    fn numbers_that_make_no_sense_are_named() {
        for (method, key) in [
            (Method::Random { trials: 0 }, "trials"),
            (Method::SuccessiveHalving { trials: 4, eta: 1, min_resource: 0.5 }, "eta"),
            (Method::Hyperband { eta: 3, min_resource: f64::NAN }, "min_resource"),
            (Method::Hyperband { eta: 3, min_resource: 0.0 }, "min_resource"),
        ] {
            let message = brackets(method).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
