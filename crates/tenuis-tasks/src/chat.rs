//! Chat templates of checkpoints.

use crate::error::ChatError;
use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Kwargs, Object};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use regex::Regex;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The file that holds nothing but the template; it counts where there is one.
const TEMPLATE_FILE: &str = "chat_template.jinja";

/// The file that holds the special tokens, and in older checkpoints the template.
const CONFIG_FILE: &str = "tokenizer_config.json";

/// The template's name within the engine.
const NAME: &str = "chat_template";

/// What somebody says in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who: `system`, `user` or `assistant`.
    pub role: String,
    /// What.
    pub content: String,
}

impl Message {
    /// Makes one.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// In the order of its keys, which a template that writes the message as JSON shows.
impl Object for Message {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(Value::from(&*self.role)),
            "content" => Some(Value::from(&*self.content)),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

/// Turns a conversation into the text that a model was trained on, as `apply_chat_template` of transformers does.
///
/// The template is the checkpoint's: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`, a text or a list
/// of named ones. It has what transformers offers: `messages`, `add_generation_prompt`, the special tokens by name
/// (`bos_token`, `eos_token`, …), `tools` and `documents` (none), `raise_exception`, `strftime_now`, `tojson` as Python
/// writes JSON, `namespace`, `break` and `continue`, the methods of Python's strings, and `generation` blocks, which do nothing.
///
/// Templates that write today's date would make results depend on the day; they are told the date of
/// [`ChatTemplate::with_date`], by default 26 July 2024, which templates of Llama 3 themselves fall back to.
///
/// The text contains its special tokens. It is to be encoded without adding others.
///
/// ```
/// use tenuis_tasks::{ChatTemplate, Message};
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{{ eos_token }}{% endfor %}\
///     {% if add_generation_prompt %}<assistant>{% endif %}";
/// let template = ChatTemplate::parse(source, [("eos_token", "</s>")])?;
/// assert_eq!(template.render(&[Message::new("user", " Hi ")], true)?, "<user>Hi</s><assistant>");
/// # Ok::<(), tenuis_tasks::ChatError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: BTreeMap<String, String>,
    source: String,
}

impl ChatTemplate {
    /// Reads the template of a checkpoint's directory; `None` where it has none.
    ///
    /// Among named templates that called `default` is taken.
    ///
    /// # Errors
    /// [`ChatError`] where a file cannot be read or the template cannot be parsed.
    pub fn from_dir(dir: &Path) -> Result<Option<Self>, ChatError> {
        let (config_path, template_path) = (dir.join(CONFIG_FILE), dir.join(TEMPLATE_FILE));
        let config = match read(&config_path)? {
            Some(text) => serde_json::from_str(&text).map_err(|e| ChatError::Malformed {
                path: config_path.clone(),
                problem: format!("is not JSON ({e}); copy it from the original model"),
            })?,
            None => serde_json::Value::Null,
        };
        let source = match read(&template_path)? {
            Some(text) => text,
            None => match named(&config["chat_template"], "default", &config_path)? {
                Some(text) => text,
                None => return Ok(None),
            },
        };
        let tokens = config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
        let tokens = tokens.filter_map(|(name, token)| {
            // Older tokenizers write a token as an object with its settings.
            let text = token.as_str().or_else(|| token["content"].as_str())?;
            Some((name.as_str(), text))
        });
        Self::parse(&source, tokens).map(Some)
    }

    /// Parses a template; `tokens` are special tokens by their names, such as `bos_token`.
    ///
    /// # Errors
    /// [`ChatError::Syntax`].
    pub fn parse<'a>(
        source: &str,
        tokens: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ChatError> {
        let syntax = |error: &Error| {
            let (line, problem) = describe(error);
            ChatError::Syntax { line, problem }
        };
        let mut environment = Environment::new();
        let config = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(config.map_err(|e| syntax(&e))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", |value: &Value, options: Kwargs| to_json(value, &options));
        environment.add_function("raise_exception", |message: String| {
            Err::<Value, _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        add_date(&mut environment, jiff::civil::date(2024, 7, 26).at(0, 0, 0, 0));
        environment.add_template_owned(NAME, without_generation(source)).map_err(|e| syntax(&e))?;
        let tokens = tokens.into_iter().map(|(name, token)| (name.to_owned(), token.to_owned())).collect();
        Ok(Self { environment, tokens, source: source.to_owned() })
    }

    /// Sets the date that `strftime_now` tells.
    ///
    /// # Errors
    /// [`ChatError::Render`] where there is no such day.
    pub fn with_date(mut self, year: i16, month: i8, day: i8) -> Result<Self, ChatError> {
        let date = jiff::civil::Date::new(year, month, day)
            .map_err(|e| ChatError::Render { line: None, problem: e.to_string() })?;
        add_date(&mut self.environment, date.at(0, 0, 0, 0));
        Ok(self)
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes a conversation, and where asked for what comes before the assistant's next answer.
    ///
    /// # Errors
    /// [`ChatError::Render`], which says what the template refuses.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        let messages: Vec<Value> = messages.iter().map(|m| Value::from_object(m.clone())).collect();
        let mut variables: BTreeMap<&str, Value> =
            self.tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str()))).collect();
        variables.insert("messages", Value::from(messages));
        variables.insert("add_generation_prompt", Value::from(add_generation_prompt));
        variables.insert("tools", Value::from(()));
        variables.insert("documents", Value::from(()));
        let template = self.environment.get_template(NAME);
        template.and_then(|template| template.render(Value::from_pairs(variables))).map_err(|error| {
            let (line, problem) = describe(&error);
            ChatError::Render { line, problem }
        })
    }
}

/// A file's text; `None` where there is no file.
fn read(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChatError::File { path: path.to_owned(), source }),
    }
}

/// The template of a name, or the only one.
fn named(value: &serde_json::Value, name: &str, path: &Path) -> Result<Option<String>, ChatError> {
    let malformed = || ChatError::Malformed {
        path: path.to_owned(),
        problem:
            "field \"chat_template\" is neither a text nor a list of objects with \"name\" and \"template\"; \
                  copy it from the original model"
                .to_owned(),
    };
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text.clone())),
        serde_json::Value::Array(list) => {
            let mut known = Vec::new();
            for entry in list {
                let part = |key: &str| entry[key].as_str().ok_or_else(malformed);
                known.push((part("name")?, part("template")?));
            }
            match known.iter().find(|(found, _)| *found == name) {
                Some((_, template)) => Ok(Some((*template).to_owned())),
                None if known.is_empty() => Ok(None),
                None => {
                    let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                    Err(ChatError::Unknown { name: name.to_owned(), known: known.join(", ") })
                }
            }
        }
        _ => Err(malformed()),
    }
}

fn describe(error: &Error) -> (Option<usize>, String) {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    (error.line(), detail.replace('\n', " "))
}

/// Puts blocks that always run in the place of those that mark what training learns from.
fn without_generation(source: &str) -> String {
    let Ok(tag) = Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}") else { return source.to_owned() };
    let block = |found: &regex::Captures<'_>| {
        let block = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {block} {}%}}", &found[1], &found[3])
    };
    tag.replace_all(source, block).into_owned()
}

fn add_date(environment: &mut Environment<'static>, date: DateTime) {
    environment.add_function("strftime_now", move |format: String| {
        jiff::fmt::strtime::format(&format, date)
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {e}")))
    });
}

/// Commas and colons with a space after them, as `json.dumps` writes them.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Writes JSON as Python does; unlike the engine's own filter, nothing is escaped for HTML.
fn to_json(value: &Value, options: &Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // The others that transformers has are taken with their defaults alone.
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width);
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter)),
    };
    written.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}
