//! Paragraphs and questions about the facts.

use super::draw::Draw;
use super::facts::{Fact, Relation, World};
use super::lexicon::{OBJECTS, PLACES};
use super::template::{Slots, capitalise, fill, sentence};

/// How a fact is told: of whom, and whether the subject is a pronoun.
struct Telling<'w> {
    world: &'w World,
    fact: Fact,
    pronoun: bool,
}

impl Telling<'_> {
    fn is_person(&self) -> bool {
        Relation::OF_PEOPLE.contains(&self.fact.relation)
    }

    fn female(&self) -> bool {
        self.is_person() && self.world.people[self.fact.subject].female
    }

    fn answer_female(&self) -> bool {
        World::kin(self.fact).is_some_and(|kin| self.world.people[kin].female)
    }

    fn name(&self) -> &'static str {
        let at = self.fact.subject;
        if self.is_person() {
            self.world.people[at].name
        } else if Relation::OF_PLACES.contains(&self.fact.relation) {
            PLACES[at]
        } else {
            OBJECTS[at]
        }
    }

    fn by_sex(&self, male: &'static str, female: &'static str, thing: &'static str) -> &'static str {
        match (self.is_person(), self.female()) {
            (false, _) => thing,
            (true, false) => male,
            (true, true) => female,
        }
    }
}

impl Slots for Telling<'_> {
    fn put(&self, slot: &str, out: &mut String) -> bool {
        let text = match slot {
            "s" | "he" if self.pronoun || slot == "he" => self.by_sex("he", "she", "it"),
            "sm" | "him" if self.pronoun || slot == "him" => self.by_sex("him", "her", "it"),
            "ss" | "his" if self.pronoun || slot == "his" => self.by_sex("his", "her", "its"),
            "s" | "sm" | "n" => self.name(),
            "ss" => {
                out.push_str(self.name());
                "'s"
            }
            "o" => self.world.value(self.fact),
            "son" => self.by_sex("son", "daughter", ""),
            "husband" => self.by_sex("husband", "wife", ""),
            "wife" if self.answer_female() => "wife",
            "wife" => "husband",
            "brother" if self.answer_female() => "sister",
            "brother" => "brother",
            _ => return false,
        };
        out.push_str(text);
        true
    }
}

/// Writes a paragraph of facts, most about one subject, some about several.
pub(super) fn paragraph(world: &World, draw: &mut Draw) -> String {
    let mut out = String::new();
    match draw.weighted(&[55, 10, 10, 15, 10]) {
        0 => about_one(&mut out, world, draw, &Relation::OF_PEOPLE, world.known[0], 4),
        1 => {
            // One place or object has few facts: two or three paragraphs' worth of them make a document.
            for _ in 0..draw.between(2, 3) {
                about_one(&mut out, world, draw, &Relation::OF_PLACES, world.known[1], 3);
            }
        }
        2 => {
            for _ in 0..draw.between(3, 4) {
                about_one(&mut out, world, draw, &Relation::OF_OBJECTS, world.known[2], 2);
            }
        }
        3 => about_many(&mut out, world, draw),
        _ => dialogue(&mut out, world, draw),
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Writes several questions with their answers, in the layout of the evaluation.
pub(super) fn questions(world: &World, draw: &mut Draw) -> String {
    let mut out = String::new();
    for _ in 0..draw.between(5, 10) {
        let fact = any_fact(world, draw);
        out.push_str("Question: ");
        out.push_str(&question(world, fact, draw.pick(fact.relation.wordings().questions), draw));
        out.push_str("\nAnswer: ");
        out.push_str(world.value(fact));
        out.push_str(".\n");
    }
    out
}

/// Asks for a fact in the given wording.
pub(super) fn question(world: &World, fact: Fact, wording: &str, draw: &mut Draw) -> String {
    let mut out = String::new();
    sentence(&mut out, wording, &Telling { world, fact, pronoun: false }, draw);
    out
}

/// Draws a fact: mostly of people, since most are theirs.
fn any_fact(world: &World, draw: &mut Draw) -> Fact {
    loop {
        let (relations, count): (&[Relation], usize) = match draw.weighted(&[76, 10, 14]) {
            0 => (&Relation::OF_PEOPLE, world.known[0]),
            1 => (&Relation::OF_PLACES, world.known[1]),
            _ => (&Relation::OF_OBJECTS, world.known[2]),
        };
        let fact = Fact { relation: draw.pick(relations), subject: draw.below(count) };
        if World::holds(fact) {
            return fact;
        }
    }
}

fn about_one(
    out: &mut String,
    world: &World,
    draw: &mut Draw,
    relations: &[Relation],
    count: usize,
    at_least: usize,
) {
    let subject = draw.below(count);
    let mut told: Vec<Fact> = relations.iter().map(|&relation| Fact { relation, subject }).collect();
    told.retain(|&fact| World::holds(fact));
    draw.shuffle(&mut told);
    let enough = at_least + draw.below(told.len() + 1 - at_least);
    for (at, &fact) in told[..enough].iter().enumerate() {
        // The first sentence introduces the subject; places and objects keep their name, as "it" could be anything.
        let pronoun = at > 0 && Relation::OF_PEOPLE.contains(&fact.relation) && draw.chance(55);
        state(out, world, draw, fact, pronoun);
    }
}

fn about_many(out: &mut String, world: &World, draw: &mut Draw) {
    for _ in 0..draw.between(5, 8) {
        let fact = any_fact(world, draw);
        state(out, world, draw, fact, false);
    }
}

fn state(out: &mut String, world: &World, draw: &mut Draw, fact: Fact, pronoun: bool) {
    const LEADS: [&str; 5] =
        ["everyone knows that ", "it is true that ", "as you know, ", "they say that ", "besides, "];
    let start = out.len();
    // A lead mends nothing where the sentence refers to the one before it, so pronouns go without.
    if !pronoun && draw.chance(12) {
        out.push_str(draw.pick(&LEADS));
    }
    let wording = draw.pick(fact.relation.wordings().statements);
    fill(out, wording, &Telling { world, fact, pronoun }, draw);
    capitalise(out, start);
    out.push(' ');
}

/// Two people talk about the facts of others.
fn dialogue(out: &mut String, world: &World, draw: &mut Draw) {
    let [one, other] = draw.distinct(world.people.len(), |_| true).map(|at| world.people[at].name);
    let mut turn = (one, other);
    for _ in 0..draw.between(3, 5) {
        let fact = loop {
            let fact = any_fact(world, draw);
            // Nobody speaks of themselves by name.
            let speakers =
                [one, other].map(|name| world.people.iter().position(|person| person.name == name));
            if !Relation::OF_PEOPLE.contains(&fact.relation) || !speakers.contains(&Some(fact.subject)) {
                break fact;
            }
        };
        let asked = question(world, fact, draw.pick(fact.relation.wordings().questions), draw);
        let verb = draw.pick(&["asked", "wanted to know"]);
        let mut told = String::new();
        state(&mut told, world, draw, fact, false);
        let told = told.trim_end().trim_end_matches('.');
        let reply = draw.pick(&["said", "answered", "replied"]);
        let (asker, teller) = turn;
        let said = match verb {
            "asked" => format!("\"{asked}\" {verb} {asker}. \"{told},\" {reply} {teller}.\n"),
            _ => format!("\"{asked}\" {asker} {verb}. \"{told},\" {reply} {teller}.\n"),
        };
        out.push_str(&said);
        turn = (turn.1, turn.0);
    }
}
