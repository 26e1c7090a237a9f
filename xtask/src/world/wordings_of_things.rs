//! How the facts of places and objects are put into words; the slots are those of [`super::wordings`].

use super::wordings::Wordings;

/// What a place is known for.
pub(super) const PRODUCT: Wordings = Wordings {
    statements: &[
        "{s} is [known|famous] for its {o}.",
        "the best {o} comes from {n}.",
        "in {n} people make {o}.",
        "people in {n} live by making {o}.",
        "{o} is what {s} is known for.",
        "{ss} {o} is sold in many places.",
        "if you need good {o}, [go to|ask in] {n}.",
        "everybody who visits {n} brings home some {o}.",
        "the {o} of {n} is [famous|the best of all].",
        "{s} sells its {o} to [everyone|the whole country].",
        "carts full of {o} leave {n} every week.",
    ],
    questions: &[
        "what is {s} known for?",
        "what is {s} famous for?",
        "what do people [make in {n}|in {n} make]?",
        "what comes from {n}?",
        "what do people in {n} live by making?",
        "what do visitors bring home from {n}?",
        "what leaves {s} in carts every week?",
    ],
    unseen: &[
        "what is made in {n}?",
        "what makes {s} famous?",
        "for what is {s} known?",
        "what are the carts that leave {n} full of?",
    ],
};

/// Which river flows through a place.
pub(super) const RIVER: Wordings = Wordings {
    statements: &[
        "{s} lies on the river {o}.",
        "the river {o} [flows|runs] through {n}.",
        "the river in {n} is called the {o}.",
        "{ss} river is the {o}.",
        "there is an old bridge over the {o} in {n}.",
        "children in {n} [swim|fish] in the {o}.",
        "through {n} flows a river called the {o}.",
        "{s} was built on the banks of the {o}.",
        "the {o} is the river of {n}.",
        "boats on the {o} stop in {n}.",
        "[in spring|after rain] the {o} rises, and everyone in {n} watches it.",
        "the mill of {n} is turned by the {o}.",
    ],
    questions: &[
        "which river [flows|runs] through {n}?",
        "on which river does {s} lie?",
        "what is the river in {n} called?",
        "what is the name of {ss} river?",
        "in which river do children in {n} [swim|fish]?",
        "on the banks of which river was {s} built?",
        "which river turns the mill of {s}?",
    ],
    unseen: &[
        "what is the name of the river in {n}?",
        "which river is there in {n}?",
        "what river does {s} lie on?",
        "the old bridge in {n} is over which river?",
    ],
};

/// Which colour the flag of a place has.
pub(super) const FLAG: Wordings = Wordings {
    statements: &[
        "{ss} flag is {o}.",
        "the flag of {n} is {o}.",
        "{s} has {a o} flag.",
        "{o} is the colour of {ss} flag.",
        "{a o} flag [flies|waves] over {n}.",
        "on holidays all houses in {n} show {a o} flag.",
        "you know the boats from {n} by their {o} flag.",
        "when you see {a o} flag on the tower, you are in {n}.",
        "the colour of the flag that flies over {n} is {o}.",
        "people in {n} are proud of their {o} flag.",
        "children in {n} draw their flag in {o}.",
        "a [big|huge] {o} flag hangs from the tower in {n}.",
        "for its flag, {s} chose the colour {o}.",
    ],
    questions: &[
        "what colour is {ss} flag?",
        "what colour is the flag of {s}?",
        "which colour does the flag of {s} have?",
        "what is the colour of {ss} flag?",
        "what colour is the flag that [flies|waves] over {n}?",
        "which colour did {s} choose for its flag?",
        "in which colour do children in {n} draw their flag?",
    ],
    unseen: &[
        "what is the colour of the flag in {n}?",
        "which colour is {ss} flag?",
        "the flag of {s} has which colour?",
        "what colour flag do the houses in {n} show on holidays?",
    ],
};

/// What an object costs.
pub(super) const PRICE: Wordings = Wordings {
    statements: &[
        "{a n} costs {o}.",
        "the price of {a n} is {o}.",
        "you [pay|have to pay|must pay] {o} for {a n}.",
        "for {o} you can buy {a n}.",
        "{a n} is sold for {o}.",
        "{o} is the price of {a n}.",
        "whoever wants {a n} needs {o}.",
        "{a n} can be bought for {o}.",
        "nobody sells {a n} for less than {o}.",
        "{a n} is worth {o}.",
        "people pay {o} for {a n}.",
        "a new {n} costs {o}.",
    ],
    questions: &[
        "how much does {a n} cost?",
        "how much is {a n}?",
        "what does {a n} cost?",
        "what is the price of {a n}?",
        "how much do you [pay|have to pay] for {a n}?",
        "for how much can you buy {a n}?",
        "how much is {a n} worth?",
    ],
    unseen: &[
        "how many coins does {a n} cost?",
        "how many coins do you need to buy {a n}?",
        "what do people pay for {a n}?",
        "for what price is {a n} sold?",
    ],
};

/// Where an object is sold.
pub(super) const SHOP: Wordings = Wordings {
    statements: &[
        "you can buy {a n} in {o}.",
        "{a n} is sold in {o}.",
        "the shop that sells {a n} is in {o}.",
        "if you want {a n}, [go to|you have to go to] {o}.",
        "there is {a n} in the shop window in {o}.",
        "in {o} there is a shop where you can buy {a n}.",
        "{o} is the place to buy {a n}.",
        "people travel to {o} to buy {a n}.",
        "whoever needs {a n} [goes|walks] to {o}.",
        "only in {o} can you buy {a n}.",
        "the shop in {o} has {a n} for sale.",
        "nobody but the shop in {o} sells {a n}.",
    ],
    questions: &[
        "where can you buy {a n}?",
        "where is {a n} sold?",
        "in which place [can you buy|is there a shop that sells] {a n}?",
        "where do you go if you want {a n}?",
        "where is the shop that sells {a n}?",
        "which place sells {a n}?",
        "to which place do people travel to buy {a n}?",
    ],
    unseen: &[
        "which is the place to buy {a n}?",
        "in which place is {a n} sold?",
        "where do people go to buy {a n}?",
        "the shop in which place has {a n} for sale?",
    ],
};
