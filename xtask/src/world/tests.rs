//! What holds for the texts as a whole.

use super::evaluation::Choice;
use super::facts::Relation;
use super::problems::templates;
use super::stories::plots;
use super::sums::Operation;
use super::template::expansions;
use super::*;
use std::collections::{HashMap, HashSet};

const BYTES: u64 = 4_000_000;

fn relations() -> impl Iterator<Item = Relation> {
    Relation::OF_PEOPLE.into_iter().chain(Relation::OF_PLACES).chain(Relation::OF_OBJECTS)
}

/// The numbers of `a + b = c` and the like: `[a, b, c]` and the sign.
fn equations(text: &str) -> Vec<([u32; 3], String)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.trim_end_matches([',', '.', ':']).parse::<u32>();
    let windows = words.windows(5).filter(|five| five[3] == "=");
    windows
        .map(|five| {
            let three = [five[0], five[2], five[4]].map(|word| number(word).expect("a number"));
            (three, five[1].to_owned())
        })
        .collect()
}

#[test]
fn the_evaluation_is_not_in_the_training_text() {
    let guard = Guard::new(&evaluation());
    for lesson in LESSONS {
        for document in corpus(lesson, BYTES) {
            guard.inspect(&document).unwrap();
        }
    }
}

#[test]
fn the_guard_finds_what_it_looks_for() {
    let sets = evaluation();
    let guard = Guard::new(&sets);
    let problem = &sets.problems[0];
    let fact = &sets.facts[0].question;
    let (header, _) = problem.answer.split_once(['=', ':']).unwrap();
    let other = problem.question.replace("How many", "So how many");
    for leak in [
        sets.documents[3].clone(),
        format!("{}\n", sets.stories[5]),
        format!("Question: {fact}\nAnswer: Oxmoor.\n"),
        format!("\"{fact}\" asked Ben. \"Yes,\" said Dora.\n"),
        format!("Question: {other}\nAnswer: 1 + 1 = 2. #### 2\n"),
        format!("Question: {}\nAnswer: {}\n", problem.question, problem.answer),
    ] {
        assert!(guard.inspect(&leak).is_err(), "{leak}");
    }
    // The first sum of a problem in two steps may be of training; that of one step never is.
    let one_step =
        sets.problems.iter().find(|one| one.answer.matches(": ").count() == 1 && one.answer.contains('+'));
    let (header, _) = one_step.map_or((header, ""), |one| one.answer.split_once(':').unwrap());
    assert!(guard.inspect(&format!("{header}: so many. #### 1\n")).is_err(), "{header}");
    assert!(guard.inspect("Anna lives here. Where does Anna live now?\n").is_ok());
}

#[test]
fn the_same_seed_makes_the_same_text() {
    let text = |lesson| corpus(lesson, 200_000).collect::<String>();
    assert_eq!(text(LESSONS[0]), text(LESSONS[0]));
    assert_ne!(text(LESSONS[0]), text(Lesson { seed: 9, ..LESSONS[0] }));
    assert_eq!(evaluation().text(), evaluation().text());
    let long: String = corpus(LESSONS[0], 400_000).collect();
    assert!(long.starts_with(&text(LESSONS[0])), "a shorter text is the beginning of a longer one");
}

#[test]
fn all_sums_are_right() {
    let sets = evaluation();
    let mut text: String = corpus(LESSONS[0], BYTES).collect();
    text.extend(
        sets.problems.iter().map(|one| format!("Question: {}\nAnswer: {}\n", one.question, one.answer)),
    );
    let mut count = 0;
    for ([a, b, c], sign) in equations(&text) {
        let right = match sign.as_str() {
            "+" => a + b == c,
            "-" => c + b == a,
            _ => panic!("{a} {sign} {b} = {c}"),
        };
        assert!(right && a <= 100 && c <= 100, "{a} {sign} {b} = {c}");
        count += 1;
    }
    assert!(count > 20_000, "{count}");
    for line in text.lines().filter(|line| line.contains("#### ")) {
        let (steps, result) = line.trim_start_matches("Answer: ").split_once(". #### ").unwrap();
        let result: u32 = result.parse().unwrap();
        assert!(result <= 100);
        let step = steps.split(". ").last().unwrap();
        if let Some((header, counted)) =
            step.split_once(": ").filter(|(header, _)| header.contains(['*', '/']))
        {
            let [a, b] =
                header.split([' ', '*', '/']).filter_map(|n| n.parse::<u32>().ok()).collect::<Vec<_>>()[..]
            else {
                panic!("{line}")
            };
            let (size, times) = if header.contains('*') { (a, b) } else { (b, result) };
            assert_eq!(result, if header.contains('*') { a * b } else { a / b }, "{line}");
            let expected: Vec<String> = (1..=times).map(|n| format!("{} ({n})", n * size)).collect();
            assert_eq!(counted, expected.join(", "), "{line}");
        } else {
            assert!(step.ends_with(&format!("= {result}")), "{line}");
            if let Some((header, _)) = step.split_once(": ") {
                let whole = format!("{header} = {result}");
                let ([a, b, c], sign) = equations(&whole).remove(0);
                assert!(if sign == "+" { a + b == c } else { b + c == a }, "{line}");
            }
        }
    }
}

#[test]
fn worked_answers_use_the_numbers_of_their_question() {
    for problem in evaluation().problems {
        let numbers = |text: &str| -> Vec<u32> {
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
        };
        let worked = numbers(&problem.answer);
        let asked = numbers(&problem.question);
        assert!((2..=3).contains(&asked.len()), "{}", problem.question);
        assert!(
            asked.iter().all(|number| worked.contains(number)),
            "{} {}",
            problem.question,
            problem.answer
        );
    }
}

#[test]
fn the_mixture_is_as_planned() {
    for lesson in LESSONS {
        let mut author = Author::new(lesson.seed, Side::Training, lesson.mixture);
        let mut bytes = HashMap::new();
        let mut counts = HashMap::new();
        let mut total = 0;
        while total < 3_000_000 {
            let (kind, text) = author.any_document();
            *bytes.entry(format!("{kind:?}")).or_insert(0) += text.len();
            *counts.entry(format!("{kind:?}")).or_insert(0) += 1;
            total += text.len();
        }
        for ((kind, length), share) in KINDS.into_iter().zip(lesson.mixture.shares) {
            let name = format!("{kind:?}");
            let percent = bytes[&name] as f64 * 100.0 / total as f64;
            let mean = bytes[&name] / counts[&name];
            assert!(mean.abs_diff(length) * 16 <= length, "{name}: {mean} bytes each of {length}");
            assert!((percent - share as f64).abs() <= 2.0, "{name}: {percent:.1} % of {share}");
        }
    }
}

#[test]
fn the_text_is_plain() {
    let sets = evaluation();
    let all = corpus(LESSONS[0], BYTES).chain(sets.documents).chain(sets.stories);
    for text in all {
        assert!(text.is_ascii() && !text.contains(['{', '}', '[', ']', '|']), "{text}");
        assert!(!text.contains("  ") && !text.contains(" ,") && !text.contains(".."), "{text}");
        for vowel in ["a", "e", "i", "o", "u"] {
            assert!(!text.contains(&format!(" a {vowel}")), "{text}");
        }
        let begins_small = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(!text.lines().any(begins_small), "{text}");
    }
}

#[test]
fn choices_are_different_and_spread() {
    let facts = evaluation().facts;
    let mut places = [0; 4];
    let mut questions = HashSet::new();
    for Choice { question, choices, answer, .. } in &facts {
        assert_eq!(choices.iter().collect::<HashSet<_>>().len(), 4, "{choices:?}");
        places[*answer] += 1;
        assert!(questions.insert(question), "{question} is asked twice");
    }
    assert_eq!(facts.len(), 400);
    assert!(places.iter().all(|&count| count > 70), "{places:?}");
}

#[test]
fn the_last_word_of_a_story_is_told_before() {
    let sets = evaluation();
    let mut author = Author::new(LESSONS[3].seed, Side::Training, LESSONS[3].mixture);
    let trained = (0..3000).map(|_| author.document(Kind::Story));
    for story in sets.stories.into_iter().chain(trained) {
        let words: Vec<&str> =
            story.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty()).collect();
        let (last, before) = words.split_last().unwrap();
        assert!(before.contains(last), "{story}");
        assert!(story.trim_end().ends_with(&format!(" {last}.")), "{story}");
        let ending = story.trim_end().trim_end_matches('.').rsplit(". ").next().unwrap();
        let words = ending.split(|c: char| !c.is_ascii_alphabetic());
        assert_eq!(words.filter(|word| word == last).count(), 1, "{ending}");
        let sentences = story.matches(['.', '?', '!']).count();
        assert!((5..=16).contains(&sentences), "{sentences}: {story}");
    }
}

#[test]
fn there_are_many_wordings() {
    let count =
        |templates: &[&str]| templates.iter().map(|template| expansions(template).len()).sum::<usize>();
    for relation in relations() {
        let wordings = relation.wordings();
        assert!(count(wordings.statements) >= 14, "{relation:?} {}", count(wordings.statements));
        assert!(count(wordings.questions) >= 8, "{relation:?} {}", count(wordings.questions));
        assert!(count(wordings.unseen) >= 4, "{relation:?}");
        let trained: HashSet<String> = wordings.questions.iter().flat_map(|one| expansions(one)).collect();
        for unseen in wordings.unseen.iter().flat_map(|one| expansions(one)) {
            assert!(!trained.contains(&unseen), "{relation:?}: {unseen}");
        }
    }
    for operation in [
        Operation::Add,
        Operation::Subtract,
        Operation::Multiply,
        Operation::Divide,
        Operation::AddSubtract,
        Operation::SubtractAdd,
    ] {
        assert!(count(templates(operation)) >= 10, "{operation:?}");
    }
    assert!(plots().count() >= 12);
    for plot in plots() {
        assert!(plot.iter().map(|event| count(event)).product::<usize>() >= 300);
    }
}

#[test]
fn unseen_wordings_use_words_that_training_has() {
    let text: String = corpus(LESSONS[0], BYTES).collect::<String>().to_lowercase();
    let known: HashSet<&str> = text.split(|c: char| !c.is_ascii_alphabetic()).collect();
    for fact in evaluation().facts {
        let question = fact.question.to_lowercase();
        for word in question.split(|c: char| !c.is_ascii_alphabetic()) {
            assert!(known.contains(word), "{word} in {question}");
        }
    }
}
