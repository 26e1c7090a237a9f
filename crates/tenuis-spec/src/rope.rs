//! Rotary position embeddings and the ways in which their frequencies are scaled.

use crate::config::Config;
use crate::error::SpecError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::f64::consts::PI;

/// Rotary positions (Su et al. 2021, 2104.09864): pair `i` of a head's first `rotary_dim` channels is turned by
/// `position · f_i`, `f_i = theta^(−2i / rotary_dim)` before scaling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeSpec {
    /// The base.
    pub theta: f64,
    /// How many channels of a head are turned; even.
    pub rotary_dim: usize,
    /// Whether a pair is channels `2i, 2i+1` instead of `i, i + rotary_dim/2`.
    pub interleaved: bool,
    /// How the frequencies are scaled.
    pub scaling: RopeScaling,
}

/// How frequencies are stretched to reach beyond the trained length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// `f / factor` (position interpolation, Chen et al. 2023, 2306.15595).
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// Llama 3.1: long waves are stretched, short ones kept, those between interpolated.
    Llama3 {
        /// The stretch.
        factor: f64,
        /// Waves longer than `original_max_positions / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Waves shorter than `original_max_positions / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The trained length.
        original_max_positions: usize,
    },
    /// YaRN (Peng et al. 2023, 2309.00071): a ramp between stretched and kept frequencies, and a factor on the
    /// rotation that sharpens attention.
    Yarn {
        /// The stretch.
        factor: f64,
        /// Turns within the trained length above which a frequency is kept.
        beta_fast: f64,
        /// Turns within the trained length below which a frequency is stretched.
        beta_slow: f64,
        /// The factor on cosine and sine.
        attention_factor: f64,
        /// Whether the ends of the ramp are rounded outward to whole channels.
        truncate: bool,
        /// The trained length.
        original_max_positions: usize,
    },
    /// LongRoPE (Ding et al. 2024, 2402.13753; Phi-3): `f / λ` with a `λ` for every pair, of which there is one list for
    /// sequences within the trained length and one for longer ones, and a factor on the rotation.
    LongRope {
        /// `λ` of sequences up to the trained length, `rotary_dim / 2` of them.
        short_factors: Vec<f64>,
        /// `λ` of longer sequences.
        long_factors: Vec<f64>,
        /// The factor on cosine and sine.
        attention_factor: f64,
        /// The trained length.
        original_max_positions: usize,
    },
}

/// The angles per position and the factor on their cosine and sine.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// One per pair, `rotary_dim / 2` of them.
    pub inverse: Vec<f32>,
    /// The factor on cosine and sine; 1 except for YaRN and LongRoPE.
    pub attention_factor: f32,
}

/// The values of `rope_type` that are understood.
const KNOWN_TYPES: &str = "default, linear, llama3, yarn, longrope";

/// Where a family's configuration says what, and what holds where it does not say.
#[derive(Clone, Copy)]
pub(crate) struct RopeFields {
    /// The field beside `rope_parameters` that gives the base, and the usual base.
    pub(crate) theta: (&'static str, f64),
    /// The field beside `rope_parameters` that gives the turned share of a head, and the usual share.
    pub(crate) part: (&'static str, f64),
    /// The trained length of files that have no `original_max_position_embeddings` beside `rope_parameters`; where the
    /// family has none, one within `rope_parameters` or the longest sequence.
    pub(crate) trained: Option<usize>,
    /// Further values of `rope_type` that mean LongRoPE.
    pub(crate) long: &'static [&'static str],
}

impl RopeFields {
    /// What most families have.
    pub(crate) const fn usual(theta: f64) -> Self {
        Self { theta: ("rope_theta", theta), part: ("partial_rotary_factor", 1.0), trained: None, long: &[] }
    }
}

impl RopeSpec {
    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling` as older files have them.
    pub(crate) fn from_config(
        config: Config<'_>,
        fields: &RopeFields,
        head_dim: usize,
        max_positions: usize,
    ) -> Result<Self, SpecError> {
        let scaling = match config.object("rope_scaling", "rope_scaling.")? {
            Some(scaling) => Some(scaling),
            None => config.object("rope_parameters", "rope_parameters.")?,
        };
        Self::from_parts(config, scaling, fields, head_dim, max_positions)
    }

    /// Reads the parameters of one kind of layers, or what stands beside them in `config`.
    pub(crate) fn from_parts(
        config: Config<'_>,
        parameters: Option<Config<'_>>,
        fields: &RopeFields,
        head_dim: usize,
        max_positions: usize,
    ) -> Result<Self, SpecError> {
        let outer_theta = config.positive(fields.theta.0, fields.theta.1)?;
        let outer_part = config.f64_or(fields.part.0, fields.part.1)?;
        let Some(rope) = parameters else {
            return Self::unscaled(config, fields.part.0, head_dim, outer_theta, outer_part);
        };
        let theta = rope.positive("rope_theta", outer_theta)?;
        let part = rope.f64_or("partial_rotary_factor", outer_part)?;
        let mut spec = Self::unscaled(config, fields.part.0, head_dim, theta, part)?;
        let kind = rope.opt_str("rope_type")?.or(rope.opt_str("type")?).unwrap_or("default");
        let trained = match config.opt_usize("original_max_position_embeddings")?.or(fields.trained) {
            Some(outer) => outer,
            None => rope.usize_or("original_max_position_embeddings", max_positions)?,
        };
        spec.scaling = match kind {
            "default" => RopeScaling::Default,
            kind if kind == "longrope" || fields.long.contains(&kind) => {
                long_rope(rope, spec.rotary_dim / 2, trained, max_positions)?
            }
            "linear" => RopeScaling::Linear { factor: required(rope, "factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: required(rope, "factor")?,
                low_freq_factor: required(rope, "low_freq_factor")?,
                high_freq_factor: required(rope, "high_freq_factor")?,
                original_max_positions: trained,
            },
            "yarn" => yarn(rope, trained, max_positions)?,
            other => {
                return Err(rope.wrong("rope_type", &Value::from(other), format!("one of {KNOWN_TYPES}")));
            }
        };
        Ok(spec)
    }

    fn unscaled(
        config: Config<'_>,
        field: &str,
        head_dim: usize,
        theta: f64,
        part: f64,
    ) -> Result<Self, SpecError> {
        let rotary_dim = (head_dim as f64 * part) as usize;
        if rotary_dim == 0 || rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
            let expected = format!("a share of {head_dim} channels that is an even number of them");
            return Err(config.wrong(field, &Value::from(part), expected));
        }
        Ok(Self { theta, rotary_dim, interleaved: false, scaling: RopeScaling::Default })
    }

    /// The frequencies, in f32 as the reference implementation has them; of LongRoPE those of short sequences.
    ///
    /// ```
    /// use tenuis_spec::{RopeScaling, RopeSpec};
    /// let rope = RopeSpec { theta: 100.0, rotary_dim: 4, interleaved: false, scaling: RopeScaling::Default };
    /// assert_eq!(rope.frequencies().inverse, [1.0, 0.1]);
    /// ```
    pub fn frequencies(&self) -> Frequencies {
        self.frequencies_for(0)
    }

    /// The frequencies of a pass whose last position is `positions − 1`. Only LongRoPE's depend on it: beyond
    /// [`long_after`](Self::long_after) positions *all* of the pass, earlier positions too, are turned by the long ones.
    ///
    /// ```
    /// use tenuis_spec::{RopeScaling, RopeSpec};
    /// let scaling = RopeScaling::LongRope {
    ///     short_factors: vec![1.0, 2.0], long_factors: vec![1.0, 8.0], attention_factor: 1.5, original_max_positions: 32,
    /// };
    /// let rope = RopeSpec { theta: 100.0, rotary_dim: 4, interleaved: false, scaling };
    /// assert_eq!(rope.frequencies_for(32).inverse, [1.0, 0.05]);
    /// assert_eq!(rope.frequencies_for(33).inverse, [1.0, 0.0125]);
    /// ```
    pub fn frequencies_for(&self, positions: usize) -> Frequencies {
        let dim = self.rotary_dim as f64;
        let wave = |i: usize| self.theta.powf(2.0 * i as f64 / dim);
        let pairs = 0..self.rotary_dim / 2;
        let mut attention_factor = 1.0;
        let inverse = match &self.scaling {
            RopeScaling::Default => pairs.map(|i| 1.0 / wave(i)).collect::<Vec<_>>(),
            RopeScaling::Linear { factor } => pairs.map(|i| 1.0 / wave(i) / factor).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let trained = *original_max_positions as f64;
                let scale = |f: f64| {
                    let length = 2.0 * PI / f;
                    if length < trained / high_freq_factor {
                        f
                    } else if length > trained / low_freq_factor {
                        f / factor
                    } else {
                        let keep =
                            (trained / length - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - keep) * f / factor + keep * f
                    }
                };
                pairs.map(|i| scale(1.0 / wave(i))).collect()
            }
            RopeScaling::Yarn {
                factor, beta_fast, beta_slow, attention_factor: sharpen, truncate, ..
            } => {
                attention_factor = *sharpen;
                let (low, high) = self.yarn_ramp(*beta_fast, *beta_slow, *truncate);
                let ramp = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                pairs.map(|i| (ramp(i) / factor + 1.0 - ramp(i)) / wave(i)).collect()
            }
            RopeScaling::LongRope { short_factors, long_factors, attention_factor: sharpen, .. } => {
                attention_factor = *sharpen;
                let is_long = self.long_after().is_some_and(|short| positions > short);
                let factors = if is_long { long_factors } else { short_factors };
                pairs.zip(factors).map(|(i, factor)| 1.0 / (factor * wave(i))).collect()
            }
        };
        Frequencies {
            inverse: inverse.into_iter().map(|f| f as f32).collect(),
            attention_factor: attention_factor as f32,
        }
    }

    /// The number of positions beyond which the frequencies are others; absent where they are always the same.
    pub const fn long_after(&self) -> Option<usize> {
        match &self.scaling {
            RopeScaling::LongRope { original_max_positions, .. } => Some(*original_max_positions),
            _ => None,
        }
    }

    /// The channels between which YaRN goes from kept to stretched.
    fn yarn_ramp(&self, beta_fast: f64, beta_slow: f64, truncate: bool) -> (f64, f64) {
        let RopeScaling::Yarn { original_max_positions, .. } = &self.scaling else { return (0.0, 1.0) };
        let dim = self.rotary_dim as f64;
        let channel = |turns: f64| {
            dim * (*original_max_positions as f64 / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln())
        };
        let (mut low, mut high) = (channel(beta_fast), channel(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        // The reference's way around a ramp of no length.
        (low, if low == high { high + 0.001 } else { high })
    }
}

fn required(rope: Config<'_>, field: &str) -> Result<f64, SpecError> {
    rope.f64(field)?;
    rope.positive(field, 1.0)
}

fn yarn(rope: Config<'_>, trained: usize, max_positions: usize) -> Result<RopeScaling, SpecError> {
    let factor = rope.positive("factor", max_positions as f64 / trained as f64)?;
    let sharpen = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
    // A zero counts as absent for all four, as in the reference.
    let given = |field: &str| Ok::<_, SpecError>(rope.opt_f64(field)?.filter(|&v| v != 0.0));
    let attention_factor =
        match (rope.opt_f64("attention_factor")?, given("mscale")?, given("mscale_all_dim")?) {
            (Some(stated), _, _) => stated,
            (None, Some(part), Some(all)) => sharpen(part) / sharpen(all),
            (None, _, _) => sharpen(1.0),
        };
    Ok(RopeScaling::Yarn {
        factor,
        beta_fast: given("beta_fast")?.unwrap_or(32.0),
        beta_slow: given("beta_slow")?.unwrap_or(1.0),
        attention_factor,
        truncate: rope.bool_or("truncate", true)?,
        original_max_positions: trained,
    })
}

/// One factor for every pair, and the factor on cosine and sine, `√(1 + ln s / ln trained)` where the file does not say;
/// `s` is the stretch of the length.
fn long_rope(
    rope: Config<'_>,
    pairs: usize,
    trained: usize,
    max_positions: usize,
) -> Result<RopeScaling, SpecError> {
    let factor = rope.positive("factor", max_positions as f64 / trained as f64)?;
    let sharpen = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (trained as f64).ln()).sqrt() };
    Ok(RopeScaling::LongRope {
        short_factors: rope.positive_list("short_factor", pairs)?,
        long_factors: rope.positive_list("long_factor", pairs)?,
        attention_factor: rope.positive("attention_factor", sharpen)?,
        original_max_positions: trained,
    })
}
