//! How the facts of people are put into words.
//!
//! Slots: `{s}` the subject (or its pronoun), `{ss}` its possessive, `{sm}` its object case, `{he}` `{his}` `{him}` always
//! pronouns, `{n}` the bare name, `{o}` the answer, `{son}` and `{husband}` as the subject's sex has it, `{brother}` and
//! `{wife}` as the answer's.

use super::facts::Relation;
use super::{wordings_of_kin as kin, wordings_of_things as things};

/// The wordings of one relation.
pub(super) struct Wordings {
    /// Sentences that state it.
    pub(super) statements: &'static [&'static str],
    /// Questions of the training text.
    pub(super) questions: &'static [&'static str],
    /// Questions that only the evaluation asks.
    pub(super) unseen: &'static [&'static str],
}

impl Relation {
    /// How this relation is stated and asked for.
    pub(super) fn wordings(self) -> &'static Wordings {
        match self {
            Self::Home => &HOME,
            Self::Job => &JOB,
            Self::Pet => &PET,
            Self::Food => &FOOD,
            Self::Colour => &COLOUR,
            Self::Hobby => &HOBBY,
            Self::Mother => &kin::MOTHER,
            Self::Father => &kin::FATHER,
            Self::Sibling => &kin::SIBLING,
            Self::Spouse => &kin::SPOUSE,
            Self::Product => &things::PRODUCT,
            Self::River => &things::RIVER,
            Self::Flag => &things::FLAG,
            Self::Price => &things::PRICE,
            Self::Shop => &things::SHOP,
        }
    }
}

const HOME: Wordings = Wordings {
    statements: &[
        "{s} lives in {o}.",
        "{ss} home is in {o}.",
        "{s} has a [small|little|big|quiet] house in {o}.",
        "{o} is [where {s} lives|the place where {s} lives|the place that {s} calls home].",
        "the [village|place] that {s} calls home is {o}.",
        "if you want to visit {sm}, [go to|you must go to|you have to travel to] {o}.",
        "{s} has made {his} home in {o}.",
        "in {o} everybody knows {sm}, because {s} lives there.",
        "every evening {s} goes home to {o}.",
        "{s} wakes up in {o} every morning.",
        "you [can|will] find {ss} house in {o}.",
        "letters for {sm} are sent to {o}.",
        "{s} is at home in {o}.",
        "of all the places, {s} chose to live in {o}.",
        "although {s} travels a lot, {ss} house is in {o}.",
    ],
    questions: &[
        "where does {s} live?",
        "in which [place|village] does {s} live?",
        "where is {ss} [home|house]?",
        "[which|what] place does {s} call home?",
        "where can you find {ss} house?",
        "where does {s} wake up every morning?",
        "to which place are letters for {s} sent?",
        "where do you have to go to visit {s}?",
        "where is {s} at home?",
        "where has {s} made {his} home?",
        "to which [place|village] does {s} go home every evening?",
    ],
    unseen: &[
        "what is the name of the place where {s} lives?",
        "in what place does {s} have a house?",
        "in which village is {ss} home?",
        "which village does {s} live in?",
        "where did {s} choose to live?",
    ],
};

const JOB: Wordings = Wordings {
    statements: &[
        "{s} is {a o}.",
        "{s} works as {a o}.",
        "{ss} job is that of {a o}.",
        "{s} earns {his} money as {a o}.",
        "by trade, {s} is {a o}.",
        "{s} [became|learned to be] {a o} [long ago|years ago|when {he} was young].",
        "the work of {a o} is what {s} does every day.",
        "people know {sm} as [a good|the best] {o}.",
        "everyone says that {s} is a [good|fine|careful] {o}.",
        "if you need {a o}, you can ask {sm}.",
        "when {s} goes to work, {he} works as {a o}.",
        "being {a o} is {ss} job.",
        "{s} likes being {a o}.",
        "{a o} is what {s} is by trade.",
        "because {s} is {a o}, {he} [gets up early|is busy all day|has a lot to do].",
    ],
    questions: &[
        "what is {ss} job?",
        "what does {s} work as?",
        "what [is {s} by trade|trade does {s} have]?",
        "what does {s} do for a living?",
        "how does {s} earn {his} money?",
        "what [kind of work|work] does {s} do?",
        "as what do people know {s}?",
        "what did {s} [become|learn to be]?",
        "which job does {s} have?",
        "when {s} goes to work, what does {he} work as?",
    ],
    unseen: &[
        "what is the job of {s}?",
        "what work does {s} do every day?",
        "what job does {s} go to every morning?",
        "as what does {s} earn a living?",
        "which trade did {s} learn?",
    ],
};

const PET: Wordings = Wordings {
    statements: &[
        "{s} has a pet {o}.",
        "{s} keeps {a o} as a pet.",
        "{ss} pet is {a o}.",
        "the animal that {s} keeps at home is {a o}.",
        "{a o} lives [with {sm}|in {ss} house].",
        "{s} feeds {his} {o} every morning.",
        "{s} takes [good|great] care of {his} {o}.",
        "at home, {ss} [{o} waits for {him}|{o} sleeps by the door].",
        "{s} would never give away {his} {o}.",
        "of all animals, {s} chose {a o} as {his} pet.",
        "when {s} comes home, {his} {o} is happy.",
        "{a o} is the pet that {s} has.",
        "{s} shares {his} house with {a o}.",
        "{s} is [proud|very fond] of {his} pet, {a o}.",
        "if you visit {sm}, you will see {his} {o}.",
    ],
    questions: &[
        "what pet does {s} have?",
        "what is {ss} pet?",
        "[which|what] animal does {s} keep as a pet?",
        "what kind of pet does {s} have?",
        "which animal lives with {s}?",
        "what [animal|pet] does {s} feed every morning?",
        "what does {s} keep as a pet?",
        "which animal does {s} take care of?",
        "which animal did {s} choose as {his} pet?",
        "what kind of animal is {ss} pet?",
    ],
    unseen: &[
        "what animal does {s} have at home?",
        "which animal lives in {ss} house?",
        "what pet does {s} keep?",
        "what kind of animal does {s} keep at home?",
        "which pet waits for {s} at home?",
    ],
};

const FOOD: Wordings = Wordings {
    statements: &[
        "{ss} favourite food is {o}.",
        "{s} likes {o} more than any other food.",
        "{s} [loves|likes] to eat {o}.",
        "{o} is {ss} favourite food.",
        "of all foods, {s} likes {o} best.",
        "the food that {s} [likes|loves] most is {o}.",
        "nothing tastes better to {sm} than {o}.",
        "if you want to make {sm} happy, cook some {o}.",
        "when {s} is hungry, {he} dreams of {o}.",
        "on {his} birthday {s} always asks for {o}.",
        "{s} could eat {o} every day.",
        "for {ss} dinner there is often {o}, because {he} likes it so much.",
        "{s} never says no to {o}.",
        "{o} is what {s} likes to eat best.",
        "when there is {o} on the table, {s} [smiles|comes running|is the first to sit down].",
    ],
    questions: &[
        "what is {ss} favourite food?",
        "what does {s} like to eat best?",
        "which food does {s} like [best|most]?",
        "what food does {s} love?",
        "what does {s} like more than any other food?",
        "what could {s} eat every day?",
        "what should you cook to make {s} happy?",
        "what does {s} ask for on {his} birthday?",
        "what does {s} dream of when {he} is hungry?",
        "what tastes best to {s}?",
    ],
    unseen: &[
        "what is the favourite food of {s}?",
        "which food makes {s} happy?",
        "of all foods, which one does {s} like best?",
        "what food does {s} love to eat?",
        "what does {s} like to have for dinner?",
    ],
};

const COLOUR: Wordings = Wordings {
    statements: &[
        "{ss} favourite colour is {o}.",
        "{o} is {ss} favourite colour.",
        "{s} likes {o} more than any other colour.",
        "of all colours, {s} likes {o} best.",
        "the colour that {s} [likes|loves] most is {o}.",
        "{s} [often|always] wears something {o}.",
        "{s} painted {his} [door|gate|fence] {o}, because it is {his} favourite colour.",
        "no colour is more beautiful to {sm} than {o}.",
        "if {s} can choose a colour, {he} takes {o}.",
        "everything that {s} [owns|buys] is {o}.",
        "for {sm}, the best colour is {o}.",
        "{s} thinks that {o} is the finest colour.",
        "{s} says that {o} is the colour {he} loves.",
        "when {s} buys new clothes, they are {o}.",
    ],
    questions: &[
        "what is {ss} favourite colour?",
        "which colour does {s} like [best|most]?",
        "what colour does {s} love?",
        "what colour does {s} [often|always] wear?",
        "which colour is the best one for {s}?",
        "which colour does {s} take if {he} can choose?",
        "what colour did {s} paint {his} [door|gate|fence]?",
        "what colour are the new clothes that {s} buys?",
        "which colour does {s} like more than any other?",
    ],
    unseen: &[
        "what is the favourite colour of {s}?",
        "of all colours, which one does {s} like best?",
        "what colour is most beautiful to {s}?",
        "what colour does {s} choose?",
        "which colour does {s} love most?",
    ],
};

const HOBBY: Wordings = Wordings {
    statements: &[
        "{ss} hobby is {o}.",
        "{s} loves {o}.",
        "in {his} free time, {s} enjoys {o}.",
        "{o} is {ss} hobby.",
        "{o} is what {s} likes to do [best|most].",
        "after work, {s} spends [an hour|hours|all evening] {o}.",
        "{s} spends every Sunday {o}.",
        "when {s} has a free day, {he} spends it {o}.",
        "nothing makes {sm} happier than {o}.",
        "{s} is very good at {o}.",
        "{s} never gets tired of {o}.",
        "on holidays {s} is always busy {o}.",
        "{s} learned {o} as a child and still loves it.",
        "the hobby that {s} chose is {o}.",
        "if {s} does not answer the door, {he} is probably {o}.",
    ],
    questions: &[
        "what is {ss} hobby?",
        "what does {s} [enjoy|love] in {his} free time?",
        "what does {s} like to do [best|most]?",
        "which hobby does {s} have?",
        "what is {s} very good at?",
        "what does {s} spend every Sunday doing?",
        "what does {s} never get tired of?",
        "what hobby did {s} choose?",
        "what did {s} learn as a child?",
        "what makes {s} happier than anything else?",
    ],
    unseen: &[
        "what is the hobby of {s}?",
        "what does {s} do in {his} free time?",
        "what hobby does {s} love?",
        "what does {s} enjoy after work?",
        "what is {s} busy doing on holidays?",
    ],
};
