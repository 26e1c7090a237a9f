//! The functions of `tn_host` in a worker: each sends a message and, where it has a result, waits for the answer.

#![expect(unsafe_code, reason = "C functions that receive raw pointers from a plugin")]

use crate::callbacks::{line, lines, parallel};
use crate::worker::frame::{self, Frame, FrameError};
use crate::worker::shared::Watched;
use crate::worker::unpack::ModelFunctions;
use crate::worker::wire::{FromWorker, ToWorker};
use memmap2::MmapRaw;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::size_of;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use tenuis_abi as abi;
use tenuis_abi::{
    TN_INVALID, TN_IO, TN_OK, TN_OOM, read_text, tn_dtype, tn_err, tn_host, tn_str, write_error,
};

/// What `tn_host.ctx` points to in a worker; it is never freed, as the process ends with its job.
pub(crate) struct Session {
    stream: UnixStream,
    /// Held for a message and its answer, so that those of different threads do not mix.
    turn: Mutex<()>,
    control: Watched,
    /// The thread that calls the plugin: the only one that may emit.
    thread: ThreadId,
    threads: Mutex<u32>,
    /// The buffers that the plugin writes into.
    lent: Mutex<BTreeMap<(String, String), MmapRaw>>,
}

/// What the functions of a token source or checkpoint point to.
pub(crate) struct Origin {
    session: &'static Session,
    second: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(crate) fn new(stream: UnixStream, control: Watched) -> Self {
        Self {
            stream,
            turn: Mutex::default(),
            control,
            thread: std::thread::current().id(),
            threads: Mutex::new(1),
            lent: Mutex::default(),
        }
    }

    /// Waits for what the host sends next.
    pub(crate) fn next(&self) -> Result<Frame<ToWorker>, FrameError> {
        frame::receive(&self.stream, &mut || ControlFlow::Continue(()))
    }

    /// Sends something that the host does not answer.
    pub(crate) fn tell(&self, message: &FromWorker) {
        let turn = lock(&self.turn);
        self.send(message, &[]);
        drop(turn);
    }

    fn send(&self, message: &FromWorker, tail: &[u8]) {
        if frame::send(&self.stream, message, tail, None, &mut || ControlFlow::Continue(())).is_err() {
            orphaned();
        }
    }

    /// Sends something and waits for the answer: status, message, value, and what came with it.
    fn ask(&self, message: &FromWorker, tail: &[u8]) -> (i32, String, u64, Frame<()>) {
        let turn = lock(&self.turn);
        self.send(message, tail);
        let answer = self.next();
        drop(turn);
        match answer {
            Ok(Frame { message: ToWorker::Reply { status, message, value }, tail, file }) => {
                (status, message, value, Frame { message: (), tail, file })
            }
            _ => orphaned(),
        }
    }

    /// As [`ask`](Self::ask), for functions that only the thread of the host's call may use.
    fn ask_here(&self, message: &FromWorker, tail: &[u8]) -> (i32, String, u64, Frame<()>) {
        if std::thread::current().id() != self.thread {
            let text = "may only be called on the thread that the host called on".to_owned();
            return (TN_INVALID, text, 0, Frame { message: (), tail: Vec::new(), file: None });
        }
        self.ask(message, tail)
    }

    /// What the plugin may use of this process.
    pub(crate) fn set_threads(&self, threads: u32) {
        *lock(&self.threads) = threads;
        // The pool lends its threads to `parallel_for`. That there is one already is no failure.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
    }

    /// Gives a sign of life.
    pub(crate) fn live(&self) {
        self.control.live();
    }

    /// Takes all buffers back.
    pub(crate) fn close(&self) {
        lock(&self.lent).clear();
    }

    /// The functions for a job.
    pub(crate) fn host(&'static self, seed: u64) -> tn_host {
        tn_host {
            struct_size: size_of::<tn_host>() as u32,
            abi_minor: abi::TN_ABI_MINOR,
            ctx: (&raw const *self).cast_mut().cast(),
            thread_budget: *lock(&self.threads),
            reserved: 0,
            cancelled: Some(cancelled),
            progress: Some(progress),
            log: Some(log),
            metric: Some(metric),
            metric_at: Some(metric_at),
            parallel_for: Some(parallel_for),
            out_alloc: Some(out_alloc),
            emit: Some(emit),
            fold: Some(fold),
            out_loss: Some(out_loss),
            emit_tensor: Some(emit_tensor),
            emit_weight: Some(emit_weight),
            emit_copy: Some(emit_copy),
            remove: Some(remove),
            retract: Some(retract),
            set_config: Some(set_config),
            ext: Some(ext),
            seed,
        }
    }

    /// The functions for a model.
    pub(crate) fn model_functions(&'static self) -> ModelFunctions {
        // A few bytes for each run, kept as long as the process.
        let origin = |second| (&raw mut *Box::leak(Box::new(Origin { session: self, second }))).cast();
        ModelFunctions {
            tokens: [origin(false), origin(true)],
            checkpoints: [origin(false), origin(true)],
            context: (&raw const *self).cast_mut().cast(),
            read: read_tokens,
            decode: decode_rows,
            eval_loss,
        }
    }
}

/// Without a host there is nothing to work for.
pub(crate) fn orphaned() -> ! {
    std::process::exit(0)
}

/// # Safety
/// `ctx` is that of [`Session::host`].
unsafe fn session<'a>(ctx: *mut c_void) -> &'a Session {
    // SAFETY: a session is never freed.
    unsafe { &*ctx.cast::<Session>() }
}

/// Hands status and message of an answer to the plugin.
///
/// # Safety
/// `err` is null or a `tn_err` of the caller.
unsafe fn hand_over(err: *mut tn_err, status: i32, message: &str) -> i32 {
    if status != TN_OK {
        // SAFETY: the caller vouches for it.
        unsafe { write_error(err, message) };
    }
    status
}

/// A function of the host that takes texts and answers a status.
///
/// # Safety
/// As the two above.
unsafe fn simple(ctx: *mut c_void, err: *mut tn_err, message: &FromWorker, tail: &[u8]) -> i32 {
    // SAFETY: the caller vouches for it.
    let (status, text, ..) = unsafe { session(ctx) }.ask_here(message, tail);
    // SAFETY: as above.
    unsafe { hand_over(err, status, &text) }
}

// What holds for all functions below: a plugin passes the context that it was given, readable texts, and places for
// results that are null or can be written. Hence the short notes on safety.

unsafe extern "C" fn cancelled(ctx: *mut c_void) -> i32 {
    // SAFETY: the plugin's arguments.
    i32::from(unsafe { session(ctx) }.control.cancelled())
}

unsafe extern "C" fn progress(ctx: *mut c_void, done: u64, total: u64, note: tn_str) {
    // SAFETY: the plugin's arguments.
    unsafe { session(ctx).tell(&FromWorker::Progress { done, total, note: line(note) }) };
}

unsafe extern "C" fn log(ctx: *mut c_void, level: i32, msg: tn_str) {
    // SAFETY: the plugin's arguments.
    unsafe { session(ctx).tell(&FromWorker::Log { level, message: line(msg) }) };
}

unsafe extern "C" fn metric(ctx: *mut c_void, key: tn_str, value: f64) {
    // SAFETY: the plugin's arguments.
    unsafe { session(ctx).tell(&FromWorker::Metric { key: line(key), bits: value.to_bits() }) };
}

unsafe extern "C" fn metric_at(ctx: *mut c_void, key: tn_str, step: u64, value: f64) {
    // SAFETY: the plugin's arguments.
    unsafe { session(ctx).tell(&FromWorker::MetricAt { key: line(key), step, bits: value.to_bits() }) };
}

unsafe extern "C" fn parallel_for(
    ctx: *mut c_void,
    n: u64,
    body: Option<unsafe extern "C" fn(*mut c_void, u64) -> i32>,
    user: *mut c_void,
) -> i32 {
    let Some(body) = body else { return TN_INVALID };
    // SAFETY: the plugin's arguments; the body may run on any thread.
    unsafe {
        let threads = *lock(&session(ctx).threads);
        parallel(threads, n, body, user).map_or_else(|status| status, |()| TN_OK)
    }
}

unsafe extern "C" fn out_alloc(
    ctx: *mut c_void,
    weight_name: tn_str,
    component: tn_str,
    dtype: tn_dtype,
    ndim: i32,
    shape: *const i64,
    data: *mut *mut c_void,
    byte_len: *mut u64,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments.
    let session = unsafe { session(ctx) };
    // A broken shape or type goes to the host, which has the words for it.
    let broken = !usize::try_from(ndim).is_ok_and(|n| n <= 1024 && (n == 0 || !shape.is_null()));
    let extents = match ndim {
        0 => Vec::new(),
        _ if broken => vec![-1],
        // SAFETY: the plugin passes `ndim` extents.
        n => unsafe { std::slice::from_raw_parts(shape, n as usize) }.to_vec(),
    };
    let dtype = if dtype.lanes == 1 { (dtype.code, dtype.bits) } else { (u8::MAX, 0) };
    // SAFETY: the plugin's arguments.
    let (weight, component) = unsafe { (line(weight_name), line(component)) };
    let key = (weight.clone(), component.clone());
    let (mut status, mut text, value, Frame { file, .. }) =
        session.ask_here(&FromWorker::OutAlloc { weight, component, dtype, shape: extents }, &[]);
    if status == TN_OK {
        match file.as_ref().map(MmapRaw::map_raw) {
            Some(Ok(_)) | None if data.is_null() => {
                (status, text) = (TN_INVALID, "data is null".to_owned());
            }
            Some(Ok(buffer)) if buffer.len() as u64 >= value => {
                // SAFETY: not null, and a place of the plugin's; the second is optional.
                unsafe {
                    *data = buffer.as_mut_ptr().cast();
                    if !byte_len.is_null() {
                        *byte_len = value;
                    }
                }
                lock(&session.lent).insert(key, buffer);
            }
            Some(Err(e)) => (status, text) = (TN_OOM, e.to_string()),
            _ => orphaned(),
        }
    }
    // SAFETY: the plugin's arguments.
    unsafe { hand_over(err, status, &text) }
}

/// Emits and, where the host took them, gives up the buffers.
///
/// # Safety
/// As [`simple`].
unsafe fn emission(
    ctx: *mut c_void,
    err: *mut tn_err,
    name: &str,
    components: &[String],
    message: &FromWorker,
) -> i32 {
    // SAFETY: the caller vouches for it.
    let status = unsafe { simple(ctx, err, message, &[]) };
    if status == TN_OK {
        // SAFETY: as above.
        let mut lent = lock(&unsafe { session(ctx) }.lent);
        for component in components {
            lent.remove(&(name.to_owned(), component.clone()));
        }
    }
    status
}

unsafe extern "C" fn emit(
    ctx: *mut c_void,
    weight_name: tn_str,
    descriptor: tn_str,
    n_components: u32,
    components: *const tn_str,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe {
        let components = match lines(components, n_components) {
            Ok(components) => components,
            Err((status, text)) => return hand_over(err, status, &text),
        };
        let (weight, descriptor) = (line(weight_name), line(descriptor));
        let message = FromWorker::Emit { weight: weight.clone(), descriptor, components: components.clone() };
        emission(ctx, err, &weight, &components, &message)
    }
}

unsafe extern "C" fn fold(
    ctx: *mut c_void,
    weight_name: tn_str,
    n: u64,
    scale: *const f32,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments; it passes `n` values.
    unsafe {
        if scale.is_null() || n > u64::from(u32::MAX) {
            return hand_over(err, TN_INVALID, "the scale is null or too long");
        }
        let scale = std::slice::from_raw_parts(scale, n as usize);
        let bytes: Vec<u8> = scale.iter().flat_map(|value| value.to_ne_bytes()).collect();
        simple(ctx, err, &FromWorker::Fold { weight: line(weight_name) }, &bytes)
    }
}

/// A loss, which only the host can compute.
///
/// # Safety
/// As [`simple`]; `loss` is null or can be written.
unsafe fn loss_of(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err, message: &FromWorker) -> i32 {
    // SAFETY: the caller vouches for it.
    unsafe {
        if loss.is_null() {
            return hand_over(err, TN_INVALID, "loss is null");
        }
        let (status, text, value, _) = session(ctx).ask_here(message, &[]);
        if status == TN_OK {
            *loss = f64::from_bits(value);
        }
        hand_over(err, status, &text)
    }
}

unsafe extern "C" fn out_loss(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe { loss_of(ctx, loss, err, &FromWorker::OutLoss) }
}

unsafe extern "C" fn eval_loss(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe { loss_of(ctx, loss, err, &FromWorker::EvalLoss) }
}

unsafe extern "C" fn emit_tensor(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe {
        let name = line(name);
        emission(ctx, err, &name, &[String::new()], &FromWorker::EmitTensor { name: name.clone() })
    }
}

unsafe extern "C" fn emit_weight(
    ctx: *mut c_void,
    module: tn_str,
    out_features: u64,
    in_features: u64,
    descriptor: tn_str,
    n_components: u32,
    components: *const tn_str,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe {
        let components = match lines(components, n_components) {
            Ok(components) => components,
            Err((status, text)) => return hand_over(err, status, &text),
        };
        let (module, descriptor, shape) = (line(module), line(descriptor), (out_features, in_features));
        let message = FromWorker::EmitWeight {
            module: module.clone(),
            shape,
            descriptor,
            components: components.clone(),
        };
        emission(ctx, err, &module, &components, &message)
    }
}

unsafe extern "C" fn emit_copy(
    ctx: *mut c_void,
    name: tn_str,
    teacher: i32,
    source: tn_str,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe {
        let message = FromWorker::EmitCopy { name: line(name), teacher, source: line(source) };
        simple(ctx, err, &message, &[])
    }
}

unsafe extern "C" fn remove(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe { simple(ctx, err, &FromWorker::Remove { name: line(name) }, &[]) }
}

unsafe extern "C" fn retract(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32 {
    // SAFETY: the plugin's arguments.
    unsafe { simple(ctx, err, &FromWorker::Retract { name: line(name) }, &[]) }
}

unsafe extern "C" fn set_config(ctx: *mut c_void, config_json: tn_str, err: *mut tn_err) -> i32 {
    // SAFETY: the plugin's arguments. What is no text becomes one that is no JSON, which the host refuses.
    unsafe {
        let config = read_text(config_json, crate::model::CONFIG_LIMIT).unwrap_or("\u{fffd}").to_owned();
        simple(ctx, err, &FromWorker::SetConfig { config }, &[])
    }
}

unsafe extern "C" fn read_tokens(
    ctx: *mut c_void,
    first: u64,
    count: u64,
    out: *mut u32,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments; an origin is never freed.
    unsafe {
        if out.is_null() {
            return hand_over(err, TN_INVALID, "out is null");
        }
        let Origin { session, second } = &*ctx.cast::<Origin>();
        let message = FromWorker::ReadTokens { valid: *second, first, count };
        let (status, text, _, Frame { tail, .. }) = session.ask(&message, &[]);
        if status == TN_OK {
            // The host sends as many as the plugin has room for: `count` sequences.
            out.cast::<u8>().copy_from_nonoverlapping(tail.as_ptr(), tail.len());
        }
        hand_over(err, status, &text)
    }
}

unsafe extern "C" fn decode_rows(
    ctx: *mut c_void,
    weight: u32,
    row: u64,
    n_rows: u64,
    out: *mut f32,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the plugin's arguments; an origin is never freed.
    unsafe {
        if out.is_null() {
            return hand_over(err, TN_INVALID, "out is null");
        }
        let Origin { session, second } = &*ctx.cast::<Origin>();
        let message = FromWorker::DecodeRows { teacher: *second, weight, row, rows: n_rows };
        let (status, text, value, Frame { file, .. }) = session.ask(&message, &[]);
        if status != TN_OK {
            return hand_over(err, status, &text);
        }
        // `n_rows` rows of f32, as the plugin has room for.
        let bytes = std::slice::from_raw_parts_mut(out.cast::<u8>(), value as usize);
        match file.map(|file| file.read_exact_at(bytes, 0)) {
            Some(Ok(())) => TN_OK,
            Some(Err(e)) => hand_over(err, TN_IO, &e.to_string()),
            None => orphaned(),
        }
    }
}

unsafe extern "C" fn ext(_ctx: *mut c_void, _id: tn_str) -> *const c_void {
    std::ptr::null()
}
