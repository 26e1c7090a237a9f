//! Records become items: templates are filled in, examples put before them, the chat template around them.

use crate::chat::{ChatTemplate, Message};
use crate::error::{ItemProblem, SpecProblem, TaskError};
use crate::extract::Extractor;
use crate::few_shot::choose;
use crate::item::{Item, Request, Stop, Variant};
use crate::records::{Fields, Record, Records, cut};
use crate::slices::{LENGTH, name as length_name, quartiles};
use crate::spec::{ChoicesConfig, GenerateConfig, Kind, TaskSpec, Texts};
use crate::template::{Templates, describe, text};
use minijinja::Value;
use minijinja::value::{Serde, ValueKind};
use std::collections::BTreeMap;

const PROMPT: &str = "prompt";
const INSTRUCTION: &str = "instruction";
const TEXTS: &str = "choices.texts";
const EACH: &str = "choices.each";
const ANSWER: &str = "choices.answer";
const LABELS: &str = "choices.labels";
const CONTINUATION: &str = "choices.continuation";
const TARGET: &str = "generate.target";
const REFERENCES: &str = "generate.references";
const EXAMPLE: &str = "few_shot.example";

/// What a record asks, without what stands around it.
enum Ask {
    Choices {
        /// What each choice continues; the same for all but where the choices are contexts.
        contexts: Vec<String>,
        continuations: Vec<String>,
        choices: Vec<String>,
        answer: usize,
        /// What of a continuation its log-likelihood is divided by.
        bytes: Vec<usize>,
    },
    Generate {
        prompt: String,
        target: String,
        references: Vec<String>,
    },
    LastWord {
        context: String,
        continuation: String,
    },
}

/// An example, as text and as turns of a conversation.
struct Example {
    whole: String,
    prompt: String,
    target: String,
}

/// Turns records into items.
pub(crate) struct Prompter<'a> {
    spec: &'a TaskSpec,
    extractor: Option<&'a Extractor>,
    chat: Option<&'a ChatTemplate>,
    templates: Templates,
}

impl<'a> Prompter<'a> {
    pub(crate) fn new(
        spec: &'a TaskSpec,
        extractor: Option<&'a Extractor>,
        chat: Option<&'a ChatTemplate>,
    ) -> Result<Self, SpecProblem> {
        let mut templates = Templates::new();
        templates.add(PROMPT, &spec.prompt)?;
        templates.add(INSTRUCTION, &spec.instruction)?;
        if let Some(example) = &spec.few_shot.example {
            templates.add(EXAMPLE, example)?;
        }
        if let Some(choices) = &spec.choices {
            match &choices.texts {
                Texts::Expression(source) => templates.add_expression(TEXTS, source)?,
                Texts::Templates(sources) => {
                    for (index, source) in sources.iter().enumerate() {
                        templates.add(&format!("{TEXTS}[{index}]"), source)?;
                    }
                }
            }
            templates.add_expression(ANSWER, &choices.answer)?;
            if let Some(labels) = &choices.labels {
                templates.add_expression(LABELS, labels)?;
            }
            for (field, source) in [(EACH, &choices.each), (CONTINUATION, &choices.continuation)] {
                if let Some(source) = source {
                    templates.add(field, source)?;
                }
            }
        }
        if let Some(generate) = &spec.generate {
            templates.add(TARGET, &generate.target)?;
            if let Some(references) = &generate.references {
                templates.add_expression(REFERENCES, references)?;
            }
        }
        Ok(Self { spec, extractor, chat, templates })
    }

    /// Makes the items of a file; `pool` holds the records that examples are taken from.
    pub(crate) fn items(&self, records: &Records, pool: &Records) -> Result<Vec<Item>, TaskError> {
        let of = |records: &Records| -> Result<Vec<Ask>, TaskError> {
            let ask = |row: &Record| self.ask(row).map_err(|problem| records.refused(row.position, problem));
            records.rows.iter().map(ask).collect()
        };
        let asks = of(records)?;
        let mut examples = Vec::new();
        if self.spec.few_shot.examples > 0 {
            let other = if pool.path == records.path { None } else { Some(of(pool)?) };
            for (row, ask) in pool.rows.iter().zip(other.as_ref().unwrap_or(&asks)) {
                let example = self.example(&row.fields, ask);
                examples.push(example.map_err(|problem| pool.refused(row.position, problem))?);
            }
        }
        let lengths: Vec<usize> = asks.iter().map(Ask::length).collect();
        let buckets = quartiles(&lengths);
        let stop = self.stop(&asks);
        let mut items = Vec::with_capacity(asks.len());
        for ((row, ask), length) in records.rows.iter().zip(asks).zip(lengths) {
            let refused = |problem| records.refused(row.position, problem);
            let mut slices = BTreeMap::from([(LENGTH.to_owned(), length_name(&buckets, length))]);
            for field in &self.spec.slices {
                slices.insert(field.clone(), self.slice(&row.fields, field).map_err(refused)?);
            }
            let request = self.request(row, ask, &stop, &pool.rows, &examples).map_err(refused)?;
            let (id, special_tokens) = (row.position.number(), self.chat.is_none());
            items.push(Item { id, request, special_tokens, slices });
        }
        Ok(items)
    }

    fn slice(&self, fields: &Fields, field: &str) -> Result<String, ItemProblem> {
        match fields.get(field) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                Ok(value.to_string())
            }
            other => Err(ItemProblem::Field {
                field: field.to_owned(),
                expected: "a text, a number or a truth value, since it is one of the task's `slices`",
                found: other.map_or_else(|| "missing".to_owned(), |value| cut(&value.to_string())),
                task: self.spec.name.clone(),
            }),
        }
    }

    /// Only where a reference contains what ends an answer do the marker's ends count alone.
    fn stop(&self, asks: &[Ask]) -> Stop {
        let Some(generate) = &self.spec.generate else { return Stop::default() };
        let has_end = |ask: &Ask| match ask {
            Ask::Generate { target, .. } => {
                generate.stop.iter().any(|stop| target.trim().contains(stop.as_str()))
            }
            _ => false,
        };
        let after = generate.stop_after.clone().filter(|_| asks.iter().any(has_end));
        Stop { texts: generate.stop.clone(), after }
    }

    fn ask(&self, row: &Record) -> Result<Ask, ItemProblem> {
        for (field, kind) in &self.spec.fields {
            kind.check(&row.fields, field, &self.spec.name)?;
        }
        let record = Value::from(Serde(&row.fields));
        match (self.spec.kind, &self.spec.choices, &self.spec.generate) {
            (Kind::Choices, Some(config), _) => self.choices(config, &row.fields, &record),
            (Kind::Generate, _, Some(config)) => self.generate(config, &record),
            _ => {
                let text = self.templates.render(PROMPT, &record)?;
                let (context, continuation) = last_word(&text)?;
                Ok(Ask::LastWord { context: context.to_owned(), continuation: continuation.to_owned() })
            }
        }
    }

    fn choices(&self, config: &ChoicesConfig, fields: &Fields, record: &Value) -> Result<Ask, ItemProblem> {
        let mut texts = match &config.texts {
            Texts::Expression(_) => self.templates.texts(TEXTS, record)?,
            Texts::Templates(sources) => (0..sources.len())
                .map(|index| self.templates.render(&format!("{TEXTS}[{index}]"), record))
                .collect::<Result<_, _>>()?,
        };
        if config.each.is_some() {
            for text in &mut texts {
                *text = self.templates.render(EACH, &with(fields, "choice", text))?;
            }
        }
        if texts.len() < 2 {
            return Err(ItemProblem::Choices);
        }
        if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(ItemProblem::EmptyChoice { number: index + 1 });
        }
        let labels = config.labels.is_some().then(|| self.templates.texts(LABELS, record)).transpose()?;
        let answer = self.templates.evaluate(ANSWER, record)?;
        let answer = config.answer_is.find(&answer, &texts, labels.as_deref())?;
        let delimiter = if self.chat.is_some() { "" } else { config.delimiter.as_str() };
        if config.continuation.is_some() {
            let shared = self.templates.render(CONTINUATION, record)?;
            if shared.is_empty() {
                return Err(ItemProblem::Value {
                    field: CONTINUATION.to_owned(),
                    expected: "what follows every choice",
                    found: "an empty text".to_owned(),
                });
            }
            let bytes = vec![shared.len(); texts.len()];
            let continuations = vec![format!("{delimiter}{shared}"); texts.len()];
            return Ok(Ask::Choices {
                contexts: texts.clone(),
                continuations,
                choices: texts,
                answer,
                bytes,
            });
        }
        let prompt = self.templates.render(PROMPT, record)?;
        Ok(Ask::Choices {
            contexts: vec![prompt; texts.len()],
            continuations: texts.iter().map(|text| format!("{delimiter}{text}")).collect(),
            answer,
            bytes: texts.iter().map(String::len).collect(),
            choices: texts,
        })
    }

    fn generate(&self, config: &GenerateConfig, record: &Value) -> Result<Ask, ItemProblem> {
        let prompt = self.templates.render(PROMPT, record)?;
        let target = self.templates.render(TARGET, record)?;
        let mut references = if config.references.is_some() {
            let value = self.templates.evaluate(REFERENCES, record)?;
            match (text(&value), value.kind()) {
                (Some(one), _) => vec![one],
                (None, ValueKind::Seq | ValueKind::Iterable) => self.templates.texts(REFERENCES, record)?,
                _ => {
                    return Err(ItemProblem::Value {
                        field: REFERENCES.to_owned(),
                        expected: "a text or a list of texts",
                        found: describe(&value),
                    });
                }
            }
        } else {
            vec![target.clone()]
        };
        if references.is_empty() {
            return Err(ItemProblem::NoReference);
        }
        if let Some(extractor) = self.extractor.filter(|_| config.extract_references) {
            for reference in &mut references {
                let found = extractor.find(reference).map(|found| clean(config, &found));
                *reference = found.filter(|found| !found.is_empty()).ok_or_else(|| {
                    ItemProblem::NoResult { reference: cut(reference), problem: extractor.lacks() }
                })?;
            }
        }
        Ok(Ask::Generate { prompt, target, references })
    }

    /// An example as the task shows it.
    fn example(&self, fields: &Fields, ask: &Ask) -> Result<Example, ItemProblem> {
        let (prompt, delimiter, target) = match ask {
            Ask::Choices { contexts, continuations, answer, .. } => {
                let delimiter = self.spec.choices.as_ref().map_or("", |choices| choices.delimiter.as_str());
                let own = if self.chat.is_some() { "" } else { delimiter };
                let target = &continuations[*answer];
                (&contexts[*answer], delimiter, target.strip_prefix(own).unwrap_or(target))
            }
            Ask::Generate { prompt, target, .. } => {
                let delimiter =
                    self.spec.generate.as_ref().map_or("", |generate| generate.delimiter.as_str());
                (prompt, delimiter, target.as_str())
            }
            Ask::LastWord { context, continuation } => (context, "", continuation.as_str()),
        };
        let whole = match self.spec.few_shot.example {
            Some(_) => self.templates.render(EXAMPLE, &with(fields, "target", target))?,
            None => format!("{prompt}{delimiter}{target}"),
        };
        Ok(Example { whole, prompt: prompt.clone(), target: target.to_owned() })
    }

    fn request(
        &self,
        row: &Record,
        ask: Ask,
        stop: &Stop,
        pool: &[Record],
        examples: &[Example],
    ) -> Result<Request, ItemProblem> {
        let chosen: Vec<&Example> = if examples.is_empty() {
            Vec::new()
        } else {
            choose(&self.spec.few_shot, row, pool)?.into_iter().map(|index| &examples[index]).collect()
        };
        let instruction = self.templates.render(INSTRUCTION, &Value::from(Serde(&row.fields)))?;
        let frame = |prompt: &str| self.frame(&instruction, &chosen, prompt);
        Ok(match ask {
            Ask::Choices { contexts, continuations, choices, answer, bytes } => {
                let mut variants: Vec<Variant> = Vec::with_capacity(choices.len());
                for (index, (continuation, (choice, bytes))) in
                    continuations.into_iter().zip(choices.into_iter().zip(bytes)).enumerate()
                {
                    let context = match index.checked_sub(1) {
                        Some(before) if contexts[before] == contexts[index] => {
                            variants[before].context.clone()
                        }
                        _ => frame(&contexts[index])?,
                    };
                    variants.push(Variant { context, continuation, choice, bytes });
                }
                Request::Choices { variants, answer }
            }
            Ask::Generate { prompt, target, references } => Request::Generate {
                prompt: frame(&prompt)?,
                target,
                references,
                stop: stop.clone(),
                max_new_tokens: self.spec.generate.as_ref().and_then(|generate| generate.max_new_tokens),
            },
            Ask::LastWord { context, continuation } => {
                Request::LastWord { context: frame(&context)?, continuation }
            }
        })
    }

    /// Puts instruction and examples before a prompt, and the chat template around all.
    fn frame(&self, instruction: &str, examples: &[&Example], prompt: &str) -> Result<String, ItemProblem> {
        let config = &self.spec.few_shot;
        let before = |examples: &[&Example]| -> String {
            examples.iter().map(|example| example.whole.clone() + &config.separator).collect()
        };
        let Some(chat) = self.chat else {
            return Ok(format!("{instruction}{}{prompt}", before(examples)));
        };
        let mut messages = Vec::new();
        if !instruction.is_empty() {
            messages.push(Message::new("system", instruction));
        }
        if config.turns {
            for example in examples {
                messages.push(Message::new("user", &*example.prompt));
                messages.push(Message::new("assistant", &*example.target));
            }
            messages.push(Message::new("user", prompt));
        } else {
            messages.push(Message::new("user", before(examples) + prompt));
        }
        Ok(chat.render(&messages, true)?)
    }
}

impl Ask {
    /// The length in characters of what the item itself asks.
    fn length(&self) -> usize {
        match self {
            Self::Choices { contexts, .. } => {
                contexts.iter().map(|context| context.chars().count()).max().unwrap_or_default()
            }
            Self::Generate { prompt, .. } => prompt.chars().count(),
            Self::LastWord { context, .. } => context.chars().count(),
        }
    }
}

/// A record with one more variable.
fn with(fields: &Fields, name: &str, text: &str) -> Value {
    let mut fields = fields.clone();
    fields.insert(name.to_owned(), serde_json::Value::from(text));
    Value::from(Serde(fields))
}

/// What remains of an extracted answer once what does not count is gone.
pub(crate) fn clean(config: &GenerateConfig, text: &str) -> String {
    let mut text = text.to_owned();
    for part in config.remove.iter().filter(|part| !part.is_empty()) {
        text = text.replace(part.as_str(), "");
    }
    let text = text.trim().trim_end_matches(|c| config.trim_end.contains(c));
    if config.trim_end.is_empty() { text.to_owned() } else { text.trim_end().to_owned() }
}

/// A text's context and what follows it: the space before the last word, and the word. Words are what white space separates,
/// and the last one loses what is neither letter nor digit at its end.
fn last_word(text: &str) -> Result<(&str, &str), ItemProblem> {
    let text = text.trim();
    let (before, last) = text.rsplit_once(char::is_whitespace).ok_or(ItemProblem::OneWord)?;
    let word = last.trim_end_matches(|c: char| !c.is_alphanumeric());
    if word.is_empty() {
        return Err(ItemProblem::NoWord { word: last.to_owned() });
    }
    let whole = &text[..text.len() - (last.len() - word.len())];
    Ok(whole.split_at(before.trim_end().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_loses_its_punctuation() {
        let parts = |text| last_word(text).unwrap();
        assert_eq!(parts("At the gate of Wexcombe."), ("At the gate of", " Wexcombe"));
        assert_eq!(parts("\"So,\" he said,  \"to Bob!\" \n").1, " Bob");
        assert_eq!(parts("a  b"), ("a", "  b"));
        assert_eq!(parts("it was Mary's").1, " Mary's");
        assert_eq!(parts("zurück nach Köln…"), ("zurück nach", " Köln"));
        assert!(matches!(last_word("Wexcombe. "), Err(ItemProblem::OneWord)));
        assert!(matches!(last_word("To Wexcombe -"), Err(ItemProblem::NoWord { .. })));
    }

    #[test]
    fn results_lose_what_does_not_count() {
        let mut config = GenerateConfig { remove: vec![",".to_owned()], ..GenerateConfig::default() };
        config.trim_end = ".".to_owned();
        assert_eq!(clean(&config, "1,234."), "1234");
        assert_eq!(clean(&config, "-7 . "), "-7");
        assert_eq!(clean(&config, "4 apples"), "4 apples");
        assert_eq!(clean(&GenerateConfig::default(), " 1,2. "), "1,2.");
    }
}
