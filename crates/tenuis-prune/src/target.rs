//! How much of a weight is pruned, as recipes and plugins spell it.

use crate::error::PruneError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

/// A semi-structured pattern: of every `of` consecutive input columns of a row at most `kept` stay.
///
/// Spelled `"2:4"` as hardware vendors do: the first number counts what stays.
///
/// ```
/// use tenuis_prune::NofM;
/// let pattern: NofM = "2:4".parse().unwrap();
/// assert_eq!((pattern.kept(), pattern.of()), (2, 4));
/// assert!("4:2".parse::<NofM>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NofM {
    kept: u8,
    of: u8,
}

impl NofM {
    /// Two of four.
    pub const TWO_OF_FOUR: Self = Self { kept: 2, of: 4 };
    /// Four of eight.
    pub const FOUR_OF_EIGHT: Self = Self { kept: 4, of: 8 };

    /// Returns the pattern, or `None` unless `0 < kept < of ≤ 128`.
    pub fn new(kept: u8, of: u8) -> Option<Self> {
        (kept > 0 && kept < of && of <= 128).then_some(Self { kept, of })
    }

    /// Weights that stay in a group.
    pub const fn kept(self) -> usize {
        self.kept as usize
    }

    /// Columns of a group.
    pub const fn of(self) -> usize {
        self.of as usize
    }

    /// The share of zeros.
    pub fn sparsity(self) -> f64 {
        1.0 - f64::from(self.kept) / f64::from(self.of)
    }

    pub(crate) fn check(self, in_features: usize) -> Result<(), PruneError> {
        if in_features.is_multiple_of(self.of()) {
            return Ok(());
        }
        Err(PruneError::Groups { kept: self.kept(), of: self.of(), in_features })
    }
}

impl fmt::Display for NofM {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kept, self.of)
    }
}

impl FromStr for NofM {
    type Err = PruneError;

    fn from_str(text: &str) -> Result<Self, PruneError> {
        let parts = text.split_once(':');
        let numbers = parts.and_then(|(kept, of)| Some((kept.parse().ok()?, of.parse().ok()?)));
        numbers.and_then(|(kept, of)| Self::new(kept, of)).ok_or_else(|| PruneError::Config {
            option: "sparsity",
            value: format!("{text:?}"),
            allowed: "\"N:M\" with 0 < N < M ≤ 128, such as \"2:4\"",
        })
    }
}

/// How much is pruned: a number, `"N:M"` or `"inherit"`.
///
/// ```
/// use tenuis_prune::SparsityTarget;
/// let share: SparsityTarget = serde_json::from_str("0.7")?;
/// assert_eq!(share, SparsityTarget::Share(0.7));
/// assert!(serde_json::from_str::<SparsityTarget>("1.0").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SparsityTarget {
    /// This share of the weights, at least 0 and below 1.
    Share(f64),
    /// All but N of every M consecutive columns of a row.
    NofM(NofM),
    /// As many weights as are zero already. A sparsity that an earlier step found for every layer thus serves
    /// another method.
    Inherit,
}

impl Default for SparsityTarget {
    /// Half of the weights, as the papers report first.
    fn default() -> Self {
        Self::Share(0.5)
    }
}

impl SparsityTarget {
    /// Settles [`SparsityTarget::Inherit`] by the values that are zero now.
    ///
    /// ```
    /// use tenuis_prune::SparsityTarget;
    /// assert_eq!(SparsityTarget::Inherit.resolve(&[0.0, 1.0, 2.0, 3.0]), SparsityTarget::Share(0.25));
    /// ```
    #[must_use]
    pub fn resolve(self, values: &[f32]) -> Self {
        match self {
            Self::Inherit => {
                let zeros = values.iter().filter(|v| **v == 0.0).count();
                Self::Share(zeros as f64 / values.len().max(1) as f64)
            }
            asked => asked,
        }
    }

    /// Checks that the share lies in `0..1`.
    ///
    /// # Errors
    /// [`PruneError::Config`].
    pub fn validate(self) -> Result<(), PruneError> {
        match self {
            Self::Share(share) if !(0.0..1.0).contains(&share) => Err(PruneError::Config {
                option: "sparsity",
                value: share.to_string(),
                allowed: "at least 0 and below 1, \"N:M\" or \"inherit\"",
            }),
            _ => Ok(()),
        }
    }
}

impl Serialize for SparsityTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Share(share) => serializer.serialize_f64(*share),
            Self::NofM(pattern) => serializer.collect_str(pattern),
            Self::Inherit => serializer.serialize_str("inherit"),
        }
    }
}

impl<'de> Deserialize<'de> for SparsityTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Share(f64),
            Name(String),
        }
        let wrong = || D::Error::custom("sparsity must be a number, \"N:M\" or \"inherit\"");
        let target = match Spelling::deserialize(deserializer).map_err(|_| wrong())? {
            Spelling::Share(share) => Self::Share(share),
            Spelling::Name(name) if name == "inherit" => Self::Inherit,
            Spelling::Name(name) => Self::NofM(name.parse().map_err(D::Error::custom)?),
        };
        target.validate().map_err(D::Error::custom)?;
        Ok(target)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SparsityTarget {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SparsityTarget".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0 },
                { "type": "string", "pattern": "^([0-9]+:[0-9]+|inherit)$" },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_round_trip() {
        for text in ["0.5", "0.0", "\"2:4\"", "\"4:8\"", "\"inherit\""] {
            let target: SparsityTarget = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&target).unwrap(), text);
        }
        for text in ["1", "-0.1", "\"0:4\"", "\"4:4\"", "\"half\"", "true"] {
            assert!(serde_json::from_str::<SparsityTarget>(text).is_err(), "{text}");
        }
    }
}
