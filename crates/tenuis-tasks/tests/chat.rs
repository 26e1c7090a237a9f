//! Chat templates beside `apply_chat_template` of transformers, on templates in the manner of well-known families.

use serde_json::Value;
use tenuis_tasks::{ChatError, ChatTemplate, Message};

const GOLDEN: &str = include_str!("golden/chat_templates.json");

const TOKENS: [(&str, &str); 2] = [("bos_token", "<s>"), ("eos_token", "</s>")];

#[test]
fn conversations_are_written_as_transformers_writes_them() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 50 && cases.iter().any(|case| case["error"].is_string()));
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let template = ChatTemplate::parse(golden["templates"][name].as_str().unwrap(), TOKENS).unwrap();
        let text = |message: &Value, key: &str| message[key].as_str().unwrap().to_owned();
        let messages = case["messages"].as_array().unwrap().iter();
        let messages: Vec<Message> =
            messages.map(|m| Message::new(text(m, "role"), text(m, "content"))).collect();
        let found = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap());
        match case["error"].as_str() {
            Some(expected) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(expected), "{name}: {error}");
            }
            None => assert_eq!(found.unwrap(), case["text"].as_str().unwrap(), "{name}: {messages:?}"),
        }
    }
}

#[test]
fn templates_are_found_in_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let rendered = || ChatTemplate::from_dir(dir.path()).unwrap().unwrap().render(&[], false).unwrap();
    assert!(ChatTemplate::from_dir(dir.path()).unwrap().is_none());
    write("tokenizer_config.json", r#"{"bos_token": {"content": "<b>"}, "eos_token": "<e>"}"#);
    assert!(ChatTemplate::from_dir(dir.path()).unwrap().is_none());
    write(
        "tokenizer_config.json",
        r#"{"bos_token": {"content": "<b>"}, "eos_token": null, "chat_template": "1{{ bos_token }}{{ eos_token }}"}"#,
    );
    assert_eq!(rendered(), "1<b>");
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#,
    );
    assert_eq!(rendered(), "d");
    write("chat_template.jinja", "{{ strftime_now('%Y-%m-%d') }}");
    assert_eq!(rendered(), "2024-07-26");
    let dated = ChatTemplate::from_dir(dir.path()).unwrap().unwrap().with_date(1999, 12, 31).unwrap();
    assert_eq!(dated.render(&[], false).unwrap(), "1999-12-31");
}

#[test]
fn unusable_templates_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (config, part) in [
        ("{", "is not JSON"),
        (r#"{"chat_template": 3}"#, "neither a text nor a list"),
        (r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#, "there are rag"),
        (r#"{"chat_template": "{% if %}"}"#, "line 1"),
    ] {
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        let error = ChatTemplate::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let template = ChatTemplate::parse("\n{{ raise_exception('only users') }}", TOKENS).unwrap();
    let error = template.render(&[], true).unwrap_err();
    assert!(
        matches!(&error, ChatError::Render { line: Some(2), problem } if problem == "only users"),
        "{error}"
    );
}
