//! Typed access to the fields of `config.json`, with errors that name the field.

use crate::error::SpecError;
use crate::layer::Activation;
use serde_json::{Map, Value};

/// No dimension of a published model comes near this; it keeps every product of two of them far from overflow.
const LARGEST_DIMENSION: u64 = 1 << 28;

/// No published model has more layers; a larger number is a damaged file, not a network.
const MOST_LAYERS: usize = 100_000;

/// A JSON object whose fields are read by name. A null counts as absent unless stated otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Config<'a> {
    object: &'a Map<String, Value>,
    /// The object's own path within the file, such as `rope_parameters.`; empty at the top.
    path: &'a str,
}

impl<'a> Config<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Self, SpecError> {
        Ok(Self { object: value.as_object().ok_or(SpecError::NotAnObject)?, path: "" })
    }

    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|v| !v.is_null())
    }

    /// Whether the field is there, be it null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.object.contains_key(field)
    }

    pub(crate) fn object(&self, field: &str, path: &'a str) -> Result<Option<Self>, SpecError> {
        let parse = |v: &'a Value| v.as_object().ok_or_else(|| self.wrong(field, v, "an object"));
        Ok(self.value(field).map(parse).transpose()?.map(|object| Self { object, path }))
    }

    pub(crate) fn wrong(&self, field: &str, found: &Value, expected: impl Into<String>) -> SpecError {
        let field = format!("{}{field}", self.path);
        SpecError::Field { field, found: found.to_string(), expected: expected.into() }
    }

    pub(crate) fn missing(&self, field: &str) -> SpecError {
        SpecError::MissingField { field: format!("{}{field}", self.path) }
    }

    fn dimension(&self, field: &str, value: &Value) -> Result<usize, SpecError> {
        match value.as_u64() {
            Some(n) if (1..=LARGEST_DIMENSION).contains(&n) => Ok(n as usize),
            _ => Err(self.wrong(field, value, format!("a whole number from 1 to {LARGEST_DIMENSION}"))),
        }
    }

    pub(crate) fn opt_usize(&self, field: &str) -> Result<Option<usize>, SpecError> {
        self.value(field).map(|v| self.dimension(field, v)).transpose()
    }

    pub(crate) fn usize(&self, field: &str) -> Result<usize, SpecError> {
        self.opt_usize(field)?.ok_or_else(|| self.missing(field))
    }

    pub(crate) fn usize_or(&self, field: &str, default: usize) -> Result<usize, SpecError> {
        Ok(self.opt_usize(field)?.unwrap_or(default))
    }

    /// The number of layers, which is bounded because every layer costs memory before any tensor is checked.
    pub(crate) fn layers(&self, field: &str) -> Result<usize, SpecError> {
        let layers = self.usize(field)?;
        if layers > MOST_LAYERS {
            return Err(self.wrong(field, &Value::from(layers), format!("at most {MOST_LAYERS}")));
        }
        Ok(layers)
    }

    /// One number for all layers, or a list with one for each (pruned models differ from layer to layer).
    pub(crate) fn per_layer(&self, field: &str, layers: usize) -> Result<Option<Vec<usize>>, SpecError> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Array(list)) if list.len() == layers => {
                list.iter().map(|v| self.dimension(field, v)).collect::<Result<_, _>>().map(Some)
            }
            Some(value @ Value::Array(_)) => {
                Err(self.wrong(field, value, format!("a number or a list of {layers} numbers")))
            }
            Some(value) => Ok(Some(vec![self.dimension(field, value)?; layers])),
        }
    }

    /// A list of whole numbers; none where the field is absent.
    pub(crate) fn numbers(&self, field: &str) -> Result<Vec<usize>, SpecError> {
        let Some(value) = self.value(field) else { return Ok(Vec::new()) };
        let number = |v: &Value| v.as_u64().map(|n| n as usize);
        let numbers = value.as_array().and_then(|list| list.iter().map(number).collect());
        numbers.ok_or_else(|| self.wrong(field, value, "a list of whole numbers"))
    }

    pub(crate) fn opt_f64(&self, field: &str) -> Result<Option<f64>, SpecError> {
        let parse =
            |v: &Value| v.as_f64().filter(|x| x.is_finite()).ok_or_else(|| self.wrong(field, v, "a number"));
        self.value(field).map(parse).transpose()
    }

    pub(crate) fn f64(&self, field: &str) -> Result<f64, SpecError> {
        self.opt_f64(field)?.ok_or_else(|| self.missing(field))
    }

    pub(crate) fn f64_or(&self, field: &str, default: f64) -> Result<f64, SpecError> {
        Ok(self.opt_f64(field)?.unwrap_or(default))
    }

    /// A number greater than zero.
    pub(crate) fn positive(&self, field: &str, default: f64) -> Result<f64, SpecError> {
        let value = self.f64_or(field, default)?;
        if value > 0.0 { Ok(value) } else { Err(self.wrong(field, &Value::from(value), "a number above 0")) }
    }

    /// A list of so many numbers greater than zero.
    pub(crate) fn positive_list(&self, field: &str, count: usize) -> Result<Vec<f64>, SpecError> {
        let value = self.value(field).ok_or_else(|| self.missing(field))?;
        let number = |v: &Value| v.as_f64().filter(|x| x.is_finite() && *x > 0.0);
        let list = value.as_array().filter(|list| list.len() == count);
        let numbers = list.and_then(|list| list.iter().map(number).collect());
        numbers.ok_or_else(|| self.wrong(field, value, format!("a list of {count} numbers above 0")))
    }

    pub(crate) fn bool_or(&self, field: &str, default: bool) -> Result<bool, SpecError> {
        let parse = |v: &Value| v.as_bool().ok_or_else(|| self.wrong(field, v, "true or false"));
        Ok(self.value(field).map(parse).transpose()?.unwrap_or(default))
    }

    pub(crate) fn opt_str(&self, field: &str) -> Result<Option<&'a str>, SpecError> {
        self.value(field).map(|v| v.as_str().ok_or_else(|| self.wrong(field, v, "a string"))).transpose()
    }

    /// A list with one entry per layer; longer lists (a layer was dropped) are read from the front.
    pub(crate) fn layer_list(&self, field: &str, layers: usize) -> Result<Option<&'a [Value]>, SpecError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        match value.as_array() {
            Some(list) if list.len() >= layers => Ok(Some(&list[..layers])),
            _ => Err(self.wrong(field, value, format!("a list of at least {layers} entries"))),
        }
    }

    pub(crate) fn activation(&self, field: &str, default: Activation) -> Result<Activation, SpecError> {
        let Some(name) = self.opt_str(field)? else { return Ok(default) };
        Activation::from_name(name).ok_or_else(|| {
            let known = Activation::NAMES.map(|(name, _)| name).join(", ");
            self.wrong(field, &Value::from(name), format!("one of {known}"))
        })
    }
}
