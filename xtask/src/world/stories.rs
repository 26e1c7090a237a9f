//! Little stories whose last word follows from what happened before.

use super::draw::Draw;
use super::facts::{FAMILY, Fact, Person, Relation, World};
use super::lexicon::{ANIMALS, COLOURS, FOODS, JOBS, OBJECTS, PLACES, SPOTS};
use super::template::{Slots, sentence};
use super::{stories_of_one, stories_of_people, stories_of_things};

/// The ways to tell one thing that happens.
pub(super) type Event = &'static [&'static str];

/// What happens in a story, in order; the last event ends on the word that the others tell.
pub(super) type Plot = &'static [Event];

/// Fewer sentences are filled up with weather and the like.
const SHORTEST: usize = 6;

/// Who and what a story is about. Slots: `{a}` to `{d}` people, with `.he`, `.him`, `.his`, `.job`, `.home`; `{x}` `{y}`
/// `{z}` objects, with `.price` and `.shop`; `{p}` `{q}` `{r}` places; `{f}` `{g}` foods; `{m}` `{n}` animals; `{k}` `{l}`
/// colours; `{i}` `{j}` jobs; `{s}` `{t}` spots.
struct Cast<'w> {
    world: &'w World,
    people: [usize; 4],
    objects: [usize; 3],
    places: [usize; 3],
    foods: [usize; 2],
    animals: [usize; 2],
    colours: [usize; 2],
    jobs: [usize; 2],
    spots: [usize; 2],
}

impl<'w> Cast<'w> {
    fn new(world: &'w World, draw: &mut Draw) -> Self {
        // One of each family: kin would not knock at each other's door, or be called friends.
        let people =
            draw.distinct(world.people.len() / FAMILY, |_| true).map(|at| at * FAMILY + draw.below(FAMILY));
        let played = people.map(|at| &world.people[at]);
        // Nobody travels to the place where they live, finds an animal like their own or is denied what they like.
        let elsewhere = |at: usize| played.iter().all(|person| person.home != at);
        let not_owned = |at: usize| played.iter().all(|person| person.pet != at);
        let not_a_trade = |at: usize| played.iter().all(|person| person.job != at);
        let not_loved = |at: usize| played.iter().all(|person| person.food != at);
        let sold_elsewhere = |subject: usize| {
            let shop = world.value(Fact { relation: Relation::Shop, subject });
            played.iter().all(|person| PLACES[person.home] != shop)
        };
        Self {
            world,
            people,
            objects: draw.distinct(OBJECTS.len(), sold_elsewhere),
            places: draw.distinct(PLACES.len(), elsewhere),
            foods: draw.distinct(FOODS.len(), not_loved),
            animals: draw.distinct(ANIMALS.len(), not_owned),
            colours: draw.distinct(COLOURS.len(), |_| true),
            jobs: draw.distinct(JOBS.len(), not_a_trade),
            spots: draw.distinct(SPOTS.len(), |_| true),
        }
    }

    fn person(&self, slot: &str) -> Option<(usize, &Person)> {
        let letter = slot.split('.').next()?;
        let at = ["a", "b", "c", "d"].iter().position(|&name| name == letter)?;
        Some((self.people[at], &self.world.people[self.people[at]]))
    }

    fn of_person(&self, slot: &str) -> Option<&str> {
        let (subject, person) = self.person(slot)?;
        let fact = |relation| self.world.value(Fact { relation, subject });
        Some(match slot.split_once('.').map_or("", |(_, what)| what) {
            "" => person.name,
            "he" if person.female => "she",
            "him" | "his" if person.female => "her",
            "he" => "he",
            "him" => "him",
            "his" => "his",
            "job" => fact(Relation::Job),
            "home" => fact(Relation::Home),
            "pet" => fact(Relation::Pet),
            _ => return None,
        })
    }

    fn of_thing(&self, slot: &str) -> Option<&str> {
        let (letter, what) = slot.split_once('.').unwrap_or((slot, ""));
        let object = |at: usize| {
            let fact = |relation| self.world.value(Fact { relation, subject: self.objects[at] });
            match what {
                "price" => fact(Relation::Price),
                "shop" => fact(Relation::Shop),
                _ => OBJECTS[self.objects[at]],
            }
        };
        Some(match letter {
            "x" => object(0),
            "y" => object(1),
            "z" => object(2),
            "p" => PLACES[self.places[0]],
            "q" => PLACES[self.places[1]],
            "r" => PLACES[self.places[2]],
            "f" => FOODS[self.foods[0]],
            "g" => FOODS[self.foods[1]],
            "m" => ANIMALS[self.animals[0]],
            "n" => ANIMALS[self.animals[1]],
            "k" => COLOURS[self.colours[0]],
            "l" => COLOURS[self.colours[1]],
            "i" => JOBS[self.jobs[0]],
            "j" => JOBS[self.jobs[1]],
            "s" => SPOTS[self.spots[0]],
            "t" => SPOTS[self.spots[1]],
            _ => return None,
        })
    }
}

impl Slots for Cast<'_> {
    fn put(&self, slot: &str, out: &mut String) -> bool {
        let text = self.of_person(slot).or_else(|| self.of_thing(slot));
        out.push_str(text.unwrap_or_default());
        text.is_some()
    }
}

/// Every plot in which several things compete.
fn plots_of_many() -> impl Iterator<Item = Plot> + Clone {
    stories_of_things::PLOTS.iter().chain(stories_of_people::PLOTS).copied()
}

/// Every plot.
#[cfg(test)]
pub(super) fn plots() -> impl Iterator<Item = Plot> + Clone {
    plots_of_many().chain(stories_of_one::PLOTS.iter().copied())
}

/// Writes a story, a plain one with a chance of `plain` percent.
pub(super) fn story(world: &World, plain: usize, draw: &mut Draw) -> String {
    let plot = if plain > 0 && draw.chance(plain) {
        stories_of_one::PLOTS[draw.below(stories_of_one::PLOTS.len())]
    } else {
        plots_of_many().nth(draw.below(plots_of_many().count())).unwrap_or_default()
    };
    let cast = Cast::new(world, draw);
    let mut out = String::new();
    let mut add = |template: &str, draw: &mut Draw| {
        sentence(&mut out, template, &cast, draw);
        out.push(' ');
    };
    let events: Vec<&str> = plot.iter().map(|event| draw.pick(event)).collect();
    let sentences: usize = events.iter().map(|event| event.matches(['.', '?', '!']).count()).sum();
    let mut spare = SHORTEST.saturating_sub(sentences + 1) + draw.below(3);
    if draw.chance(80) {
        add(draw.pick(&OPENINGS), draw);
    }
    let mut used = [usize::MAX; 6];
    for (at, event) in events.iter().enumerate() {
        add(event, draw);
        // Something about the weather or the people after any event but the last two, which belong together.
        if spare > 0 && at + 2 < events.len() && (draw.chance(40) || at + 2 + spare >= events.len()) {
            let filler = draw.distinct::<1>(FILLERS.len(), |filler| !used.contains(&filler))[0];
            if let Some(free) = used.iter_mut().find(|filler| **filler == usize::MAX) {
                *free = filler;
            }
            add(FILLERS[filler], draw);
            spare -= 1;
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

const OPENINGS: [&str; 16] = [
    "it was a [cold|warm|grey|bright|windy|quiet] [morning|day|afternoon].",
    "one [sunny|rainy|cloudy|fine] [morning, {a} woke up happy|afternoon, {a} could not sit still|evening, {a} had nothing to do].",
    "{a} is {a a.job}.",
    "{a} lives in {a.home}.",
    "{a}, the {a.job} from {a.home}, [had a free day|had finished the day's work|was in a good mood].",
    "it had [rained|snowed|been hot] for [three|four|five] days.",
    "last [spring|summer|autumn|winter], something happened to {a}.",
    "everyone in {a.home} knows this story.",
    "this is a story about {a} from {a.home}.",
    "on [Monday|Tuesday|Friday|Sunday], {a} got up early.",
    "{a} [had slept badly|was a little tired|had dreamed of the sea].",
    "the sun was [just coming up|already warm] when {a} got up.",
    "{a} fed {a.his} {a.pet} and [closed the door|put on {a.his} shoes].",
    "there was [fog|snow|frost|dew] on the fields that morning.",
    "{a} and {b} are old friends.",
    "{a} had been thinking of {b} all [week|day|morning].",
];

const FILLERS: [&str; 17] = [
    "[a soft|a cold|a warm] wind was blowing.",
    "it [began|started] to [rain|snow].",
    "the [birds|bells] could be heard [far away|everywhere].",
    "{a} was [happy|glad|a little nervous|very calm].",
    "the [sky|air] was clear.",
    "{a} [sang a song|laughed|took a deep breath|smiled].",
    "nobody else [was there|saw it|said a word].",
    "[an hour|some time|a long time] went by.",
    "the clouds were [white|dark|low].",
    "it was getting [late|dark|cold|warm].",
    "{a} drank some water.",
    "everything was [quiet|still] for a moment.",
    "in the distance a child was [laughing|singing].",
    "the streets were [empty|full of people].",
    "somebody opened a window.",
    "{a} was hungry, but that could wait.",
    "it smelled of [grass|rain|smoke].",
];
