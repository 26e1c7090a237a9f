//! Word problems with worked answers.

use super::draw::Draw;
use super::facts::{Person, World};
use super::lexicon::COUNTED;
use super::sums::{Operation, Side, Sum, drills};
use super::template::{Slots, sentence};

/// A word problem.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// The question. Its only numbers are the operands, in digits and in order.
    pub(super) question: String,
    /// The worked answer with `#### result` at its end.
    pub(super) answer: String,
}

/// Who and what a problem is about.
struct Scene<'w> {
    people: [&'w Person; 2],
    counted: [&'static str; 2],
    sum: Sum,
}

impl Slots for Scene<'_> {
    fn put(&self, slot: &str, out: &mut String) -> bool {
        let [a, b] = self.people;
        let text = match slot {
            "a" => a.name,
            "b" => b.name,
            "a.he" => pronoun(a, "he", "she"),
            "b.he" => pronoun(b, "he", "she"),
            "a.him" => pronoun(a, "him", "her"),
            "b.him" => pronoun(b, "him", "her"),
            "a.his" => pronoun(a, "his", "her"),
            "u" | "v" => {
                out.push_str(self.counted[usize::from(slot == "v")]);
                "s"
            }
            "u1" => self.counted[0],
            _ => {
                match slot.parse::<usize>().ok().and_then(|at| self.sum.operands().get(at.wrapping_sub(1))) {
                    Some(operand) => {
                        out.push_str(&operand.to_string());
                        ""
                    }
                    None => return false,
                }
            }
        };
        out.push_str(text);
        true
    }
}

fn pronoun(of: &Person, male: &'static str, female: &'static str) -> &'static str {
    if of.female { female } else { male }
}

/// Writes a document of problems, or of drills on the training side.
pub(super) fn document(world: &World, side: Side, draw: &mut Draw) -> String {
    if side == Side::Training && draw.chance(20) {
        return drills(draw);
    }
    let mut out = String::new();
    for _ in 0..draw.between(3, 6) {
        let operation = any_operation(draw);
        let problem = one(world, operation, side, draw);
        for part in ["Question: ", &problem.question, "\nAnswer: ", &problem.answer, "\n"] {
            out.push_str(part);
        }
    }
    out
}

/// Draws a kind of problem; about seven in ten are sums, differences or both.
pub(super) fn any_operation(draw: &mut Draw) -> Operation {
    const ALL: [Operation; 6] = [
        Operation::Add,
        Operation::Subtract,
        Operation::AddSubtract,
        Operation::SubtractAdd,
        Operation::Multiply,
        Operation::Divide,
    ];
    ALL[draw.weighted(&[25, 22, 14, 10, 15, 14])]
}

/// Writes one problem.
pub(super) fn one(world: &World, operation: Operation, side: Side, draw: &mut Draw) -> Problem {
    let people = draw.distinct(world.people.len(), |_| true).map(|at| &world.people[at]);
    let counted = draw.distinct(COUNTED.len(), |_| true).map(|at| COUNTED[at]);
    let scene = Scene { people, counted, sum: Sum::draw(operation, side, draw) };
    let mut question = String::new();
    sentence(&mut question, draw.pick(templates(operation)), &scene, draw);
    Problem { question, answer: scene.sum.worked() }
}

/// The wordings of a kind of problem.
pub(super) fn templates(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::Add => &ADD,
        Operation::Subtract => &SUBTRACT,
        Operation::Multiply => &MULTIPLY,
        Operation::Divide => &DIVIDE,
        Operation::AddSubtract => &ADD_SUBTRACT,
        Operation::SubtractAdd => &SUBTRACT_ADD,
    }
}

const ADD: [&str; 14] = [
    "{a} has {1} {u}. {b} gives {a.him} {2} more. How many {u} does {a} have now?",
    "{a} has {1} {u} and {b} has {2} {u}. How many {u} do they have [together|in all]?",
    "there are {1} {u} in a box. {a} puts in {2} more. How many {u} are in the box now?",
    "{a} finds {1} {u} in the morning and {2} {u} in the evening. How many {u} does {a} find [in all|that day]?",
    "on Monday {a} sells {1} {u}. On Tuesday {a.he} sells {2} {u}. How many {u} does {a} sell in both days?",
    "{b} buys {1} {u} and {2} {v}. How many things does {b} buy [in all|together]?",
    "{a} bought {1} {u} last week and {2} {u} this week. How many {u} did {a} buy?",
    "{a} had {1} coins and earned {2} coins more. How many coins does {a} have now?",
    "one bag holds {1} {u}, the other bag holds {2} {u}. How many {u} do both bags hold?",
    "{a} counts {1} {u} on the table and {2} {u} on the floor. How many {u} are there?",
    "{b} packed {1} {u}. {a} packed {2} {u}. How many {u} did {a} and {b} pack together?",
    "{a} has {1} {u}. {b} has {2} {u} more than {a}. How many {u} does {b} have?",
    "{1} {u} are in the basket. {b} adds {2} {u}. How many {u} are in the basket at the end?",
    "{a} read {1} pages yesterday and {2} pages today. How many pages did {a} read?",
];

const SUBTRACT: [&str; 14] = [
    "{a} has {1} {u}. {a.he} gives {2} of them to {b}. How many {u} does {a} have [left|now]?",
    "there are {1} {u} in a box. {a} takes out {2}. How many {u} are left in the box?",
    "{a} had {1} {u} and lost {2} of them. How many {u} does {a} still have?",
    "{a} has {1} coins and spends {2} coins. How many coins are left?",
    "a shop had {1} {u} in the morning and sold {2} of them. How many {u} are left?",
    "{b} had {1} {u}, but {2} of them were stolen. How many {u} are left?",
    "{a} wants {1} {u} and has {2} already. How many more {u} does {a} need?",
    "of {1} {u}, {2} are old. All the others are new. How many {u} are new?",
    "{a} has {1} {u}. {b} has {2} fewer. How many {u} does {b} have?",
    "{a} must carry {1} {u} home. {a.he} has carried {2}. How many {u} are still to be carried?",
    "a book has {1} pages. {a} has read {2} of them. How many pages are left?",
    "{b} collected {1} {u} and sold {2} of them. How many {u} did {b} keep?",
    "{1} {u} were on the table. {a} put {2} of them away. How many {u} are still on the table?",
    "there were {1} people at the feast, and {2} of them went home early. How many people stayed?",
];

const MULTIPLY: [&str; 12] = [
    "one {u1} costs {1} coins. {a} buys {2} {u}. How many coins does {a} pay?",
    "{a} pays {1} coins for each {u1} and buys {2}. How many coins is that?",
    "there are {1} {u} in each box. {a} has {2} boxes. How many {u} does {a} have?",
    "{a} packs {1} {u} every day. How many {u} does {a} pack in {2} days?",
    "each bag holds {1} {u}. How many {u} do {2} bags hold?",
    "{a} gives {1} {u} to each of {2} friends. How many {u} does {a} give away?",
    "every row has {1} chairs, and there are {2} rows. How many chairs are there?",
    "{b} earns {1} coins a day and works {2} days. How many coins does {b} earn?",
    "{a} walks {1} miles a day. How many miles does {a} walk in {2} days?",
    "a {u1} is sold for {1} coins. {b} sells {2} of them. How many coins does {b} get?",
    "{b} reads {1} pages every evening. How many pages does {b} read in {2} evenings?",
    "{a} puts {1} {u} on each plate and fills {2} plates. How many {u} are on the plates?",
];

const DIVIDE: [&str; 12] = [
    "{a} shares {1} {u} equally among {2} friends. How many {u} does each friend get?",
    "{a} has {1} {u} and puts {2} of them in each box. How many boxes does {a} fill?",
    "{1} {u} are put on {2} plates, the same number on each. How many {u} are on each plate?",
    "{a} has {1} coins. One {u1} costs {2} coins. How many {u} can {a} buy?",
    "{b} packs {1} {u} in bags of {2}. How many bags are there?",
    "{1} people sit down at tables for {2} people each. How many tables are full?",
    "{a} packed {1} {u} in {2} days, every day the same number. How many {u} did {a} pack each day?",
    "{b} plants {1} trees in {2} equal rows. How many trees are in each row?",
    "{a} cuts {1} feet of rope into pieces of {2} feet. How many pieces does {a} get?",
    "{b} pays {1} coins for {2} {u}. How many coins does one of them cost?",
    "{1} {u} are divided equally among {2} people. How many does each one get?",
    "a book has {1} pages. {a} reads {2} of them every day. How many days does {a} need?",
];

const ADD_SUBTRACT: [&str; 10] = [
    "{a} has {1} {u}. {b} gives {a.him} {2} more. Then {a} loses {3} of them. How many {u} does {a} have left?",
    "{a} has {1} {u} and buys {2} more. {a.he} gives {3} to {b}. How many {u} does {a} have now?",
    "there are {1} {u} in a box. {a} puts in {2}, and {b} takes out {3}. How many {u} are in the box?",
    "{a} had {1} coins, earned {2} and spent {3}. How many coins does {a} have now?",
    "{a} found {1} {u} and {b} found {2}. Together they sold {3}. How many {u} do they have left?",
    "a shop has {1} {u} and gets {2} more. Then it sells {3}. How many {u} are left in the shop?",
    "{1} people are in the hall. {2} more come in, and {3} go home. How many people are in the hall now?",
    "{b} bought {1} {u} on Monday and {2} on Tuesday. On Wednesday {b.he} sold {3}. How many {u} are left?",
    "{a} collects {1} {u}, then {2} more, and {b} takes {3} of them. How many {u} does {a} keep?",
    "one bag holds {1} {u}, another {2}. {a} takes {3} {u} out. How many {u} are left in both bags?",
];

const SUBTRACT_ADD: [&str; 10] = [
    "{a} has {1} {u}. {a.he} gives {2} to {b} and then finds {3} more. How many {u} does {a} have now?",
    "{a} had {1} coins, spent {2} and earned {3}. How many coins does {a} have now?",
    "there are {1} {u} in a box. {a} takes out {2}, and {b} puts in {3}. How many {u} are in the box?",
    "a shop has {1} {u}. It sells {2} and gets {3} new ones. How many {u} does the shop have now?",
    "{1} people are in the hall. {2} go home, and {3} more come in. How many people are in the hall now?",
    "{a} has {1} {u} and loses {2}. {b} gives {a.him} {3}. How many {u} does {a} have now?",
    "{b} collected {1} {u} and sold {2}. Then {b.he} collected {3} more. How many {u} does {b} have?",
    "{1} {u} are on the table. {a} takes {2} away and {b} brings {3}. How many {u} are on the table?",
    "{a} packed {1} {u}. {b} took {2} of them, so {a} packed {3} more. How many {u} are packed now?",
    "{a} carried {1} {u}. On the way {a.he} dropped {2} and picked up {3} others. How many {u} did {a.he} bring home?",
];
