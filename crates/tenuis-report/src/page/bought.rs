//! What each candidate bought, what its compression cost, and when that is paid back.

use super::gains::lines;
use super::section::{Cell, Matrix, Row, Section, row};
use crate::data::{Bought, Recovery, Report};
use crate::format::{count, figure, percent, seconds};

/// The whole, in percent.
const WHOLE: f64 = 100.0;
/// Changes below this, in percent, are called even.
const EVEN: f64 = 1.0;

/// A recovery, in words.
pub(crate) fn recovery_words(recovery: &Recovery) -> (String, String) {
    let reason = recovery.reason.clone().unwrap_or_default();
    match (recovery.state.as_deref(), recovery.tokens) {
        (Some("after"), Some(tokens)) => {
            let hours = recovery.hours.map(|hours| format!("{} of decoding", duration(hours)));
            (format!("{} tokens", large(tokens)), hours.unwrap_or_default())
        }
        (Some("never"), _) => ("never".to_owned(), reason),
        _ => ("not known".to_owned(), reason),
    }
}

/// A count, rounded up; from a million on in M, G and T.
fn large(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
    match units.into_iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{}\u{a0}{unit}", figure(value / size)),
        None => count(value.ceil()),
    }
}

/// Hours, in the unit that suits them.
fn duration(hours: f64) -> String {
    match hours {
        h if h >= 48.0 => format!("{} days", figure(h / 24.0)),
        h if h >= 1.0 => format!("{}\u{a0}h", figure(h)),
        h if h >= 1.0 / 60.0 => format!("{}\u{a0}min", figure(60.0 * h)),
        h => seconds(3600.0 * h),
    }
}

pub(super) fn section(report: &Report) -> Option<Section> {
    type Pick = fn(&Bought) -> Option<f64>;
    let shares: [(&str, Pick); 8] = [
        ("Quality kept", |b| b.quality_percent),
        ("Bytes of the files", |b| b.bytes_percent),
        ("Peak memory", |b| b.peak_memory_percent),
        ("Operations per decoded token", |b| b.flops_decode_percent),
        ("Time of the prefill", |b| b.prefill_time_percent),
        ("Time per decoded token", |b| b.decode_time_percent),
        ("Energy per token", |b| b.energy_percent),
        ("Price of a token", |b| b.cost_percent),
    ];
    let of = |name: &str| report.bought.iter().find(|bought| bought.model == name);
    let cells = |label: &str, cell: &dyn Fn(&Bought) -> Cell| {
        row(label, report.candidates.iter(), |entry| of(&entry.name).map_or_else(Cell::missing, cell))
    };
    let share_row = |(index, (label, pick)): (usize, &(&str, Pick))| {
        cells(label, &|bought| {
            let Some(value) = pick(bought) else { return Cell::missing() };
            // Of quality more is better, of all the rest less.
            let gain = if index == 0 { value - WHOLE } else { WHOLE - value };
            let tone = match gain {
                g if g >= EVEN => "good",
                g if g <= -EVEN => "bad",
                _ => "even",
            };
            let cell = Cell::of(Some(value), percent).tone(tone);
            if index == 0 { cell } else { cell.part(value / WHOLE) }
        })
    };
    let mut rows: Vec<Row> = shares.iter().enumerate().map(share_row).collect();
    rows.push(cells("The compression took", &|bought| {
        let Some(cost) = &bought.compression else { return Cell::missing() };
        let currency = cost.currency.as_deref().unwrap_or_default();
        let price =
            cost.price.map(|price| format!("{}\u{a0}{currency}", figure(price)).trim_end().to_owned());
        let more = (cost.without_electricity == Some(true)).then(|| "electricity not metered".to_owned());
        Cell::of(cost.seconds, seconds).detail(lines([price, more]))
    }));
    let paid = |recovery: Option<&Recovery>| {
        let Some(recovery) = recovery else { return Cell::missing() };
        let (text, detail) = recovery_words(recovery);
        let tone = if recovery.state.as_deref() == Some("after") { "good" } else { "even" };
        Cell::new(text).detail(detail).tone(tone)
    };
    rows.push(cells("Paid back in time after", &|bought| paid(bought.payback_time.as_ref())));
    rows.push(cells("Paid back in money after", &|bought| paid(bought.payback_price.as_ref())));
    let caption = "In percent of the baseline: of quality (the retention of the perplexity) more is better, of everything else less. \
                   Times and energy are this machine's. Paid back: after so many tokens, one sequence at a time, what faster or \
                   cheaper decoding saves has made up for the compression; an unclear speed-up saves nothing.";
    let matrix = Matrix::of_models("", caption, "Figure", report.candidates.iter(), rows)?;
    let mut section = Section::new("bought", "What was bought", "");
    section.matrices.push(matrix);
    Some(section)
}
