//! One layer of a decoder.

use crate::cache::{LayerCache, Row};
use crate::error::ModelError;
use crate::linear::Linear;
use crate::load::Store;
use crate::norm::Norm;
use crate::ops::{self, attention, gate, rope::Rope};
use crate::profile::{Work, operation};
use crate::router::Router;
use candle_core::{DType, Tensor};
use tenuis_core::Weight;
use tenuis_spec::{AttentionSpec, FusedOrder, LayerSpec, MlpSpec, QkvSpec, Residual, Role};

/// Sees what the Linears of a block are given.
pub trait Tap {
    /// Takes the input of a group of Linears: `x: [rows, in_features]`, one row per token.
    ///
    /// `group` counts the groups of [`LayerSpec::groups`]; each is seen once per forward pass, in their order. An expert that
    /// no token was given to is given no rows.
    fn input(&mut self, group: usize, x: &[f32]);
}

/// One layer: slots for its Linears and norms, run as its [`LayerSpec`] says.
#[derive(Clone, Debug)]
pub struct Block {
    spec: LayerSpec,
    /// In the order of [`LayerSpec::linears`].
    linears: Vec<Linear>,
    attention_pre: Option<Norm>,
    attention_post: Option<Norm>,
    mlp_pre: Option<Norm>,
    mlp_post: Option<Norm>,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
    rope: Option<Rope>,
    router: Option<Router>,
}

/// The Linears of a feed-forward part.
struct Part<'a> {
    spec: &'a MlpSpec,
    first: &'a [Linear],
    last: &'a Linear,
}

impl Part<'_> {
    /// Up to the last Linear's input.
    fn inner(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let activation = self.spec.activation();
        let activated = |read: &Tensor, run: &dyn Fn() -> candle_core::Result<Tensor>| {
            operation(|| ("activation", "", Work { bytes: 8 * read.elem_count() as u64, flops: 0 }), run)
        };
        Ok(match self.first {
            [gate, up] => {
                let (gate, up) = (gate.forward(x)?, up.forward(x)?);
                activated(&up, &|| gate::gated(activation, &gate, &up))?
            }
            [both] if matches!(self.spec, MlpSpec::FusedGated { .. }) => {
                let both = both.forward(x)?;
                let (axis, width) = (both.rank() - 1, self.spec.d_ff());
                let (gate, up) = (both.narrow(axis, 0, width)?, both.narrow(axis, width, width)?);
                activated(&up, &|| gate::gated(activation, &gate, &up))?
            }
            first => {
                let mut x = x.clone();
                for linear in first {
                    x = linear.forward(&x)?;
                }
                activated(&x, &|| gate::activate(activation, &x))?
            }
        })
    }
}

/// Where a pass goes on: the keys and values of the positions before it, and where each of its sequences stands.
pub(crate) struct Place<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) cache: &'a mut LayerCache,
}

type OptTap<'a, 'b> = Option<&'a mut (dyn Tap + 'b)>;

impl Block {
    pub(crate) fn load(store: &Store, spec: &LayerSpec) -> Result<Self, ModelError> {
        let norms = &spec.norms;
        let heads = spec.attention.qk_norm.as_ref();
        Ok(Self {
            linears: spec.linears().iter().map(|l| store.linear(l)).collect::<Result<_, _>>()?,
            attention_pre: store.opt_norm(norms.attention_pre.as_ref())?,
            attention_post: store.opt_norm(norms.attention_post.as_ref())?,
            mlp_pre: store.opt_norm(norms.mlp_pre.as_ref())?,
            mlp_post: store.opt_norm(norms.mlp_post.as_ref())?,
            q_norm: store.opt_norm(heads.map(|n| &n.q))?,
            k_norm: store.opt_norm(heads.map(|n| &n.k))?,
            rope: spec.attention.rope.as_ref().map(Rope::new),
            router: Router::load(store, &spec.mlp)?,
            spec: spec.clone(),
        })
    }

    /// What the layer is.
    pub const fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// The slots, in the order of [`LayerSpec::linears`].
    pub fn linears(&self) -> &[Linear] {
        &self.linears
    }

    /// The weight of a Linear, by module.
    pub fn weight(&self, module: &str) -> Option<&Weight> {
        self.slot(module).map(Linear::weight)
    }

    /// The bias of a Linear, `[out_features]`, by module.
    pub fn bias(&self, module: &str) -> Option<&[f32]> {
        self.slot(module).and_then(Linear::bias)
    }

    /// Puts another weight into a Linear.
    ///
    /// # Errors
    /// [`ModelError::NoModule`] where there is no such Linear, else as [`Linear::set_weight`].
    pub fn set_weight(&mut self, module: &str, weight: Weight) -> Result<(), ModelError> {
        let block = self.spec.index;
        match self.linears.iter_mut().find(|l| l.spec().name == module) {
            Some(linear) => linear.set_weight(weight),
            None => Err(ModelError::NoModule { block, module: module.to_owned() }),
        }
    }

    /// Puts other parameters into a norm, as they would be stored.
    ///
    /// # Errors
    /// [`ModelError::NoModule`] where the block has no such norm, [`ModelError::Vector`] for another length or where one
    /// has a bias and the other none.
    pub fn set_norm(
        &mut self,
        module: &str,
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
    ) -> Result<(), ModelError> {
        let norms = [
            &mut self.attention_pre,
            &mut self.attention_post,
            &mut self.mlp_pre,
            &mut self.mlp_post,
            &mut self.q_norm,
            &mut self.k_norm,
        ];
        let Some(norm) = norms.into_iter().flatten().find(|norm| norm.spec().name == module) else {
            return Err(ModelError::NoModule { block: self.spec.index, module: module.to_owned() });
        };
        let spec = norm.spec().clone();
        let expected = if spec.bias { spec.dim } else { 0 };
        for (expected, found) in [(spec.dim, weight.len()), (expected, bias.as_ref().map_or(0, Vec::len))] {
            check_length(module, expected, found)?;
        }
        *norm = Norm::new(spec, weight, bias);
        Ok(())
    }

    /// Puts another bias into a Linear that has one.
    ///
    /// # Errors
    /// [`ModelError::NoModule`] where there is no such Linear, [`ModelError::Vector`] for another length.
    pub fn set_bias(&mut self, module: &str, bias: Vec<f32>) -> Result<(), ModelError> {
        let block = self.spec.index;
        match self.linears.iter_mut().find(|l| l.spec().name == module) {
            Some(linear) => {
                check_length(module, linear.bias().map_or(0, <[f32]>::len), bias.len())?;
                linear.set_bias(bias);
                Ok(())
            }
            None => Err(ModelError::NoModule { block, module: module.to_owned() }),
        }
    }

    /// The bytes that weights, biases and norms hold, in RAM or in a mapped file.
    pub fn resident_bytes(&self) -> u64 {
        let norms = [
            &self.attention_pre,
            &self.attention_post,
            &self.mlp_pre,
            &self.mlp_post,
            &self.q_norm,
            &self.k_norm,
        ];
        let linears: u64 = self.linears.iter().map(Linear::resident_bytes).sum();
        let router = self.router.as_ref().map_or(0, Router::resident_bytes);
        linears + router + norms.into_iter().flatten().map(Norm::resident_bytes).sum::<u64>()
    }

    /// Runs the layer on whole sequences that begin at position 0.
    ///
    /// # Shapes
    /// `hidden` and the result: `[batch, seq, d_model]` f32.
    ///
    /// # Errors
    /// [`ModelError::Candle`] where the shape or type is another.
    pub fn forward(&self, hidden: &Tensor, tap: Option<&mut dyn Tap>) -> Result<Tensor, ModelError> {
        self.run(hidden, None, tap)
    }

    pub(crate) fn run(
        &self,
        x: &Tensor,
        place: Option<Place<'_>>,
        mut tap: OptTap<'_, '_>,
    ) -> Result<Tensor, ModelError> {
        let normed = apply(self.attention_pre.as_ref(), x)?;
        see(&mut tap, 0, &normed)?;
        let attended = self.attend(&normed, place)?;
        see(&mut tap, 1, &attended)?;
        let attended = self.linear(Role::O)?.forward(&attended)?;
        let with_attention = (x + self.added(self.attention_post.as_ref(), &attended)?)?;
        let mlp = if self.spec.mlp_shares_attention_input() {
            self.dense(&normed, 2, &mut tap)?
        } else {
            let read = match self.spec.residual {
                Residual::Sequential => &with_attention,
                Residual::Parallel => x,
            };
            let read = apply(self.mlp_pre.as_ref(), read)?;
            if let Some(router) = &self.router {
                self.experts(router, &read, &mut tap)?
            } else {
                see(&mut tap, 2, &read)?;
                self.dense(&read, 3, &mut tap)?
            }
        };
        Ok((with_attention + self.added(self.mlp_post.as_ref(), &mlp)?)?)
    }

    /// What a part adds to the residual stream.
    fn added(&self, norm: Option<&Norm>, x: &Tensor) -> Result<Tensor, ModelError> {
        let normed = apply(norm, x)?;
        match self.spec.residual_scale {
            Some(scale) => Ok((normed * scale)?),
            None => Ok(normed),
        }
    }

    /// A feed-forward part that is not made of experts; `group` is the group of its last Linear.
    fn dense(&self, x: &Tensor, group: usize, tap: &mut OptTap<'_, '_>) -> Result<Tensor, ModelError> {
        let part = self.part(0)?;
        let inner = part.inner(x)?;
        see(tap, group, &inner)?;
        part.last.forward(&inner)
    }

    /// The experts that each token is given to, added up by the router's shares.
    ///
    /// First the inner halves of all experts and then their last Linears, which is the order of the layer's groups.
    fn experts(&self, router: &Router, x: &Tensor, tap: &mut OptTap<'_, '_>) -> Result<Tensor, ModelError> {
        let shape = x.dims3()?;
        let rows = shape.0 * shape.1;
        let x = x.reshape((rows, shape.2))?;
        let given = router.route(&x)?;
        let mut inner = Vec::with_capacity(given.len());
        for (expert, tokens) in given.iter().enumerate() {
            if tokens.rows.is_empty() {
                see_nothing(tap, 2 + expert);
                inner.push(None);
                continue;
            }
            let read = tokens.of(&x)?;
            see(tap, 2 + expert, &read)?;
            inner.push(Some(self.part(expert)?.inner(&read)?));
        }
        let mut sum = Tensor::zeros((rows, shape.2), DType::F32, x.device())?;
        for (expert, (tokens, inner)) in given.iter().zip(&inner).enumerate() {
            let group = 2 + given.len() + expert;
            let Some(inner) = inner else {
                see_nothing(tap, group);
                continue;
            };
            see(tap, group, inner)?;
            let made = self.part(expert)?.last.forward(inner)?;
            sum = tokens.add(&sum, &made)?;
        }
        Ok(sum.reshape(shape)?)
    }

    fn attend(&self, x: &Tensor, place: Option<Place<'_>>) -> Result<Tensor, ModelError> {
        let spec = &self.spec.attention;
        let (q, k, v) = self.project(x)?;
        let mut q = apply(self.q_norm.as_ref(), &q)?;
        let mut k = apply(self.k_norm.as_ref(), &k)?;
        if let Some(rope) = &self.rope {
            let seq = x.dim(1)?;
            let starts = place.as_ref().map_or(&[][..], |place| place.rows).iter().map(|row| row.start);
            let reach = place.as_ref().map_or(seq, |place| place.cache.capacity());
            let angles = rope.angles(starts, seq, reach);
            let moved = 8 * (q.elem_count() + k.elem_count()) as u64;
            (q, k) = operation(
                || ("rope", "", Work { bytes: moved, flops: 0 }),
                || {
                    candle_core::Result::Ok((
                        angles.rotate(&q, spec.head_dim)?,
                        angles.rotate(&k, spec.head_dim)?,
                    ))
                },
            )?;
        }
        let seq = x.dim(1)?;
        let Some(Place { rows, cache }) = place else {
            let work = || attention_work(spec, x.dims()[0], seq, 0);
            return Ok(operation(|| ("attention", "", work()), || attention::attend(spec, &q, &k, &v))?);
        };
        let start = rows.iter().map(|row| row.start).max().unwrap_or_default();
        operation(
            || ("attention", "", attention_work(spec, rows.len(), seq, start)),
            || {
                cache.append(rows, &k, &v)?;
                Ok(attention::attend_cached(spec, &q, rows, cache.keys(), cache.values())?)
            },
        )
    }

    /// `[batch, seq, heads · head_dim]` each.
    fn project(&self, x: &Tensor) -> Result<(Tensor, Tensor, Tensor), ModelError> {
        let spec = &self.spec.attention;
        let order = match &spec.qkv {
            QkvSpec::Separate { .. } => {
                let run = |role| self.linear(role)?.forward(x);
                return Ok((run(Role::Q)?, run(Role::K)?, run(Role::V)?));
            }
            QkvSpec::Fused { order, .. } => *order,
        };
        let fused = self.linear(Role::Qkv)?.forward(x)?;
        let (batch, seq, _) = fused.dims3()?;
        // Either order is blocks of queries, keys and values: over all heads at once, or within every group.
        let groups = if order == FusedOrder::Blocks { 1 } else { spec.n_kv };
        let (q_width, kv_width) = (spec.n_q / groups * spec.head_dim, spec.n_kv / groups * spec.head_dim);
        let fused = fused.reshape((batch, seq, groups, q_width + 2 * kv_width))?;
        let part = |start: usize, width: usize| {
            fused.narrow(3, start, width)?.contiguous()?.reshape((batch, seq, groups * width))
        };
        Ok((part(0, q_width)?, part(q_width, kv_width)?, part(q_width + kv_width, kv_width)?))
    }

    /// The Linears of the feed-forward part, or of one of its experts.
    fn part(&self, index: usize) -> Result<Part<'_>, ModelError> {
        let spec = &self.spec;
        let missing =
            || ModelError::NoModule { block: spec.index, module: format!("feed-forward part {index}") };
        let mlp = spec.mlp.parts().get(index).ok_or_else(missing)?;
        // All parts have as many Linears, and they stand at the end.
        let (parts, each) = (spec.mlp.parts().len(), mlp.inputs().len() + 1);
        let start = (self.linears.len() + index * each).checked_sub(parts * each).ok_or_else(missing)?;
        let linears = self.linears.get(start..start + each).ok_or_else(missing)?;
        let (last, first) = linears.split_last().ok_or_else(missing)?;
        Ok(Part { spec: mlp, first, last })
    }

    fn slot(&self, module: &str) -> Option<&Linear> {
        self.linears.iter().find(|l| l.spec().name == module)
    }

    fn linear(&self, role: Role) -> Result<&Linear, ModelError> {
        let found = self.linears.iter().find(|l| l.spec().role == role);
        found.ok_or_else(|| ModelError::NoModule { block: self.spec.index, module: format!("{role:?}") })
    }
}

fn check_length(module: &str, expected: usize, found: usize) -> Result<(), ModelError> {
    if expected == found {
        return Ok(());
    }
    Err(ModelError::Vector { module: module.to_owned(), expected, found })
}

/// Queries of `seq` new positions after `start`, each over itself and all before it, as far as its window goes.
fn attention_work(spec: &AttentionSpec, batch: usize, seq: usize, start: usize) -> Work {
    let seen = |position: usize| spec.window.map_or(position, |window| window.min(position)) as u64;
    let pairs: u64 = (start + 1..=start + seq).map(seen).sum();
    let heads = (batch * spec.n_q * spec.head_dim) as u64;
    let kept = 2 * (batch * spec.n_kv * spec.head_dim) as u64 * seen(start + seq);
    Work { bytes: 4 * (2 * heads * seq as u64 + kept), flops: 4 * heads * pairs }
}

fn apply(norm: Option<&Norm>, x: &Tensor) -> Result<Tensor, ModelError> {
    norm.map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
}

fn see(tap: &mut OptTap<'_, '_>, group: usize, x: &Tensor) -> Result<(), ModelError> {
    if let Some(tap) = tap {
        ops::with_values(x, |x| tap.input(group, x))?;
    }
    Ok(())
}

fn see_nothing(tap: &mut OptTap<'_, '_>, group: usize) {
    if let Some(tap) = tap {
        tap.input(group, &[]);
    }
}
