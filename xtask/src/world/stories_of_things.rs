//! Plots that end on a thing: an object, a food, an animal, a colour or a spot. See [`super::stories`] for the slots.

use super::stories::Plot;

/// The plots.
pub(super) const PLOTS: &[Plot] =
    &[GIFT, LOST, SWAP, COOKING, STRAY, PAINT, MARKET, HIDING, REPAIR, THIEF, WISH, PACKING];

/// A gift that is opened later.
const GIFT: Plot = &[
    &[
        "{b} had a birthday, and {a} wanted to [bring|give] {b.him} something.",
        "{a} wanted to make {b} happy.",
        "soon {b} would have a birthday, and {a} needed a present.",
    ],
    &[
        "so {a} went to {x.shop} and bought {a x} for {x.price}.",
        "in {x.shop}, {a} looked at [many things|everything in the shop] and took {a x}. It cost {x.price}.",
        "first {a} thought of {a y}, but then {a.he} paid {x.price} for {a x}.",
    ],
    &[
        "{a} put it in a box with a [red|blue|green] ribbon.",
        "{a} hid it in a [big|brown] box and closed it well.",
        "at home {a} packed it in [paper|a box] so that nobody could see what it was.",
    ],
    &[
        "then {a} carried the box to {b}.",
        "in the evening {a} [knocked at|came to] {b}'s door with the box.",
        "{b} got the box [the next day|that evening] and asked what was in it.",
    ],
    &[
        "\"open it,\" said {a}.",
        "\"you must guess,\" said {a}, but {b} could not.",
        "{b} shook the box and listened.",
    ],
    &[
        "{b} opened the box, and inside was {a x}.",
        "when the box was open, {b} saw the {x}.",
        "{b} thanked {a} many times for the {x}.",
        "how [happy|surprised] {b} was to find {a x}.",
    ],
];

/// Something is lost, something else is found first.
const LOST: Plot = &[
    &[
        "{a} could not find {a.his} {x}.",
        "{a} had lost {a.his} {x} and was [sad|angry|worried].",
        "that day {a}'s {x} was gone.",
    ],
    &[
        "{a.he} looked in the {s} and behind every door, but it was not there.",
        "{a.he} looked [everywhere|in every room]: nothing.",
        "\"where can it be?\" {a.he} asked.",
    ],
    &[
        "in the {t}, {a} found an old {y}, but that was not what {a.he} wanted.",
        "{c} brought {a y} and asked if it was the right thing, but it was not.",
        "{a} found {a y} that {c} had lost long ago.",
    ],
    &[
        "then {b} came [by|in] and heard about it.",
        "{a} asked {b} for help.",
        "{b} saw that something was wrong and [helped|stayed].",
    ],
    &[
        "{b} had seen it [behind the door|on the wall|under a tree] and [ran|went] to get it.",
        "{b} looked [behind the house|under the stairs], where nobody had looked.",
        "after an hour {b} called out: \"Here it is!\"",
    ],
    &[
        "{b} came back, and in {b.his} hands was the lost {x}.",
        "at last {a} had {a.his} {x}.",
        "{a} thanked {b} and never again lost the {x}.",
        "[smiling|laughing], {b} gave {a} the {x}.",
    ],
];

/// Two things change hands.
const SWAP: Plot = &[
    &[
        "{a} had {a x} but wanted {a y}.",
        "{a} owned {a x} and did not need it. What {a.he} needed was {a y}.",
        "for years {a} had kept {a x}, and now {a.he} would rather have {a y}.",
    ],
    &[
        "{b} had {a y} and was looking for {a x}.",
        "{b} had {a y} that nobody used.",
        "it was {b} who had {a y}.",
    ],
    &[
        "they met on the [road|bridge|market] and talked.",
        "{a} went to {b} and told {b.him} about it.",
        "{c} knew both of them and brought them together.",
    ],
    &[
        "\"let us swap,\" said {a}, and {b} said yes.",
        "they decided to swap.",
        "after a short talk they [shook hands|agreed] and swapped the two things.",
    ],
    &[
        "so {a} went home with the {y}.",
        "now {b} has the {x}.",
        "that evening {a} sat at home and looked at the {y}.",
        "since then {b} has been the owner of the {x}.",
    ],
];

/// Something is cooked for a guest.
const COOKING: Plot = &[
    &[
        "{a} had invited {b} for [dinner|the evening].",
        "{b} was coming to visit {a}.",
        "{a} was waiting for a guest: {b}.",
    ],
    &[
        "{a} wanted to make {f}, but {b} does not eat {f}. So {a.he} made {g}.",
        "\"shall I make {f} or {g}?\" asked {a}. \"{g}, please,\" said {b}.",
        "there was no {f} in the house, so {a} made {g}.",
    ],
    &[
        "{a} worked in the kitchen for [an hour|two hours].",
        "{c} brought what was missing.",
        "the fire was hot and the pot was big.",
    ],
    &[
        "{b} came at [six|seven|eight] and sat down at the table.",
        "when {b} came, the table was ready.",
        "{b} was [hungry|cold and tired] and glad to sit down.",
    ],
    &[
        "\"it smells good,\" {b} said.",
        "they ate [slowly|quickly] and talked a lot.",
        "{a} filled two plates.",
    ],
    &[
        "{b} asked for more {g}.",
        "at the end of the evening there was nothing left of the {g}.",
        "never before had {b} eaten such good {g}.",
        "the whole house smelled of {g}.",
    ],
];

/// A stray animal is heard, then found.
const STRAY: Plot = &[
    &[
        "{a} heard a [strange|small] sound from the {s}.",
        "something [moved|made a noise] in the {s}, and {a} got up to look.",
        "at night there was a noise in the {s}.",
    ],
    &["\"it must be {a m},\" thought {a}.", "{b} said it was only {a m}.", "was it {a m} again?"],
    &[
        "but when {a.he} came closer, {a n} sat there and looked at {a.him}.",
        "{a} took a light and found {a n} [in a corner|behind a box].",
        "it was not. It was {a n} with [wet|dirty] feet.",
    ],
    &[
        "{a.he} gave it [some food|some water|something to eat].",
        "it was [cold|hungry|afraid], so {a} brought a blanket.",
        "it was very small and very tired.",
    ],
    &[
        "the next day {c} came, who had been looking for it.",
        "nobody knew whose it was.",
        "{a} asked all the neighbours about it.",
    ],
    &[
        "{a} was sorry to say goodbye to the {n}.",
        "since that night {a} [always thinks of|often talks about] the {n}.",
        "everybody wanted to see the {n}.",
        "{a} told {b} about the {n}.",
    ],
];

/// Something gets a new colour.
const PAINT: Plot = &[
    &[
        "{a}'s {x} was old, and its {k} paint was coming off.",
        "{a} had {a k} {x} and did not like its colour.",
        "\"this {x} should not be {k},\" said {a}.",
    ],
    &["{a.he} asked {b} for some paint.", "{a} went to {p} to buy paint.", "in the {s} {a} found a brush."],
    &[
        "there was no {k} paint any more, only {l}.",
        "{b} had a big pot of {l} paint.",
        "{a} chose {l} after a long time.",
    ],
    &[
        "{a} painted all afternoon.",
        "it took [an hour|two hours|all day], and then it had to dry.",
        "{c} came to help, and soon it was done.",
    ],
    &["the neighbours came to look.", "{b} could not believe it.", "{a} stepped back and was proud."],
    &[
        "now the {x} was {l}.",
        "nobody had ever seen {a x} so {l}.",
        "even {a}'s hands were {l}.",
        "\"what a beautiful colour,\" said {b} when the {x} was {l}.",
    ],
];

/// One thing is too dear, the other is bought.
const MARKET: Plot = &[
    &[
        "{a} went to the market to buy {a x}.",
        "{a} needed {a x} and walked to the market.",
        "at the market {a} looked for {a x}.",
    ],
    &[
        "a new {x} costs {x.price}, and {a} did not have that much.",
        "but the last {x} had just been sold to {c}.",
        "there were many people, but nobody had {a x} for sale.",
    ],
    &[
        "then {a} saw {b}, who was selling {a y}.",
        "\"I only have {a y},\" said {b}.",
        "{b} showed {a.him} {a y} instead.",
    ],
    &[
        "{a} looked at it from all sides and liked it.",
        "\"that is even better,\" said {a} and took out {a.his} money.",
        "{a} had to laugh and paid for it.",
    ],
    &["{c} helped to carry it.", "they shook hands.", "it was [heavier|lighter|nicer] than {a} had thought."],
    &[
        "so {a} came home with {a y}.",
        "at home {a.his} family was surprised to see {a y}.",
        "what {a} had bought in the end was {a y}.",
        "all the way home {a} looked at {a.his} new {y}.",
    ],
];

/// Something is moved from one spot to another.
const HIDING: Plot = &[
    &[
        "{a} hid {a x} in the {s}, so that {b} would not find it.",
        "{a} put the {x} in the {s} before {b} came.",
        "nobody but {a} knew that the {x} was in the {s}.",
    ],
    &[
        "but {c} [had seen it|found it by chance], took it out and put it in the {t}.",
        "later {c} needed room and moved it to the {t}.",
        "in the night {c} carried it secretly to the {t}.",
    ],
    &[
        "{b} came home and asked where it was.",
        "{b} looked in every room.",
        "\"you will never find it,\" said {a} to {b}.",
    ],
    &[
        "{a} looked in the {s} and was surprised: it was gone.",
        "in the {s} there was only dust.",
        "first they looked in the {s}, but there was nothing.",
    ],
    &["then {c} began to laugh.", "{c} said nothing and smiled.", "\"warmer,\" said {c}, \"warmer!\""],
    &[
        "at last they found the {x} in the {t}.",
        "all the time the {x} had been in the {t}.",
        "{c} went and showed them the {t}.",
        "in the end {b} looked in the {t}.",
    ],
];

/// Something breaks and is mended by somebody who asks for something else.
const REPAIR: Plot = &[
    &[
        "{a}'s {x} was broken.",
        "{a} had dropped {a.his} {x}, and now it was in two pieces.",
        "one day {a}'s {x} fell down and broke.",
    ],
    &[
        "{c} tried to mend it and could not.",
        "{a} tried everything, but it stayed broken.",
        "a new one costs {x.price}. \"That is too much,\" {a} said.",
    ],
    &[
        "then {b} offered to help, and {a} promised {b.him} {a y} for it.",
        "\"I can do it,\" said {b}, \"if I get your {y}.\"",
        "{b} could mend such things, and wanted {a y} as thanks.",
    ],
    &[
        "{b} worked for [two days|an hour|a whole evening].",
        "{b} took a hammer, a little wire and a lot of time.",
        "{b} sat down with {b.his} tools.",
    ],
    &[
        "{a} was happy: it was as good as new. {b} went home with the {y}.",
        "when the work was done, {a} gave {b} the {y}.",
        "in the evening {a} could use it again, and {b} had {b.his} {y}.",
        "everything worked again. As promised, {b} got the {y}.",
    ],
];

/// An animal takes some food.
const THIEF: Plot = &[
    &[
        "{a} had put {f} and {g} on the table.",
        "on {a}'s table there was {f}, and beside it {g}.",
        "{a} had made {f} for {b} and {g} for {c}.",
    ],
    &[
        "then {a} left the room for a [moment|minute].",
        "{a} went out to call the others.",
        "the window was open, and {a} did not look.",
    ],
    &[
        "{a n} came in and jumped on the table.",
        "{b}, who stood in the garden, saw {a n} climb in.",
        "{a n} had been waiting for that.",
    ],
    &[
        "it did not touch the {f}, but it liked the other plate.",
        "when {a} came back, only the {f} was left.",
        "it sniffed at the {f} and turned away, and then it ate from the other plate.",
    ],
    &["\"come back!\" {a} cried.", "{a} ran after it, but it was too fast.", "everyone laughed but {a}."],
    &[
        "that day nobody in the house had any {g}.",
        "the animal had eaten all the {g}.",
        "so {a} had to do without {g}.",
        "on the floor were the last bits of {g}.",
    ],
];

/// A wish that comes true late.
const WISH: Plot = &[
    &[
        "when {a} was a child, {a.he} wished for {a x}.",
        "for a long time {a} had wanted {a x}.",
        "{a}'s greatest wish was {a x}.",
    ],
    &[
        "every birthday {a.he} got something else: {a y}, or {a z}.",
        "but {b} gave {a.him} {a y}, and {c} gave {a.him} {a z}.",
        "{a.he} had {a y} and {a z} already, but that was not the same.",
    ],
    &[
        "{a} worked hard and saved {x.price}.",
        "it costs {x.price}, so {a} put away one coin every day.",
        "year after year {a} had to wait.",
    ],
    &[
        "at last {a} could go to {x.shop}.",
        "one morning {a} took the money and went to {x.shop}.",
        "then {a}'s friends put their money together.",
    ],
    &["the way was long.", "{a}'s heart beat fast.", "{a} could hardly wait."],
    &[
        "that night {a} fell asleep beside {a.his} own {x}.",
        "{a}'s wish came true, and {a.he} had {a x}.",
        "now at last {a} has {a x}.",
        "{a} would not give anyone the {x}.",
    ],
];

/// One of the things for a journey is forgotten.
const PACKING: Plot = &[
    &[
        "{a} was packing for a journey to {p}.",
        "{a} and {b} wanted to travel to {p}.",
        "tomorrow {a} would go to {p}.",
    ],
    &[
        "{a} needed {a x}, {a y} and {a z}.",
        "on the bed lay {a x}, {a y} and {a z}.",
        "\"take {a x}, {a y} and {a z},\" {c} had said.",
    ],
    &[
        "the {x} went into the bag first, and then the {z}.",
        "{a} packed the {z}, then the {x}, and closed the bag.",
        "{a} put the {x} and the {z} into the bag.",
    ],
    &[
        "then somebody knocked, and {a} forgot the rest.",
        "{b} called, so {a} took the bag and ran.",
        "there was no more time, as the cart was waiting.",
    ],
    &[
        "on the way {a} [slept|sang|looked out].",
        "the road to {p} was long.",
        "it was evening when {a} came to {p}.",
    ],
    &[
        "when {a} opened the bag, there was no {y}.",
        "only then {a} saw what was missing: the {y}.",
        "at home {c} found the forgotten {y}.",
        "in {p} {a} had to buy a new {y}.",
    ],
];
