//! Tasks on a tiny random model, beside the same by hand from whole sequences.

use super::*;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::GenerateOptions;
use tenuis_spec::DecoderSpec;

const VOCAB: usize = 320;

/// Attention to one position and to several is summed in another order; log-likelihoods are sums of some ten terms.
const TOLERANCE: f64 = 1e-4;

const TEXT: &str = "Question: Where does Iris live now? Answer: in Oxmoor by the sea\n\
    Question: How many plums does Bob have? Answer: 12 + 30: 40 + 2 = 42. #### 42\n";

struct Fixture {
    dir: tempfile::TempDir,
    model: Model,
    tokenizer: Tokenizer,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&json!({}), 1.0)
    }

    /// A random model whose configuration has more keys, with the weights of its layers scaled.
    fn with(more: &Value, scale: f32) -> Self {
        let mut config = json!({
            "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 96,
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let dir = tempfile::tempdir().unwrap();
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        let mut state = 1u32;
        for tensor in DecoderSpec::from_config(&config).unwrap().tensors() {
            let start = data.len();
            let scale = if tensor.name.contains(".layers.") { scale } else { 1.0 };
            for _ in 0..tensor.shape.iter().product() {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let random = (f64::from(state >> 8) / f64::from(1 << 24) - 0.5) as f32;
                let value = if tensor.shape.len() == 1 { 1.0 } else { scale * random };
                data.extend_from_slice(&value.to_le_bytes());
            }
            let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.len()]});
            header.insert(tensor.name, entry);
        }
        let mut header = Value::Object(header).to_string();
        header.push_str(&" ".repeat((8 - header.len() % 8) % 8));
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&data);
        std::fs::write(dir.path().join("model.safetensors"), file).unwrap();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let checkpoint = Arc::new(Checkpoint::open(dir.path()).unwrap());
        let model = Model::open(checkpoint, &CodecRegistry::builtin()).unwrap();
        Self { dir, model, tokenizer: Tokenizer::train([TEXT].into_iter(), VOCAB, "<|end|>").unwrap() }
    }

    fn open(&self, text: &str) -> Result<Task, TaskError> {
        let path = self.dir.path().join("task.jsonl");
        std::fs::write(&path, text).unwrap();
        Task::open(&path, &self.tokenizer, &self.model)
    }

    fn task(&self, items: &[Value]) -> Task {
        self.open(&items.iter().map(|item| item.to_string() + "\n").collect::<String>()).unwrap()
    }

    fn measure(&self, task: &Task) -> TaskScore {
        let done = AtomicUsize::new(0);
        let count = |items| {
            done.fetch_add(items, Ordering::Relaxed);
        };
        let (score, samples) = task.measure(Subject { name: "model", model: &self.model }, &count).unwrap();
        let order: Vec<u64> = task.task.items().iter().map(|item| item.id).collect();
        assert_eq!(samples.iter().map(|sample| sample.id).collect::<Vec<_>>(), order);
        assert_eq!(done.into_inner(), task.items(), "every item is reported as done");
        score
    }

    /// `log p` and whether it is the largest, for every token of a text after its first.
    fn predictions(&self, tokens: &[u32]) -> Vec<(f64, bool)> {
        let logits = self.model.logits_vec(tokens, 1, tokens.len()).unwrap();
        let predict = |(row, &token): (&[f32], &u32)| {
            let row: Vec<f64> = row.iter().map(|&l| f64::from(l)).collect();
            let own = row[token as usize];
            let sum: f64 = row.iter().map(|l| l.exp()).sum();
            (own - sum.ln(), row.iter().all(|&l| l <= own))
        };
        logits.chunks_exact(VOCAB).zip(&tokens[1..]).map(predict).collect()
    }

    /// The tokens of a text, and how many of them make up its context.
    fn encode(&self, context: &str, added: &str) -> (Vec<u32>, usize) {
        let whole = self.tokenizer.encode(&format!("{context}{added}"), true).unwrap();
        let context = self.tokenizer.encode(context, true).unwrap();
        assert_eq!(whole[..context.len()], context, "this tokenizer keeps words apart");
        (whole, context.len())
    }

    fn log_likelihood(&self, question: &str, choice: &str) -> f64 {
        let (tokens, from) = self.encode(&format!("Question: {question}\nAnswer:"), &format!(" {choice}"));
        self.predictions(&tokens)[from - 1..].iter().map(|p| p.0).sum()
    }
}

/// Choices of one token and of many, of equal and of different lengths.
const QUESTIONS: [(&str, [&str; 4]); 3] = [
    ("Where does Iris live now?", ["Oxmoor", "Rookdale", "in Oxmoor by the sea", "12"]),
    ("How many plums?", ["1", "2", "3", "4"]),
    ("Where does Bob live?", ["by the sea", "in the sea", "sea", "sea"]),
];

#[test]
fn choices_are_scored_by_their_likelihood() {
    let fixture = Fixture::new();
    let mut items = Vec::new();
    for (number, (question, choices)) in QUESTIONS.iter().enumerate() {
        let by_hand = choices.map(|choice| fixture.log_likelihood(question, choice));
        let best = (0..4).fold(0, |best, i| if by_hand[i] > by_hand[best] { i } else { best });
        // The last question is answered wrong.
        let answer = if number == 2 { (best + 1) % 4 } else { best };
        items.push(json!({"question": question, "choices": choices, "answer": answer, "subject": "places"}));
        let task = fixture.task(&items[number..]);
        let Items::Choices(questions) = &task.items else { panic!("{:?}", task.layout()) };
        let found = questions[0].1.log_likelihoods(&fixture.model).unwrap();
        for (found, by_hand) in found.iter().zip(by_hand) {
            assert!((found - by_hand).abs() < TOLERANCE, "{question}: {found}, by hand {by_hand}");
        }
    }
    let score = fixture.measure(&fixture.task(&items));
    assert_eq!((score.items, score.correct, score.metric), (3, 2, Metric::Accuracy));
    assert_eq!((score.value, score.chance), (2.0 / 3.0, Some(0.25)));
    assert!((score.standard_error - (2.0f64 / 27.0).sqrt()).abs() < 1e-12);
    assert!(score.data_file.ends_with("task.jsonl") && score.data_hash.len() == 64);
}

#[test]
fn chance_is_the_mean_over_questions() {
    let fixture = Fixture::new();
    let two = json!({"question": "Who?", "choices": ["a", "b"], "answer": 0});
    let four = json!({"question": "Who?", "choices": ["a", "b", "c", "d"], "answer": 0});
    assert_eq!(fixture.measure(&fixture.task(&[two, four])).chance, Some(0.375));
}

#[test]
fn the_first_of_equal_choices_wins() {
    let fixture = Fixture::new();
    let answer = |answer| json!({"question": "Where?", "choices": ["sea", "sea"], "answer": answer});
    assert_eq!(fixture.measure(&fixture.task(&[answer(0), answer(1)])).correct, 1);
}

/// A model with small weights in its layers and a tied head says the last token again.
const STORIES: [&str; 5] = [
    "Iris does live in Oxmoor.",
    "Iris does does.",
    "Bob does have 12 plums now, many plums",
    "Where? It does  does!",
    "How many plums does Iris have by the sea?",
];

#[test]
fn a_last_word_is_right_where_every_token_is_the_likeliest() {
    let fixture = Fixture::with(&json!({"tie_word_embeddings": true}), 0.05);
    let mut expected = 0;
    for text in STORIES {
        let letters = text.trim_end_matches(|c: char| !c.is_alphanumeric());
        let space = letters.trim_end_matches(char::is_alphanumeric).trim_end().len();
        let (tokens, from) = fixture.encode(&letters[..space], &letters[space..]);
        let by_hand = fixture.predictions(&tokens)[from - 1..].iter().all(|p| p.1);
        let score = fixture.measure(&fixture.task(&[json!({"text": text})]));
        assert_eq!(score.correct, usize::from(by_hand), "{text}");
        assert_eq!((score.chance, score.layout), (None, Layout::LastWord));
        expected += usize::from(by_hand);
    }
    assert!(expected > 0 && expected < STORIES.len(), "{expected} found: the test must tell");
    let items: Vec<Value> = STORIES.iter().map(|text| json!({"text": text})).collect();
    assert_eq!(fixture.measure(&fixture.task(&items)).correct, expected, "whatever else is in the file");
}

fn problems() -> Vec<Value> {
    let question = |n: usize| {
        let plums = "many plums and ".repeat(n % 4);
        json!({"question": format!("How {plums}{n}?"), "answer": format!("{n} + 30: 40 + 2. #### {n}")})
    };
    (0..11).map(question).collect()
}

/// What a problem's prompt is continued with by [`Model::generate`] alone.
fn generated(fixture: &Fixture, problem: &Value, max_new_tokens: usize) -> String {
    let prompt = format!("Question: {}\nAnswer:", problem["question"].as_str().unwrap());
    let mut options = GenerateOptions::default();
    options.eos = fixture.model.eos_tokens();
    let tokens = fixture.tokenizer.encode(&prompt, true).unwrap();
    options.max_new_tokens = max_new_tokens.min(fixture.model.spec().max_positions - tokens.len());
    let mut new = fixture.model.generate(&tokens, &options, |_| ControlFlow::Continue(())).unwrap();
    new.truncate(new.iter().position(|token| options.eos.contains(token)).unwrap_or(new.len()));
    let mut stream = fixture.tokenizer.decode_stream();
    let text: String = new.iter().filter_map(|&token| stream.push(token).unwrap()).collect();
    text.split('\n').next().unwrap_or_default().to_owned()
}

#[test]
fn answers_are_what_generation_gives() {
    let plain = Fixture::new();
    let items = problems();
    // A token that does occur ends some texts early.
    let eos = plain.tokenizer.encode(&generated(&plain, &items[0], 9), false).unwrap();
    for fixture in [plain, Fixture::with(&json!({"eos_token_id": eos[eos.len() / 2..]}), 1.0)] {
        let task = fixture.task(&items);
        let Items::Generate(prompts) = &task.items else { panic!("{:?}", task.layout()) };
        let by_hand: Vec<String> =
            items.iter().map(|item| generated(&fixture, item, prompts.max_new_tokens())).collect();
        assert!(by_hand.iter().any(|text| !text.is_empty()));
        let groups = prompts.groups(&fixture.model);
        assert!(groups.len() > 1 && groups[0].len() > 1, "some are written together");
        let mut together = Vec::new();
        for group in &groups {
            let answers = prompts.answers(&fixture.model, group).unwrap();
            for (prompt, answer) in group.iter().zip(answers) {
                let alone = prompts.answers(&fixture.model, &[*prompt]).unwrap().remove(0);
                assert_eq!(answer, alone, "whatever else is written at the same time");
                together.push(answer.unwrap());
            }
        }
        together.sort();
        let mut sorted = by_hand;
        sorted.sort();
        assert_eq!(together, sorted);
    }
}

#[test]
fn answers_may_be_twice_as_long_as_the_longest_reference() {
    let fixture = Fixture::new();
    let items = problems();
    let score = fixture.measure(&fixture.task(&items));
    // A random model writes no result.
    assert_eq!((score.correct, score.value, score.metric), (0, 0.0, Metric::ExactMatch));
    let longest = items.iter().map(|item| format!(" {}", item["answer"].as_str().unwrap()));
    let longest = longest.map(|text| fixture.tokenizer.encode(&text, false).unwrap().len()).max().unwrap();
    assert_eq!(score.max_new_tokens, Some(2 * longest));
}

#[test]
fn logits_that_are_not_finite_are_an_error() {
    let fixture = Fixture::with(&json!({}), 1e30);
    let task = fixture.task(&[json!({"text": "Iris does live in Oxmoor"})]);
    let error = task.measure(Subject { name: "int4", model: &fixture.model }, &|_| ()).unwrap_err();
    assert!(
        matches!(&error, EvalError::NonFiniteTask { model, task } if model == "int4" && task == "task"),
        "{error}"
    );
}

#[test]
fn unusable_files_are_refused() {
    let fixture = Fixture::new();
    let long = "plums ".repeat(99);
    for (text, parts) in [
        (String::new(), &["task.jsonl", "holds no items"][..]),
        ("\n  \n".to_owned(), &["holds no items"]),
        ("{\"text\": \"a b\"}\n\n{".to_owned(), &["line 3", "is not JSON", "on each line"]),
        ("[1]".to_owned(), &["line 1", "is not a JSON object"]),
        ("{\"story\": \"a b\"}".to_owned(), &["line 1", "no task", "\"choices\"", "\"text\""]),
        ("{\"text\": \"a b\"}\n{\"question\": \"a\"}".to_owned(), &["line 2", "\"text\"", "lambada"]),
        ("{\"text\": 3}".to_owned(), &["\"text\" must be a text"]),
        ("{\"text\": \"Wexcombe. \"}".to_owned(), &["no words before its last"]),
        ("{\"text\": \"To Wexcombe -\"}".to_owned(), &["ends in \"-\"", "no word"]),
        (format!("{{\"text\": \"{long}\"}}"), &["last word", "96 positions"]),
        ("{\"choices\": [\"a\", \"b\"], \"answer\": 0}".to_owned(), &["\"question\" must be a text", "mmlu"]),
        (
            "{\"question\": \"a\", \"choices\": [\"a\", 1], \"answer\": 0}".to_owned(),
            &["\"choices\" must be a list of texts"],
        ),
        (
            "{\"question\": \"a\", \"choices\": [\"a\"], \"answer\": 0}".to_owned(),
            &["fewer than two choices"],
        ),
        ("{\"question\": \"a\", \"choices\": [\"a\", \"b\"]}".to_owned(), &["\"answer\" must be an index"]),
        (
            "{\"question\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": \"A\"}".to_owned(),
            &["counted from 0"],
        ),
        (
            "{\"question\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": 2}".to_owned(),
            &["is 2", "2 choices", "from 0"],
        ),
        (
            format!("{{\"question\": \"{long}\", \"choices\": [\"a\", \"b\"], \"answer\": 1}}"),
            &["96 positions"],
        ),
        ("{\"question\": \"a\"}".to_owned(), &["\"answer\" must be a text", "gsm8k"]),
        ("{\"question\": \"a\", \"answer\": \"4\"}".to_owned(), &["nothing after \"####\""]),
        ("{\"question\": \"a\", \"answer\": \"#### \"}".to_owned(), &["nothing after \"####\""]),
        (format!("{{\"question\": \"{long}\", \"answer\": \"#### 4\"}}"), &["answer", "96 positions"]),
    ] {
        let error = fixture.open(&text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?} for {text}");
        }
    }
    let missing = Task::open(Path::new("no/such.jsonl"), &fixture.tokenizer, &fixture.model).unwrap_err();
    assert!(matches!(missing, TaskError::Task(tenuis_tasks::TaskError::File { .. })), "{missing}");
    let path = fixture.dir.path().join("latin.jsonl");
    std::fs::write(&path, b"{\"text\": \"K\xf6ln\"}").unwrap();
    let latin = Task::open(&path, &fixture.tokenizer, &fixture.model).unwrap_err();
    assert!(
        matches!(latin, TaskError::Task(tenuis_tasks::TaskError::NotUtf8 { position: 11, .. })),
        "{latin}"
    );
}

#[test]
fn contexts_that_differ_are_scored_each_by_itself() {
    let fixture = Fixture::new();
    let sentence = "Where does Iris live? in _ by the sea";
    let item = json!({"sentence": sentence, "option1": "Oxmoor", "option2": "Rookdale", "answer": "2"});
    let task = fixture.task(&[item]);
    let Items::Choices(items) = &task.items else { panic!("{:?}", task.layout()) };
    let found = items[0].1.log_likelihoods(&fixture.model).unwrap();
    for (found, option) in found.iter().zip(["Oxmoor", "Rookdale"]) {
        let (tokens, from) = fixture.encode(&format!("Where does Iris live? in {option}"), " by the sea");
        let by_hand: f64 = fixture.predictions(&tokens)[from - 1..].iter().map(|p| p.0).sum();
        assert!((found - by_hand).abs() < TOLERANCE, "{option}: {found}, by hand {by_hand}");
    }
}

#[test]
fn a_definition_gives_name_slices_examples_and_chat() {
    let fixture = Fixture::new();
    let write = |name: &str, text: &str| std::fs::write(fixture.dir.path().join(name), text).unwrap();
    let lines =
        ["How many plums?", "How many plums and plums?"].map(|q| json!({"q": q, "a": "42"}).to_string());
    write("plums.jsonl", &lines.join("\n"));
    write(
        "plums.toml",
        "name = \"plums\"\nkind = \"generate\"\ndata = \"plums.jsonl\"\nprompt = \"{{ q }}\"\nslices = [\"a\"]\n\
         chat = \"auto\"\n[generate]\ntarget = \"{{ a }}\"\nmax_new_tokens = 3\nmetric = \"ter\"\n[few_shot]\nexamples = 1\n",
    );
    let open = || Task::open(&fixture.dir.path().join("plums.toml"), &fixture.tokenizer, &fixture.model);
    let task = open().unwrap();
    let score = fixture.measure(&task);
    assert_eq!((task.name(), score.metric, score.max_new_tokens), ("plums", Metric::Ter, Some(3)));
    assert_eq!(score.direction, Some(tenuis_metrics::Direction::LowerIsBetter));
    assert_eq!((score.slices["a"]["42"].items, score.slices["length"].len()), (2, 2));
    assert_eq!(score.few_shot.as_ref().map(|few_shot| few_shot.examples), Some(1));
    assert!(!score.chat && score.task_hash.is_some());
    let json = serde_json::to_value(&score).unwrap();
    assert_eq!(serde_json::from_value::<TaskScore>(json).unwrap(), score);

    write("chat_template.jinja", "<|end|>{% for m in messages %}{{ m.content }}{% endfor %}Answer:");
    let task = open().unwrap();
    let Items::Generate(prompts) = &task.items else { panic!("{:?}", task.layout()) };
    let expected = "<|end|>How many plums and plums? 42\n\nHow many plums?Answer:";
    let tokens = &prompts.groups(&fixture.model)[0][0].tokens;
    assert_eq!(tokens, &fixture.tokenizer.encode(expected, false).unwrap());
    assert!(fixture.measure(&task).chat);

    write("chat_template.jinja", "{% if %}");
    let error = open().unwrap_err();
    assert!(matches!(error, TaskError::Chat { .. }), "{error}");
    fixture.open("{\"text\": \"Iris does live\"}").expect("a task without a chat needs no template");
}
