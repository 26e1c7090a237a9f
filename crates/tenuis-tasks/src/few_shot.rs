//! Which records stand before an item as examples.

use crate::error::ItemProblem;
use crate::records::Record;
use crate::spec::{DrawOrder, FewShotConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;

/// The indices `0 … count - 1` in an order that seed and item decide, one after the other.
///
/// Only the raw words of ChaCha are used, so that no other crate decides what a seed means.
struct Shuffle {
    random: ChaCha8Rng,
    /// A permutation of which only what differs from the identity is held, so that an item costs what it draws.
    moved: HashMap<usize, usize>,
    next: usize,
    count: usize,
}

impl Shuffle {
    fn new(seed: u64, item: u64, count: usize) -> Self {
        let bytes = [seed.to_le_bytes(), item.to_le_bytes()].concat();
        let random = ChaCha8Rng::from_seed(*blake3::hash(&bytes).as_bytes());
        Self { random, moved: HashMap::new(), next: 0, count }
    }
}

impl Iterator for Shuffle {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let left = self.count.checked_sub(self.next).filter(|&left| left > 0)?;
        let other = self.next + ((u128::from(self.random.next_u64()) * left as u128) >> 64) as usize;
        let at = |index: usize| *self.moved.get(&index).unwrap_or(&index);
        let (here, drawn) = (at(self.next), at(other));
        self.moved.insert(other, here);
        self.next += 1;
        Some(drawn)
    }
}

/// The indices of an item's examples in the pool. The item itself, and whatever has the same fields, is never among them.
pub(crate) fn choose(
    config: &FewShotConfig,
    item: &Record,
    pool: &[Record],
) -> Result<Vec<usize>, ItemProblem> {
    let other = |&index: &usize| pool[index].fields != item.fields;
    let chosen: Vec<usize> = match config.draw {
        DrawOrder::First => (0..pool.len()).filter(other).take(config.examples).collect(),
        DrawOrder::Random => Shuffle::new(config.seed, item.position.number(), pool.len())
            .filter(other)
            .take(config.examples)
            .collect(),
    };
    if chosen.len() < config.examples {
        return Err(ItemProblem::FewShot { asked: config.examples, available: chosen.len() });
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Position;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn pool(values: &[u8]) -> Vec<Record> {
        let record = |(line, &value): (u64, &u8)| {
            let fields = Map::from_iter([("x".to_owned(), Value::from(value))]);
            Record { position: Position::Line(line), fields }
        };
        (1..).zip(values).map(record).collect()
    }

    fn config(examples: usize, draw: DrawOrder, seed: u64) -> FewShotConfig {
        FewShotConfig { examples, draw, seed, ..FewShotConfig::default() }
    }

    proptest! {
        #[test]
        fn an_item_is_never_its_own_example(
            values in prop::collection::vec(0u8..6, 2..20), at in any::<prop::sample::Index>(), seed: u64, n in 0usize..5,
        ) {
            let pool = pool(&values);
            let item = &pool[at.index(pool.len())];
            let others = pool.iter().filter(|other| other.fields != item.fields).count();
            for draw in [DrawOrder::First, DrawOrder::Random] {
                match choose(&config(n, draw, seed), item, &pool) {
                    Ok(chosen) => {
                        prop_assert_eq!(chosen.len(), n);
                        for (at, &index) in chosen.iter().enumerate() {
                            prop_assert_ne!(&pool[index].fields, &item.fields);
                            prop_assert!(!chosen[..at].contains(&index), "drawn twice");
                        }
                    }
                    Err(ItemProblem::FewShot { available, .. }) => {
                        prop_assert!(others < n);
                        prop_assert_eq!(available, others);
                    }
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }

        #[test]
        fn a_shuffle_is_a_permutation(seed: u64, count in 0usize..50) {
            let mut all: Vec<usize> = Shuffle::new(seed, 3, count).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn draws_depend_on_seed_and_item() {
        let pool = pool(&(0..50).collect::<Vec<u8>>());
        let drawn =
            |seed, item: usize| choose(&config(4, DrawOrder::Random, seed), &pool[item], &pool).unwrap();
        assert_eq!(drawn(1, 0), drawn(1, 0));
        assert_ne!(drawn(1, 0), drawn(2, 0));
        assert_ne!(drawn(1, 0), drawn(1, 1));
        assert_eq!(choose(&config(2, DrawOrder::First, 9), &pool[0], &pool).unwrap(), [1, 2]);
    }
}
