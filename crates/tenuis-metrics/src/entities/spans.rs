//! Tags, and the lenient reading of them.

use super::Entity;

/// The prefixes of all schemes.
pub(super) const LENIENT: &str = "O, B, I, E, S, U, L";

/// A tag, cut into what it says of the place and of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) prefix: char,
    pub(super) kind: &'a str,
}

impl<'a> Tag<'a> {
    pub(super) const OUTSIDE: Self = Tag { prefix: 'O', kind: "_" };

    /// Cuts a tag; `None` where its prefix is none of those allowed.
    pub(super) fn parse(text: &'a str, suffix: bool, strict: bool, allowed: &str) -> Option<Self> {
        let prefix = if suffix { text.chars().next_back() } else { text.chars().next() }?;
        if !prefix.is_ascii_alphabetic() || !allowed.contains(prefix) {
            return None;
        }
        // The prefix is one byte.
        let rest = if suffix { &text[..text.len() - 1] } else { &text[1..] };
        let kind = match (strict, suffix) {
            (true, _) => rest.trim_matches('-'),
            // What stands before a first hyphen, or after a last one, is dropped.
            (false, true) => rest.rsplit_once('-').map_or(rest, |(kind, _)| kind),
            (false, false) => rest.split_once('-').map_or(rest, |(_, kind)| kind),
        };
        Some(Self { prefix, kind: if kind.is_empty() { "_" } else { kind } })
    }
}

/// The entities of tags of any scheme, as the script conlleval reads them.
pub(super) fn lenient(tags: &[Tag<'_>]) -> Vec<Entity> {
    let (mut entities, mut previous, mut start) = (Vec::new(), Tag { prefix: 'O', kind: "" }, 0);
    for (at, &tag) in tags.iter().chain([&Tag::OUTSIDE]).enumerate() {
        if ends(previous, tag) {
            entities.push(Entity { kind: previous.kind.to_owned(), start, end: at });
        }
        if begins(previous, tag) {
            start = at;
        }
        previous = tag;
    }
    entities
}

/// Whether an entity ended between two tags.
fn ends(previous: Tag<'_>, tag: Tag<'_>) -> bool {
    match previous.prefix {
        'E' | 'S' => true,
        'O' => false,
        'B' | 'I' if matches!(tag.prefix, 'B' | 'S' | 'O') => true,
        _ => previous.kind != tag.kind,
    }
}

/// Whether an entity began between two tags.
fn begins(previous: Tag<'_>, tag: Tag<'_>) -> bool {
    match tag.prefix {
        'B' | 'S' => true,
        'O' => false,
        'E' | 'I' if matches!(previous.prefix, 'E' | 'S' | 'O') => true,
        _ => previous.kind != tag.kind,
    }
}
