//! The functions that the host lends.

#![expect(unsafe_code, reason = "calls C functions of the host")]

use crate::error::{FailureKind, TechniqueError};
use crate::export::panic_message;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tenuis_abi as abi;
use tenuis_abi::{tn_host, tn_str};

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something that the user should know.
    Warn,
    /// What was decided.
    Info,
    /// For the plugin's author.
    Debug,
}

impl LogLevel {
    const fn code(self) -> i32 {
        match self {
            Self::Error => abi::TN_LOG_ERROR,
            Self::Warn => abi::TN_LOG_WARN,
            Self::Info => abi::TN_LOG_INFO,
            Self::Debug => abi::TN_LOG_DEBUG,
        }
    }
}

/// How often the flag is looked at while work goes on that cannot be interrupted: often enough for what comes before and after it to
/// stay within the ABI's 100 ms as well.
const POLL: Duration = Duration::from_millis(10);

/// What the host does for a technique during a call. May be shared with threads that end before the call does.
pub struct Host<'a> {
    pub(crate) raw: tn_host,
    borrowed: PhantomData<&'a ()>,
}

// SAFETY: the ABI allows the functions that this type offers on any thread, and `ctx` is only passed on.
unsafe impl Send for Host<'_> {}
// SAFETY: as above.
unsafe impl Sync for Host<'_> {}

impl Host<'_> {
    /// # Safety
    /// The functions of `raw` are the host's, and stay valid for `'a`.
    pub(crate) const unsafe fn new(raw: tn_host) -> Self {
        Self { raw, borrowed: PhantomData }
    }

    /// The threads that the plugin may use if it brings its own; at least 1.
    pub fn thread_budget(&self) -> usize {
        self.raw.thread_budget.max(1) as usize
    }

    /// A pool of the plugin's own with as many threads as the host allows. Without it, rayon would take every core of
    /// the machine.
    ///
    /// # Errors
    /// [`FailureKind::OutOfMemory`] where the system starts no more threads.
    #[cfg(feature = "rayon")]
    pub fn thread_pool(&self, name: &'static str) -> Result<rayon::ThreadPool, TechniqueError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.thread_budget())
            .thread_name(move |i| format!("{name}-{i}"))
            .build()
            .map_err(|e| TechniqueError::new(FailureKind::OutOfMemory, format!("cannot start threads: {e}")))
    }

    /// What seeds whatever is drawn at random, unless the options say otherwise; 0 where the host has none.
    pub const fn seed(&self) -> u64 {
        self.raw.seed
    }

    /// Whether the technique should stop.
    pub fn cancelled(&self) -> bool {
        // SAFETY: the host's function with its own context, here and below.
        self.raw.cancelled.is_some_and(|f| unsafe { f(self.raw.ctx) } != 0)
    }

    /// Fails once the technique should stop.
    ///
    /// # Errors
    /// [`TechniqueError::cancelled`].
    pub fn check_cancelled(&self) -> Result<(), TechniqueError> {
        if self.cancelled() { Err(TechniqueError::cancelled()) } else { Ok(()) }
    }

    /// Runs work that cannot be interrupted on a thread of its own, and polls [`Host::cancelled`] meanwhile.
    ///
    /// Once the technique should stop this returns at once; the work ends later by itself and what it made is dropped, for which
    /// it has to own whatever it looks at. A panic in it goes on in this thread.
    ///
    /// # Errors
    /// [`TechniqueError::cancelled`]; [`FailureKind::OutOfMemory`] where the system starts no more threads.
    pub fn detached<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TechniqueError> {
        let (sender, made) = mpsc::sync_channel(1);
        // Nobody receives what comes after a cancellation.
        let thread = thread::Builder::new().spawn(move || drop(sender.send(work())));
        let thread = thread.map_err(|e| {
            TechniqueError::new(FailureKind::OutOfMemory, format!("cannot start a thread: {e}"))
        })?;
        loop {
            match made.recv_timeout(POLL) {
                Ok(made) => return Ok(made),
                Err(RecvTimeoutError::Timeout) => self.check_cancelled()?,
                Err(RecvTimeoutError::Disconnected) => match thread.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => return Err(TechniqueError::cancelled()),
                },
            }
        }
    }

    /// Reports progress within the group or model; `total` is 0 where it is not known.
    pub fn progress(&self, done: u64, total: u64, note: &str) {
        if let Some(f) = self.raw.progress {
            // SAFETY: as above; the text outlives the call.
            unsafe { f(self.raw.ctx, done, total, tn_str::new(note)) };
        }
    }

    /// Logs a line.
    pub fn log(&self, level: LogLevel, message: &str) {
        if let Some(f) = self.raw.log {
            // SAFETY: as above.
            unsafe { f(self.raw.ctx, level.code(), tn_str::new(message)) };
        }
    }

    /// Records a number for the report.
    pub fn metric(&self, key: &str, value: f64) {
        if let Some(f) = self.raw.metric {
            // SAFETY: as above.
            unsafe { f(self.raw.ctx, tn_str::new(key), value) };
        }
    }

    /// Records a point of a curve, such as the loss of a training step.
    pub fn metric_at(&self, key: &str, step: u64, value: f64) {
        if let Some(f) = self.raw.metric_at {
            // SAFETY: as above.
            unsafe { f(self.raw.ctx, tn_str::new(key), step, value) };
        }
    }

    /// Calls `body` for every index below `n` on the host's threads, and stops early on a failure.
    ///
    /// # Errors
    /// The first failure.
    ///
    /// # Panics
    /// Where `body` panics.
    pub fn parallel_for<F>(&self, n: u64, body: F) -> Result<(), TechniqueError>
    where
        F: Fn(u64) -> Result<(), TechniqueError> + Sync,
    {
        let Some(parallel_for) = self.raw.parallel_for else {
            return (0..n).try_for_each(body);
        };
        let shared = Loop { body, failure: Mutex::new(None) };
        let user = (&raw const shared).cast_mut().cast();
        // SAFETY: the host calls the function with this pointer on threads that are done before it returns, and the
        // loop can be shared because its body is `Sync`.
        let status = unsafe { parallel_for(self.raw.ctx, n, Some(call_body::<F>), user) };
        let failure = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(LoopFailure::Error(error)) => Err(error),
            Some(LoopFailure::Panic(message)) => std::panic::resume_unwind(Box::new(message)),
            None if status == abi::TN_OK => Ok(()),
            None => Err(TechniqueError::new(FailureKind::from_status(status), "the host's loop failed")),
        }
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("abi_minor", &self.raw.abi_minor)
            .field("thread_budget", &self.raw.thread_budget)
            .finish_non_exhaustive()
    }
}

struct Loop<F> {
    body: F,
    failure: Mutex<Option<LoopFailure>>,
}

enum LoopFailure {
    Error(TechniqueError),
    Panic(String),
}

/// # Safety
/// `user` is a `Loop<F>` that outlives the call.
unsafe extern "C" fn call_body<F>(user: *mut c_void, index: u64) -> i32
where
    F: Fn(u64) -> Result<(), TechniqueError> + Sync,
{
    // SAFETY: the caller vouches for it.
    let shared = unsafe { &*user.cast::<Loop<F>>() };
    let (status, failure) = match catch_unwind(AssertUnwindSafe(|| (shared.body)(index))) {
        Ok(Ok(())) => return abi::TN_OK,
        Ok(Err(error)) => (error.kind().status(), LoopFailure::Error(error)),
        Err(payload) => (abi::TN_PANIC, LoopFailure::Panic(panic_message(payload))),
    };
    shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Says what the flag says that it is given.
    unsafe extern "C" fn flag(ctx: *mut c_void) -> i32 {
        // SAFETY: the test's flag outlives its host.
        i32::from(unsafe { &*ctx.cast::<AtomicBool>() }.load(Ordering::Relaxed))
    }

    fn host(cancelled: &AtomicBool) -> Host<'_> {
        // SAFETY: numbers, a pointer and functions that are not there; the one that is fits its context.
        unsafe {
            let mut raw: tn_host = std::mem::zeroed();
            raw.ctx = std::ptr::from_ref(cancelled).cast_mut().cast();
            raw.cancelled = Some(flag);
            Host::new(raw)
        }
    }

    #[test]
    fn detached_work_returns_what_it_made() {
        let cancelled = AtomicBool::new(false);
        assert_eq!(host(&cancelled).detached(|| 7).unwrap(), 7);
        let panicked = catch_unwind(AssertUnwindSafe(|| host(&cancelled).detached(|| panic!("no"))));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"no"));
    }

    /// The work waits for the test, which waits for it to be left alone.
    #[test]
    fn detached_work_is_left_behind_once_cancelled() {
        let cancelled = AtomicBool::new(true);
        let (release, wait) = mpsc::channel::<()>();
        let done = Arc::new(AtomicBool::new(false));
        let made = Arc::clone(&done);
        let error = host(&cancelled)
            .detached(move || {
                assert!(wait.recv().is_err(), "it ends when the other end is dropped");
                made.store(true, Ordering::Release);
            })
            .unwrap_err();
        assert_eq!(error.kind(), FailureKind::Cancelled);
        assert!(!done.load(Ordering::Acquire), "it was not waited for");
        drop(release);
        while !done.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
}
