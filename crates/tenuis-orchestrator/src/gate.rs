//! What a gate asks for, measured.

use crate::error::RunError;
use crate::observer::Observer;
use crate::resources::{MeasureRequest, resources};
use crate::store::StageStore;
use crate::text::Text;
use crate::whole_file::write_json;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::Weights;
use tenuis_eval::Windows;
use tenuis_eval::memory::Memory;
use tenuis_eval::quality::{self, Subject, WindowScore};
use tenuis_eval::report::{Entry, Figures, Items, Needs, Requirement};
use tenuis_eval::size::Size;
use tenuis_eval::speed::Speed;
use tenuis_eval::tasks::{Task, TaskScore};
use tenuis_metrics::{BootstrapConfig, Statistic, bootstrap};
use tenuis_model::Model;
use tenuis_plan::gate::Condition;

/// Measures candidates beside the baseline, as far as conditions ask for it.
///
/// Quality is measured on a text of its own: what is chosen by a text looks better on it than it is.
pub struct Gatekeeper<'a> {
    /// The baseline.
    pub model: &'a Model,
    /// The text that gates are decided on.
    pub text: &'a Text,
    /// Its windows.
    pub windows: Windows,
    /// The tasks that conditions may be about.
    pub tasks: &'a [Task],
    /// How speed and memory are measured where a condition is about them.
    pub measure: MeasureRequest,
    baseline: RefCell<Option<(Needs, Beyond)>>,
}

impl std::fmt::Debug for Gatekeeper<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatekeeper").field("text", &self.text.path).finish_non_exhaustive()
    }
}

/// A model's entry of a report, and what its intervals are drawn from.
pub(crate) struct Measured {
    pub(crate) entry: Entry,
    pub(crate) windows: Vec<WindowScore>,
    tasks: Rc<BTreeMap<String, Statistic<'static>>>,
}

impl Measured {
    fn items(&self) -> Items<'_> {
        static NONE: BTreeMap<String, Vec<WindowScore>> = BTreeMap::new();
        Items { windows: &self.windows, tasks: &self.tasks, robustness: &NONE }
    }

    /// The interval of the mean divergence.
    pub(crate) fn kl_interval(&self) -> Option<(f64, f64)> {
        let windows = &self.windows;
        let mean = Statistic::new(windows.len(), move |drawn| {
            let n: f64 = drawn.iter().map(|&i| windows[i].predictions as f64).sum();
            let sum: f64 = drawn.iter().map(|&i| windows[i].predictions as f64 * windows[i].kl).sum();
            (n > 0.0).then(|| sum / n)
        });
        bootstrap(&mean, &BootstrapConfig::default()).ok().map(|interval| (interval.low, interval.high))
    }
}

impl<'a> Gatekeeper<'a> {
    /// A gatekeeper that has measured nothing yet.
    pub fn new(
        model: &'a Model,
        text: &'a Text,
        windows: Windows,
        tasks: &'a [Task],
        measure: MeasureRequest,
    ) -> Self {
        Self { model, text, windows, tasks, measure, baseline: RefCell::new(None) }
    }

    /// Refuses conditions on what this gatekeeper does not measure.
    pub(crate) fn check(&self, recipe: &str, requirements: &[Requirement]) -> Result<(), RunError> {
        let missing = requirements.iter().find_map(|requirement| {
            let needs = requirement.needs();
            let figure = requirement.figure();
            let task = figure.rsplit_once("task.").map(|(_, name)| name);
            let problem = if needs.evaluation {
                "only a whole evaluation measures that; ask for it with --require"
            } else if task.is_some_and(|task| self.tasks.iter().all(|known| known.name() != task)) {
                "there is no such task; give it with --task"
            } else if needs.memory && self.measure.memory.is_none() {
                "memory is not measured here"
            } else {
                return None;
            };
            Some((requirement, problem))
        });
        match missing {
            None => Ok(()),
            Some((requirement, problem)) => Err(RunError::Gate {
                recipe: recipe.to_owned(),
                requirement: requirement.to_string(),
                problem: problem.to_owned(),
            }),
        }
    }

    /// What a gate is decided by beside the candidate: measurements of others are not its own.
    fn identity(&self) -> serde_json::Value {
        json!({
            "baseline": self.model.checkpoint().hash().to_hex().to_string(),
            "text": self.text.data.hash,
            "windows": [self.windows.seq_len(), self.windows.stride(), self.windows.count()],
        })
    }

    /// The conditions with what was measured of a checkpoint, from the store where it was measured before.
    pub(crate) fn conditions(
        &self,
        store: &StageStore,
        requirements: &[Requirement],
        candidate: &Arc<Checkpoint>,
        codecs: &CodecRegistry,
        observer: &Arc<dyn Observer>,
    ) -> Result<Vec<Condition>, RunError> {
        let needs = requirements.iter().map(Requirement::needs).fold(Needs::default(), |a, b| Needs {
            tasks: a.tasks || b.tasks,
            speed: a.speed || b.speed,
            memory: a.memory || b.memory,
            evaluation: false,
        });
        let texts: Vec<String> = requirements.iter().map(ToString::to_string).collect();
        let identity = json!({
            "by": self.identity(),
            "candidate": candidate.hash().to_hex().to_string(),
            "requirements": texts,
        });
        let key = blake3::hash(identity.to_string().as_bytes()).to_hex().to_string();
        // Answers to tasks and times are not of the checkpoint and the text alone: they are measured each time.
        let path = (!needs.tasks && !needs.speed && !needs.memory).then(|| store.gate_file(&key));
        let known = path.as_ref().and_then(|path| serde_json::from_slice(&fs::read(path).ok()?).ok());
        if let Some(known) = known {
            return Ok(known);
        }
        let model = Model::open(Arc::clone(candidate), codecs)?;
        let (baseline, measured) = self.beside(&model, candidate.dir(), needs, 1.0, observer)?;
        let kl = measured.kl_interval();
        let conditions: Vec<Condition> = requirements
            .iter()
            .map(|requirement| requirement.condition(&baseline.entry, &measured.entry, kl))
            .collect();
        if let Some(path) = path {
            write_json(&path, &conditions)?;
        }
        Ok(conditions)
    }

    /// Measures a candidate beside the baseline on a share of the windows, evenly spaced.
    pub(crate) fn beside(
        &self,
        candidate: &Model,
        dir: &Path,
        needs: Needs,
        share: f64,
        observer: &Arc<dyn Observer>,
    ) -> Result<(Measured, Measured), RunError> {
        let windows = self.windows.thinned(share);
        let subjects = [
            Subject { name: "baseline", model: self.model },
            Subject { name: "candidate", model: candidate },
        ];
        observer.begin("measuring what was made", windows.count() as u64);
        let found = quality::measure(&subjects, &self.text.data, windows, |done| observer.step(done))?;
        observer.end();
        let mut found = found.into_iter();
        let (Some(base), Some(made)) = (found.next(), found.next()) else { return Err(RunError::Cancelled) };
        let base = measured("baseline", base, self.baseline(needs, observer)?);
        let beyond = self.beyond(subjects[1], dir, needs, observer)?;
        let mut made = measured("candidate", made, beyond);
        let figures =
            Figures::of((&base.entry, base.items()), (&made.entry, made.items()), Weights::default());
        made.entry.figures = Some(figures);
        Ok((base, made))
    }

    /// What is known of the baseline beside its predictions, measured once.
    fn baseline(&self, needs: Needs, observer: &Arc<dyn Observer>) -> Result<Beyond, RunError> {
        if let Some((known, beyond)) = self.baseline.borrow().as_ref()
            && *known == needs
        {
            return Ok(beyond.clone());
        }
        let subject = Subject { name: "baseline", model: self.model };
        let beyond = self.beyond(subject, self.model.checkpoint().dir(), needs, observer)?;
        *self.baseline.borrow_mut() = Some((needs, beyond.clone()));
        Ok(beyond)
    }

    fn beyond(
        &self,
        subject: Subject<'_>,
        dir: &Path,
        needs: Needs,
        observer: &Arc<dyn Observer>,
    ) -> Result<Beyond, RunError> {
        let (mut scores, mut statistics) = (BTreeMap::new(), BTreeMap::new());
        for task in self.tasks.iter().filter(|_| needs.tasks) {
            let (score, items) = task.measure(subject, &|_| {})?;
            statistics.insert(task.name().to_owned(), task.statistic(&items)?);
            scores.insert(task.name().to_owned(), score);
        }
        let mut request = self.measure.clone();
        request.speed = needs.speed.then(|| request.speed.unwrap_or_default());
        request.memory = request.memory.filter(|_| needs.memory);
        request.starts = false;
        let found = resources(&request, &[subject], &[dir], observer.as_ref())?;
        let size =
            Size::of(subject.model, self.model.checkpoint().file_bytes(), found.protocol.prompt_tokens)?;
        Ok(Beyond {
            checkpoint: dir.display().to_string(),
            size,
            scores,
            statistics: Rc::new(statistics),
            speed: found.speeds.into_iter().next().flatten(),
            memory: found.memories.into_iter().next().flatten(),
        })
    }
}

/// What is known of a model beside how it predicts the text.
#[derive(Clone)]
struct Beyond {
    checkpoint: String,
    size: Size,
    scores: BTreeMap<String, TaskScore>,
    statistics: Rc<BTreeMap<String, Statistic<'static>>>,
    speed: Option<Speed>,
    memory: Option<Memory>,
}

fn measured(name: &str, found: quality::Measured, beyond: Beyond) -> Measured {
    let mut quality = found.quality;
    quality.tasks = beyond.scores;
    let entry = Entry {
        name: name.to_owned(),
        recipe: None,
        checkpoint: beyond.checkpoint,
        size: beyond.size,
        quality,
        speed: beyond.speed,
        memory: beyond.memory,
        compression: None,
        figures: None,
        cost: None,
    };
    Measured { entry, windows: found.windows, tasks: beyond.statistics }
}
