//! `tenuis train`.

use super::open;
use crate::args::TrainArgs;
use crate::detach::detach;
use crate::exit::{Code, Failure};
use crate::training::TrainingLog;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tenuis_core::{CodecRegistry, DType, WriterOptions};
use tenuis_distill::{
    Network, Objective, Params, Selection, Sequences, Texts, TrainError, TrainOptions, train,
};
use tenuis_model::Tokenizer;
use tenuis_spec::DecoderSpec;

/// What separates documents in a training text.
const END_OF_TEXT: &str = "<|endoftext|>";
/// Text that a new tokenizer is learnt from: more changes nothing but the time.
const TOKENIZER_BYTES: usize = 8 << 20;

pub(crate) fn run(args: &TrainArgs) -> Result<(), Failure> {
    if args.detach {
        return super::print(&detach(&args.out)?);
    }
    let state_dir = args.state.clone().unwrap_or_else(|| beside(&args.out));
    std::fs::create_dir_all(&state_dir).map_err(|e| Failure::output(&state_dir, e))?;
    let text = read(&args.text)?;
    let (config, tokenizer, tokenizer_json, mut network) = start(args, &text)?;
    let vocab = network.spec().vocab;
    network.params.train(&Selection::all())?;

    let options = options(args)?;
    let separator = tokenizer.token(END_OF_TEXT);
    let tokens = encode(&tokenizer, &text, separator)?;
    drop(text);
    let valid = match &args.valid {
        Some(path) => {
            let tokens = encode(&tokenizer, &read(path)?, separator)?;
            Some(Sequences::new("validation", tokens.into(), options.seq_len, vocab)?)
        }
        None => None,
    };
    let count = tokens.len();
    let texts = Texts { train: Sequences::new("training", tokens.into(), options.seq_len, vocab)?, valid };
    let (_, all) = network.params.counts();
    let per_step = options.batch_size * options.accumulate * options.seq_len;
    let mut log = TrainingLog::create(&state_dir, options.steps, per_step, args.stop_after)?;
    log.say(&format!(
        "{all} parameters, {count} tokens of text, {} steps of {per_step} tokens ({:.2} passes over the text)",
        options.steps,
        (options.steps * per_step) as f64 / count as f64
    ));
    let objective = Objective::cross_entropy();
    let ended = train(&mut network, None, &texts, &objective, &options, Some(&state_dir), &mut log);
    let provenance = match (ended, log.stopped_at()) {
        (Ok(outcome), _) => {
            log.finish(&outcome);
            json!({
                "by": "tenuis train", "steps": outcome.steps, "tokens": outcome.tokens, "seconds": outcome.seconds,
                "valid": outcome.valid, "learning_curve": outcome.curve, "options": options,
            })
        }
        (Err(TrainError::Cancelled { step }), Some(_)) => {
            log.say(&format!("stopped after {step} of {} steps, as asked", options.steps));
            json!({ "by": "tenuis train", "steps": step, "tokens": step * per_step, "options": options })
        }
        (Err(error), _) => return Err(error.into()),
    };
    let dtype = DType::from_name(&args.dtype)
        .ok_or_else(|| Failure::usage(format!("--dtype {}: take f32, bf16 or f16", args.dtype)))?;
    let generation = json!({ "bos_token_id": separator, "eos_token_id": separator }).to_string();
    let mut files: Vec<(&str, &[u8])> = vec![("tokenizer.json", tokenizer_json.as_bytes())];
    if separator.is_some() {
        files.push(("generation_config.json", generation.as_bytes()));
    }
    let writer = WriterOptions::default().overwrite(args.fresh);
    let written = network.write(&args.out, &config, dtype, &files, writer, provenance)?;
    super::print(&format!("{}: {} bytes of weights\n", written.dir.display(), written.file_bytes))
}

/// `DIR.train` beside `DIR`.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".train");
    PathBuf::from(name)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::input(path, e))
}

/// A network: that of a checkpoint, or a new one by its configuration.
fn start(args: &TrainArgs, text: &str) -> Result<(Value, Tokenizer, String, Network), Failure> {
    if let Some(dir) = &args.model {
        let model = open(dir, &CodecRegistry::builtin())?;
        let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
        let json = model.checkpoint().tokenizer_json()?.unwrap_or_default();
        let json = String::from_utf8(json).map_err(|e| Failure::input(dir, e))?;
        let network = Network::from_model(&model)?;
        let mut config = model.checkpoint().config().clone();
        if let Some(config) = config.as_object_mut() {
            config.remove("quantization_config");
        }
        return Ok((config, tokenizer, json, network));
    }
    let Some(path) = &args.config else {
        return Err(Failure::usage(
            "pass --config FILE.json for a new model, or --model DIR to go on with one",
        ));
    };
    let config = read(path)?;
    let mut config: Value = serde_json::from_str(&config).map_err(|e| Failure::input(path, e))?;
    let spec = DecoderSpec::from_config(&config).map_err(|e| Failure::input(path, e))?;
    let (tokenizer, json) = if let Some(dir) = &args.tokenizer {
        (Tokenizer::from_dir(dir, spec.vocab)?, read(&dir.join("tokenizer.json"))?)
    } else {
        let mut end = TOKENIZER_BYTES.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let tokenizer = Tokenizer::train(text[..end].split(END_OF_TEXT), spec.vocab, END_OF_TEXT)?;
        let json = tokenizer.to_json()?;
        (tokenizer, json)
    };
    if let (Some(id), Some(config)) = (tokenizer.token(END_OF_TEXT), config.as_object_mut()) {
        config.insert("bos_token_id".to_owned(), id.into());
        config.insert("eos_token_id".to_owned(), id.into());
    }
    let params = Params::random(&spec, args.seed)?;
    Ok((config, tokenizer, json, Network::new(spec, params)))
}

fn options(args: &TrainArgs) -> Result<TrainOptions, Failure> {
    let mut options = match &args.settings {
        Some(path) => {
            let text = read(path)?;
            toml::from_str(&text)
                .map_err(|e| Failure::new(Code::Recipe, format!("{}: {e}", path.display())))?
        }
        None => TrainOptions::default(),
    };
    options.seed = Some(args.seed);
    if let Some(steps) = args.steps {
        options.steps = steps;
    }
    if let Some(batch) = args.batch_size {
        options.batch_size = batch;
    }
    if let Some(seq_len) = args.seq_len {
        options.seq_len = seq_len;
    }
    if let Some(rate) = args.learning_rate {
        options.learning_rate = rate;
    }
    Ok(options)
}

/// Documents apart where the text marks them, else the text as it is.
fn encode(tokenizer: &Tokenizer, text: &str, separator: Option<u32>) -> Result<Vec<u32>, Failure> {
    let Some(separator) = separator else { return Ok(tokenizer.encode(text, false)?) };
    let documents: Vec<&str> = text.split(END_OF_TEXT).map(|d| d.trim_start_matches('\n')).collect();
    let documents: Vec<&str> = documents.into_iter().filter(|d| !d.is_empty()).collect();
    Ok(tokenizer.encode_documents(&documents, separator)?)
}
