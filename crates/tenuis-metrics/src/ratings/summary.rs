//! What ratings say of systems, and of raters.

use super::{CRITERIA, KappaWeights, Level, RatingError, Ratings, krippendorff_alpha, weighted_kappa};
use crate::bootstrap::{BootstrapConfig, Interval, Spread, Statistic, bootstrap, paired_bootstrap};
use crate::error::MetricError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was rated, how, and how far raters agree. Ratings are 1 to 5, higher is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RatingSummary {
    /// Who rated.
    pub raters: Vec<String>,
    /// Items of which something was rated.
    pub items: usize,
    /// Cells that were left empty.
    pub missing: usize,
    /// The systems, by name.
    pub systems: Vec<SystemRatings>,
    /// Every pair of systems and every criterion, on the items of which both were rated.
    pub differences: Vec<RatingDifference>,
    /// How far raters agree on each criterion.
    pub agreement: Vec<Agreement>,
}

/// The ratings of a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SystemRatings {
    /// Its name.
    pub system: String,
    /// One element per criterion that was rated.
    pub criteria: Vec<CriterionRating>,
}

/// The ratings of a system by one criterion. Raters of an item are not independent: both intervals are over items, each
/// with the mean of its raters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CriterionRating {
    /// The criterion.
    pub criterion: String,
    /// Mean, standard deviation and Student's interval.
    pub mean: Spread,
    /// The interval of resampled items.
    pub interval: Interval,
    /// Single ratings.
    pub ratings: usize,
}

/// How two systems differ by one criterion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RatingDifference {
    /// The criterion.
    pub criterion: String,
    /// What is subtracted.
    pub baseline: String,
    /// What it is subtracted from.
    pub candidate: String,
    /// The mean difference candidate − baseline over items.
    pub difference: Interval,
    /// Items of which both were rated.
    pub items: usize,
}

/// How far raters agree on one criterion; null where that is not defined, as where all ratings are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Agreement {
    /// The criterion.
    pub criterion: String,
    /// Krippendorff's alpha of ranks.
    pub alpha_ordinal: Option<f64>,
    /// Krippendorff's alpha of numbers.
    pub alpha_interval: Option<f64>,
    /// Cohen's kappa with quadratic weights, of two raters, on what both rated.
    pub kappa_quadratic: Option<f64>,
    /// Outputs that two or more rated.
    pub outputs: usize,
}

impl Ratings {
    /// Summarises all ratings. The first of two systems by name is the baseline of their difference.
    ///
    /// # Errors
    /// [`RatingError::NoRatings`] and [`MetricError::Config`].
    pub fn summary(&self, config: &BootstrapConfig) -> Result<RatingSummary, MetricError> {
        if self.ratings.is_empty() {
            return Err(RatingError::NoRatings.into());
        }
        let raters: BTreeSet<&str> = self.ratings.iter().map(|r| &*r.rater).collect();
        let items: BTreeSet<&str> = self.ratings.iter().map(|r| &*r.item).collect();
        let names: BTreeSet<&str> = self.ratings.iter().map(|r| &*r.system).collect();
        let mut systems: Vec<SystemRatings> = names
            .iter()
            .map(|&system| SystemRatings { system: system.to_owned(), criteria: Vec::new() })
            .collect();
        let (mut differences, mut agreement) = (Vec::new(), Vec::new());
        for (at, criterion) in CRITERIA.into_iter().enumerate() {
            let ratings = self.of(at);
            // Per system the items with the mean of their raters.
            let mut means: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
            for (&(item, system), of_raters) in &ratings {
                let sum: f64 = of_raters.values().map(|&value| f64::from(value)).sum();
                means.entry(system).or_default().insert(item, sum / of_raters.len() as f64);
            }
            for system in &mut systems {
                let Some(of_items) = means.get(&*system.system) else { continue };
                let values: Vec<f64> = of_items.values().copied().collect();
                let single = ratings.iter().filter(|((_, of), _)| *of == system.system);
                system.criteria.push(CriterionRating {
                    criterion: criterion.to_owned(),
                    mean: Spread::of(&values, config.confidence)?,
                    interval: bootstrap(&Statistic::mean(values), config)?,
                    ratings: single.map(|(_, of_raters)| of_raters.len()).sum(),
                });
            }
            for (n, &baseline) in names.iter().enumerate() {
                for &candidate in names.iter().skip(n + 1) {
                    let (Some(a), Some(b)) = (means.get(baseline), means.get(candidate)) else { continue };
                    let both: Vec<(f64, f64)> =
                        a.iter().filter_map(|(item, a)| Some((*a, *b.get(item)?))).collect();
                    if both.is_empty() {
                        continue;
                    }
                    let (a, b) = both.iter().copied().unzip();
                    differences.push(RatingDifference {
                        criterion: criterion.to_owned(),
                        baseline: baseline.to_owned(),
                        candidate: candidate.to_owned(),
                        difference: paired_bootstrap(&Statistic::mean(a), &Statistic::mean(b), config)?,
                        items: both.len(),
                    });
                }
            }
            agreement.push(agree(criterion, &raters, ratings.values()));
        }
        Ok(RatingSummary {
            raters: raters.into_iter().map(str::to_owned).collect(),
            items: items.len(),
            missing: self.missing,
            systems,
            differences,
            agreement,
        })
    }
}

fn agree<'a>(
    criterion: &str,
    raters: &BTreeSet<&str>,
    outputs: impl Iterator<Item = &'a BTreeMap<&'a str, u8>>,
) -> Agreement {
    let outputs: Vec<_> = outputs.filter(|of_raters| of_raters.len() > 1).collect();
    let units: Vec<Vec<f64>> =
        outputs.iter().map(|of_raters| of_raters.values().map(|&v| f64::from(v)).collect()).collect();
    // Of two raters, in the order of their names.
    let kappa = || {
        let rated =
            |at: usize| outputs.iter().filter_map(move |of| of.values().nth(at).map(|&v| i64::from(v)));
        let (a, b): (Vec<i64>, Vec<i64>) = (rated(0).collect(), rated(1).collect());
        weighted_kappa(&a, &b, KappaWeights::Quadratic).ok()
    };
    Agreement {
        criterion: criterion.to_owned(),
        alpha_ordinal: krippendorff_alpha(&units, Level::Ordinal).ok(),
        alpha_interval: krippendorff_alpha(&units, Level::Interval).ok(),
        kappa_quadratic: if raters.len() == 2 { kappa() } else { None },
        outputs: outputs.len(),
    }
}
