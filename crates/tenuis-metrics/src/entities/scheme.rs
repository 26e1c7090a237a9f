//! Schemes of tags, and the strict reading of them.

use super::Entity;
use super::spans::Tag;
use serde::{Deserialize, Serialize};

/// A scheme of tags. Tags of a sentence that do not follow it make no entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagScheme {
    /// `I` inside, `B` only where an entity follows another of its type.
    Iob1,
    /// `B` begins every entity.
    Iob2,
    /// `I` inside, `E` only where another entity of the type follows.
    Ioe1,
    /// `E` ends every entity.
    Ioe2,
    /// `B`, `I`, `E`, and `S` for entities of one token.
    Iobes,
    /// As [`TagScheme::Iobes`], with `L` for the last token and `U` for a single one.
    Bilou,
}

/// Which types a pattern asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Any,
    Same,
    Other,
}
use Kinds::{Any, Other, Same};

/// Prefixes before, prefixes of the tag, types. `*` is any prefix.
type Patterns = &'static [(&'static str, &'static str, Kinds)];

impl TagScheme {
    /// The prefixes that tags may have.
    pub(super) const fn prefixes(self) -> &'static str {
        match self {
            Self::Iob1 | Self::Iob2 => "O, B, I",
            Self::Ioe1 | Self::Ioe2 => "O, I, E",
            Self::Iobes => "O, B, I, E, S",
            Self::Bilou => "O, B, I, L, U",
        }
    }

    /// Where an entity begins.
    const fn begins(self) -> Patterns {
        match self {
            Self::Iob1 => &[("OB", "I", Any), ("I", "I", Other), ("IB", "B", Same)],
            Self::Iob2 => &[("*", "B", Any)],
            Self::Ioe1 => &[("OE", "I", Any), ("I", "I", Other), ("E", "E", Same)],
            Self::Ioe2 => &[("OE", "IE", Any), ("I", "IE", Other)],
            Self::Iobes => &[("*", "BS", Any)],
            Self::Bilou => &[("*", "BU", Any)],
        }
    }

    /// Where it goes on.
    const fn continues(self) -> Patterns {
        match self {
            Self::Iob1 | Self::Iob2 => &[("BI", "I", Same)],
            Self::Ioe1 | Self::Ioe2 => &[("I", "IE", Same)],
            Self::Iobes => &[("BI", "IE", Same)],
            Self::Bilou => &[("BI", "IL", Same)],
        }
    }

    /// Where it ended with the tag before.
    const fn ends(self) -> Patterns {
        match self {
            Self::Iob1 => &[("IB", "O", Any), ("IB", "I", Other), ("I", "B", Any), ("B", "B", Same)],
            Self::Iob2 => &[("IB", "OB", Any), ("IB", "I", Other)],
            Self::Ioe1 => &[("I", "O", Any), ("I", "IE", Other), ("E", "IE", Same)],
            Self::Ioe2 => &[("E", "*", Any)],
            Self::Iobes => &[("SE", "*", Any)],
            Self::Bilou => &[("UL", "*", Any)],
        }
    }
}

fn fits(patterns: Patterns, previous: Tag<'_>, tag: Tag<'_>) -> bool {
    let has = |set: &str, prefix| set == "*" || set.contains(prefix);
    patterns.iter().any(|&(before, of, kinds)| {
        let kinds = match kinds {
            Any => true,
            Same => previous.kind == tag.kind,
            Other => previous.kind != tag.kind,
        };
        kinds && has(before, previous.prefix) && has(of, tag.prefix)
    })
}

/// The entities of tags that follow the scheme from their first to their last token.
pub(super) fn strict(scheme: TagScheme, tags: &[Tag<'_>]) -> Vec<Entity> {
    let tag = |at: usize| tags.get(at).copied().unwrap_or(Tag::OUTSIDE);
    let (mut entities, mut previous, mut at) = (Vec::new(), Tag::OUTSIDE, 0);
    while at < tags.len() {
        if fits(scheme.begins(), previous, tag(at)) {
            let start = at;
            at += 1;
            while at < tags.len() && fits(scheme.continues(), tag(at - 1), tag(at)) {
                at += 1;
            }
            if fits(scheme.ends(), tag(at - 1), tag(at)) {
                entities.push(Entity { kind: tag(start).kind.to_owned(), start, end: at });
            }
        } else {
            at += 1;
        }
        previous = tag(at - 1);
    }
    entities
}
