//! What the tests share: tiny networks and texts, fixtures, teachers, and a look at gradients through the front door.

use candle_core::Tensor;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, GroupedInt, Representation};
use tenuis_distill::{
    Answer, Extent, Network, NetworkTeacher, Objective, Observer, Outcome, Params, Schedule, Selection,
    Sequences, StepRecord, Teacher, Texts, TrainError, TrainOptions, ValidRecord, train,
};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// Random checkpoints of every family, committed with the parity tests.
pub(crate) const FIXTURES: [&str; 17] = [
    "gemma",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "llama_gqa_llama3rope",
    "llama_linear_headdim",
    "llama_yarn",
    "mistral_window",
    "mixtral",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
];
/// The vocabulary of the fixtures.
pub(crate) const FIXTURE_VOCAB: usize = 160;

pub(crate) fn fixture(name: &str) -> Arc<Model> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/parity").join(name);
    let checkpoint = Checkpoint::open(&dir).expect("the fixture is a checkpoint");
    Arc::new(Model::open(Arc::new(checkpoint), &CodecRegistry::builtin()).expect("the fixture is a model"))
}

/// A Llama of a vocabulary, width, number of blocks and number of heads.
pub(crate) fn llama([vocab, width, blocks, heads]: [usize; 4]) -> DecoderSpec {
    let config = json!({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": heads / 2,
    });
    DecoderSpec::from_config(&config).unwrap()
}

/// Vocabulary of the tiny networks.
pub(crate) const VOCAB: usize = 24;

/// A tiny network, all of which is trained.
pub(crate) fn tiny(seed: u64) -> Network {
    random([VOCAB, 16, 2, 4], seed)
}

pub(crate) fn random(sizes: [usize; 4], seed: u64) -> Network {
    let spec = llama(sizes);
    let mut params = Params::random(&spec, seed).unwrap();
    params.train(&Selection::all()).unwrap();
    Network::new(spec, params)
}

/// A network with a head so much larger that what its frozen embedding and head do not do is left to the blocks, and that
/// gradients may overflow f16.
pub(crate) fn loud(factor: f32) -> Network {
    let mut network = tiny(5);
    let head = network.params.values("lm_head.weight").unwrap();
    let louder = head.iter().map(|v| v * factor).collect();
    network.params.insert("lm_head.weight", louder, &[VOCAB, 16]).unwrap();
    network.params.train(&Selection(vec!["*.layers.*".to_owned()])).unwrap();
    network
}

/// The network of a fixture, all of which is trained.
pub(crate) fn network_of(model: &Model) -> Network {
    let mut network = Network::from_model(model).unwrap();
    network.params.train(&Selection::all()).unwrap();
    network
}

/// A stream in which most tokens follow from the one before: there is something to learn.
pub(crate) fn stream(count: usize, vocab: usize, seed: u32) -> Vec<u32> {
    let (mut state, mut token) = (seed.wrapping_mul(2_654_435_761).wrapping_add(1), 0u32);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            token = if state >> 30 == 0 { state >> 16 } else { token * 5 + 3 } % vocab as u32;
            token
        })
        .collect()
}

pub(crate) fn sequences(count: usize, seq_len: usize, vocab: usize, seed: u32) -> Sequences {
    Sequences::new("test", stream(count * seq_len + 1, vocab, seed).into(), seq_len, vocab).unwrap()
}

/// Sequences of [`SEQ`] tokens for the tiny networks, without validation.
pub(crate) fn texts(count: usize) -> Texts {
    Texts { train: sequences(count, SEQ, VOCAB, 1), valid: None }
}

pub(crate) const SEQ: usize = 12;

/// Steps of 4 sequences with a rate that tiny networks learn at.
pub(crate) fn options(steps: usize) -> TrainOptions {
    let mut options = TrainOptions::default();
    (options.steps, options.batch_size, options.seq_len) = (steps, 4, SEQ);
    (options.learning_rate, options.warmup) = (1e-2, 0);
    options
}

/// Keeps what it sees, and cancels before a step if told to.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) valid: Vec<ValidRecord>,
    pub(crate) cancel_after: Option<usize>,
}

impl Observer for Log {
    fn step(&mut self, record: &StepRecord) {
        self.steps.push(*record);
    }

    fn valid(&mut self, record: &ValidRecord) {
        self.valid.push(*record);
    }

    fn cancelled(&mut self) -> bool {
        self.cancel_after.is_some_and(|steps| self.steps.len() >= steps)
    }
}

/// Trains toward the text alone and gives what was seen.
pub(crate) fn learn(
    network: &mut Network,
    texts: &Texts,
    options: &TrainOptions,
) -> Result<(Outcome, Log), TrainError> {
    let mut log = Log::default();
    let outcome = train(network, None, texts, &Objective::cross_entropy(), options, None, &mut log)?;
    Ok((outcome, log))
}

pub(crate) type Weights = BTreeMap<String, Vec<f32>>;

/// The values of all parameters.
pub(crate) fn weights(network: &Network) -> Weights {
    network.params.names().map(|name| (name.to_owned(), network.params.values(name).unwrap())).collect()
}

/// Puts values back; the same parameters are trained as before.
pub(crate) fn restore(network: &mut Network, weights: &Weights) {
    let trained: Vec<String> = network.params.trained().map(|(name, _)| name.to_owned()).collect();
    for (name, values) in weights {
        let shape = network.params.tensor(name).unwrap().dims().to_vec();
        network.params.insert(name, values.clone(), &shape).unwrap();
    }
    network.params.train(&Selection(trained)).unwrap();
}

/// With an epsilon far above any gradient AdamW's update is `rate / epsilon · gradient`.
const EPSILON: f64 = (1u64 << 40) as f64;
/// `rate / epsilon`: the update is then so much larger than the weight that the difference of the two keeps its digits.
const STRETCH: f64 = 4096.0;

/// A step's record, and the gradient that it used, of the parameters of the network. The weights stay as they are.
pub(crate) fn probe(
    network: &mut Network,
    teacher: Option<&mut dyn Teacher>,
    texts: &Texts,
    objective: &Objective,
    options: &TrainOptions,
) -> (StepRecord, Weights) {
    let mut options = options.clone();
    (options.steps, options.schedule, options.warmup) = (1, Schedule::Constant, 0);
    (options.beta1, options.clip_norm, options.weight_decay) = (0.0, 0.0, 0.0);
    (options.epsilon, options.learning_rate) = (EPSILON, EPSILON * STRETCH);
    let before = weights(network);
    let mut log = Log::default();
    train(network, teacher, texts, objective, &options, None, &mut log).unwrap();
    let after = weights(network);
    let trained: Vec<String> = network.params.trained().map(|(name, _)| name.to_owned()).collect();
    let gradient = |name: &String| {
        let values = before[name].iter().zip(&after[name]);
        values.map(|(b, a)| ((f64::from(*b) - f64::from(*a)) / STRETCH) as f32).collect()
    };
    let gradients = trained.iter().map(|name| (name.clone(), gradient(name))).collect();
    restore(network, &before);
    (log.steps[0], gradients)
}

pub(crate) fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// The distance of two gradients as a share of the first.
pub(crate) fn distance(a: &Weights, b: &Weights) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let (mut apart, mut size) = (0.0, 0.0);
    for (a, b) in a.values().flatten().zip(b.values().flatten()) {
        apart += (f64::from(*a) - f64::from(*b)).powi(2);
        size += f64::from(*a).powi(2);
    }
    (apart / size).sqrt()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

/// The mean negative log-likelihood of all sequences, in f64 from the logits.
pub(crate) fn nll(network: &Network, sequences: &Sequences) -> f64 {
    let numbers: Vec<usize> = (0..sequences.count()).collect();
    let (tokens, targets) = sequences.batch(&numbers);
    let extent = Extent { batch: numbers.len(), seq: sequences.seq_len() };
    let logits = values(&network.logits(&tokens, extent).unwrap());
    nll_of(&logits, &targets)
}

pub(crate) fn nll_of(logits: &[f32], targets: &[u32]) -> f64 {
    let rows = logits.chunks_exact(logits.len() / targets.len()).zip(targets);
    let total: f64 = rows
        .map(|(row, &target)| {
            let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
            sum.ln() - f64::from(row[target as usize])
        })
        .sum();
    total / targets.len() as f64
}

/// A network as a teacher that counts how often it is run.
pub(crate) struct CountedTeacher {
    teacher: NetworkTeacher,
    pub(crate) runs: usize,
}

impl CountedTeacher {
    pub(crate) fn new(network: Network) -> Self {
        Self::known_as("the teacher of the tests", network)
    }

    pub(crate) fn known_as(identity: &str, network: Network) -> Self {
        let teacher = NetworkTeacher::new(network).with_identity(Some(identity.to_owned()));
        Self { teacher, runs: 0 }
    }
}

impl Teacher for CountedTeacher {
    fn vocab(&self) -> usize {
        self.teacher.vocab()
    }

    fn blocks(&self) -> usize {
        self.teacher.blocks()
    }

    fn width(&self) -> usize {
        self.teacher.width()
    }

    fn identity(&self) -> Option<String> {
        self.teacher.identity()
    }

    fn answer(
        &mut self,
        sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
        states: &[usize],
    ) -> Result<Answer, TrainError> {
        self.runs += 1;
        self.teacher.answer(sequences, tokens, extent, states)
    }
}

/// The codes of a weight and what they stand for, row by row.
pub(crate) fn integers(weight: &GroupedInt) -> (Vec<u8>, Vec<f32>) {
    let [out, input] = weight.shape();
    let (mut codes, mut dense) = (vec![0; out * input], vec![0.0; out * input]);
    for (row, codes) in codes.chunks_exact_mut(input).enumerate() {
        weight.codes_row(row, codes);
    }
    weight.decode_rows(0..out, &mut dense).unwrap();
    (codes, dense)
}
