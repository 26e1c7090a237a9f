//! The evaluation sets.

use super::draw::{Draw, hash};
use super::facts::{EVERYBODY, NEIGHBOURS, World};
use super::problems::{self, Problem};
use super::sums::Side;
use super::{Author, END_OF_TEXT, KINDS, Kind, Mixture, tell};
use serde_json::json;
use std::collections::HashSet;

/// What the text for perplexity is made of, and of which sorts the stories to end are.
const MIXTURE: Mixture = Mixture { shares: [20, 15, 25, 40], known: EVERYBODY, plain: 50 };

/// The seeds of the sets; none is that of a lesson.
const SEEDS: [u64; 4] = [2_000_001, 2_000_002, 2_000_003, 2_000_004];

/// How many questions about facts there are.
const FACTS: usize = 400;

/// How many word problems there are.
const PROBLEMS: usize = 200;

/// How many stories there are to end.
const STORIES: usize = 200;

/// The bytes of the text for perplexity.
const TEXT_BYTES: usize = 120_000;

/// A question about a fact with its choices.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// The question, in a wording that training never has.
    pub(crate) question: String,
    /// The relation asked for.
    pub(crate) subject: &'static str,
    /// Four different answers of the same sort.
    pub(crate) choices: Vec<String>,
    /// Which of them is right.
    pub(crate) answer: usize,
}

/// All sets.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// Documents for perplexity.
    pub(super) documents: Vec<String>,
    /// Questions about facts.
    pub(super) facts: Vec<Choice>,
    /// Word problems with reserved operands.
    pub(super) problems: Vec<Problem>,
    /// Stories to end.
    pub(super) stories: Vec<String>,
}

/// Makes the evaluation sets. They are the same each time.
pub(crate) fn evaluation() -> Evaluation {
    let mut seen = HashSet::new();
    let [text, facts, sums, cloze] = SEEDS;
    let stories = stories(&mut Author::new(cloze, Side::Evaluation, MIXTURE), &mut seen);
    Evaluation {
        documents: documents(&mut Author::new(text, Side::Evaluation, MIXTURE), &mut seen),
        facts: choices(&World::seen_by(NEIGHBOURS), &mut Draw::new(facts)),
        problems: word_problems(&World::new(), &mut Draw::new(sums)),
        stories,
    }
}

fn stories(author: &mut Author, seen: &mut HashSet<u64>) -> Vec<String> {
    let mut stories = Vec::with_capacity(STORIES);
    while stories.len() < STORIES {
        let story = author.document(Kind::Story);
        if seen.insert(hash(&story)) {
            stories.push(story.trim_end().to_owned());
        }
    }
    stories
}

fn documents(author: &mut Author, seen: &mut HashSet<u64>) -> Vec<String> {
    let (mut documents, mut bytes) = (Vec::new(), 0);
    while bytes < TEXT_BYTES {
        let kind = KINDS[author.draw.weighted(&author.weights)].0;
        let text = author.document(kind);
        if seen.insert(hash(&text)) {
            bytes += text.len() + 1;
            documents.push(text);
        }
    }
    documents
}

fn choices(world: &World, draw: &mut Draw) -> Vec<Choice> {
    // Every fact in each wording, and some of those.
    let mut asked: Vec<_> = world
        .facts()
        .into_iter()
        .flat_map(|fact| fact.relation.wordings().unseen.iter().map(move |wording| (fact, *wording)))
        .collect();
    draw.shuffle(&mut asked);
    asked.truncate(FACTS);
    asked
        .into_iter()
        .map(|(fact, wording)| {
            let right = world.value(fact);
            let mut wrong: Vec<&str> = Vec::new();
            for other in world.alternatives(fact) {
                if other != right && !wrong.contains(&other) {
                    wrong.push(other);
                }
            }
            draw.shuffle(&mut wrong);
            let answer = draw.below(4);
            let mut choices: Vec<String> = wrong[..3].iter().map(|&wrong| wrong.to_owned()).collect();
            choices.insert(answer, right.to_owned());
            let question = tell::question(world, fact, wording, draw);
            Choice { question, subject: fact.relation.name(), choices, answer }
        })
        .collect()
}

fn word_problems(world: &World, draw: &mut Draw) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::with_capacity(PROBLEMS);
    while problems.len() < PROBLEMS {
        let operation = problems::any_operation(draw);
        let problem = problems::one(world, operation, Side::Evaluation, draw);
        if seen.insert(hash(&problem.question)) {
            problems.push(problem);
        }
    }
    problems
}

impl Evaluation {
    /// The text for perplexity: each document behind the mark that stands before documents in training.
    pub(crate) fn text(&self) -> String {
        self.documents.iter().flat_map(|document| [END_OF_TEXT, document.as_str()]).collect()
    }

    /// The questions about facts in the layout of MMLU.
    pub(crate) fn facts_jsonl(&self) -> String {
        let row = |fact: &Choice| {
            let Choice { question, subject, choices, answer } = fact;
            json!({ "question": question, "subject": subject, "choices": choices, "answer": answer })
        };
        lines(self.facts.iter().map(row))
    }

    /// The word problems in the layout of GSM8K.
    pub(crate) fn problems_jsonl(&self) -> String {
        lines(self.problems.iter().map(|one| json!({ "question": one.question, "answer": one.answer })))
    }

    /// The stories in the layout of LAMBADA.
    pub(crate) fn cloze_jsonl(&self) -> String {
        lines(self.stories.iter().map(|story| json!({ "text": story })))
    }

    /// How many questions about facts, word problems and stories there are.
    pub(crate) fn items(&self) -> [usize; 3] {
        [self.facts.len(), self.problems.len(), self.stories.len()]
    }
}

fn lines(rows: impl Iterator<Item = serde_json::Value>) -> String {
    rows.map(|row| row.to_string() + "\n").collect()
}
