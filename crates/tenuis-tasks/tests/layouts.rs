//! Every built-in layout: what is asked, and what an answer is worth.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use tenuis_tasks::{Builtin, ChatTemplate, Outcome, Request, Sample, Task};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The only item's contexts, continuations and answer.
fn choices(task: &Task) -> (Vec<(&str, &str)>, usize) {
    let Request::Choices { variants, answer } = &task.items()[0].request else { panic!("{:?}", task.spec()) };
    (variants.iter().map(|v| (v.context.as_str(), v.continuation.as_str())).collect(), *answer)
}

fn recognised(name: &str, file: &Path) -> Task {
    assert_eq!(Builtin::recognise(file).unwrap().name, name);
    Task::open(file, None).unwrap()
}

#[test]
fn choices_follow_their_question() {
    let files = Files::new();
    for (name, file, record, context, continuations, right) in [
        (
            "mmlu",
            "a.jsonl",
            r#"{"question": "Q?", "choices": ["x", "y"], "answer": 1}"#,
            "Question: Q?\nAnswer:",
            vec![" x", " y"],
            1,
        ),
        (
            "mmlu_csv",
            "a.csv",
            "\"Q, really?\",w,x,y,z,C\n",
            "Question: Q, really?\nAnswer:",
            vec![" w", " x", " y", " z"],
            2,
        ),
        (
            "ceval",
            "b.csv",
            "id,question,A,B,C,D,answer\n0,Q ,w,x,y,z,D\n",
            "Q\nA. w\nB. x\nC. y\nD. z\n答案：",
            vec![" A", " B", " C", " D"],
            3,
        ),
        (
            "cmmlu",
            "c.csv",
            ",Question,A,B,C,D,Answer\n0,Q,w,x,y,z,A\n",
            "Q\nA. w\nB. x\nC. y\nD. z\n答案：",
            vec![" A", " B", " C", " D"],
            0,
        ),
        (
            "hellaswag",
            "d.jsonl",
            r#"{"activity_label": "Act", "ctx_a": "A  man [header] sits.", "ctx_b": "THEN he", "ctx": "unused", "endings": [" [substeps] a.", "b [title] c"], "label": "1"}"#,
            "Act: A man sits. Then he",
            vec!["  a.", " b. c"],
            1,
        ),
        (
            "hellaswag",
            "e.jsonl",
            r#"{"ctx": "A man", "endings": ["sits", "flies"], "label": 0}"#,
            "A man",
            vec![" sits", " flies"],
            0,
        ),
        (
            "arc",
            "f.jsonl",
            r#"{"id": "1", "question": "Q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}"#,
            "Question: Q?\nAnswer:",
            vec![" x", " y"],
            1,
        ),
        (
            "piqa",
            "g.json",
            r#"[{"goal": "G", "sol1": "x", "sol2": "y", "label": 0}]"#,
            "Question: G\nAnswer:",
            vec![" x", " y"],
            0,
        ),
    ] {
        let task = recognised(name, &files.write(file, record));
        let (found, answer) = choices(&task);
        let expected: Vec<(&str, &str)> = continuations.iter().map(|c| (context, *c)).collect();
        assert_eq!((found, answer), (expected, right), "{name}");
    }
}

#[test]
fn letters_follow_the_choices() {
    let files = Files::new();
    let file = files.write("a.jsonl", r#"{"question": " Q?", "choices": ["x", "y", "z"], "answer": 2}"#);
    let task = Task::open(Path::new(&format!("mmlu_letters={}", file.display())), None).unwrap();
    let context = "Q?\nA. x\nB. y\nC. z\nAnswer:";
    assert_eq!(choices(&task), (vec![(context, " A"), (context, " B"), (context, " C")], 2));
    assert_eq!(task.name(), "a");
}

#[test]
fn winogrande_shares_what_follows_the_blank() {
    let files = Files::new();
    let record = r#"{"sentence": "The cup fits not the box as _ is small.", "option1": "the cup", "option2": "the box", "answer": "2"}"#;
    let task = recognised("winogrande", &files.write("a.jsonl", record));
    let before = "The cup fits not the box as ";
    let (one, two) = (format!("{before}the cup"), format!("{before}the box"));
    assert_eq!(choices(&task), (vec![(one.as_str(), " is small."), (two.as_str(), " is small.")], 1));
    let sample = task.judge(0, Outcome::LogLikelihoods(vec![-2.0, -3.0])).unwrap();
    assert_eq!((sample.right, sample.right_normalised), (Some(false), None));
}

fn generated<'a>(task: &'a Task, index: usize, text: &str) -> (&'a str, Sample) {
    let Request::Generate { prompt, .. } = &task.items()[index].request else { panic!("{:?}", task.spec()) };
    (prompt, task.judge(index, Outcome::Text(text.to_owned())).unwrap())
}

#[test]
fn worked_problems_are_judged_by_their_result() {
    let files = Files::new();
    let record = r#"{"question": "Q?", "answer": "1,000 + 234.\n#### 1,234"}"#;
    let task = recognised("gsm8k", &files.write("a.jsonl", record));
    for (text, right) in [
        (" 1 + 1. #### 1,234.", true),
        (" #### 9 #### 1234", true),
        (" #### 1234 coins", false),
        (" 1234", false),
        ("", false),
    ] {
        let (prompt, sample) = generated(&task, 0, text);
        assert_eq!((prompt, sample.right), ("Question: Q?\nAnswer:", Some(right)), "{text}");
    }
    let Request::Generate { stop, max_new_tokens, target, .. } = &task.items()[0].request else { panic!() };
    assert_eq!((stop.after.as_deref(), *max_new_tokens), (Some("####"), None));
    assert_eq!(target, "1,000 + 234.\n#### 1,234");
    let one_line = files.write("b.jsonl", r#"{"question": "Q?", "answer": "2 #### 2"}"#);
    let task = Task::open(&one_line, None).unwrap();
    let Request::Generate { stop, .. } = &task.items()[0].request else { panic!() };
    assert_eq!(stop.after, None, "the first line's end ends an answer of one line");
}

#[test]
fn last_words_are_asked_after_their_text() {
    let files = Files::new();
    let task = recognised("lambada", &files.write("a.jsonl", "{\"text\": \" He went to Bob. \"}"));
    let Request::LastWord { context, continuation } = &task.items()[0].request else { panic!() };
    assert_eq!((context.as_str(), continuation.as_str()), ("He went to", " Bob"));
    let sample = task.judge(0, Outcome::LastWord { log_likelihood: -2.0, is_likeliest: true }).unwrap();
    let summary = task.summarise(&[sample]).unwrap();
    assert_eq!((summary.value, summary.metric.as_str(), summary.chance), (1.0, "accuracy", None));
    assert_eq!(summary.parts["perplexity"], 2f64.exp());
}

#[test]
fn squad_counts_words_and_whole_answers() {
    let files = Files::new();
    let records = concat!(
        r#"{"title": "T", "context": "C", "question": "Q", "answers": {"text": ["the old mill"], "answer_start": [0]}}"#,
        "\n",
        r#"{"context": "C", "question": "Q", "answers": {"text": []}}"#
    );
    let task = recognised("squad", &files.write("a.jsonl", records));
    let (prompt, first) = generated(&task, 0, " An old mill.\nmore");
    assert_eq!(prompt, "Title: T\n\nBackground: C\n\nQuestion: Q\n\nAnswer:");
    assert_eq!((first.value, first.prediction.as_deref()), (1.0, Some("An old mill.")));
    let (prompt, second) = generated(&task, 1, " the new mill");
    assert!(prompt.starts_with("Background: C"));
    assert_eq!(second.references, ["unanswerable"]);
    let summary = task.summarise(&[first, second]).unwrap();
    assert_eq!((summary.value, summary.parts["squad_em"], summary.metric.as_str()), (0.5, 0.5, "squad_f1"));
}

#[test]
fn translations_and_summaries_have_corpus_scores() {
    let files = Files::new();
    let records = "source\treference\nKatze\tthe cat sat on the mat\nHund\tthe dog is here now\n";
    let task = recognised("translation", &files.write("a.tsv", records));
    let (prompt, first) = generated(&task, 0, " the cat sat on a mat");
    assert_eq!(prompt, "Source: Katze\nTranslation:");
    let second = generated(&task, 1, "the dog is here now").1;
    let samples = [first, second];
    let summary = task.summarise(&samples).unwrap();
    // What intervals are drawn from counts the corpus anew, and so is no mean.
    let statistic = task.statistic(&samples).unwrap();
    assert_eq!(statistic.value(&[0, 1]), Some(summary.value));
    let twice = [samples[1].clone(), samples[1].clone()];
    assert_eq!(statistic.value(&[1, 1]), Some(task.summarise(&twice).unwrap().value));
    let config = tenuis_metrics::BleuConfig::default();
    let references = [["the cat sat on the mat"], ["the dog is here now"]];
    let by_hand = config.corpus(&["the cat sat on a mat", "the dog is here now"], &references).unwrap().score;
    assert_eq!(summary.value, by_hand / 100.0);
    assert!(summary.standard_error.unwrap() > 0.0 && summary.parts["chrf"] > 0.5);

    let records = r#"[{"document": "D", "summary": ["a b c d", "x"]}]"#;
    let task = recognised("summarisation", &files.write("b.json", records));
    let (prompt, sample) = generated(&task, 0, " a b");
    assert_eq!(prompt, "Article: D\n\nSummary:");
    let summary = task.summarise(&[sample]).unwrap();
    assert!((summary.value - 2.0 / 3.0).abs() < f64::EPSILON, "{}", summary.value);
    assert_eq!(summary.standard_error, None, "one item does not tell");
}

#[test]
fn length_decides_where_likelihood_does_not() {
    let files = Files::new();
    let record = r#"{"question": "Q", "choices": ["a long answer", "ü"], "answer": 0, "subject": "s"}"#;
    let task = Task::open(&files.write("a.jsonl", record), None).unwrap();
    // Per byte: −6 / 13 against −3 / 2.
    let sample = task.judge(0, Outcome::LogLikelihoods(vec![-6.0, -3.0])).unwrap();
    assert_eq!((sample.right, sample.right_normalised), (Some(false), Some(true)));
    assert_eq!(sample.prediction.as_deref(), Some("ü"));
    let summary = task.summarise(std::slice::from_ref(&sample)).unwrap();
    assert_eq!((summary.value, summary.parts["acc_norm"], summary.chance), (0.0, 1.0, Some(0.5)));
    let mut lines = Vec::new();
    Sample::write_lines(std::slice::from_ref(&sample), &mut lines).unwrap();
    assert_eq!(String::from_utf8(lines.clone()).unwrap().lines().count(), 1);
    assert_eq!(serde_json::from_slice::<Sample>(&lines).unwrap(), sample);
    assert!(task.judge(0, Outcome::LogLikelihoods(vec![-6.0])).is_err());
    assert!(task.judge(0, Outcome::LogLikelihoods(vec![-6.0, f64::NAN])).is_err());
    assert!(task.judge(0, Outcome::Text(String::new())).is_err());
    assert!(task.judge(1, Outcome::Text(String::new())).is_err());
    assert!(task.summarise(&[]).is_err());
}

const SLICED: &str = r#"
name = "capitals"
kind = "generate"
data = "data.jsonl"
instruction = "Topic: {{ topic }}\n"
prompt = "Q: {{ q }}\nA:"
slices = ["topic"]
[generate]
target = "{{ a }}"
extract = "first_line"
[generate.normalization]
lowercase = true
[few_shot]
examples = 1
"#;

const RECORDS: &str = concat!(
    r#"{"q": "one", "a": "1", "topic": "x"}"#,
    "\n",
    r#"{"q": "two and", "a": "B", "topic": "x"}"#,
    "\n",
    r#"{"q": "three or four", "a": "3", "topic": 7}"#,
);

#[test]
fn slices_show_where_a_model_fails() {
    let files = Files::new();
    files.write("data.jsonl", RECORDS);
    let task = Task::open(&files.write("task.toml", SLICED), None).unwrap();
    assert_eq!(task.name(), "capitals");
    // An item is never its own example.
    assert_eq!(generated(&task, 0, "").0, "Topic: x\nQ: two and\nA: B\n\nQ: one\nA:");
    assert_eq!(generated(&task, 2, "").0, "Topic: 7\nQ: one\nA: 1\n\nQ: three or four\nA:");
    assert_eq!(task.few_shot().unwrap().data_hash, task.data_hash());
    let samples: Vec<Sample> =
        [" 1", "b\nQ:", "4"].iter().enumerate().map(|(i, t)| generated(&task, i, t).1).collect();
    let summary = task.summarise(&samples).unwrap();
    assert_eq!((summary.items, summary.correct, summary.value), (3, 2, 2.0 / 3.0));
    assert!((summary.standard_error.unwrap() - (2.0f64 / 27.0).sqrt()).abs() < f64::EPSILON);
    let topics = &summary.slices["topic"];
    assert_eq!((topics["x"].items, topics["x"].value, topics["7"].value), (2, 1.0, 0.0));
    let lengths = &summary.slices["length"];
    assert_eq!(lengths.len(), 3);
    assert_eq!(lengths.values().map(|slice| slice.items).sum::<usize>(), 3);
}

#[test]
fn chat_templates_stand_around_prompts() {
    let files = Files::new();
    files.write("data.jsonl", RECORDS);
    let source = "<s>{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}{% if add_generation_prompt %}[assistant:{% endif %}";
    let chat = ChatTemplate::parse(source, []).unwrap();
    let open =
        |more: &str| Task::open(&files.write("task.toml", &format!("{more}{SLICED}")), Some(&chat)).unwrap();
    let task = open("chat = \"auto\"\n");
    assert_eq!(
        generated(&task, 0, "").0,
        "<s>[system:Topic: x\n][user:Q: two and\nA: B\n\nQ: one\nA:][assistant:"
    );
    assert!(task.uses_chat() && !task.items()[0].special_tokens);
    let turns = format!("chat = true\n{SLICED}turns = true\n");
    let task = Task::open(&files.write("task.toml", &turns), Some(&chat)).unwrap();
    assert_eq!(
        generated(&task, 0, "").0,
        "<s>[system:Topic: x\n][user:Q: two and\nA:][assistant:B][user:Q: one\nA:][assistant:"
    );
    assert!(!open("").uses_chat());
    let error = Task::open(&files.write("task.toml", &turns), None).unwrap_err().to_string();
    assert!(error.contains("has no chat template"), "{error}");

    let toml = "name = \"c\"\nkind = \"choices\"\ndata = \"c.jsonl\"\nprompt = \"{{ q }}\"\nchat = true\n[choices]\n";
    files.write("c.jsonl", r#"{"q": "Q", "choices": ["x", "y"], "answer": 0}"#);
    let task = Task::open(&files.write("c.toml", toml), Some(&chat)).unwrap();
    assert_eq!(choices(&task).0[1], ("<s>[user:Q][assistant:", "y"), "no delimiter after a chat's prompt");
}
