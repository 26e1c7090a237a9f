//! A checkpoint that can be run.

use crate::block::Block;
use crate::error::ModelError;
use crate::linear::Linear;
use crate::load::{Lazy, Store};
use crate::norm::Norm;
use crate::profile::{Work, operation};
use candle_core::{Device, Tensor};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, Layout, Weight};
use tenuis_spec::{DecoderSpec, HeadSource, LinearSpec, Positions};

/// A decoder over a mapped checkpoint.
///
/// Opening reads headers and little else. Blocks are loaded when they are first run and stay until
/// [`Model::drop_blocks`]; [`Model::load_block`] gives one that nobody keeps.
///
/// ```no_run
/// use std::sync::Arc;
/// use tenuis_core::{Checkpoint, CodecRegistry};
/// use tenuis_model::{GenerateOptions, Model, Tokenizer};
///
/// let dir = std::path::Path::new("models/llama");
/// let model = Model::open(Arc::new(Checkpoint::open(dir)?), &CodecRegistry::builtin())?;
/// let tokenizer = Tokenizer::from_dir(dir, model.spec().vocab)?;
/// let prompt = tokenizer.encode("Once upon a time", true)?;
/// let new = model.generate(&prompt, &GenerateOptions::default(), |_| std::ops::ControlFlow::Continue(()))?;
/// println!("{}", tokenizer.decode(&new)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Model {
    store: Store,
    spec: DecoderSpec,
    embedding: Weight,
    positions: Option<Weight>,
    embedding_norm: Option<Norm>,
    final_norm: Option<Norm>,
    head: Lazy<Linear>,
    blocks: Vec<Lazy<Block>>,
    warnings: Vec<String>,
}

impl Model {
    /// Reads the configuration and checks every tensor's shape against it.
    ///
    /// # Errors
    /// [`ModelError::Spec`] where there is no such family, or the tensors are not those that the configuration calls
    /// for; [`ModelError::Storage`] where compressed weights are declared in a way that cannot be read.
    pub fn open(checkpoint: Arc<Checkpoint>, codecs: &CodecRegistry) -> Result<Self, ModelError> {
        let store = Store::new(checkpoint, codecs)?;
        let checkpoint = &store.checkpoint;
        let mut spec = DecoderSpec::for_modules(checkpoint.config(), |module| store.has_matrix(module))?;
        let mut warnings = Vec::new();
        let (head, embedding) = (spec.lm_head.name.clone(), spec.embedding.name.clone());
        let source = spec.settle_head(|m| store.has_matrix(m), || store.is_equal(&head, &embedding));
        if source == HeadSource::OwnDespiteConfig {
            warnings.push(format!(
                "config.json ties {head} to {embedding}, but they hold different numbers and are used as they are; \
                 set \"tie_word_embeddings\": false"
            ));
        }
        spec.check_shapes(
            |name| checkpoint.info(name).map(|info| info.shape.clone()),
            |module, expected| store.compressed_shape(module, expected),
        )?;
        let matrix = |name: &str, rows| store.matrix(name, [rows, spec.d_model], Layout::OutIn);
        Ok(Self {
            embedding: matrix(&spec.embedding.name, spec.vocab)?,
            positions: match &spec.positions {
                Positions::None => None,
                Positions::Learned { name, rows, .. } => Some(matrix(name, *rows)?),
            },
            embedding_norm: store.opt_norm(spec.embedding.norm.as_ref())?,
            final_norm: store.opt_norm(spec.final_norm.as_ref())?,
            head: Lazy::default(),
            blocks: spec.layers.iter().map(|_| Lazy::default()).collect(),
            spec,
            store,
            warnings,
        })
    }

    /// What the model is.
    pub const fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The checkpoint that it runs.
    pub const fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.store.checkpoint
    }

    /// What was found odd and passed over, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The names of the tensors that make up the weight of a module, dense or compressed; without its bias.
    pub fn component_names(&self, module: &str) -> Vec<String> {
        self.store.tensor_names(module)
    }

    /// The weight of a Linear as it is stored; its bytes stay in the mapped file.
    ///
    /// # Errors
    /// [`ModelError::Storage`] where it cannot be decoded.
    pub fn weight(&self, linear: &LinearSpec) -> Result<Weight, ModelError> {
        self.store.matrix(&linear.name, linear.shape, linear.layout)
    }

    /// A matrix of the model by module, as it is stored: a Linear, the embedding, a table of positions.
    ///
    /// # Errors
    /// [`ModelError::Storage`] where it is not there or cannot be decoded.
    pub fn matrix(&self, module: &str, shape: [usize; 2], layout: Layout) -> Result<Weight, ModelError> {
        self.store.matrix(module, shape, layout)
    }

    /// Loads a block for the caller alone.
    ///
    /// # Errors
    /// [`ModelError::NoBlock`], or what is wrong with a tensor.
    pub fn load_block(&self, index: usize) -> Result<Block, ModelError> {
        let blocks = self.spec.layers.len();
        let spec = self.spec.layers.get(index).ok_or(ModelError::NoBlock { index, blocks })?;
        Block::load(&self.store, spec)
    }

    /// Gives the pages of a block's tensors back to the operating system; they come back when they are next read.
    pub fn release_block(&self, index: usize) {
        let Some(layer) = self.spec.layers.get(index) else { return };
        let mut names: Vec<String> = Vec::new();
        for tensor in layer.tensors() {
            match tensor.module {
                Some((module, _)) => names.extend(self.component_names(&module)),
                None => names.push(tensor.name),
            }
        }
        self.checkpoint().release(names.iter().map(String::as_str));
    }

    /// Drops the blocks that were kept and gives their pages back.
    pub fn drop_blocks(&self) {
        for (index, block) in self.blocks.iter().enumerate() {
            block.clear();
            self.release_block(index);
        }
        self.head.clear();
    }

    /// The bytes that the blocks and the head that are loaded hold, in RAM or in the mapped file.
    pub fn resident_bytes(&self) -> u64 {
        let blocks = self.blocks.iter().filter_map(Lazy::loaded).map(|b| b.resident_bytes());
        let norms = [&self.embedding_norm, &self.final_norm].into_iter().flatten().map(Norm::resident_bytes);
        blocks.chain(norms).chain(self.head.loaded().map(|h| h.resident_bytes())).sum()
    }

    /// The block, loaded when it is first asked for and kept.
    ///
    /// # Errors
    /// As [`Model::load_block`].
    pub fn block(&self, index: usize) -> Result<Arc<Block>, ModelError> {
        let blocks = self.blocks.len();
        let slot = self.blocks.get(index).ok_or(ModelError::NoBlock { index, blocks })?;
        slot.get(|| self.load_block(index))
    }

    /// Embeds tokens; the first hidden state.
    ///
    /// # Shapes
    /// `tokens`: `[batch, seq]` row-major, of positions `start..start + seq`; result: `[batch, seq, d_model]`.
    ///
    /// # Errors
    /// [`ModelError::Tokens`], [`ModelError::Token`], or [`ModelError::Positions`] beyond learned positions.
    pub fn embed(
        &self,
        tokens: &[u32],
        batch: usize,
        seq: usize,
        start: usize,
    ) -> Result<Tensor, ModelError> {
        if tokens.is_empty() || batch.checked_mul(seq) != Some(tokens.len()) {
            return Err(ModelError::Tokens { found: tokens.len(), batch, seq });
        }
        self.embed_at(tokens, &vec![start; batch])
    }

    /// As [`Model::embed`], each sequence from a position of its own on; there are whole sequences, at least one.
    pub(crate) fn embed_at(&self, tokens: &[u32], starts: &[usize]) -> Result<Tensor, ModelError> {
        let (width, vocab) = (self.spec.d_model, self.spec.vocab);
        let (batch, seq) = (starts.len(), tokens.len() / starts.len());
        let mut rows = vec![0.0; tokens.len() * width];
        operation(
            || {
                (
                    "embedding",
                    self.embedding.kind(),
                    Work { bytes: 8 * (tokens.len() * width) as u64, flops: 0 },
                )
            },
            || {
                for (index, (&token, row)) in tokens.iter().zip(rows.chunks_exact_mut(width)).enumerate() {
                    let number = token as usize;
                    if number >= vocab {
                        return Err(ModelError::Token { token, index, vocab });
                    }
                    decode(&self.embedding, &self.spec.embedding.name, number, row)?;
                }
                Ok(())
            },
        )?;
        if let Some(scale) = self.spec.embedding.scale {
            for v in &mut rows {
                *v *= scale as f32;
            }
        }
        self.add_positions(&mut rows, seq, starts)?;
        let hidden = Tensor::from_vec(rows, (batch, seq, width), &Device::Cpu)?;
        self.embedding_norm.as_ref().map_or(Ok(hidden.clone()), |norm| norm.forward(&hidden))
    }

    fn add_positions(&self, rows: &mut [f32], seq: usize, starts: &[usize]) -> Result<(), ModelError> {
        let (Positions::Learned { name, rows: count, offset }, Some(table)) =
            (&self.spec.positions, &self.positions)
        else {
            return Ok(());
        };
        let room = count - offset.min(count);
        let wanted = starts.iter().max().map_or(0, |start| start + seq);
        if wanted > room {
            return Err(ModelError::Positions { wanted, room });
        }
        let width = self.spec.d_model;
        let mut positions = vec![0.0; seq * width];
        let mut decoded = None;
        for (sequence, &start) in rows.chunks_exact_mut(seq * width).zip(starts) {
            if decoded != Some(start) {
                for (index, row) in positions.chunks_exact_mut(width).enumerate() {
                    decode(table, name, offset + start + index, row)?;
                }
                decoded = Some(start);
            }
            for (v, p) in sequence.iter_mut().zip(&positions) {
                *v += p;
            }
        }
        Ok(())
    }

    /// Applies the norm before the logits.
    ///
    /// # Errors
    /// [`ModelError::Candle`] where the shape or type is another.
    pub fn final_norm(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        self.final_norm.as_ref().map_or_else(|| Ok(hidden.clone()), |norm| norm.forward(hidden))
    }

    /// Turns the last block's output into logits: final norm, then the head.
    ///
    /// # Shapes
    /// `hidden`: `[batch, seq, d_model]`, result: `[batch, seq, vocab]`.
    ///
    /// # Errors
    /// [`ModelError::Candle`] where the shape or type is another, or what is wrong with the head's weight.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        let mut dims = hidden.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.spec.vocab;
        }
        Ok(Tensor::from_vec(self.head_values(hidden)?, dims, &Device::Cpu)?)
    }

    /// As [`Model::head`], as a plain vector that was never copied.
    ///
    /// # Errors
    /// As [`Model::head`].
    pub fn head_values(&self, hidden: &Tensor) -> Result<Vec<f32>, ModelError> {
        let head = self.head.get(|| self.store.linear(&self.spec.head()))?;
        self.logits_of(&head, hidden)
    }

    /// As [`Model::head_values`] with another weight in the head's place.
    ///
    /// # Errors
    /// As [`Model::head`]; [`ModelError::Slot`] where the weight has another shape.
    pub fn head_with(&self, hidden: &Tensor, weight: &Weight) -> Result<Vec<f32>, ModelError> {
        let mut head = Linear::clone(&*self.head.get(|| self.store.linear(&self.spec.head()))?);
        head.set_weight(Weight::clone(weight))?;
        self.logits_of(&head, hidden)
    }

    fn logits_of(&self, head: &Linear, hidden: &Tensor) -> Result<Vec<f32>, ModelError> {
        let mut logits = head.forward_values(&self.final_norm(hidden)?)?;
        if let Some(scale) = self.spec.logit_scale {
            for v in &mut logits {
                *v *= scale as f32;
            }
        }
        if let Some(cap) = self.spec.logit_softcap {
            let cap = cap as f32;
            for v in &mut logits {
                *v = cap * (*v / cap).tanh();
            }
        }
        Ok(logits)
    }

    /// The logits of every position.
    ///
    /// # Shapes
    /// `tokens`: `[batch, seq]` row-major, result: `[batch, seq, vocab]`.
    ///
    /// # Errors
    /// As [`Model::embed`] and [`Model::load_block`].
    pub fn logits(&self, tokens: &[u32], batch: usize, seq: usize) -> Result<Tensor, ModelError> {
        self.head(&self.last_hidden(tokens, batch, seq)?)
    }

    /// As [`Model::logits`], as a plain vector that was never copied.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn logits_vec(&self, tokens: &[u32], batch: usize, seq: usize) -> Result<Vec<f32>, ModelError> {
        self.head_values(&self.last_hidden(tokens, batch, seq)?)
    }

    fn last_hidden(&self, tokens: &[u32], batch: usize, seq: usize) -> Result<Tensor, ModelError> {
        let mut hidden = self.embed(tokens, batch, seq, 0)?;
        for index in 0..self.blocks.len() {
            hidden = self.block(index)?.run(&hidden, None, None)?;
        }
        Ok(hidden)
    }

    /// The hidden states as transformers counts them: the embedding, then every block's output, of which the last
    /// has gone through the final norm.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn hidden_states(&self, tokens: &[u32], batch: usize, seq: usize) -> Result<Vec<Tensor>, ModelError> {
        let mut hidden = self.embed(tokens, batch, seq, 0)?;
        let mut states = Vec::with_capacity(self.blocks.len() + 1);
        for index in 0..self.blocks.len() {
            states.push(hidden.clone());
            hidden = self.block(index)?.run(&hidden, None, None)?;
        }
        states.push(self.final_norm(&hidden)?);
        Ok(states)
    }
}

fn decode(weight: &Weight, module: &str, row: usize, out: &mut [f32]) -> Result<(), ModelError> {
    weight
        .decode_rows(row..row + 1, out)
        .map_err(|source| ModelError::Weight { module: module.to_owned(), source })
}
