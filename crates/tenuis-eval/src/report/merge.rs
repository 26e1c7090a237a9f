//! Putting numbers of several runs into one report, where their protocols allow it.

use super::{Measurement, Report};
use thiserror::Error;

/// Why numbers were not put side by side.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// They were measured under different protocols.
    #[error(
        "{what}: the protocols differ (here {here}, there {there}), so the numbers are not comparable; measure again under one \
         protocol, or pass --force to put them side by side, marked"
    )]
    Protocol {
        /// Which measure.
        what: String,
        /// The report's hash.
        here: String,
        /// The other one's.
        there: String,
    },
    /// The candidates belong to another model.
    #[error(
        "the baselines differ (perplexity {here} here, {there} there): the other report is about another model"
    )]
    Baseline {
        /// The report's.
        here: String,
        /// The other one's.
        there: String,
    },
    /// None of the measured models is in the report.
    #[error(
        "{target}: none of the models measured there ({models}) is in the report; their names have to be those of its entries"
    )]
    NoModel {
        /// Where it was measured.
        target: String,
        /// What was.
        models: String,
    },
}

impl Report {
    /// Adds speed and memory that were measured on another machine.
    ///
    /// # Errors
    /// [`MergeError`]; protocols may differ where `force` is set, which the report then says.
    pub fn merge_measurement(&mut self, measurement: Measurement, force: bool) -> Result<(), MergeError> {
        let target = measurement.target.clone();
        let names: Vec<&str> = measurement.models.iter().map(|model| model.name.as_str()).collect();
        let known = |name: &str| {
            let mut entries = std::iter::once(&self.baseline).chain(&self.candidates);
            entries.any(|entry| entry.name == name || file_name(&entry.checkpoint) == name)
        };
        if !names.iter().any(|name| known(name)) {
            return Err(MergeError::NoModel { target, models: names.join(", ") });
        }
        let here = self.protocol.speed.as_ref().map(|speed| speed.protocol.clone());
        let check =
            Difference::of(format!("speed on {target}"), here.as_deref(), &measurement.protocol.protocol);
        self.settle(check.into_iter().collect(), force)?;
        self.elsewhere.retain(|other| other.target != target);
        self.elsewhere.push(measurement);
        Ok(())
    }

    /// Adds the candidates of another report about the same baseline. One whose name is taken gets a number after it.
    ///
    /// # Errors
    /// [`MergeError`]; protocols may differ where `force` is set, which the report then says.
    pub fn merge_candidates(&mut self, other: Self, force: bool) -> Result<(), MergeError> {
        let (ours, theirs) = (&self.baseline.quality, &other.baseline.quality);
        let mut found: Vec<Difference> = Difference::of(
            "perplexity".to_owned(),
            Some(&ours.perplexity.protocol),
            &theirs.perplexity.protocol,
        )
        .into_iter()
        .collect();
        let same_text = found.is_empty();
        for (name, task) in &theirs.tasks {
            let own = ours.tasks.get(name).map(|task| task.protocol.as_str());
            found.extend(Difference::of(format!("task {name}"), own, &task.protocol));
        }
        let speed = |report: &Self| {
            let protocol = report.protocol.speed.as_ref()?.protocol.clone();
            Some(format!("{protocol} on {}", report.machine.cpu.as_deref().unwrap_or("an unknown processor")))
        };
        if let Some(theirs) = speed(&other) {
            found.extend(Difference::of("speed".to_owned(), speed(self).as_deref(), &theirs));
        }
        if let (Some(ours), Some(theirs)) = (&self.baseline.memory, &other.baseline.memory) {
            found.extend(Difference::of("memory".to_owned(), Some(&ours.protocol), &theirs.protocol));
        }
        let (here, there) = (ours.perplexity.value, theirs.perplexity.value);
        if same_text && (here / there - 1.0).abs() > SAME_BASELINE {
            return Err(MergeError::Baseline { here: format!("{here:.6}"), there: format!("{there:.6}") });
        }
        self.settle(found, force)?;
        for mut candidate in other.candidates {
            let name = candidate.name.clone();
            let taken = |name: &str| self.candidates.iter().any(|known| known.name == name);
            let mut number = 2;
            while taken(&candidate.name) {
                candidate.name = format!("{name}-{number}");
                number += 1;
            }
            self.candidates.push(candidate);
        }
        Ok(())
    }

    fn settle(&mut self, differences: Vec<Difference>, force: bool) -> Result<(), MergeError> {
        if let (Some(Difference { what, here, there }), false) = (differences.first(), force) {
            let (what, here, there) = (what.clone(), here.clone(), there.clone());
            return Err(MergeError::Protocol { what, here, there });
        }
        self.warnings.extend(differences.into_iter().map(|Difference { what, here, there }| {
            format!("{what}: put side by side by force although the protocols differ ({here}, {there}); not comparable")
        }));
        Ok(())
    }
}

/// How far apart the perplexities of one baseline on one text may be: processors add in different orders.
const SAME_BASELINE: f64 = 1e-4;

#[derive(Debug)]
struct Difference {
    what: String,
    here: String,
    there: String,
}

impl Difference {
    fn of(what: String, here: Option<&str>, there: &str) -> Option<Self> {
        let here = here.unwrap_or("not measured").to_owned();
        (here != there).then(|| Self { what, here, there: there.to_owned() })
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_protocols_have_no_difference() {
        assert!(Difference::of("x".to_owned(), Some("a"), "a").is_none());
        let missing = Difference::of("x".to_owned(), None, "a").unwrap();
        assert_eq!((missing.here.as_str(), missing.there.as_str()), ("not measured", "a"));
        assert_eq!(file_name("out/int4/"), "int4");
    }
}
