//! Plots that end on a person, a place or a trade. See [`super::stories`] for the slots.

use super::stories::Plot;

/// The plots.
pub(super) const PLOTS: &[Plot] =
    &[WALK, MEETING, RACE, LETTER, BORROWED, PLAY, FERRY, SONG, LADDER, DETOUR, GUESTS, MESSAGE];

/// A walk that changes its goal.
const WALK: Plot = &[
    &[
        "{a} wanted to walk to {p}.",
        "{a} set out for {p} with {a x} on {a.his} back.",
        "{a} had promised to go to {p}.",
    ],
    &[
        "but the bridge was [broken|closed], so {a.he} turned and took the road to {q}.",
        "on the way {b} told {a.him} that the road was closed. \"Go to {q} instead,\" {b.he} said.",
        "at the crossing {a} took the wrong road, the one to {q}.",
    ],
    &[
        "{a.he} walked [for hours|all day] and met nobody.",
        "{a.he} rested under a tree and ate some {f}.",
        "it was a long way, with hills and woods.",
    ],
    &[
        "in the evening {a.he} saw [lights|the first houses|a tower].",
        "when it was dark, {a} came to an inn.",
        "{a}'s feet hurt, but at last there were houses.",
    ],
    &[
        "that night {a} slept in {q}.",
        "so {a} ended up in {q}.",
        "{a} asked a child where {a.he} was, and the child said: {q}.",
        "the sign at the gate said {q}.",
    ],
];

/// Somebody is seen and recognised later.
const MEETING: Plot = &[
    &[
        "{a} was to meet {b} at the {x} shop at noon.",
        "{a} was waiting for {b} by the river.",
        "{a} had come to see {b}.",
    ],
    &[
        "but {b} was ill and stayed at home.",
        "but {b} had forgotten it and did not come.",
        "an hour went by, and {b} was nowhere to be seen.",
    ],
    &[
        "instead {c} came along with {a n}.",
        "then {a} saw {c}, who was carrying {a y}.",
        "{c} happened to pass and stopped.",
    ],
    &[
        "they sat down on a wall and talked about {f}, the weather and old times.",
        "they had not seen each other for years and had much to tell.",
        "together they walked up and down and talked.",
    ],
    &["{a} forgot the time.", "it was the best talk {a} had had for weeks.", "soon it was evening."],
    &[
        "at home {a} said that {a.he} had met {c}.",
        "so {a} had spent the day with {c}.",
        "{a} was glad to have talked to {c}.",
        "before going home, {a} said goodbye to {c}.",
    ],
];

/// A race with a fall.
const RACE: Plot = &[
    &[
        "{a}, {b} and {c} ran a race [to the bridge|around the lake|through the fields].",
        "there was a race in {p}, and {a}, {b} and {c} took part.",
        "\"who is the fastest?\" asked {d}, so {a}, {b} and {c} ran to the mill and back.",
    ],
    &[
        "at first {a} was in front.",
        "{a} was the first to start.",
        "for a long time {a} was faster than the others.",
    ],
    &[
        "{c} was tired and fell back.",
        "{c} stopped to drink and never caught up.",
        "{c} lost a shoe and had to give up.",
    ],
    &[
        "then {a} fell over a stone, and {b} ran past.",
        "near the end {b} came from behind and passed {a}.",
        "but {b} had saved {b.his} strength and was in front at the last turn.",
    ],
    &["the people shouted and waved.", "{d} stood at the goal with {a x}.", "everybody held their breath."],
    &[
        "the winner was {b}.",
        "{d} gave the prize, {a x}, to {b}.",
        "all the people cheered for {b}.",
        "nobody was as fast as {b}.",
    ],
];

/// A letter without a name.
const LETTER: Plot = &[
    &[
        "{b} wrote a letter to {a} and forgot to put a name under it.",
        "{b} wanted to surprise {a} and wrote a letter without a name.",
        "{b} sat down and wrote a long letter to {a}, but {b.he} did not sign it.",
    ],
    &[
        "{c} took the letter along, as {c.he} was going to {a.home}.",
        "{c} carried it to {a.home}, through [rain|wind|snow].",
        "{b} gave it to {c}, and {c} brought it to {a}.",
    ],
    &[
        "{a} opened it [at once|in the kitchen|in the garden] and read it twice.",
        "when {a} read it, {a.he} had to laugh.",
        "{a} read about {a n}, {a x} and much {f}.",
    ],
    &[
        "\"did you write this?\" {a} asked. \"No,\" said {c}, \"I only brought it.\"",
        "{a} thought that {c} had written it, but {c} said no.",
        "\"who wrote it?\" {a} asked, and {c} told {a.him}.",
    ],
    &[
        "then {a} knew that the letter was from {b}.",
        "so {a} wrote an answer and sent it to {b}.",
        "the next day {a} thanked {b}.",
        "it could only be from {b}.",
    ],
];

/// A thing goes through several hands and back.
const BORROWED: Plot = &[
    &[
        "{a} borrowed {a x} from {b}.",
        "{b} lent {a} {a x} for a week.",
        "{a} needed {a x}, and {b} gave {a.him} one to use.",
    ],
    &[
        "{c} had {a x} too, but {c} never lends anything.",
        "first {a.he} had asked {c}, but {c} had said no.",
        "{c} would have liked to have it as well.",
    ],
    &["{a} used it every day.", "with the {x}, the work went fast.", "{a} was very careful with it."],
    &[
        "after a week {a} cleaned it well.",
        "on Sunday {a} did not need it any more.",
        "when the work was done, {a} wanted to bring it back.",
    ],
    &[
        "{c} asked for it, but it was not {a}'s to give.",
        "{a} put on a coat and went out.",
        "it was as good as before.",
    ],
    &[
        "so {a} brought the {x} back to {b}.",
        "the {x} belongs to {b}.",
        "with many thanks {a} gave it back to {b}.",
        "that evening {a} knocked at the door of {b}.",
    ],
];

/// Parts in a play.
const PLAY: Plot = &[
    &[
        "the people of {a.home} put on a play.",
        "{a}, {b} and {c} were acting in a play.",
        "in winter {a} and {a.his} friends put on a play in {p}.",
    ],
    &[
        "{a} wanted to play the {i}, but {b} had that part already.",
        "the {i} was played by {b}.",
        "{b} got the part of the {i}.",
    ],
    &[
        "so {a} was to play the {j}.",
        "for {a} there was the part of the {j}.",
        "{c} asked {a} to play the {j}, and {a} said yes.",
    ],
    &[
        "they practised every evening for [two|three|four] weeks.",
        "{a} learned every word by heart.",
        "{c} made the clothes, some in {k} and some in {l}.",
    ],
    &["then the great day came.", "the hall was full.", "{d} sat in the first row."],
    &[
        "{a} came on stage, and everyone clapped for the {j}.",
        "at the end {a} was still called the {j}.",
        "nobody could have been a better {i} than {b}, and {a} was a fine {j}.",
        "in front of all the people, {a} spoke the first words of the {j}.",
    ],
];

/// A journey in parts.
const FERRY: Plot = &[
    &[
        "{a} got on a boat in {p}.",
        "the boat with {a} on it left {p} in the morning.",
        "in {p}, {a} bought a ticket for the boat.",
    ],
    &[
        "it stopped in {q} first, but {a} did not get off there, for {b} was waiting in {r}.",
        "{b} had got off in {q}, but {a} wanted to go on to {r}.",
        "the first stop was {q} and the second was {r}, where {a} had work to do.",
    ],
    &[
        "{a} sat in the sun and watched the water.",
        "on board {a} met {c} and they ate {f}.",
        "{a n} ran about between the bags.",
    ],
    &[
        "at the second stop {a} took {a.his} {x} and got off.",
        "\"this is where I get off,\" {a} said to {c} at the second stop.",
        "in the afternoon the journey was over for {a}.",
    ],
    &[
        "{a} was in {r}.",
        "the boat went on without {a}, who stood in the harbour of {r}.",
        "happily {a} walked through the streets of {r}.",
        "it was {a}'s first day in {r}.",
    ],
];

/// A voice is heard and a name guessed.
const SONG: Plot = &[
    &[
        "{a} heard somebody sing in the {s}.",
        "somebody was singing in the {s}, and {a} stopped to listen.",
        "a song came from the {s}, and {a} did not know the voice.",
    ],
    &[
        "\"that must be {b},\" {a} thought.",
        "\"is that you, {b}?\" {a} called.",
        "{a} was sure that it was {b}.",
    ],
    &[
        "but {b} stood at the window and said: \"No, it is {c}.\"",
        "but just then {b} came in and said that it was {c}.",
        "\"I am over here,\" said {b}. \"It is {c} who sings.\"",
    ],
    &[
        "the song was about {a n} and {a m}.",
        "it was an old song about {p}.",
        "it was so beautiful that {a} sat down.",
    ],
    &["after the last line, {a} clapped.", "then it was quiet.", "{a} learned the song and sang along."],
    &[
        "{a} had not known that this was the voice of {c}.",
        "\"one more song,\" {a} called to {c}.",
        "since that day {a} often asks for a song from {c}.",
        "nobody sings like {c}.",
    ],
];

/// Work is passed on.
const LADDER: Plot = &[
    &[
        "somebody had to [mend the roof|paint the {s}|clean the {s}|sell the {x}].",
        "there was much work to do in {a.home}.",
        "{d} was looking for help with the harvest.",
    ],
    &[
        "{a} asked {b}, but {b} had no time.",
        "first {b} wanted to do it, but then {b} hurt {b.his} hand.",
        "{b} said: \"I cannot do it, I am going to {p}.\"",
    ],
    &[
        "{c} said: \"Then I will do it.\"",
        "so {a} asked {c}, and {c} said yes at once.",
        "then {c} took {b}'s place.",
    ],
    &[
        "it was hard work, and it took [two|three|four] days.",
        "the sun was hot, and the work was long.",
        "{a} brought {f} and water.",
    ],
    &[
        "in the evening everything was done.",
        "all the neighbours saw how good it was.",
        "the work was done well.",
    ],
    &[
        "{a} paid {x.price} to {c}.",
        "everyone thanked {c}.",
        "the one who had done all the work was {c}.",
        "\"without you it would not be done,\" {a} said to {c}.",
    ],
];

/// Directions that are corrected.
const DETOUR: Plot = &[
    &[
        "{a} was looking for {b}, who had moved.",
        "{a} had {a x} for {b} and wanted to bring it.",
        "{a} wanted to find {b}, but {b} was not at home.",
    ],
    &[
        "\"{b} is in {p},\" said {c}.",
        "{c} thought that {b} was in {p}.",
        "first {a} went to {p}, as {c} had said.",
    ],
    &[
        "but in {p} people said that {b} had gone on to {q}.",
        "in {p} there was nobody, only a note: \"I am in {q}.\"",
        "but {d} had seen {b} in {q}, and {d} is always right.",
    ],
    &[
        "so {a} went on, [on foot|by cart|with a boat].",
        "\"then I must go on,\" said {a}.",
        "{a} rested a little, drank some tea and went on.",
    ],
    &["the road went up and down.", "{a n} ran along for a while.", "in the evening {a} was there."],
    &[
        "{a} found {b} in {q}.",
        "how glad the two were to meet in {q}.",
        "{b} showed {a} all of {q}.",
        "they stayed for three days in {q}.",
    ],
];

/// Guests come one after the other.
const GUESTS: Plot = &[
    &[
        "{a} gave a feast and invited {b}, {c} and {d}.",
        "{a} was waiting for three guests: {b}, {c} and {d}.",
        "{b}, {c} and {d} were going to eat at {a}'s house.",
    ],
    &[
        "{c} came first and brought {f}.",
        "the first to come was {c}, with {a x}.",
        "{c} was there before it was dark.",
    ],
    &[
        "then {b} knocked.",
        "a little later {b} came in, [wet|cold|hungry].",
        "{b} came by cart and was there at seven.",
    ],
    &[
        "two guests were there, and one chair was empty.",
        "{a} counted: one guest was missing.",
        "they waited, but one of the guests did not come.",
    ],
    &["the {g} was getting cold.", "\"let us wait a little,\" said {a}.", "{a} went to the window."],
    &[
        "they could not begin without {d}.",
        "at last the door opened, and it was {d}.",
        "the empty chair was for {d}.",
        "everyone was waiting for {d}.",
    ],
];

/// A message for somebody else.
const MESSAGE: Plot = &[
    &[
        "{a} had a secret and told it to nobody but {b}.",
        "{b} was the only one who knew what {a} had in the {s}.",
        "{a} told {b} where the {x} was, and nobody else.",
    ],
    &[
        "{c} would have liked to know it.",
        "{c} asked and asked, but {a} said nothing.",
        "\"tell me,\" said {c}, but {a} shook {a.his} head.",
    ],
    &[
        "a week later all of {a.home} knew it.",
        "soon everybody was talking about it.",
        "the next morning even the children knew it.",
    ],
    &[
        "{a} thought about it: {c} could not know it.",
        "\"it was not me,\" said {c}, and that was true.",
        "{a} was angry and asked who had talked.",
    ],
    &["there was only one answer.", "then {a} understood.", "it was not hard to guess."],
    &[
        "the secret had been told by {b}.",
        "it could only have been {b}.",
        "{a} went and talked to {b}.",
        "from then on {a} told nothing more to {b}.",
    ],
];
