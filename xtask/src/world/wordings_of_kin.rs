//! How kinship is put into words; the slots are those of [`super::wordings`].

use super::wordings::Wordings;

/// Who someone's mother is.
pub(super) const MOTHER: Wordings = Wordings {
    statements: &[
        "{ss} mother is {o}.",
        "{o} is {ss} mother.",
        "{s} is {o}'s {son}.",
        "{s} is [the|a] {son} of {o}.",
        "{o} has a {son}: {n}.",
        "the mother of {n} is called {o}.",
        "{ss} mother has the name {o}.",
        "when {s} was small, {his} mother {o} [sang for {him}|told {him} stories].",
        "{o} is the woman who raised {sm}; she is {his} mother.",
        "{s} [looks like|often visits|writes letters to] {his} mother, {o}.",
        "on Sundays {s} eats with {his} mother {o}.",
    ],
    questions: &[
        "who is {ss} mother?",
        "who is the mother of {s}?",
        "what is the name of {ss} mother?",
        "what is {ss} mother called?",
        "which woman is {ss} mother?",
        "which woman raised {s}?",
        "which woman does {s} visit because she is {his} mother?",
        "who is the woman who raised {s}?",
    ],
    unseen: &[
        "what name does {ss} mother have?",
        "{s} is the {son} of which woman?",
        "what is the mother of {s} called?",
        "which woman is the mother of {s}?",
        "who is {ss} mother by name?",
    ],
};

/// Who someone's father is.
pub(super) const FATHER: Wordings = Wordings {
    statements: &[
        "{ss} father is {o}.",
        "{o} is {ss} father.",
        "{s} is {o}'s {son}.",
        "{s} is [the|a] {son} of {o}.",
        "{o} has a {son}: {n}.",
        "the father of {n} is called {o}.",
        "{ss} father has the name {o}.",
        "when {s} was small, {his} father {o} [carried {him} home|taught {him} to read].",
        "{o} is the man who raised {sm}; he is {his} father.",
        "{s} [looks like|often visits|writes letters to] {his} father, {o}.",
        "on Sundays {s} goes for a walk with {his} father {o}.",
    ],
    questions: &[
        "who is {ss} father?",
        "who is the father of {s}?",
        "what is the name of {ss} father?",
        "what is {ss} father called?",
        "which man is {ss} father?",
        "which man raised {s}?",
        "which man does {s} visit because he is {his} father?",
        "who is the man who raised {s}?",
    ],
    unseen: &[
        "what name does {ss} father have?",
        "{s} is the {son} of which man?",
        "what is the father of {s} called?",
        "which man is the father of {s}?",
        "who is {ss} father by name?",
    ],
};

/// Who someone's brother or sister is.
pub(super) const SIBLING: Wordings = Wordings {
    statements: &[
        "{ss} {brother} is {o}.",
        "{o} is {ss} {brother}.",
        "{s} has a {brother} called {o}.",
        "{s} has one {brother}, and {his} {brother}'s name is {o}.",
        "the {brother} of {n} is {o}.",
        "{s} grew up with {his} {brother} {o}.",
        "as children, {s} and {his} {brother} {o} [played by the river|shared a room|climbed trees].",
        "{s} tells {his} {brother} {o} everything.",
        "{s} and {o} have the same parents.",
        "{o} is the {brother} of {n}.",
        "when {s} needs help, {his} {brother} {o} comes.",
        "{s} [often visits|writes letters to] {his} {brother}, {o}.",
    ],
    questions: &[
        "who is {ss} {brother}?",
        "who is the {brother} of {s}?",
        "what is the name of {ss} {brother}?",
        "what is {ss} {brother} called?",
        "with which {brother} did {s} grow up?",
        "which {brother} comes when {s} needs help?",
        "who has the same parents as {s}?",
        "which {brother} does {s} tell everything?",
    ],
    unseen: &[
        "what name does {ss} {brother} have?",
        "which {brother} does {s} have?",
        "what is the {brother} of {s} called?",
        "who grew up with {s} as {his} {brother}?",
        "who is the {brother} that {s} has?",
    ],
};

/// To whom someone is married.
pub(super) const SPOUSE: Wordings = Wordings {
    statements: &[
        "{s} is married to {o}.",
        "{ss} {wife} is {o}.",
        "{o} is {ss} {wife}.",
        "{s} is {o}'s {husband}.",
        "{s} is the {husband} of {o}.",
        "{s} and {o} are married.",
        "{o} and {s} are {wife} and {husband}.",
        "{s} [married|fell in love with] {o} [many years ago|when they were young], and {o} is {his} {wife} now.",
        "the {wife} of {n} is called {o}.",
        "{s} [dances|sings|goes for walks] with {his} {wife} {o}.",
        "{s} wears a ring from {his} {wife}, {o}.",
    ],
    questions: &[
        "who is {ss} {wife}?",
        "who is the {wife} of {s}?",
        "to whom is {s} married?",
        "what is the name of {ss} {wife}?",
        "what is {ss} {wife} called?",
        "who is {s} married to?",
        "whom did {s} marry?",
        "who is the {wife} that gave {s} a ring?",
    ],
    unseen: &[
        "what name does {ss} {wife} have?",
        "who married {s}?",
        "what is the {wife} of {s} called?",
        "{s} is the {husband} of whom?",
        "whose {husband} is {s}?",
    ],
};
