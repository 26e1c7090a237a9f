//! A job in a worker: its calls go there, and what the plugin asks of the host is answered by the host's own functions.

#![expect(unsafe_code, reason = "calls our C functions, and reads views of ours")]

use crate::buffer::Buffer;
use crate::call::Call;
use crate::callbacks::{self, Context};
use crate::model;
use crate::worker::WorkerFault;
use crate::worker::client::{Answer, Attendant, Done, Process};
use crate::worker::pack::Packer;
use crate::worker::plugin::IsolatedPlugin;
use crate::worker::shared::anonymous;
use crate::worker::wire::{FromWorker, ToWorker};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tenuis_abi::{TN_INVALID, TN_OK, TN_OOM, tn_dtype, tn_err, tn_model, tn_str};

/// Tokens that one `read` may ask for at a time, in bytes.
const TOKENS_LIMIT: u64 = 1 << 30;

/// A worker with its job.
pub(crate) struct JobWorker {
    process: Process,
    desk: Desk,
}

/// What the plugin's questions are answered from.
struct Desk {
    context: Arc<Context>,
    /// The shared memory behind the buffers that are lent; what the plugin wrote there is copied before it is checked.
    lent: BTreeMap<(String, String), File>,
    /// The model of the running call.
    model: *const tn_model,
}

// SAFETY: the pointer is set for the length of a call, during which the worker does not move between threads.
unsafe impl Send for Desk {}

impl JobWorker {
    /// Starts a worker and makes a job in it; status and message are those of `create`.
    pub(crate) fn create(
        plugin: &Arc<IsolatedPlugin>,
        technique: &str,
        options: &Value,
        context: &Arc<Context>,
    ) -> Result<(Self, i32, String), WorkerFault> {
        let (process, _) = plugin.start()?;
        let desk = Desk { context: Arc::clone(context), lent: BTreeMap::new(), model: std::ptr::null() };
        let mut worker = Self { process, desk };
        let create = ToWorker::Create {
            technique: technique.to_owned(),
            options: options.to_string(),
            threads: context.thread_budget(),
            seed: context.seed(),
        };
        let (status, message, _) = worker.process.ask(&create, None, &mut worker.desk)?;
        Ok((worker, status, message))
    }

    /// Has the worker call a function.
    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<Done, WorkerFault> {
        let mut packer = Packer::default();
        // SAFETY: the caller's views are valid for the call.
        let request = unsafe {
            match call {
                Call::Accepts(descriptor) => ToWorker::Accepts { descriptor: descriptor.to_owned() },
                Call::Estimate(group) => ToWorker::Estimate { group: packer.group(group) },
                Call::GroupBegin(group) => ToWorker::GroupBegin { group: packer.group(group) },
                Call::GroupTile(rows) => {
                    let missing = || WorkerFault::Memory { source: io::ErrorKind::InvalidInput.into() };
                    ToWorker::GroupTile { rows: packer.tensor(rows).ok_or_else(missing)? }
                }
                // The worker kept what came with the beginning.
                Call::GroupFinish(_) => ToWorker::GroupFinish,
                Call::ModelStatistics => ToWorker::ModelStatistics,
                Call::ModelEstimate(model) => ToWorker::ModelEstimate { model: packer.model(model) },
                Call::ModelRun(model) => ToWorker::ModelRun { model: packer.model(model) },
            }
        };
        let shared = packer.len();
        // SAFETY: as above.
        let region = unsafe { packer.region() }.map_err(|source| WorkerFault::Memory { source })?;
        self.desk.model = match call {
            Call::ModelEstimate(model) | Call::ModelRun(model) => model,
            _ => std::ptr::null(),
        };
        let done = self.process.ask(&request, region.as_ref(), &mut self.desk);
        self.desk.model = std::ptr::null();
        if !matches!(call, Call::GroupBegin(_) | Call::GroupTile(_)) {
            self.desk.lent.clear();
        }
        let (status, message, value) = done?;
        // The copy of the checkpoints that a run would share counts too.
        let beside = if matches!(call, Call::ModelEstimate(_)) { shared } else { 0 };
        Ok((status, message, value.saturating_add(beside)))
    }
}

impl Drop for JobWorker {
    fn drop(&mut self) {
        self.process.dismiss(&mut self.desk);
    }
}

impl Attendant for Desk {
    fn cancelled(&self) -> bool {
        // SAFETY: our own function with our own context. A panic of the listener counts as yes, as it does in process.
        unsafe { callbacks::cancelled(Arc::as_ptr(&self.context).cast_mut().cast()) != 0 }
    }

    fn attend(&mut self, message: FromWorker, tail: &[u8]) -> Result<Option<Answer>, String> {
        let ctx: *mut c_void = Arc::as_ptr(&self.context).cast_mut().cast();
        let text = tn_str::new;
        // SAFETY: our own functions with our own context and texts that outlive the calls, here and below.
        let answer = unsafe {
            match message {
                FromWorker::Progress { done, total, note } => {
                    callbacks::progress(ctx, done, total, text(&note));
                    return Ok(None);
                }
                FromWorker::Log { level, message } => {
                    callbacks::log(ctx, level, text(&message));
                    return Ok(None);
                }
                FromWorker::Metric { key, bits } => {
                    callbacks::metric(ctx, text(&key), f64::from_bits(bits));
                    return Ok(None);
                }
                FromWorker::MetricAt { key, step, bits } => {
                    callbacks::metric_at(ctx, text(&key), step, f64::from_bits(bits));
                    return Ok(None);
                }
                FromWorker::OutAlloc { weight, component, dtype, shape } => {
                    self.lend(weight, component, dtype, &shape)
                }
                FromWorker::Emit { weight, descriptor, components } => {
                    self.collect(&weight, &components)?;
                    let names: Vec<tn_str> = components.iter().map(|name| text(name)).collect();
                    let (name, count) = (text(&weight), names.len() as u32);
                    self.emitted(status(|err| {
                        callbacks::emit(ctx, name, text(&descriptor), count, names.as_ptr(), err)
                    }))
                }
                FromWorker::Fold { weight } => {
                    let scale: Vec<f32> = tail.as_chunks().0.iter().map(|&b| f32::from_ne_bytes(b)).collect();
                    status(|err| callbacks::fold(ctx, text(&weight), scale.len() as u64, scale.as_ptr(), err))
                }
                FromWorker::OutLoss => number(|loss, err| callbacks::out_loss(ctx, loss, err)),
                FromWorker::EvalLoss => number(|loss, err| model::eval_loss(ctx, loss, err)),
                FromWorker::EmitTensor { name } => {
                    self.collect(&name, &[String::new()])?;
                    self.emitted(status(|err| model::emit_tensor(ctx, text(&name), err)))
                }
                FromWorker::EmitWeight { module, shape: (rows, columns), descriptor, components } => {
                    self.collect(&module, &components)?;
                    let names: Vec<tn_str> = components.iter().map(|name| text(name)).collect();
                    let (name, count, pointer) = (text(&module), names.len() as u32, names.as_ptr());
                    self.emitted(status(|err| {
                        model::emit_weight(ctx, name, rows, columns, text(&descriptor), count, pointer, err)
                    }))
                }
                FromWorker::EmitCopy { name, teacher, source } => {
                    status(|err| model::emit_copy(ctx, text(&name), teacher, text(&source), err))
                }
                FromWorker::Remove { name } => status(|err| model::remove(ctx, text(&name), err)),
                FromWorker::Retract { name } => {
                    if name.is_empty() {
                        self.lent.clear();
                    }
                    status(|err| model::retract(ctx, text(&name), err))
                }
                FromWorker::SetConfig { config } => status(|err| model::set_config(ctx, text(&config), err)),
                FromWorker::ReadTokens { valid, first, count } => self.tokens(valid, first, count),
                FromWorker::DecodeRows { teacher, weight, row, rows } => {
                    self.rows(teacher, weight, row, rows)
                }
                FromWorker::Described { .. } | FromWorker::Refused { .. } | FromWorker::Done { .. } => {
                    return Err("an unexpected message".to_owned());
                }
            }
        };
        Ok(Some(answer))
    }
}

impl Desk {
    /// `out_alloc`: a buffer of the host, and shared memory with the same pattern for the plugin to write over.
    fn lend(&mut self, weight: String, component: String, dtype: (u8, u8), shape: &[i64]) -> Answer {
        let ctx: *mut c_void = Arc::as_ptr(&self.context).cast_mut().cast();
        let dtype = tn_dtype { code: dtype.0, bits: dtype.1, lanes: 1 };
        let (mut data, mut len) = (std::ptr::null_mut(), 0);
        let mut answer = status(|err| {
            let (name, part) = (tn_str::new(&weight), tn_str::new(&component));
            let (rank, extents) = (shape.len() as i32, shape.as_ptr());
            // SAFETY: our own function with our own context, texts, shape and places for the results.
            unsafe {
                callbacks::out_alloc(ctx, name, part, dtype, rank, extents, &raw mut data, &raw mut len, err)
            }
        });
        if answer.status != TN_OK {
            return answer;
        }
        let copy = |buffer: &mut Buffer| {
            let file = anonymous(buffer.whole().len() as u64)?;
            file.write_all_at(buffer.whole(), 0)?;
            Ok::<_, io::Error>((file.try_clone()?, file))
        };
        match self.context.with_buffer(&weight, &component, copy) {
            Some(Ok((ours, theirs))) => {
                self.lent.insert((weight, component), ours);
                (answer.value, answer.region) = (len, Some(theirs));
            }
            Some(Err(e)) => (answer.status, answer.message) = (TN_OOM, format!("shared memory: {e}")),
            None => (answer.status, answer.message) = (TN_INVALID, "the buffer is gone".to_owned()),
        }
        answer
    }

    /// Copies what the plugin wrote into the host's buffers, where nobody but the host can change it.
    fn collect(&self, name: &str, components: &[String]) -> Result<(), String> {
        for component in components {
            let Some(file) = self.lent.get(&(name.to_owned(), component.clone())) else { continue };
            let copied =
                self.context.with_buffer(name, component, |buffer| file.read_exact_at(buffer.whole_mut(), 0));
            if let Some(Err(e)) = copied {
                return Err(format!("the buffer of {name} {component} cannot be read: {e}"));
            }
        }
        Ok(())
    }

    /// Gives up the shared memory of the buffers that the host took.
    fn emitted(&mut self, answer: Answer) -> Answer {
        let context = &self.context;
        self.lent.retain(|(name, component), _| context.with_buffer(name, component, |_| ()).is_some());
        answer
    }

    /// `tn_tokens.read`.
    fn tokens(&self, valid: bool, first: u64, count: u64) -> Answer {
        // SAFETY: null, or the model of the running call.
        let tokens = unsafe {
            self.model.as_ref().and_then(|model| if valid { model.valid } else { model.train }.as_ref())
        };
        let Some((tokens, read)) = tokens.and_then(|tokens| tokens.read.map(|read| (tokens, read))) else {
            return refusal(TN_INVALID, "there are no such tokens");
        };
        let inside = first.checked_add(count).is_some_and(|end| end <= tokens.n_sequences);
        let values = if inside { count.saturating_mul(tokens.sequence_length) } else { 0 };
        if values.saturating_mul(4) > TOKENS_LIMIT {
            return refusal(TN_OOM, "too many sequences at once");
        }
        let mut out = vec![0_u32; values as usize];
        // What lies outside is refused before anything is written.
        let place = if inside { out.as_mut_ptr() } else { std::ptr::null_mut() };
        // SAFETY: a view of ours, and room for the sequences.
        let mut answer = status(|err| unsafe { read(tokens.ctx, first, count, place, err) });
        answer.tail = bytemuck::cast_slice(&out).to_vec();
        answer
    }

    /// `tn_checkpoint.decode`.
    fn rows(&self, teacher: bool, weight: u32, row: u64, rows: u64) -> Answer {
        // SAFETY: null, or the model of the running call with its views.
        let checkpoint =
            unsafe { self.model.as_ref().and_then(|m| if teacher { m.teacher } else { m.student }.as_ref()) };
        let Some((checkpoint, decode)) = checkpoint.and_then(|c| c.decode.map(|decode| (c, decode))) else {
            return refusal(TN_INVALID, "there is no such checkpoint");
        };
        // SAFETY: within the list of the view.
        let columns = (weight < checkpoint.n_weights).then(|| unsafe {
            let weight = &*(**checkpoint.weights.add(weight as usize)).weight;
            row.checked_add(rows).filter(|&end| end <= weight.out_features).map(|_| weight.in_features)
        });
        let columns = columns.flatten();
        let mut out = vec![0.0_f32; (rows.min(u64::MAX / 4) * columns.unwrap_or(0)) as usize];
        // What lies outside is refused before anything is written.
        let place = if columns.is_some() { out.as_mut_ptr() } else { std::ptr::null_mut() };
        // SAFETY: a view of ours, and room for the rows.
        let mut answer = status(|err| unsafe { decode(checkpoint.ctx, weight, row, rows, place, err) });
        let bytes: &[u8] = bytemuck::cast_slice(&out);
        let region =
            anonymous(bytes.len() as u64).and_then(|file| file.write_all_at(bytes, 0).map(|()| file));
        match region {
            Ok(file) => (answer.value, answer.region) = (bytes.len() as u64, Some(file)),
            Err(e) => return refusal(TN_OOM, &format!("shared memory: {e}")),
        }
        answer
    }
}

/// Calls one of our functions and keeps its message.
fn status(function: impl FnOnce(*mut tn_err) -> i32) -> Answer {
    let mut error = tn_err::default();
    let status = function(&raw mut error);
    Answer { status, message: error.message(), ..Answer::default() }
}

/// As [`status`], for functions with a number.
fn number(function: impl FnOnce(*mut f64, *mut tn_err) -> i32) -> Answer {
    let mut value = 0.0_f64;
    let answer = status(|err| function(&raw mut value, err));
    Answer { value: value.to_bits(), ..answer }
}

fn refusal(status: i32, message: &str) -> Answer {
    Answer { status, message: message.to_owned(), ..Answer::default() }
}
