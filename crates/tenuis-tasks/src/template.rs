//! The templates of a task, filled in with the fields of a record.

use crate::error::{ItemProblem, SpecProblem};
use crate::records::cut;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;
use std::collections::{BTreeMap, HashSet};

/// Templates and expressions by the field of the task that holds them.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    expressions: BTreeMap<String, String>,
}

/// An environment for prompts: nothing is escaped, and nothing that is missing goes unnoticed.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    // A list or a null in a prompt is a mistake in the data that no one would see.
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::None | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let found = describe(value);
            Err(Error::new(ErrorKind::InvalidOperation, format!("{found} is no text; name a part of it")))
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("regex_replace", |text: String, pattern: String, with: String| {
        let pattern = Regex::new(&pattern)
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string().replace('\n', " ")))?;
        Ok::<_, Error>(pattern.replace_all(&text, with).into_owned())
    });
    environment
}

fn problem(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

impl Templates {
    pub(crate) fn new() -> Self {
        let mut environment = environment();
        let syntax = minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build();
        if let Ok(syntax) = syntax {
            environment.set_syntax(syntax);
        }
        Self { environment, expressions: BTreeMap::new() }
    }

    fn refused(field: &str, error: &Error) -> SpecProblem {
        SpecProblem::Template { field: field.to_owned(), line: error.line(), problem: problem(error) }
    }

    /// Parses a template.
    pub(crate) fn add(&mut self, field: &str, source: &str) -> Result<(), SpecProblem> {
        let added = self.environment.add_template_owned(field.to_owned(), source.to_owned());
        added.map_err(|error| Self::refused(field, &error))
    }

    /// Parses an expression.
    pub(crate) fn add_expression(&mut self, field: &str, source: &str) -> Result<(), SpecProblem> {
        if let Err(error) = self.environment.compile_expression(source) {
            return Err(Self::refused(field, &error));
        }
        self.expressions.insert(field.to_owned(), source.to_owned());
        Ok(())
    }

    /// Fills in a template.
    pub(crate) fn render(&self, field: &str, record: &Value) -> Result<String, ItemProblem> {
        let template = self.environment.get_template(field);
        let rendered = template.and_then(|template| {
            template
                .render(record.clone())
                .map_err(|error| self.named(error, template.undeclared_variables(false), record))
        });
        rendered.map_err(|error| ItemProblem::Template { field: field.to_owned(), problem: problem(&error) })
    }

    /// The value of an expression.
    pub(crate) fn evaluate(&self, field: &str, record: &Value) -> Result<Value, ItemProblem> {
        let source = self.expressions.get(field).map(String::as_str).unwrap_or_default();
        let value = self.environment.compile_expression(source).and_then(|expression| {
            let variables = || expression.undeclared_variables(false);
            match expression.eval(record.clone()) {
                Ok(value) if value.is_undefined() => {
                    Err(self.named(ErrorKind::UndefinedError.into(), variables(), record))
                }
                Ok(value) => Ok(value),
                Err(error) => Err(self.named(error, variables(), record)),
            }
        });
        value.map_err(|error| ItemProblem::Template { field: field.to_owned(), problem: problem(&error) })
    }

    /// Names the fields that an undefined value comes from, since the engine does not.
    fn named(&self, error: Error, variables: HashSet<String>, record: &Value) -> Error {
        if error.kind() != ErrorKind::UndefinedError {
            return error;
        }
        let known: HashSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let is_missing = |name: &String| {
            !known.contains(name.as_str()) && record.get_attr(name).is_ok_and(|value| value.is_undefined())
        };
        let mut missing: Vec<String> = variables.into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return error;
        }
        missing.sort();
        let fields: Vec<String> =
            record.try_iter().map(|keys| keys.map(|key| key.to_string()).collect()).unwrap_or_default();
        let detail =
            format!("the record has no field \"{}\"; it has {}", missing.join("\", \""), fields.join(", "));
        Error::new(ErrorKind::UndefinedError, detail)
    }

    /// The texts that an expression gives, numbers among them as their digits.
    pub(crate) fn texts(&self, field: &str, record: &Value) -> Result<Vec<String>, ItemProblem> {
        let value = self.evaluate(field, record)?;
        let refused = || ItemProblem::Value {
            field: field.to_owned(),
            expected: "a list of texts",
            found: describe(&value),
        };
        if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Err(refused());
        }
        let items = value.try_iter().map_err(|_| refused())?;
        items.map(|item| text(&item).ok_or_else(refused)).collect()
    }
}

/// A text or a number as text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::String => value.as_str().map(str::to_owned),
        ValueKind::Number => Some(value.to_string()),
        _ => None,
    }
}

/// What a value is, for messages.
pub(crate) fn describe(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => "nothing".to_owned(),
        ValueKind::None => "null".to_owned(),
        _ => cut(&format!("{value:?}")),
    }
}
