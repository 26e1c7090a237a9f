//! `tenuis ratings`.

use super::metrics::{json, within};
use super::print;
use crate::args::{RatingsAction, RatingsArgs};
use crate::exit::{Code, Failure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tenuis_metrics::{
    BootstrapConfig, FileError, OutputPair, Predictions, RatingError, RatingSummary, Ratings,
    write_rating_sheet,
};

pub(crate) fn run(args: &RatingsArgs) -> Result<(), Failure> {
    match &args.action {
        RatingsAction::Sheet { first, second, sheet, key, seed } => {
            let (first, second) = (named(first)?, named(second)?);
            let pairs = pairs(&first.1, &second.1)?;
            write_rating_sheet(sheet, key, [&first.0, &second.0], &pairs, *seed).map_err(|e| failure(&e))?;
            print(&format!(
                "{}: {} pairs to be rated from 1 to 5; keep {} to yourself\n",
                sheet.display(),
                pairs.len(),
                key.display()
            ))
        }
        RatingsAction::Read { keys, raters, json: as_json } => {
            let mut ratings = Ratings::default();
            for (number, rater) in raters.iter().enumerate() {
                let (name, sheet) = named(rater)?;
                let key = match &keys[..] {
                    [one] => one,
                    several => several.get(number).ok_or_else(|| {
                        Failure::usage(format!(
                            "{} keys for {} raters; give one for all, or one for each",
                            keys.len(),
                            raters.len()
                        ))
                    })?,
                };
                ratings.read(&name, &sheet, key).map_err(|e| failure(&e))?;
            }
            let summary = ratings
                .summary(&BootstrapConfig::default())
                .map_err(|error| Failure::new(Code::Input, error))?;
            if *as_json { json(&summary) } else { print(&text(&summary)) }
        }
    }
}

/// `NAME=FILE`.
fn named(argument: &str) -> Result<(String, PathBuf), Failure> {
    match argument.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err(Failure::usage(format!("{argument:?} is not NAME=FILE"))),
    }
}

/// The outputs of both files by item, in the order of the first.
fn pairs(first: &Path, second: &Path) -> Result<Vec<OutputPair>, Failure> {
    let file = |error: FileError| Failure::new(Code::Input, error);
    let read = |path: &Path| Predictions::read(path).map_err(file);
    let (first_rows, second_rows) = (read(first)?, read(second)?);
    let mut others = BTreeMap::new();
    for row in second_rows.rows() {
        others.insert(row.text("item").map_err(file)?, row.text("prediction").map_err(file)?);
    }
    let mut pairs = Vec::new();
    for row in first_rows.rows() {
        let item = row.text("item").map_err(file)?;
        let other = others.remove(&item).ok_or_else(|| {
            Failure::new(
                Code::Input,
                format!("{}: has no item {item:?}, which {} has", second.display(), first.display()),
            )
        })?;
        pairs.push(OutputPair {
            prompt: row.text("prompt").map_err(file)?,
            outputs: [row.text("prediction").map_err(file)?, other],
            item,
        });
    }
    if let Some(item) = others.keys().next() {
        let problem = format!("{}: has no item {item:?}, which {} has", first.display(), second.display());
        return Err(Failure::new(Code::Input, problem));
    }
    Ok(pairs)
}

fn failure(error: &RatingError) -> Failure {
    Failure::new(Code::Input, error)
}

fn text(summary: &RatingSummary) -> String {
    let mut text = format!(
        "{} items, {} raters ({}), {} cells left empty\n",
        summary.items,
        summary.raters.len(),
        summary.raters.join(", "),
        summary.missing
    );
    // Writing to a string cannot fail.
    for system in &summary.systems {
        let _ = writeln!(text, "{}", system.system);
        for rated in &system.criteria {
            let _ = writeln!(
                text,
                "  {:<12} {:.2}{}, {}",
                rated.criterion,
                rated.mean.mean,
                rated.mean.sd.map_or_else(String::new, |sd| format!(" ± {sd:.2}")),
                within(&rated.interval)
            );
        }
    }
    for difference in &summary.differences {
        let _ = writeln!(
            text,
            "{} − {}: {} {:+.2}, {}",
            difference.candidate,
            difference.baseline,
            difference.criterion,
            difference.difference.value,
            within(&difference.difference)
        );
    }
    for agreement in &summary.agreement {
        let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
        let _ = writeln!(
            text,
            "agreement on {}: Krippendorff's alpha {} (ranks), {} (numbers), quadratic kappa {}, over {} outputs",
            agreement.criterion,
            value(agreement.alpha_ordinal),
            value(agreement.alpha_interval),
            value(agreement.kappa_quadratic),
            agreement.outputs
        );
    }
    text
}
