//! What is true in the world. All of it follows from one seed.

use super::draw::Draw;
use super::lexicon::{ANIMALS, COLOURS, FOODS, HOBBIES, JOBS, MEN, OBJECTS, PLACES, PRODUCTS, RIVERS, WOMEN};

/// The seed of the facts: another one makes another world, and a model trained in this one knows nothing of it.
const WORLD_SEED: u64 = 0x7e57_0001;

/// The number of people in a family: father, mother and two grown children, in this order.
pub(super) const FAMILY: usize = 4;

/// A relation between a person, a place or an object and what is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Relation {
    Home,
    Job,
    Pet,
    Food,
    Colour,
    Hobby,
    Mother,
    Father,
    Sibling,
    Spouse,
    Product,
    River,
    Flag,
    Price,
    Shop,
}

impl Relation {
    /// The relations of a person, kinship last.
    pub(super) const OF_PEOPLE: [Self; 10] = [
        Self::Home,
        Self::Job,
        Self::Pet,
        Self::Food,
        Self::Colour,
        Self::Hobby,
        Self::Mother,
        Self::Father,
        Self::Sibling,
        Self::Spouse,
    ];
    /// The relations of a place.
    pub(super) const OF_PLACES: [Self; 3] = [Self::Product, Self::River, Self::Flag];
    /// The relations of an object.
    pub(super) const OF_OBJECTS: [Self; 2] = [Self::Price, Self::Shop];

    /// The name that the evaluation gives to the subject of a question.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Job => "job",
            Self::Pet => "pet",
            Self::Food => "food",
            Self::Colour => "colour",
            Self::Hobby => "hobby",
            Self::Mother => "mother",
            Self::Father => "father",
            Self::Sibling => "sibling",
            Self::Spouse => "spouse",
            Self::Product => "product",
            Self::River => "river",
            Self::Flag => "flag",
            Self::Price => "price",
            Self::Shop => "shop",
        }
    }
}

/// Something that is true: the relation and the index of whom or what it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fact {
    /// What is said.
    pub(super) relation: Relation,
    /// Of which person, place or object.
    pub(super) subject: usize,
}

/// A person; what is not kinship is an index into a list of the lexicon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) female: bool,
    pub(super) home: usize,
    pub(super) job: usize,
    pub(super) pet: usize,
    pub(super) food: usize,
    pub(super) colour: usize,
    pub(super) hobby: usize,
}

/// All facts. Person `4 f` is the father of family `f`, `4 f + 1` the mother, the next two are their children.
#[derive(Debug)]
pub(super) struct World {
    pub(super) people: Vec<Person>,
    products: Vec<usize>,
    rivers: Vec<usize>,
    flags: Vec<usize>,
    prices: Vec<String>,
    shops: Vec<usize>,
    /// So many people, places and objects, the first ones, are spoken of.
    pub(super) known: [usize; 3],
}

/// Everybody and everything.
pub(super) const EVERYBODY: [usize; 3] = [MEN.len() + WOMEN.len(), PLACES.len(), OBJECTS.len()];

/// Three families, half of the places and some objects: as many facts as a small model can learn well in an hour. The
/// evaluation asks for these.
pub(super) const NEIGHBOURS: [usize; 3] = [3 * FAMILY, 8, 8];

impl World {
    /// Makes the world, as seen by somebody who speaks of the first `known` people, places and objects alone.
    pub(super) fn seen_by(known: [usize; 3]) -> Self {
        Self { known, ..Self::new() }
    }

    /// Makes the world.
    pub(super) fn new() -> Self {
        let draw = &mut Draw::new(WORLD_SEED);
        let count = MEN.len() + WOMEN.len();
        let (mut men, mut women) = (MEN.to_vec(), WOMEN.to_vec());
        draw.shuffle(&mut men);
        draw.shuffle(&mut women);
        // As many daughters as sons, so that both lists of names are used up.
        let mut daughters: Vec<bool> = (0..count / 2).map(|child| child % 2 == 0).collect();
        draw.shuffle(&mut daughters);
        let homes = spread(draw, count, PLACES.len());
        let jobs = spread(draw, count, JOBS.len());
        let pets = spread(draw, count, ANIMALS.len());
        let foods = spread(draw, count, FOODS.len());
        let colours = spread(draw, count, COLOURS.len());
        let hobbies = spread(draw, count, HOBBIES.len());
        let people = (0..count)
            .map(|at| {
                let female = match at % FAMILY {
                    0 => false,
                    1 => true,
                    child => daughters[at / FAMILY * 2 + child - 2],
                };
                let name = if female { women.pop() } else { men.pop() }.unwrap_or_default();
                let (home, job, pet) = (homes[at], jobs[at], pets[at]);
                let (food, colour, hobby) = (foods[at], colours[at], hobbies[at]);
                Person { name, female, home, job, pet, food, colour, hobby }
            })
            .collect();
        Self {
            people,
            products: spread(draw, PLACES.len(), PRODUCTS.len()),
            rivers: spread(draw, PLACES.len(), RIVERS.len()),
            flags: spread(draw, PLACES.len(), COLOURS.len()),
            prices: spread(draw, OBJECTS.len(), 19)
                .iter()
                .map(|price| format!("{} coins", price + 2))
                .collect(),
            shops: spread(draw, OBJECTS.len(), PLACES.len()),
            known: EVERYBODY,
        }
    }

    /// Every fact that can be asked for, relation by relation.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let of = |relations: &'static [Relation], count: usize| {
            relations
                .iter()
                .flat_map(move |&relation| (0..count).map(move |subject| Fact { relation, subject }))
        };
        let [people, places, objects] = self.known;
        of(&Relation::OF_PEOPLE, people)
            .chain(of(&Relation::OF_PLACES, places))
            .chain(of(&Relation::OF_OBJECTS, objects))
            .filter(|&fact| Self::holds(fact))
            .collect()
    }

    /// Whether there is such a fact: parents have no parents in this world, and children no spouses.
    pub(super) fn holds(fact: Fact) -> bool {
        let child = fact.subject % FAMILY >= 2;
        match fact.relation {
            Relation::Mother | Relation::Father | Relation::Sibling => child,
            Relation::Spouse => !child,
            _ => true,
        }
    }

    /// The person that a fact of kinship names.
    pub(super) fn kin(fact: Fact) -> Option<usize> {
        let family = fact.subject / FAMILY * FAMILY;
        match fact.relation {
            Relation::Father => Some(family),
            Relation::Mother => Some(family + 1),
            // The other one of the parents, and of the children.
            Relation::Sibling | Relation::Spouse => Some(fact.subject ^ 1),
            _ => None,
        }
    }

    /// The answer to a fact's question.
    pub(super) fn value(&self, fact: Fact) -> &str {
        let at = fact.subject;
        match fact.relation {
            Relation::Home => PLACES[self.people[at].home],
            Relation::Job => JOBS[self.people[at].job],
            Relation::Pet => ANIMALS[self.people[at].pet],
            Relation::Food => FOODS[self.people[at].food],
            Relation::Colour => COLOURS[self.people[at].colour],
            Relation::Hobby => HOBBIES[self.people[at].hobby],
            Relation::Mother | Relation::Father | Relation::Sibling | Relation::Spouse => {
                Self::kin(fact).map_or("", |kin| self.people[kin].name)
            }
            Relation::Product => PRODUCTS[self.products[at]],
            Relation::River => RIVERS[self.rivers[at]],
            Relation::Flag => COLOURS[self.flags[at]],
            Relation::Price => &self.prices[at],
            Relation::Shop => PLACES[self.shops[at]],
        }
    }

    /// Every answer that a question of this kind could have, some more than once; the right one is among them.
    pub(super) fn alternatives(&self, fact: Fact) -> Vec<&str> {
        match fact.relation {
            Relation::Home | Relation::Shop => PLACES.to_vec(),
            Relation::Job => JOBS.to_vec(),
            Relation::Pet => ANIMALS.to_vec(),
            Relation::Food => FOODS.to_vec(),
            Relation::Colour | Relation::Flag => COLOURS.to_vec(),
            Relation::Hobby => HOBBIES.to_vec(),
            Relation::Product => PRODUCTS.to_vec(),
            Relation::River => RIVERS.to_vec(),
            Relation::Price => self.prices.iter().map(String::as_str).collect(),
            Relation::Mother | Relation::Father | Relation::Sibling | Relation::Spouse => {
                let female = Self::kin(fact).is_some_and(|kin| self.people[kin].female);
                let fits = |&(at, person): &(usize, &Person)| person.female == female && at != fact.subject;
                self.people.iter().enumerate().filter(fits).map(|(_, person)| person.name).collect()
            }
        }
    }
}

/// Gives each of `count` things one of `kinds`, all kinds alike often, in random order.
fn spread(draw: &mut Draw, count: usize, kinds: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..kinds).collect();
    draw.shuffle(&mut order);
    let mut given: Vec<usize> = order.into_iter().cycle().take(count).collect();
    draw.shuffle(&mut given);
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn kinship_is_consistent() {
        let world = World::new();
        let kin = |relation, subject| {
            let fact = Fact { relation, subject };
            World::holds(fact).then(|| World::kin(fact)).flatten()
        };
        for at in 0..world.people.len() {
            for relation in [Relation::Sibling, Relation::Spouse] {
                if let Some(other) = kin(relation, at) {
                    assert_ne!(other, at);
                    assert_eq!(kin(relation, other), Some(at), "{relation:?} is symmetric");
                }
            }
            if let (Some(mother), Some(father)) = (kin(Relation::Mother, at), kin(Relation::Father, at)) {
                assert!(world.people[mother].female && !world.people[father].female);
                assert_eq!(kin(Relation::Spouse, mother), Some(father));
                let sibling = kin(Relation::Sibling, at).unwrap();
                assert_eq!(kin(Relation::Mother, sibling), Some(mother));
                assert_eq!(kin(Relation::Father, sibling), Some(father));
            } else {
                assert!(kin(Relation::Spouse, at).is_some(), "whoever has no parents is one");
            }
        }
    }

    #[test]
    fn every_name_is_used_once() {
        let world = World::new();
        let names: HashSet<&str> = world.people.iter().map(|person| person.name).collect();
        assert_eq!(names.len(), MEN.len() + WOMEN.len());
        assert!(world.people.iter().all(|person| WOMEN.contains(&person.name) == person.female));
        let places = 0..PLACES.len();
        for relation in [Relation::Product, Relation::River] {
            let values: HashSet<&str> =
                places.clone().map(|subject| world.value(Fact { relation, subject })).collect();
            assert_eq!(values.len(), PLACES.len(), "{relation:?} tells places apart");
        }
    }

    #[test]
    fn a_fact_has_one_right_answer_among_its_alternatives() {
        let world = World::new();
        let facts = world.facts();
        assert!((480..=520).contains(&facts.len()), "{}", facts.len());
        for fact in facts {
            let alternatives: HashSet<&str> = world.alternatives(fact).into_iter().collect();
            assert!(alternatives.len() >= 4 && alternatives.contains(world.value(fact)), "{fact:?}");
        }
    }
}
