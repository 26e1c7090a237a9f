//! Searches as a whole: what is proposed, and that interruptions change nothing.

use super::*;
use proptest::prelude::*;

fn space() -> Space {
    let space = Space::default().with("bits", Axis::values([2, 3, 4, 8])).with("lr", Axis::log(1e-5, 1e-3));
    space.with("sparsity", Axis::linear(0.1, 0.7).with_steps(4))
}

fn methods() -> [Method; 3] {
    [
        Method::Random { trials: 12 },
        Method::SuccessiveHalving { trials: 13, eta: 3, min_resource: 0.1 },
        Method::Hyperband { eta: 3, min_resource: 1.0 / 9.0 },
    ]
}

/// A made-up model: more bits are better and larger, every fifth trial fails.
fn measure(trial: &Trial) -> TrialResult {
    let number = |name: &str| trial.options[name].as_f64().unwrap();
    if trial.id.options % 5 == 4 {
        return TrialResult::failed("out of memory");
    }
    let quality = number("bits") - 3.0 * number("sparsity") + 0.1 * trial.resource;
    let bytes = number("bits") * (1.0 - number("sparsity"));
    TrialResult::measured(quality - bytes).with("quality", quality).with("bytes", bytes)
}

const OBJECTIVES: [(&str, Direction); 2] =
    [("quality", Direction::HigherIsBetter), ("bytes", Direction::LowerIsBetter)];

fn saved_and_loaded(search: &Search) -> Search {
    serde_json::from_str(&serde_json::to_string(search).unwrap()).unwrap()
}

fn run(mut search: Search, mut interrupt: impl FnMut() -> bool) -> (Vec<Trial>, Search) {
    let mut tried = Vec::new();
    loop {
        match search.ask() {
            // Killed while the trial is under way: it is proposed again.
            Ask::Trial(_) if interrupt() => search = saved_and_loaded(&search),
            Ask::Trial(trial) => {
                search.tell(trial.id, measure(&trial)).unwrap();
                tried.push(trial);
                search = if interrupt() { saved_and_loaded(&search) } else { search };
            }
            Ask::Done => return (tried, search),
            Ask::Wait => panic!("one at a time never waits"),
        }
    }
}

#[test]
fn a_search_that_is_loaded_after_every_step_is_the_same() {
    for method in methods() {
        let new = || Search::new(space(), SearchConfig::new(method, 5)).unwrap();
        let (straight, whole) = run(new(), || false);
        let mut turn = false;
        let (resumed, again) = run(new(), || {
            turn = !turn;
            turn
        });
        assert_eq!(straight, resumed, "{method:?}");
        assert_eq!(whole.best(), again.best());
        assert_eq!(whole.front(&OBJECTIVES), again.front(&OBJECTIVES));
        assert!(!whole.front(&OBJECTIVES).unwrap().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn interruptions_and_the_order_of_results_change_nothing(which in 0usize..3, seed: u64, kills: Vec<bool>, at_once in 1usize..6) {
        let new = || Search::new(space(), SearchConfig::new(methods()[which], seed)).unwrap();
        let (_, straight) = run(new(), || false);
        let mut kills = kills.into_iter();
        let (_, killed) = run(new(), || kills.next().unwrap_or(false));
        prop_assert_eq!(straight.front(&OBJECTIVES), killed.front(&OBJECTIVES));

        // Several workers whose results come back last first.
        let mut search = new();
        let mut out = Vec::new();
        loop {
            let ask = search.ask();
            match ask {
                Ask::Trial(trial) => out.push(trial),
                Ask::Wait => prop_assert!(!out.is_empty(), "nothing is out"),
                Ask::Done => break,
            }
            if out.len() == at_once || search.clone().ask() == Ask::Wait {
                for trial in out.drain(..).rev() {
                    search.tell(trial.id, measure(&trial)).unwrap();
                }
            }
        }
        prop_assert_eq!(straight.best(), search.best());
        prop_assert_eq!(straight.front(&OBJECTIVES), search.front(&OBJECTIVES));
    }
}

proptest! {
    #[test]
    fn scores_come_back_to_the_last_bit(score in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
        let mut search = Search::new(space(), SearchConfig::default()).unwrap();
        let Ask::Trial(trial) = search.ask() else { panic!("27 trials begin") };
        search.tell(trial.id, TrialResult::measured(score).with("bytes", score)).unwrap();
        let loaded = saved_and_loaded(&search);
        prop_assert!(loaded.results().eq(search.results()));
    }
}

#[test]
fn halving_promotes_the_best_and_no_failure() {
    let halving = Method::SuccessiveHalving { trials: 9, eta: 3, min_resource: 1.0 / 9.0 };
    let mut search = Search::new(space(), SearchConfig::new(halving, 1)).unwrap();
    let mut rungs = vec![Vec::new(); 3];
    while let Ask::Trial(trial) = search.ask() {
        rungs[trial.id.rung].push(trial.id.options);
        let result = match trial.id.options {
            0 => TrialResult::failed("no"),
            other => TrialResult::measured(other as f64),
        };
        search.tell(trial.id, result).unwrap();
    }
    assert_eq!(rungs, [(0..9).collect(), vec![6, 7, 8], vec![8]]);
    let (best, score) = search.best().unwrap();
    assert_eq!((best.id.to_string(), best.resource, score), ("0.2.8".into(), 1.0, 8.0));
    assert_eq!(search.planned(), 13);
}

#[test]
fn the_best_is_known_from_the_first_result_on() {
    let mut search = Search::new(space(), SearchConfig::default()).unwrap();
    assert_eq!(search.best(), None);
    let mut best = f64::NEG_INFINITY;
    for score in [1.0, 3.0, 2.0] {
        let Ask::Trial(trial) = search.ask() else { panic!("27 trials begin") };
        search.tell(trial.id, TrialResult::measured(score)).unwrap();
        best = best.max(score);
        assert_eq!(search.best().map(|(_, score)| score), Some(best));
    }
}

#[test]
fn a_search_in_which_everything_fails_ends() {
    let mut search = Search::new(space(), SearchConfig::default()).unwrap();
    let mut tried = 0;
    while let Ask::Trial(trial) = search.ask() {
        search.tell(trial.id, TrialResult::failed("no space left")).unwrap();
        tried += 1;
    }
    assert_eq!((tried, search.best(), search.ask()), (27, None, Ask::Done));
}

#[test]
fn a_grid_needs_steps_and_tries_all() {
    let grid = || SearchConfig::new(Method::Grid, 0);
    assert!(Search::new(space(), grid()).unwrap_err().to_string().contains("lr"));
    let finite = space().with("lr", Axis::values([1e-4]));
    let (tried, _) = run(Search::new(finite, grid()).unwrap(), || false);
    assert_eq!(tried.len(), 16);
}

#[test]
fn results_that_do_not_belong_are_refused() {
    let mut search = Search::new(space(), SearchConfig::default()).unwrap();
    let Ask::Trial(trial) = search.ask() else { panic!("27 trials begin") };
    let id = trial.id;
    assert!(matches!(search.tell(id, TrialResult::measured(f64::NAN)), Err(SearchError::NotFinite { .. })));
    search.tell(id, TrialResult::measured(1.0)).unwrap();
    search.tell(id, TrialResult::measured(1.0)).unwrap();
    assert_eq!(search.tell(id, TrialResult::measured(2.0)), Err(SearchError::Told { trial: id }));
    for id in [TrialId { rung: 1, ..id }, TrialId { rung: 9, ..id }, TrialId { bracket: 1, ..id }] {
        assert_eq!(search.tell(id, TrialResult::measured(1.0)), Err(SearchError::UnknownTrial { trial: id }));
    }
    let text = serde_json::to_string(&search).unwrap().replace("0.0.0", "0.0.99");
    assert!(serde_json::from_str::<Search>(&text).unwrap_err().to_string().contains("0.0.99"));
    assert!(TrialId::try_from("1.2".to_owned()).is_err());
}
