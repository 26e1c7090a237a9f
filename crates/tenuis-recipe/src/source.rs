//! From the text of one file to its values and their places.

use crate::origin::escaped;
use crate::{Origin, RecipeError};
use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

/// What one file says, before anything is filled in.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) values: Map<String, Value>,
    pub(crate) origin: Origin,
}

impl Source {
    /// Reads TOML; `file` is what messages call it.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, RecipeError> {
        let mut reader = Reader { text, origin: Origin::new(file) };
        let table = DeTable::parse(text).map_err(|error| {
            let at = reader.place(error.span().map_or(0, |span| span.start));
            reader.origin.spot(at, error.message().replace('\n', "; "))
        })?;
        let values = reader.table(table.get_ref(), "")?;
        Ok(Self { values, origin: reader.origin })
    }
}

struct Reader<'a> {
    text: &'a str,
    origin: Origin,
}

impl Reader<'_> {
    /// Line and column of an offset in bytes, both counted from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
    }

    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Result<Map<String, Value>, RecipeError> {
        let mut values = Map::new();
        for (key, value) in table {
            let at = format!("{pointer}/{}", escaped(key.get_ref()));
            self.origin.note(&at, self.place(key.span().start));
            values.insert(key.get_ref().clone().into_owned(), self.value(value.get_ref(), &at)?);
        }
        Ok(values)
    }

    fn value(&mut self, value: &DeValue<'_>, pointer: &str) -> Result<Value, RecipeError> {
        Ok(match value {
            DeValue::String(text) => text.clone().into_owned().into(),
            DeValue::Boolean(switch) => (*switch).into(),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => {
                    return Err(self.origin.error(pointer, format!("{number} does not fit into 64 bits")));
                }
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => {
                    return Err(self
                        .origin
                        .error(pointer, format!("is {number}; it must be a finite number")));
                }
            },
            DeValue::Datetime(date) => {
                return Err(self
                    .origin
                    .error(pointer, format!("is the date {date}; a text would stand in quotes")));
            }
            DeValue::Table(table) => Value::Object(self.table(table, pointer)?),
            DeValue::Array(array) => {
                let mut values = Vec::with_capacity(array.len());
                for (index, item) in array.iter().enumerate() {
                    let at = format!("{pointer}/{index}");
                    self.origin.note(&at, self.place(item.span().start));
                    values.push(self.value(item.get_ref(), &at)?);
                }
                Value::Array(values)
            }
        })
    }
}
