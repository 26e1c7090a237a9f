//! Plots in which there is only one thing of its sort, spoken of again and again: the last word is told by what the
//! story is about, and no other object, food, animal, colour, trade or spot competes with it. See [`super::stories`] for
//! the slots.

use super::stories::Plot;

/// The plots.
pub(super) const PLOTS: &[Plot] =
    &[KEEPSAKE, FAVOURITE_DISH, PET, COAT_OF_PAINT, APPRENTICE, SHELTER, LOAN, CARAVAN];

/// An object that is kept for years.
const KEEPSAKE: Plot = &[
    &[
        "{a} kept {a x} in the house.",
        "{a} had {a x} that was very old.",
        "there was {a x} in {a}'s house.",
        "long ago {a} had been given {a x}.",
    ],
    &[
        "the {x} had belonged to {a}'s family for [years|a long time].",
        "{a} cleaned the {x} every [day|week|evening].",
        "nobody was allowed to touch the {x}.",
    ],
    &[
        "one day {b} came and saw the {x}.",
        "{b} liked the {x} [very much|at once].",
        "\"what a [fine|beautiful|strange] {x}!\" said {b}.",
    ],
    &[
        "{b} wanted to buy the {x} and offered {x.price}.",
        "\"will you sell the {x}?\" asked {b}.",
        "{b} asked what the {x} would cost.",
    ],
    &[
        "{a} thought about it for [a moment|an hour].",
        "but {a} only [smiled|laughed].",
        "{a} said no, and {b} went away.",
    ],
    &[
        "to this day {a} has kept the {x}.",
        "that evening {a} sat down beside the {x}.",
        "nothing was dearer to {a} than the {x}.",
        "for no money in the world would {a} sell the {x}.",
    ],
];

/// One food for everybody.
const FAVOURITE_DISH: Plot = &[
    &[
        "{a} had made {f}.",
        "in the kitchen there was a big pot of {f}.",
        "{a} wanted to eat {f} that day.",
        "the whole house smelled of {f}.",
    ],
    &[
        "the {f} was still [hot|warm].",
        "it takes an hour to make good {f}.",
        "{a} had learned to make {f} as a child.",
    ],
    &[
        "{b} came in and asked for some {f}.",
        "\"is that {f}?\" asked {b}.",
        "{b} saw the {f} and sat down at the table.",
    ],
    &[
        "{a} gave {b.him} a plate of {f}.",
        "they ate the {f} together.",
        "{b} ate [quickly|slowly] and said that the {f} was good.",
    ],
    &[
        "then they talked about old times.",
        "soon {b} was not hungry any more.",
        "{b} said thank you and [went home|washed the plates].",
    ],
    &[
        "the next day {b} came again for more {f}.",
        "since then {b} has always asked {a} for {f}.",
        "in the evening there was only a little left of the {f}.",
        "{b} went home and dreamed of {f}.",
    ],
];

/// One animal and what it does.
const PET: Plot = &[
    &[
        "{a} had found {a m}.",
        "behind the house lived {a m}.",
        "one day {a m} came to {a}'s door.",
        "on the market {a} bought {a m}.",
    ],
    &[
        "the {m} was [small|young|white|hungry].",
        "{a} gave the {m} some water.",
        "{a} had never seen such a [small|big|friendly] {m}.",
    ],
    &[
        "{a} built a [little house|bed] for the {m}.",
        "the {m} ran after {a} [everywhere|all day].",
        "every morning {a} fed the {m}.",
    ],
    &["but one night the {m} was gone.", "then the {m} fell ill.", "in winter {a} worried about the {m}."],
    &[
        "{b} helped, and after [two|three] days all was well.",
        "{b} told {a} not to worry about the {m}.",
        "{b} came and looked at the {m}.",
    ],
    &[
        "[at last|in spring] {a} could play with the {m}.",
        "{a} was very happy to have the {m}.",
        "never again did {a} leave the {m}.",
        "today everybody knows {a} and the {m}.",
    ],
];

/// Everything in one colour.
const COAT_OF_PAINT: Plot = &[
    &[
        "{a} bought some {k} paint.",
        "{a} wanted to have a {k} door.",
        "{a} said that the house should be {k}.",
    ],
    &["the paint was as {k} as could be.", "{b} asked: \"Why {k}?\"", "\"I like {k},\" said {a}."],
    &[
        "first {a} painted the door {k}.",
        "{a} began with the wall, and soon it was {k}.",
        "{a} opened the {k} paint and began to work.",
    ],
    &[
        "then {a.he} painted the table {k}.",
        "in the afternoon the stairs were {k} as well.",
        "{b} helped and made the windows {k}.",
    ],
    &[
        "{a} worked until it was dark.",
        "they laughed, as there was paint [everywhere|on their shoes].",
        "it took [two|three] days.",
    ],
    &[
        "in the end everything was {k}.",
        "even {a}'s hands were {k}.",
        "{b} looked at {a} and saw that {a.his} nose was {k}.",
        "when the sun came up, the whole house was {k}.",
    ],
];

/// One trade that somebody learns.
const APPRENTICE: Plot = &[
    &[
        "{b} wanted to become {a i}.",
        "as a child, {b} dreamed of being {a i}.",
        "\"one day I will be {a i},\" said {b}.",
    ],
    &[
        "{b} asked an old {i} for help.",
        "in {p} there was a good {i}.",
        "there was only one {i} in the whole country.",
    ],
    &[
        "\"the work of {a i} is hard,\" said the old {i}.",
        "the {i} told {b.him} to come early in the morning.",
        "the {i} gave {b.him} a hammer and showed {b.him} everything.",
    ],
    &[
        "{b} worked with the {i} for [a year|two years|three years].",
        "{b} learned what {a i} must know.",
        "every day {b} watched the {i}.",
    ],
    &[
        "{b} was often tired but never gave up.",
        "then the old {i} fell ill, and {b} had to do all the work.",
        "the people in {p} began to ask for {b}.",
    ],
    &[
        "now {b} is a [good|real|famous] {i}.",
        "at last {b} was called a [good|real|true] {i}.",
        "since that day {b} has worked as the town's {i}.",
    ],
];

/// One spot in which somebody waits.
const SHELTER: Plot = &[
    &[
        "it rained hard, and {a} ran into the {s}.",
        "{a} had left something in the {s}.",
        "{a} wanted to be alone and went to the {s}.",
    ],
    &["in the {s} it was [dark|quiet|cold].", "the {s} was empty.", "nobody had been in the {s} for days."],
    &[
        "{b} looked for {a} everywhere, but not in the {s}.",
        "{a} sat in the {s} and waited.",
        "{a} closed the door of the {s}.",
    ],
    &[
        "after an hour {b} heard a noise from the {s}.",
        "then {b} came and opened the {s}.",
        "\"is somebody in the {s}?\" asked {b}.",
    ],
    &["\"it is me,\" said {a}.", "{a} did not answer.", "they both had to laugh."],
    &[
        "so {a} and {b} sat together in the {s}.",
        "\"let us stay here,\" said {a}, and they stayed in the {s}.",
        "it was evening before they left the {s}.",
        "from then on {b} knew to look for {a} in the {s}.",
    ],
];

/// One thing that is lent and comes back.
const LOAN: Plot = &[
    &["{b} needed {a x}.", "{b} asked {a} for {a x}.", "\"have you got {a x}?\" {b} asked."],
    &[
        "{a} had {a x} and gave it to {b}.",
        "{a} brought the {x} to {b} the next day.",
        "\"take my {x},\" said {a}.",
    ],
    &["{b} used the {x} every day.", "with the {x}, the work went fast.", "{b} was careful with the {x}."],
    &[
        "a week went by, and {a} missed the {x}.",
        "then {a} wanted to have the {x} back.",
        "but {b} forgot to give back the {x}.",
    ],
    &["{a} went to {b} and knocked.", "\"oh, I am sorry!\" said {b}.", "{b} went into the house."],
    &[
        "that evening {a} came home with the {x}.",
        "{b} said thank you and gave {a} the {x}.",
        "before it was dark {a} got back the {x}.",
        "so {a} was given back the {x}.",
    ],
];

/// One place that everybody goes to.
const CARAVAN: Plot = &[
    &["the road to {p} is long.", "there was a market in {p}.", "{c} told wonderful things of {p}."],
    &["{a} had never been to {p}.", "\"I must go to {p},\" said {a}.", "{a} had a friend in {p}."],
    &["{b} wanted to see {p} too.", "\"what is there in {p}?\" asked {b}.", "{b} knew the way to {p}."],
    &[
        "so they took a cart to {p}.",
        "on Monday they left for {p}.",
        "they walked [all day|for two days] to see {p}.",
    ],
    &[
        "{a} sang, and {b} told stories.",
        "they were tired, and their feet hurt.",
        "it was cold, but they went on.",
    ],
    &[
        "in the evening they came to {p}.",
        "at last they saw the [tower|houses|gate] of {p}.",
        "both of them still talk about {p}.",
    ],
];
