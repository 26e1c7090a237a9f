//! The parameters of a network: f32 master weights, of which some are trained.

use crate::error::TrainError;
use candle_core::{Device, Shape, Tensor, Var};
use globset::{Glob, GlobMatcher};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use tenuis_core::{Layout as Stored, Weight};
use tenuis_spec::{DecoderSpec, LayerSpec, LinearSpec, NormSpec};

/// Named f32 tensors; those that are trained are candle variables.
#[derive(Debug, Default)]
pub struct Params {
    entries: BTreeMap<String, Entry>,
    /// Weights and biases of the spec's norms.
    norms: BTreeSet<String>,
    /// Factors of weights that are products.
    factors: BTreeSet<String>,
}

#[derive(Debug)]
enum Entry {
    Frozen(Tensor),
    Trained(Var),
}

/// Patterns that choose parameters; one that any of them matches is chosen.
///
/// `norms` stands for the weights and biases of every norm of the spec, those of query and key heads included, whatever
/// they are called; `factors` for the factors of every low-rank weight; anything else is a glob over tensor names, in which `*` also matches dots (`*` alone is everything,
/// `model.layers.3.*` a layer, `*.bias` every bias).
///
/// ```
/// use tenuis_distill::{Params, Selection};
/// # let config = serde_json::json!({"model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16,
/// #     "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2});
/// # let spec = tenuis_spec::DecoderSpec::from_config(&config)?;
/// let mut params = Params::random(&spec, 0)?;
/// params.train(&Selection(vec!["norms".into(), "*.q_proj.weight".into()]))?;
/// let names: Vec<_> = params.trained().map(|(name, _)| name).collect();
/// assert_eq!(names, [
///     "model.layers.0.input_layernorm.weight",
///     "model.layers.0.post_attention_layernorm.weight",
///     "model.layers.0.self_attn.q_proj.weight",
///     "model.norm.weight",
/// ]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(pub Vec<String>);

impl Selection {
    /// Every parameter.
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Which words are among the patterns, and what else is.
    fn compile(&self) -> Result<Compiled, TrainError> {
        let is_word = |p: &&String| *p == NORMS || *p == FACTORS;
        let globs = self.0.iter().filter(|p| !is_word(p)).map(|p| matcher(p)).collect::<Result<_, _>>()?;
        let has = |word: &str| self.0.iter().any(|p| p == word);
        Ok(Compiled { norms: has(NORMS), factors: has(FACTORS), globs })
    }
}

/// A [`Selection`] whose patterns are understood.
struct Compiled {
    norms: bool,
    factors: bool,
    globs: Vec<GlobMatcher>,
}

/// The pattern that stands for every norm.
const NORMS: &str = "norms";
/// The pattern that stands for every factor of a low-rank weight.
const FACTORS: &str = "factors";

pub(crate) fn matcher(pattern: &str) -> Result<GlobMatcher, TrainError> {
    let wrong =
        |e: globset::Error| TrainError::Pattern { pattern: pattern.to_owned(), problem: e.to_string() };
    Ok(Glob::new(pattern).map_err(wrong)?.compile_matcher())
}

fn norms(spec: &DecoderSpec) -> impl Iterator<Item = &NormSpec> {
    spec.layers.iter().flat_map(LayerSpec::norms).chain(&spec.final_norm).chain(&spec.embedding.norm)
}

impl Params {
    /// Takes values for every tensor that the spec calls for from `read`, which is given the tensor's name, its shape as
    /// stored and, for a matrix that may be compressed, its module. All are frozen.
    ///
    /// # Errors
    /// What `read` fails with, or [`TrainError::Shape`].
    pub fn read(
        spec: &DecoderSpec,
        mut read: impl FnMut(&tenuis_spec::TensorSpec) -> Result<Vec<f32>, TrainError>,
    ) -> Result<Self, TrainError> {
        let names = |n: &NormSpec| [format!("{}.weight", n.name), format!("{}.bias", n.name)];
        let mut params = Self { norms: norms(spec).flat_map(names).collect(), ..Self::default() };
        for tensor in spec.tensors() {
            let values = read(&tensor)?;
            params.insert(&tensor.name, values, &tensor.shape)?;
        }
        Ok(params)
    }

    /// Draws new values for a spec: norms of ones, biases of zeros, matrices from `N(0, 0.02²)`, those that write into the
    /// residual stream divided by `√(2·layers)` (Radford et al. 2019, GPT-2). All are frozen.
    ///
    /// # Errors
    /// [`TrainError::Candle`].
    pub fn random(spec: &DecoderSpec, seed: u64) -> Result<Self, TrainError> {
        let residual = 1.0 / (2.0 * spec.layers.len() as f32).sqrt();
        let writes: Vec<String> = spec
            .layers
            .iter()
            .flat_map(|l| {
                let linears = l.linears();
                let last = linears.last().map(LinearSpec::weight_name);
                [Some(l.attention.o.weight_name()), last].into_iter().flatten().collect::<Vec<_>>()
            })
            .collect();
        let norms: BTreeMap<String, f32> =
            norms(spec).map(|n| (format!("{}.weight", n.name), if n.plus_one { 0.0 } else { 1.0 })).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::read(spec, |tensor| {
            let count = tensor.shape.iter().product();
            if tensor.module.is_none() {
                return Ok(vec![norms.get(&tensor.name).copied().unwrap_or(0.0); count]);
            }
            let scale = 0.02 * if writes.contains(&tensor.name) { residual } else { 1.0 };
            Ok((0..count).map(|_| scale * normal(&mut rng)).collect())
        })
    }

    /// Adds or replaces a tensor; it is frozen.
    ///
    /// # Errors
    /// [`TrainError::Shape`] where the values do not fill the shape.
    pub fn insert(&mut self, name: &str, values: Vec<f32>, shape: &[usize]) -> Result<(), TrainError> {
        if values.len() != shape.iter().product::<usize>() {
            return Err(TrainError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: vec![values.len()],
            });
        }
        let tensor = Tensor::from_vec(values, Shape::from_dims(shape), &Device::Cpu)?;
        self.entries.insert(name.to_owned(), Entry::Frozen(tensor));
        Ok(())
    }

    /// As [`Params::insert`], for a factor of a low-rank weight.
    pub(crate) fn insert_factor(
        &mut self,
        name: &str,
        values: Vec<f32>,
        shape: &[usize],
    ) -> Result<(), TrainError> {
        self.insert(name, values, shape)?;
        self.factors.insert(name.to_owned());
        Ok(())
    }

    pub(crate) fn insert_trained(
        &mut self,
        name: &str,
        values: Vec<f32>,
        shape: &[usize],
    ) -> Result<(), TrainError> {
        let var = Var::from_vec(values, Shape::from_dims(shape), &Device::Cpu)?;
        self.entries.insert(name.to_owned(), Entry::Trained(var));
        Ok(())
    }

    /// Decides what is trained: what `selection` chooses, and nothing else.
    ///
    /// # Errors
    /// [`TrainError::Pattern`], [`TrainError::NothingToTrain`].
    pub fn train(&mut self, selection: &Selection) -> Result<(), TrainError> {
        let Compiled { norms, factors, globs } = selection.compile()?;
        for (name, entry) in &mut self.entries {
            let tensor = entry.tensor().clone();
            let chosen = (norms && self.norms.contains(name))
                || (factors && self.factors.contains(name))
                || globs.iter().any(|g| g.is_match(name));
            *entry = match (chosen, &*entry) {
                (true, Entry::Frozen(_)) => Entry::Trained(Var::from_tensor(&tensor)?),
                (false, Entry::Trained(_)) => Entry::Frozen(tensor.detach()),
                _ => continue,
            };
        }
        if self.trained().next().is_none() {
            return Err(TrainError::NothingToTrain {
                patterns: selection.0.clone(),
                names: self.entries.len(),
                example: self.entries.keys().next().cloned().unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Freezes everything.
    pub fn freeze(&mut self) {
        for entry in self.entries.values_mut() {
            if let Entry::Trained(var) = entry {
                *entry = Entry::Frozen(var.as_tensor().detach());
            }
        }
    }

    /// The trained parameters in the order of their names.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.entries.iter().filter_map(|(name, entry)| match entry {
            Entry::Trained(var) => Some((name.as_str(), var)),
            Entry::Frozen(_) => None,
        })
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A tensor, as the graph sees it.
    ///
    /// # Errors
    /// [`TrainError::Shape`] for one that is not there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, TrainError> {
        self.entries.get(name).map(Entry::tensor).ok_or_else(|| TrainError::Shape {
            name: name.to_owned(),
            expected: Vec::new(),
            found: Vec::new(),
        })
    }

    /// The values of a tensor, row-major as stored.
    ///
    /// # Errors
    /// As [`Params::tensor`].
    pub fn values(&self, name: &str) -> Result<Vec<f32>, TrainError> {
        Ok(crate::ops::to_vec(self.tensor(name)?)?)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// How many values are trained, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let trained = self.trained().map(|(_, v)| v.elem_count()).sum();
        (trained, self.entries.values().map(|e| e.tensor().elem_count()).sum())
    }
}

impl Entry {
    fn tensor(&self) -> &Tensor {
        match self {
            Self::Frozen(tensor) => tensor,
            Self::Trained(var) => var.as_tensor(),
        }
    }
}

/// A weight's values as a dense tensor of the module stores them: transposed where it keeps `[in, out]`.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`; result: that, or `[in_features, out_features]` for [`Stored::InOut`], row-major.
///
/// # Errors
/// [`TrainError::Weight`] for one that cannot be decoded.
pub fn stored_values(module: &str, weight: &Weight, stored: Stored) -> Result<Vec<f32>, TrainError> {
    let wrap = |source| TrainError::Weight { module: module.to_owned(), source };
    let values = weight.to_dense().map_err(wrap)?;
    if stored == Stored::OutIn {
        return Ok(values);
    }
    let [out, input] = weight.shape();
    let mut turned = vec![0.0; values.len()];
    tenuis_linalg::transpose::<8, 16, _, _>(&values, input, &mut turned, out, [out, input], |v| v);
    Ok(turned)
}

/// A draw from the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (1.0 - rng.random::<f32>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}
