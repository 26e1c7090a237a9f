//! Sentence templates: `{slot}` is replaced, `{a slot}` gets its article, `[one|other]` is a choice and may nest.

use super::draw::Draw;

/// What the slots of a template stand for.
pub(super) trait Slots {
    /// Appends the text of a slot; `false` where there is no such slot.
    fn put(&self, slot: &str, out: &mut String) -> bool;
}

/// Appends a filled template. A slot that nothing fills stays as it is, braces and all, for the tests to find.
pub(super) fn fill(out: &mut String, template: &str, slots: &impl Slots, draw: &mut Draw) {
    let mut rest = template;
    while let Some(at) = rest.bytes().position(|byte| byte == b'{' || byte == b'[') {
        out.push_str(&rest[..at]);
        let (inner, after) = enclosed(&rest[at..]);
        if rest.as_bytes()[at] == b'{' {
            put(out, inner, slots);
        } else {
            let options = options(inner);
            fill(out, options[draw.below(options.len())], slots, draw);
        }
        rest = after;
    }
    out.push_str(rest);
}

/// Appends a filled template as a sentence of its own: a capital where a sentence begins.
pub(super) fn sentence(out: &mut String, template: &str, slots: &impl Slots, draw: &mut Draw) {
    let start = out.len();
    fill(out, template, slots, draw);
    capitalise(out, start);
}

/// Puts capitals at `start` and wherever a sentence begins behind it.
pub(super) fn capitalise(out: &mut str, start: usize) {
    let mut begins = true;
    let mut ended = false;
    for at in start..out.len() {
        let byte = out.as_bytes()[at];
        match byte {
            b'.' | b'?' | b'!' => ended = true,
            b' ' | b'\n' if ended => begins = true,
            b'"' => ended = false,
            _ => {
                if begins && let Some(letter) = out.get_mut(at..=at) {
                    letter.make_ascii_uppercase();
                }
                (begins, ended) = (false, false);
            }
        }
    }
}

/// The indefinite article of a noun.
pub(super) fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn put(out: &mut String, slot: &str, slots: &impl Slots) {
    let start = out.len();
    let known = match slot.strip_prefix("a ") {
        Some(noun) => {
            let known = slots.put(noun, out);
            let article = article(&out[start..]);
            out.insert(start, ' ');
            out.insert_str(start, article);
            known
        }
        None => slots.put(slot, out),
    };
    if !known {
        out.truncate(start);
        out.push('{');
        out.push_str(slot);
        out.push('}');
    }
}

/// Splits a text that begins with a bracket into what the bracket encloses and what follows it.
fn enclosed(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[1..at], &text[at + 1..]);
        }
    }
    (&text[1..], "")
}

fn options(inner: &str) -> Vec<&str> {
    let mut depth = 0;
    inner
        .split(|c: char| {
            match c {
                '[' | '{' => depth += 1,
                ']' | '}' => depth -= 1,
                _ => {}
            }
            c == '|' && depth == 0
        })
        .collect()
}

/// Every text that the choices of a template allow, slots left as they are.
#[cfg(test)]
pub(super) fn expansions(template: &str) -> Vec<String> {
    let Some(at) = template.find('[') else { return vec![template.to_owned()] };
    let (inner, after) = enclosed(&template[at..]);
    let tails = expansions(after);
    let heads = options(inner).into_iter().flat_map(expansions);
    heads
        .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")).collect::<Vec<_>>())
        .map(|rest| format!("{}{rest}", &template[..at]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fruit;

    impl Slots for Fruit {
        fn put(&self, slot: &str, out: &mut String) -> bool {
            out.push_str(match slot {
                "x" => "apple",
                "y" => "pear",
                _ => return false,
            });
            true
        }
    }

    fn filled(template: &str) -> String {
        let mut out = String::from("- ");
        sentence(&mut out, template, &Fruit, &mut Draw::new(1));
        out
    }

    #[test]
    fn slots_articles_and_capitals() {
        assert_eq!(filled("{a x} or {a y}. the {y}!"), "- An apple or a pear. The pear!");
        assert_eq!(filled("\"is it {a y}?\" asked Ann. \"no.\""), "- \"Is it a pear?\" asked Ann. \"No.\"");
        assert_eq!(filled("{what} of {a what}"), "- {what} of {a what}");
    }

    #[test]
    fn choices_nest_and_each_one_comes() {
        let mut all = expansions("[big|[very |]small] {x}");
        assert_eq!(all, ["big {x}", "very small {x}", "small {x}"]);
        let mut draw = Draw::new(7);
        for _ in 0..200 {
            let mut out = String::new();
            fill(&mut out, "[big|[very |]small] {x}", &Fruit, &mut draw);
            all.retain(|text| text.replace("{x}", "apple") != out);
        }
        assert!(all.is_empty(), "{all:?} never came");
    }
}
