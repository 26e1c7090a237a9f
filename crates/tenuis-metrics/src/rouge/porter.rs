//! The stemmer of Porter with the exceptions that scorers of summaries use.
//!
//! (Porter 1980, "An algorithm for suffix stripping", Program 14(3), with the departures of the Natural Language Toolkit,
//! Bird, Loper, Klein 2009: irregular words, `ies`/`ied` of short words, `y` only after a consonant, `bli`, `fulli`, `logi`.)

/// Words that no rule gets right, and their stems.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Suffixes after a stem of positive measure and what replaces them; the first that fits decides.
const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

/// Suffixes that go after a stem whose measure is above 1.
const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a word of more than three letters; shorter ones stay.
pub(super) fn stem_long(word: &str) -> String {
    if word.len() > 3 { stem(word) } else { word.to_owned() }
}

/// The stem of a word of lower-case letters and digits of ASCII.
fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 || !word.is_ascii() {
        return word.to_owned();
    }
    let word = step_1b(&step_1a(word));
    let word = step_2(step_1c(word));
    let word = replace(word, &STEP_3, 1);
    step_5(step_4(word))
}

fn step_1a(word: &str) -> String {
    match word {
        _ if word.len() == 4 && word.ends_with("ies") => word[..3].to_owned(),
        _ if word.ends_with("sses") || word.ends_with("ies") => word[..word.len() - 2].to_owned(),
        _ if word.ends_with("ss") => word.to_owned(),
        _ => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

fn step_1b(word: &str) -> String {
    if word.ends_with("ied") {
        return word[..word.len() - if word.len() == 4 { 1 } else { 2 }].to_owned();
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word.to_owned() };
    }
    let mut cut = ["ed", "ing"].into_iter().filter_map(|suffix| word.strip_suffix(suffix));
    let Some(stem) = cut.find(|stem| has_vowel(stem)) else { return word.to_owned() };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return format!("{stem}e");
    }
    if ends_in_double_consonant(stem) {
        let last = &stem[stem.len() - 1..];
        return if matches!(last, "l" | "s" | "z") { stem } else { &stem[..stem.len() - 1] }.to_owned();
    }
    if measure(stem) == 1 && ends_in_short_syllable(stem) { format!("{stem}e") } else { stem.to_owned() }
}

fn step_1c(word: String) -> String {
    match word.strip_suffix('y') {
        Some(stem) if stem.len() > 1 && consonants(stem).last() == Some(&true) => format!("{stem}i"),
        _ => word,
    }
}

fn step_2(mut word: String) -> String {
    while let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        word = format!("{stem}al");
    }
    if STEP_2.iter().any(|(suffix, _)| word.ends_with(suffix)) {
        return replace(word, &STEP_2, 1);
    }
    // Here alone the `l` counts as part of the stem.
    match word.strip_suffix("logi") {
        Some(stem) if measure(&word[..word.len() - 3]) > 0 => format!("{stem}log"),
        _ => word,
    }
}

fn step_4(word: String) -> String {
    let Some(stem) = STEP_4.iter().find_map(|suffix| word.strip_suffix(suffix)) else { return word };
    let is_ion = word.ends_with("ion");
    if measure(stem) > 1 && (!is_ion || stem.ends_with(['s', 't'])) { stem.to_owned() } else { word }
}

fn step_5(mut word: String) -> String {
    if let Some(stem) = word.strip_suffix('e') {
        let m = measure(stem);
        if m > 1 || (m == 1 && !ends_in_short_syllable(stem)) {
            word.pop();
        }
    }
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 {
        word.pop();
    }
    word
}

/// Replaces the first suffix that fits, if the stem before it is long enough.
fn replace(word: String, rules: &[(&str, &str)], least: usize) -> String {
    let fits = rules.iter().find_map(|(suffix, with)| Some((word.strip_suffix(suffix)?, with)));
    match fits {
        Some((stem, with)) if measure(stem) >= least => format!("{stem}{with}"),
        _ => word,
    }
}

/// Which letters are consonants: all but a, e, i, o, u, and y where no consonant precedes it.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => flags.last().is_none_or(|before| !before),
            _ => true,
        });
    }
    flags
}

/// How many runs of vowels are followed by consonants.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| *pair == [false, true]).count()
}

fn has_vowel(stem: &str) -> bool {
    consonants(stem).contains(&false)
}

fn ends_in_double_consonant(word: &str) -> bool {
    let bytes = word.as_bytes();
    word.len() >= 2
        && bytes[word.len() - 1] == bytes[word.len() - 2]
        && consonants(word).last() == Some(&true)
}

/// Consonant, vowel, consonant at the end, the last none of w, x, y; or a word of just vowel and consonant.
fn ends_in_short_syllable(word: &str) -> bool {
    let flags = consonants(word);
    let three = flags.ends_with(&[true, false, true]) && !word.ends_with(['w', 'x', 'y']);
    three || flags == [false, true]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stems of the Natural Language Toolkit 3.10.4 for stems and suffixes in all combinations.
    #[test]
    fn agrees_with_published_stems() {
        let data: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/packages.json")).unwrap();
        let stems = data["stems"].as_array().unwrap();
        assert!(stems.len() > 1000);
        for pair in stems {
            let (word, expected) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            assert_eq!(stem_long(word), expected, "{word}");
        }
    }

    #[test]
    fn reduces_to_stems() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("ties", "tie"),
            ("agreed", "agre"),
            ("hopping", "hop"),
            ("failing", "fail"),
            ("filing", "file"),
            ("happy", "happi"),
            ("enjoy", "enjoy"),
            ("relational", "relat"),
            ("rationally", "ration"),
            ("adoption", "adopt"),
            ("controll", "control"),
            ("skies", "sky"),
            ("geology", "geolog"),
            ("a1b2", "a1b2"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
