//! The front, by its definition.

use proptest::prelude::*;
use tenuis_metrics::Direction::{self, HigherIsBetter, LowerIsBetter};
use tenuis_report::{FrontError, dominates, front};

/// Points of one to four objectives; few distinct values, so that ties occur.
fn cases() -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Direction>)> {
    (1usize..5).prop_flat_map(|objectives| {
        let value = (0i8..6).prop_map(f64::from);
        let points = prop::collection::vec(prop::collection::vec(value, objectives), 0..24);
        let direction = prop_oneof![Just(HigherIsBetter), Just(LowerIsBetter)];
        (points, prop::collection::vec(direction, objectives))
    })
}

proptest! {
    #[test]
    fn a_point_is_on_the_front_exactly_if_nothing_dominates_it((points, directions) in cases()) {
        let on = front(&points, &directions).unwrap();
        for (point, on) in points.iter().zip(&on) {
            let beaten = points.iter().any(|other| dominates(other, point, &directions));
            prop_assert_eq!(*on, !beaten);
        }
        prop_assert_eq!(points.is_empty(), !on.contains(&true));
    }

    #[test]
    fn every_beaten_point_is_beaten_by_one_of_the_front((points, directions) in cases()) {
        let on = front(&points, &directions).unwrap();
        let best: Vec<_> = points.iter().zip(&on).filter(|(_, on)| **on).map(|(p, _)| p).collect();
        for (point, on) in points.iter().zip(&on) {
            prop_assert!(*on || best.iter().any(|better| dominates(better, point, &directions)));
        }
    }

    #[test]
    fn the_front_has_no_order_and_negation_turns_directions((points, directions) in cases()) {
        let on = front(&points, &directions).unwrap();
        let reversed: Vec<_> = points.iter().rev().cloned().collect();
        let mut backwards = front(&reversed, &directions).unwrap();
        backwards.reverse();
        prop_assert_eq!(&on, &backwards);
        let negated: Vec<Vec<f64>> = points.iter().map(|p| p.iter().map(|v| -v).collect()).collect();
        let turned: Vec<_> = directions
            .iter()
            .map(|d| if *d == HigherIsBetter { LowerIsBetter } else { HigherIsBetter })
            .collect();
        prop_assert_eq!(on, front(&negated, &turned).unwrap());
    }
}

#[test]
fn one_objective_leaves_the_best_and_its_equals() {
    let points = [[3.0], [1.0], [1.0], [2.0]];
    assert_eq!(front(&points, &[LowerIsBetter]).unwrap(), [false, true, true, false]);
}

#[test]
fn infinity_is_a_value_and_a_nan_is_none() {
    let points = [[1.0, f64::INFINITY], [1.0, 2.0]];
    assert_eq!(front(&points, &[LowerIsBetter; 2]).unwrap(), [false, true]);
    let error = front(&[[1.0, f64::NAN]], &[LowerIsBetter; 2]).unwrap_err();
    assert_eq!(error, FrontError::NotANumber { point: 0, objective: 1 });
    let error = front(&[vec![1.0]], &[LowerIsBetter; 2]).unwrap_err();
    assert_eq!(error, FrontError::Length { point: 0, expected: 2, found: 1 });
}
