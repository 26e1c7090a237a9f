//! The functions that a job may call, and what they work on.

#![expect(unsafe_code, reason = "C functions that receive raw pointers from a plugin")]

#[cfg(unix)]
use crate::buffer::Buffer;
use crate::error::OutputProblem;
use crate::events::{HostEvents, LogLevel};
use crate::group::{GroupOutput, LogLine, OutLoss};
use crate::model::{self, EvalLoss, ModelOutputs};
use crate::outputs::Outputs;
use crate::views::dtype_of;
use rayon::prelude::*;
use std::any::Any;
use std::ffi::c_void;
use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use tenuis_abi as abi;
use tenuis_abi::{
    TN_INVALID, TN_OK, TN_OOM, TN_PANIC, TN_UNSUPPORTED, read_text, tn_dtype, tn_err, tn_host, tn_str,
    write_error,
};
use tenuis_core::{CodecRegistry, DType};

/// Notes, keys, names and log lines are cut off above this.
const LINE_LIMIT: u64 = 1 << 20;
/// Tensors have at most so many dimensions, and weights so many components.
const COUNT_LIMIT: u32 = 64;

/// What `tn_host.ctx` points to.
pub(crate) struct Context {
    pub(crate) events: Arc<dyn HostEvents>,
    pub(crate) codecs: CodecRegistry,
    thread_budget: u32,
    seed: u64,
    reported: Mutex<Reported>,
    running: Mutex<Option<Running>>,
    panicked: Mutex<Option<String>>,
}

#[derive(Default)]
struct Reported {
    metrics: Vec<(String, f64)>,
    log: Vec<LogLine>,
}

/// A status and a message for the plugin.
pub(crate) type Refusal = (i32, String);

/// What a running call emits into.
struct Running {
    sink: Sink,
    /// The thread that the host called on: the only one that may emit.
    thread: ThreadId,
}

enum Sink {
    Group(Outputs, Option<Borrowed<OutLoss<'static>>>),
    // Boxed because it is several times as large as the other.
    Model(Box<ModelOutputs>, Option<Borrowed<EvalLoss<'static>>>),
}

impl Sink {
    fn allocate(
        &mut self,
        name: &str,
        component: &str,
        dtype: Option<DType>,
        shape: Option<Vec<usize>>,
    ) -> Result<Option<(*mut u8, usize)>, OutputProblem> {
        match self {
            Self::Group(outputs, _) => outputs.allocate(name, component, dtype, shape),
            Self::Model(outputs, _) => outputs.allocate(name, component, dtype, shape),
        }
    }

    fn refuse(&mut self, name: &str, problem: OutputProblem) -> String {
        match self {
            Self::Group(outputs, _) => outputs.refuse(name, problem),
            Self::Model(outputs, _) => outputs.refuse(name, problem),
        }
    }
}

/// A caller's loss function with its lifetime hidden.
struct Borrowed<F: ?Sized>(*const F);

impl<F: ?Sized> Clone for Borrowed<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: ?Sized> Copy for Borrowed<F> {}

// SAFETY: called only on the thread that made it (`Running::thread`).
unsafe impl<F: ?Sized> Send for Borrowed<F> {}

impl Context {
    pub(crate) fn new(
        events: Arc<dyn HostEvents>,
        codecs: CodecRegistry,
        thread_budget: u32,
        seed: u64,
    ) -> Self {
        Self {
            events,
            codecs,
            thread_budget,
            seed,
            reported: Mutex::default(),
            running: Mutex::default(),
            panicked: Mutex::default(),
        }
    }

    /// The functions for a job; they refer to this context.
    pub(crate) fn host(&self) -> tn_host {
        tn_host {
            struct_size: size_of::<tn_host>() as u32,
            abi_minor: abi::TN_ABI_MINOR,
            ctx: (&raw const *self).cast_mut().cast(),
            thread_budget: self.thread_budget,
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
            emit_tensor: Some(model::emit_tensor),
            emit_weight: Some(model::emit_weight),
            emit_copy: Some(model::emit_copy),
            remove: Some(model::remove),
            retract: Some(model::retract),
            set_config: Some(model::set_config),
            ext: Some(ext),
            seed: self.seed,
        }
    }

    /// The threads that the plugin may use.
    #[cfg(unix)]
    pub(crate) const fn thread_budget(&self) -> u32 {
        self.thread_budget
    }

    /// What random numbers begin with.
    #[cfg(unix)]
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Runs `work` on a buffer that is lent.
    #[cfg(unix)]
    pub(crate) fn with_buffer<R>(
        &self,
        name: &str,
        component: &str,
        work: impl FnOnce(&mut Buffer) -> R,
    ) -> Option<R> {
        let mut running = lock(&self.running);
        let buffer = match &mut running.as_mut()?.sink {
            Sink::Group(outputs, _) => outputs.buffer_mut(name, component),
            Sink::Model(outputs, _) => outputs.buffer_mut(name, component),
        };
        buffer.map(work)
    }

    /// Runs `work` while a group is open, and returns what was emitted.
    pub(crate) fn with_group<R>(
        &self,
        outputs: Outputs,
        out_loss: Option<&OutLoss<'_>>,
        work: impl FnOnce() -> R,
    ) -> (R, Option<Outputs>) {
        let out_loss = out_loss.map(|loss| {
            #[expect(
                clippy::transmute_ptr_to_ptr,
                reason = "a cast cannot extend the lifetime in a trait object"
            )]
            // SAFETY: only the lifetime changes, and the pointer is gone before this function, which borrows the
            // loss, returns.
            Borrowed(unsafe { std::mem::transmute::<*const OutLoss<'_>, *const OutLoss<'static>>(loss) })
        });
        let (result, sink) = self.with_sink(Sink::Group(outputs, out_loss), work);
        (result, sink.and_then(|sink| if let Sink::Group(outputs, _) = sink { Some(outputs) } else { None }))
    }

    /// Runs `work` while a model is open, and returns what was emitted.
    pub(crate) fn with_model<R>(
        &self,
        outputs: ModelOutputs,
        eval_loss: Option<&EvalLoss<'_>>,
        work: impl FnOnce() -> R,
    ) -> (R, Option<ModelOutputs>) {
        let eval_loss = eval_loss.map(|loss| {
            #[expect(
                clippy::transmute_ptr_to_ptr,
                reason = "a cast cannot extend the lifetime in a trait object"
            )]
            // SAFETY: as in `with_group`.
            Borrowed(unsafe { std::mem::transmute::<*const EvalLoss<'_>, *const EvalLoss<'static>>(loss) })
        });
        let (result, sink) = self.with_sink(Sink::Model(Box::new(outputs), eval_loss), work);
        (result, sink.and_then(|sink| if let Sink::Model(outputs, _) = sink { Some(*outputs) } else { None }))
    }

    fn with_sink<R>(&self, sink: Sink, work: impl FnOnce() -> R) -> (R, Option<Sink>) {
        *lock(&self.running) = Some(Running { sink, thread: std::thread::current().id() });
        let close = Close(self);
        let result = work();
        let running = lock(&self.running).take();
        drop(close);
        (result, running.map(|r| r.sink))
    }

    /// What was reported since the last call.
    pub(crate) fn take_reported(&self) -> (Vec<(String, f64)>, Vec<LogLine>) {
        let reported = std::mem::take(&mut *lock(&self.reported));
        (reported.metrics, reported.log)
    }

    /// The message of a panic of our own functions.
    pub(crate) fn take_panic(&self) -> Option<String> {
        lock(&self.panicked).take()
    }

    /// Runs `work` on what the running call emits into, on the thread that may emit.
    fn on_sink<R>(&self, work: impl FnOnce(&mut Sink) -> Result<R, Refusal>) -> Result<R, Refusal> {
        let mut running = lock(&self.running);
        let running = running.as_mut().ok_or_else(|| (TN_INVALID, "no group or model is open".to_owned()))?;
        if running.thread != std::thread::current().id() {
            return Err((TN_INVALID, "may only be called on the thread that the host called on".to_owned()));
        }
        work(&mut running.sink)
    }

    /// Runs `work` on the outputs of the open group.
    fn on_group<R>(&self, work: impl FnOnce(&mut Outputs) -> Result<R, Refusal>) -> Result<R, Refusal> {
        self.on_sink(|sink| match sink {
            Sink::Group(outputs, _) => work(outputs),
            Sink::Model(..) => Err((TN_UNSUPPORTED, "is for techniques of scope group only".to_owned())),
        })
    }

    /// Runs `work` on the outputs of the open model.
    pub(crate) fn on_model<R>(
        &self,
        work: impl FnOnce(&mut ModelOutputs) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.on_sink(|sink| match sink {
            Sink::Model(outputs, _) => work(outputs),
            Sink::Group(..) => Err((TN_UNSUPPORTED, "is for techniques of scope model only".to_owned())),
        })
    }

    /// The loss of the open group's parent module.
    fn out_loss(&self) -> Option<Borrowed<OutLoss<'static>>> {
        lock(&self.running)
            .as_ref()
            .and_then(|r| if let Sink::Group(_, loss) = &r.sink { *loss } else { None })
    }

    /// The loss of the open model with what is emitted so far.
    ///
    /// The lock is not held while the caller's function runs, so it may take its time.
    pub(crate) fn eval_loss(&self) -> Result<f64, Refusal> {
        let (candidate, function) = self.on_sink(|sink| match sink {
            Sink::Model(outputs, Some(function)) => Ok((outputs.kept.clone(), *function)),
            _ => Err((TN_UNSUPPORTED, "the host lends no loss".to_owned())),
        })?;
        // SAFETY: `with_model` keeps the function borrowed while the model is open, and we are on its thread.
        unsafe { (*function.0)(&candidate) }
            .map_err(|problem| (TN_INVALID, OutputProblem::Loss { problem: problem.to_string() }.to_string()))
    }
}

/// Closes the group or model, and with it the borrowed loss, even where the work panics.
struct Close<'a>(&'a Context);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        *lock(&self.0.running) = None;
    }
}

/// A panic of an event listener must not make every later call fail with a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Runs one of our functions; a panic is remembered and becomes `on_panic`.
///
/// # Safety
/// `ctx` is the pointer of [`Context::host`], whose context still lives.
unsafe fn guarded<R>(ctx: *mut c_void, on_panic: R, work: impl FnOnce(&Context) -> R) -> R {
    // SAFETY: the caller vouches for it.
    let Some(context) = (unsafe { ctx.cast::<Context>().as_ref() }) else {
        return on_panic;
    };
    match catch_unwind(AssertUnwindSafe(|| work(context))) {
        Ok(result) => result,
        Err(payload) => {
            *lock(&context.panicked) = Some(panic_message(&*payload));
            on_panic
        }
    }
}

/// As [`guarded`], for functions with a status and a message.
///
/// # Safety
/// As [`guarded`]; `err` is null or a `tn_err` of the caller.
pub(crate) unsafe fn with_status(
    ctx: *mut c_void,
    err: *mut tn_err,
    work: impl FnOnce(&Context) -> Result<(), Refusal>,
) -> i32 {
    let failed = Err((TN_PANIC, "the host panicked".to_owned()));
    // SAFETY: the caller vouches for it.
    match unsafe { guarded(ctx, failed, work) } {
        Ok(()) => TN_OK,
        Err((status, message)) => {
            // SAFETY: the caller vouches for it.
            unsafe { write_error(err, &message) };
            status
        }
    }
}

/// A text of a plugin; broken texts become a visible mark.
///
/// # Safety
/// The text is readable for the call.
pub(crate) unsafe fn line(text: tn_str) -> String {
    // SAFETY: the caller vouches for it.
    unsafe { read_text(text, LINE_LIMIT) }.unwrap_or("\u{fffd}").to_owned()
}

/// The names of a weight's components.
///
/// # Safety
/// `texts` is null or has `count` readable texts.
pub(crate) unsafe fn lines(texts: *const tn_str, count: u32) -> Result<Vec<String>, Refusal> {
    if count > COUNT_LIMIT || (count > 0 && texts.is_null()) {
        return Err((TN_INVALID, format!("{count} components")));
    }
    // SAFETY: the caller vouches for it.
    Ok((0..count as usize).map(|i| unsafe { line(*texts.add(i)) }).collect())
}

pub(crate) unsafe extern "C" fn cancelled(ctx: *mut c_void) -> i32 {
    // SAFETY: a plugin passes the context that it was given.
    unsafe { guarded(ctx, 1, |context| i32::from(context.events.cancelled())) }
}

pub(crate) unsafe extern "C" fn progress(ctx: *mut c_void, done: u64, total: u64, note: tn_str) {
    // SAFETY: a plugin passes the context that it was given and a readable text.
    unsafe { guarded(ctx, (), |context| context.events.progress(done, total, &line(note))) }
}

pub(crate) unsafe extern "C" fn log(ctx: *mut c_void, level: i32, msg: tn_str) {
    let work = |context: &Context| {
        let level = LogLevel::from_code(level);
        // SAFETY: a plugin passes a readable text.
        let message = unsafe { line(msg) };
        context.events.log(level, &message);
        lock(&context.reported).log.push(LogLine { level, message });
    };
    // SAFETY: a plugin passes the context that it was given.
    unsafe { guarded(ctx, (), work) }
}

pub(crate) unsafe extern "C" fn metric(ctx: *mut c_void, key: tn_str, value: f64) {
    let work = |context: &Context| {
        // SAFETY: a plugin passes a readable text.
        let key = unsafe { line(key) };
        context.events.metric(&key, value);
        lock(&context.reported).metrics.push((key, value));
    };
    // SAFETY: a plugin passes the context that it was given.
    unsafe { guarded(ctx, (), work) }
}

pub(crate) unsafe extern "C" fn metric_at(ctx: *mut c_void, key: tn_str, step: u64, value: f64) {
    // SAFETY: a plugin passes the context that it was given and a readable text.
    unsafe { guarded(ctx, (), |context| context.events.metric_at(&line(key), step, value)) }
}

/// The `user` pointer of `parallel_for`, which the plugin shares among threads.
#[derive(Clone, Copy)]
struct User(*mut c_void);
// SAFETY: the ABI makes the plugin answer for sharing it.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    /// A method, so that closures capture the whole wrapper.
    const fn pointer(self) -> *mut c_void {
        self.0
    }
}

/// Calls `body` for every index below `n` on the threads of this process; the first status that is not `TN_OK` ends it.
///
/// # Safety
/// The body takes `user` and any index below `n`, on any thread, and never unwinds.
pub(crate) unsafe fn parallel(
    threads: u32,
    n: u64,
    body: unsafe extern "C" fn(*mut c_void, u64) -> i32,
    user: *mut c_void,
) -> Result<(), i32> {
    let user = User(user);
    // SAFETY: the caller vouches for it.
    let call = move |i: u64| match unsafe { body(user.pointer(), i) } {
        TN_OK => Ok(()),
        status => Err(status),
    };
    if threads == 1 || n < 2 { (0..n).try_for_each(call) } else { (0..n).into_par_iter().try_for_each(call) }
}

unsafe extern "C" fn parallel_for(
    ctx: *mut c_void,
    n: u64,
    body: Option<unsafe extern "C" fn(*mut c_void, u64) -> i32>,
    user: *mut c_void,
) -> i32 {
    let Some(body) = body else { return TN_INVALID };
    // SAFETY: a plugin passes a body that may run on any thread.
    let work = |context: &Context| unsafe { parallel(context.thread_budget, n, body, user) };
    // SAFETY: a plugin passes the context that it was given.
    match unsafe { guarded(ctx, Err(TN_PANIC), work) } {
        Ok(()) => TN_OK,
        Err(status) => status,
    }
}

pub(crate) unsafe extern "C" fn out_alloc(
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
    let work = |context: &Context| {
        // SAFETY: a plugin passes readable texts.
        let (weight, component) = unsafe { (line(weight_name), line(component)) };
        let extents = match usize::try_from(ndim) {
            Ok(0) => Some(Vec::new()),
            Ok(n) if n <= COUNT_LIMIT as usize && !shape.is_null() => {
                // SAFETY: a plugin passes `ndim` extents.
                let extents = unsafe { std::slice::from_raw_parts(shape, n) };
                extents.iter().map(|&d| usize::try_from(d).ok()).collect()
            }
            _ => None,
        };
        let lent =
            context.on_sink(|sink| match sink.allocate(&weight, &component, dtype_of(dtype), extents) {
                Ok(Some(lent)) => Ok(lent),
                Ok(None) => Err((TN_OOM, format!("not enough memory for {weight} {component}"))),
                Err(problem) => Err((TN_INVALID, sink.refuse(&weight, problem))),
            });
        let (pointer, len) = lent?;
        if data.is_null() {
            return Err((TN_INVALID, "data is null".to_owned()));
        }
        // SAFETY: a plugin passes places for the results; the second is optional.
        unsafe {
            *data = pointer.cast();
            if !byte_len.is_null() {
                *byte_len = len as u64;
            }
        }
        Ok(())
    };
    // SAFETY: a plugin passes the context that it was given.
    unsafe { with_status(ctx, err, work) }
}

pub(crate) unsafe extern "C" fn emit(
    ctx: *mut c_void,
    weight_name: tn_str,
    descriptor: tn_str,
    n_components: u32,
    components: *const tn_str,
    err: *mut tn_err,
) -> i32 {
    let work = |context: &Context| {
        // SAFETY: a plugin passes readable texts.
        let (weight, descriptor) = unsafe { (line(weight_name), line(descriptor)) };
        // SAFETY: a plugin passes `n_components` readable texts.
        let names = unsafe { lines(components, n_components) }?;
        context.on_group(|outputs| match outputs.emit(&weight, &descriptor, &names, &context.codecs) {
            Ok(()) => Ok(()),
            Err(problem) => Err((TN_INVALID, outputs.refuse(&weight, problem))),
        })
    };
    // SAFETY: a plugin passes the context that it was given.
    unsafe { with_status(ctx, err, work) }
}

pub(crate) unsafe extern "C" fn fold(
    ctx: *mut c_void,
    weight_name: tn_str,
    n: u64,
    scale: *const f32,
    err: *mut tn_err,
) -> i32 {
    let work = |context: &Context| {
        // SAFETY: a plugin passes a readable text.
        let weight = unsafe { line(weight_name) };
        if scale.is_null() || n > u64::from(u32::MAX) {
            return Err((TN_INVALID, "the scale is null or too long".to_owned()));
        }
        // SAFETY: a plugin passes `n` values.
        let scale = unsafe { std::slice::from_raw_parts(scale, n as usize) };
        context.on_group(|outputs| match outputs.fold(&weight, scale) {
            Ok(()) => Ok(()),
            Err(problem) => Err((TN_INVALID, outputs.refuse(&weight, problem))),
        })
    };
    // SAFETY: a plugin passes the context that it was given.
    unsafe { with_status(ctx, err, work) }
}

pub(crate) unsafe extern "C" fn out_loss(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32 {
    let work = |context: &Context| {
        let candidate: GroupOutput = context.on_group(|outputs| Ok(outputs.kept.clone()))?;
        let Some(Borrowed(function)) = context.out_loss() else {
            return Err((TN_UNSUPPORTED, "the host lends no loss".to_owned()));
        };
        if loss.is_null() {
            return Err((TN_INVALID, "loss is null".to_owned()));
        }
        // SAFETY: `with_group` keeps the function borrowed while the group is open, and we are on its thread. The
        // lock is not held, so the function may take its time.
        match unsafe { (*function)(&candidate) } {
            Ok(value) => {
                // SAFETY: not null, and a place of the plugin's.
                unsafe { *loss = value };
                Ok(())
            }
            Err(problem) => {
                let problem = OutputProblem::Loss { problem: problem.to_string() };
                Err((TN_INVALID, problem.to_string()))
            }
        }
    };
    // SAFETY: a plugin passes the context that it was given.
    unsafe { with_status(ctx, err, work) }
}

unsafe extern "C" fn ext(_ctx: *mut c_void, _id: tn_str) -> *const c_void {
    std::ptr::null()
}
