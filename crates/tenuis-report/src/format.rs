//! Numbers as the page writes them: one way for each kind of quantity, with a real minus sign and unbreakable units.

/// Between a number and its unit, so that a line never ends between them.
const SPACE: char = '\u{a0}';
/// What stands for a value that there is not.
pub(crate) const MISSING: &str = "not measured";

/// Bytes in the largest binary unit that leaves a whole part.
///
/// ```
/// assert_eq!(tenuis_report::bytes(1536.0), "1.50\u{a0}KiB");
/// ```
pub fn bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let decimals = if unit == "B" { 0 } else { 2 };
            return format!("{value:.decimals$}{SPACE}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2}{SPACE}TiB")
}

/// A share of 1 in percent.
pub(crate) fn share(value: f64) -> String {
    percent(100.0 * value)
}

/// A value that is in percent already.
pub(crate) fn percent(value: f64) -> String {
    format!("{}{SPACE}%", minus(&format!("{value:.2}")))
}

/// A change in percent, with its sign: whole numbers above 100, two digits near 0.
pub(crate) fn change(value: f64) -> String {
    format!(
        "{}{SPACE}%",
        signed(value, if value.abs() >= 100.0 { 0 } else { 2 - usize::from(value.abs() >= 10.0) })
    )
}

/// A difference of shares in percentage points, with its sign.
pub(crate) fn points(difference: f64) -> String {
    format!("{}{SPACE}points", signed(100.0 * difference, 2))
}

/// Where a difference lies, to three significant digits of its larger end; differences of shares in percentage points.
pub(crate) fn interval(low: f64, high: f64, shares: bool) -> String {
    let scale = if shares { 100.0 } else { 1.0 };
    let (low, high) = (scale * low, scale * high);
    let most = low.abs().max(high.abs());
    let decimals = if most > 0.0 { (2 - most.log10().floor() as i32).clamp(0, 7) as usize } else { 0 };
    let unit = if shares { format!("{SPACE}points") } else { String::new() };
    format!("{} to {}{unit}", signed(low, decimals), signed(high, decimals))
}

/// Operations in the decimal unit that leaves one to three digits before the point.
pub(crate) fn operations(value: f64) -> String {
    let mut value = value;
    for unit in ["", "k", "M", "G"] {
        if value < 1000.0 {
            return format!("{value:.2}{SPACE}{unit}FLOP");
        }
        value /= 1000.0;
    }
    format!("{value:.2}{SPACE}TFLOP")
}

/// Something per second, in whole numbers from 100 on.
pub(crate) fn rate(value: f64) -> String {
    if value >= 100.0 { count(value) } else { figure(value) }
}

/// A ratio, original ÷ compressed or as often as fast.
pub(crate) fn ratio(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}×") } else { format!("{value:.2}×") }
}

/// Seconds in the unit that leaves one to three digits before the point.
pub(crate) fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1.0 || v == 0.0 => (v, "s"),
        v if v >= 1e-3 => (1e3 * v, "ms"),
        v => (1e6 * v, "µs"),
    };
    let decimals = if scaled >= 100.0 { 0 } else { 2 - usize::from(scaled >= 10.0) };
    format!("{scaled:.decimals$}{SPACE}{unit}")
}

/// A whole number with a thin gap between thousands.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && digit.is_ascii_digit() {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A perplexity, to as many decimals as tell one candidate from the next.
pub(crate) fn perplexity(value: f64) -> String {
    match value {
        v if v < 100.0 => format!("{v:.4}"),
        v if v < 1e6 => format!("{v:.1}"),
        v => figure(v),
    }
}

/// Any figure in four significant digits; very small and very large ones with a power of ten.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        0.0 => return "0".to_owned(),
        s if !(1e-4..1e7).contains(&s) => {
            let text = format!("{value:.2e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            return minus(&format!("{digits}·10{}", superscript(exponent)));
        }
        s if s >= 1000.0 => format!("{value:.0}"),
        s => {
            let decimals = (3 - s.log10().floor() as i32).clamp(0, 7) as usize;
            format!("{value:.decimals$}")
        }
    };
    minus(&text)
}

/// An exponent's digits, raised.
pub(crate) fn superscript(exponent: &str) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raise = |c: char| match c.to_digit(10) {
        Some(digit) => RAISED[digit as usize],
        None if c == '-' => '⁻',
        None => c,
    };
    exponent.chars().map(raise).collect()
}

fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let is_zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    match () {
        () if is_zero => text.trim_start_matches('-').to_owned(),
        () if value > 0.0 => format!("+{text}"),
        () => minus(&text),
    }
}

/// Puts the minus sign where a hyphen stands.
fn minus(text: &str) -> String {
    text.strip_prefix('-').map_or_else(|| text.to_owned(), |rest| format!("−{rest}"))
}

/// The first characters of a text, with an ellipsis where more follow.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Seconds since 1970 as a date and time (UTC), by Howard Hinnant's `civil_from_days`.
pub(crate) fn date(unix: u64) -> String {
    let days = (unix / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let minutes = unix % 86_400 / 60;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_quantity_has_one_form() {
        assert_eq!(bytes(0.0), "0\u{a0}B");
        assert_eq!(bytes(6_562_376.0), "6.26\u{a0}MiB");
        assert_eq!(change(-62.16), "−62.2\u{a0}%");
        assert_eq!(change(0.1), "+0.10\u{a0}%");
        assert_eq!(change(-0.0001), "0.00\u{a0}%");
        assert_eq!(change(845.2), "+845\u{a0}%");
        assert_eq!(interval(-0.012_5, 0.25, false), "−0.013 to +0.250");
        assert_eq!(interval(-0.023_5, 0.0, true), "−2.35 to 0.00\u{a0}points");
        assert_eq!(operations(6_558_208.0), "6.56\u{a0}MFLOP");
        assert_eq!((rate(1194.2), rate(7.3)), ("1\u{202f}194".to_owned(), "7.300".to_owned()));
        assert_eq!(points(-0.01), "−1.00\u{a0}points");
        assert_eq!(seconds(0.001_42), "1.42\u{a0}ms");
        assert_eq!(seconds(0.000_25), "250\u{a0}µs");
        assert_eq!(count(3_279_104.0), "3\u{202f}279\u{202f}104");
        assert_eq!(figure(0.002_17), "0.002170");
        assert_eq!(figure(-24.127), "−24.13");
        assert_eq!(figure(1.140_5e-5), "1.14·10⁻⁵");
        assert_eq!(shorten("abcdef", 4), "abc…");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_896_251), "2026-11-28 20:04 UTC");
    }
}
