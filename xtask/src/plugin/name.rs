//! What a plugin's crate may be called.

use std::fmt;
use std::str::FromStr;

/// A crate's name that is also a directory's, a library's and a part of a technique's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its library.
    pub(crate) fn stem(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(allowed)
            && !text.ends_with('-')
            && !text.contains("--")
        {
            Ok(Self(text.to_owned()))
        } else {
            Err("lower-case letters, digits and single hyphens, a letter first, such as my-plugin".to_owned())
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates_and_directories() {
        assert_eq!("my-plugin-2".parse::<Name>().unwrap().stem(), "my_plugin_2");
        for wrong in ["", "My", "2x", "a_b", "a/b", "../x", "a-", "a--b", "a b"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }
}
