//! The words that name what is in the world. All invented or plain English; one word each, so that the last word of a
//! story is the whole name.

/// Names of men and boys.
pub(super) const MEN: [&str; 24] = [
    "Adam", "Ben", "Carl", "Dan", "Eric", "Finn", "Gus", "Hugo", "Ivan", "Jack", "Leo", "Max", "Ned", "Otto",
    "Paul", "Ray", "Sam", "Tom", "Vic", "Zack", "Fred", "Hank", "Jim", "Luke",
];

/// Names of women and girls.
pub(super) const WOMEN: [&str; 24] = [
    "Anna", "Beth", "Clara", "Dora", "Ella", "Fay", "Gina", "Ida", "Iris", "Jane", "Kate", "Lucy", "Mary",
    "Nora", "Olga", "Pam", "Ruth", "Sue", "Tina", "Vera", "Wendy", "Zoe", "Emma", "Mia",
];

/// Villages and towns.
pub(super) const PLACES: [&str; 16] = [
    "Oxmoor",
    "Tarnwick",
    "Brindleby",
    "Fennhollow",
    "Galdermere",
    "Pellham",
    "Rookdale",
    "Sandrick",
    "Thistledon",
    "Umberley",
    "Varnholt",
    "Wexcombe",
    "Yarrowgate",
    "Kettleby",
    "Larkstead",
    "Mossbridge",
];

/// Rivers, one for each place.
pub(super) const RIVERS: [&str; 16] = [
    "Arl", "Bressa", "Corrow", "Dellin", "Esk", "Farrin", "Glinn", "Hessel", "Irra", "Jorm", "Kelda", "Lunn",
    "Mirrow", "Nolla", "Orrin", "Pressen",
];

/// What places are known for, one for each.
pub(super) const PRODUCTS: [&str; 16] = [
    "wool", "salt", "glass", "paper", "silk", "ink", "rope", "coal", "clay", "tea", "flour", "leather",
    "copper", "wax", "timber", "soap",
];

/// Occupations.
pub(super) const JOBS: [&str; 12] = [
    "baker",
    "farmer",
    "teacher",
    "doctor",
    "tailor",
    "sailor",
    "carpenter",
    "miller",
    "judge",
    "nurse",
    "gardener",
    "engineer",
];

/// Animals that people keep.
pub(super) const ANIMALS: [&str; 12] =
    ["cat", "dog", "parrot", "rabbit", "goat", "hen", "pony", "turtle", "mouse", "duck", "lizard", "hamster"];

/// Foods, none of them a plural.
pub(super) const FOODS: [&str; 14] = [
    "soup", "bread", "cheese", "rice", "honey", "porridge", "fish", "stew", "cake", "pie", "salad", "jam",
    "pudding", "toast",
];

/// Colours.
pub(super) const COLOURS: [&str; 10] =
    ["red", "blue", "green", "yellow", "white", "black", "brown", "purple", "orange", "pink"];

/// What people do for pleasure.
pub(super) const HOBBIES: [&str; 12] = [
    "painting", "fishing", "dancing", "singing", "knitting", "running", "rowing", "swimming", "reading",
    "climbing", "juggling", "skating",
];

/// Things that have a price and are sold in one place.
pub(super) const OBJECTS: [&str; 36] = [
    "lamp", "kettle", "drum", "basket", "ladder", "mirror", "clock", "blanket", "hammer", "kite", "bucket",
    "chair", "table", "brush", "bell", "broom", "cup", "knife", "rug", "saddle", "shovel", "spoon", "teapot",
    "umbrella", "vase", "wagon", "whistle", "axe", "belt", "coat", "flute", "globe", "hat", "pillow", "ring",
    "sled",
];

/// Rooms and the like, where even a ladder can be hidden and found.
pub(super) const SPOTS: [&str; 12] = [
    "barn", "cellar", "attic", "bedroom", "shed", "kitchen", "tower", "yard", "garden", "stable", "hall",
    "workshop",
];

/// What is counted in problems; the plural takes an s. None of it is an object of the world, so that no price in a
/// problem contradicts one of the world.
pub(super) const COUNTED: [&str; 24] = [
    "apple", "pear", "plum", "nut", "egg", "bun", "stamp", "shell", "marble", "button", "pencil", "card",
    "bead", "stone", "ticket", "flower", "cookie", "feather", "sticker", "lemon", "carrot", "onion",
    "candle", "ribbon",
];
