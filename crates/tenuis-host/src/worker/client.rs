//! A worker process as the host sees it: asked, watched, and killed where it does not behave.

use crate::worker::frame::{self, Frame, FrameError, handle};
use crate::worker::shared::Control;
use crate::worker::wire::{FromWorker, PROTOCOL, ToWorker};
use crate::worker::{WorkerFault, WorkerLimits, WorkerProgram};
use rustix::process::Signal;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the host looks after a worker that it waits for: what a cancelled job may lose.
const LOOK: Duration = Duration::from_millis(10);
/// How long a process may take to end once its socket is closed, or once it is killed.
const LEAVE: Duration = Duration::from_secs(1);
/// The end of standard error that is kept.
const LAST_WORDS: usize = 64 << 10;

/// What a function of the plugin returned: status, message, value.
pub(crate) type Done = (i32, String, u64);

/// What the host answers to a function of `tn_host`.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) message: String,
    pub(crate) value: u64,
    pub(crate) tail: Vec<u8>,
    pub(crate) region: Option<File>,
}

/// Whoever the worker's questions concern.
pub(crate) trait Attendant {
    /// Whether the job should stop.
    fn cancelled(&self) -> bool;
    /// Does what the plugin asks; `None` where that has no answer, an error where it is none of the host's functions.
    fn attend(&mut self, message: FromWorker, tail: &[u8]) -> Result<Option<Answer>, String>;
}

/// Before and beside any job: nothing is cancelled, nothing can be asked.
pub(crate) struct NoAttendant;

impl Attendant for NoAttendant {
    fn cancelled(&self) -> bool {
        false
    }

    fn attend(&mut self, _message: FromWorker, _tail: &[u8]) -> Result<Option<Answer>, String> {
        Err("it called a function of the host without a job".to_owned())
    }
}

/// A running worker. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    stream: UnixStream,
    control: Control,
    limits: WorkerLimits,
    errors: Errors,
}

impl Process {
    /// Starts a worker on a library, and returns what it says of it.
    pub(crate) fn start(
        program: &WorkerProgram,
        limits: &WorkerLimits,
        library: &Path,
        hash: &str,
    ) -> Result<(Self, FromWorker), WorkerFault> {
        let failed = |source| WorkerFault::Start { program: program.path.clone(), source };
        let (stream, theirs) = UnixStream::pair().map_err(failed)?;
        stream.set_read_timeout(Some(LOOK)).map_err(failed)?;
        stream.set_write_timeout(Some(LOOK)).map_err(failed)?;
        let control = Control::new().map_err(|source| WorkerFault::Memory { source })?;
        let mut child = Command::new(&program.path)
            .args(&program.args)
            .arg(library)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is the host's, which cancels the job.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let errors = Errors::of(child.stderr.take());
        let mut process = Self { child, stream, control, limits: limits.clone(), errors };
        let hello = ToWorker::Hello {
            protocol: PROTOCOL,
            hash: hash.to_owned(),
            address_space: limits.address_space,
        };
        let page = process.control.file().try_clone().map_err(|source| WorkerFault::Memory { source })?;
        let mut vigil = Vigil::new(limits.start, limits.cancel_grace);
        process.send(&hello, &[], Some(&page), &NoAttendant, &mut vigil)?;
        let frame = process.receive(&NoAttendant, &mut vigil)?;
        match frame.message {
            FromWorker::Refused { problem } => Err(WorkerFault::Refused { problem }),
            message => Ok((process, message)),
        }
    }

    /// Sends a request and attends to the worker until it is done.
    pub(crate) fn ask(
        &mut self,
        request: &ToWorker,
        region: Option<&File>,
        attendant: &mut dyn Attendant,
    ) -> Result<Done, WorkerFault> {
        self.converse(request, region, attendant, self.limits.silence)
    }

    /// Lets the plugin tidy up, and no longer than a cancelled job may take.
    pub(crate) fn dismiss(&mut self, attendant: &mut dyn Attendant) {
        // Where it cannot, its process goes all the same.
        let _ = self.converse(&ToWorker::Destroy, None, attendant, self.limits.cancel_grace);
    }

    fn converse(
        &mut self,
        request: &ToWorker,
        region: Option<&File>,
        attendant: &mut dyn Attendant,
        silence: Duration,
    ) -> Result<Done, WorkerFault> {
        let mut vigil = Vigil::new(silence, self.limits.cancel_grace);
        // What the flag said in an earlier call is no news in this one.
        self.control.cancel(attendant.cancelled());
        self.send(request, &[], region, attendant, &mut vigil)?;
        loop {
            let Frame { message, tail, .. } = self.receive(attendant, &mut vigil)?;
            if let FromWorker::Done { status, message, value } = message {
                return Ok((status, message, value));
            }
            let answer = attendant.attend(message, &tail).map_err(|problem| self.broken(problem))?;
            vigil.sign();
            if let Some(Answer { status, message, value, tail, region }) = answer {
                let reply = ToWorker::Reply { status, message, value };
                self.send(&reply, &tail, region.as_ref(), attendant, &mut vigil)?;
            }
            // A worker that talks all the time is looked after too.
            if vigil.look(&mut self.control, attendant).is_break() {
                return Err(self.fault(FrameError::Stopped, &vigil));
            }
        }
    }

    fn send(
        &mut self,
        message: &ToWorker,
        tail: &[u8],
        region: Option<&File>,
        attendant: &dyn Attendant,
        vigil: &mut Vigil,
    ) -> Result<(), WorkerFault> {
        let control = &mut self.control;
        let idle = &mut || vigil.look(control, attendant);
        let sent = frame::send(&self.stream, message, tail, region.map(handle), idle);
        sent.map_err(|error| self.fault(error, vigil))
    }

    fn receive(
        &mut self,
        attendant: &dyn Attendant,
        vigil: &mut Vigil,
    ) -> Result<Frame<FromWorker>, WorkerFault> {
        let control = &mut self.control;
        let received = frame::receive(&self.stream, &mut || vigil.look(control, attendant));
        if received.is_ok() {
            vigil.sign();
        }
        received.map_err(|error| self.fault(error, vigil))
    }

    /// Kills the process for what it sent.
    pub(crate) fn broken(&mut self, problem: String) -> WorkerFault {
        self.kill();
        WorkerFault::Broken { problem }
    }

    /// What became of a process that does not answer; it is gone afterwards.
    fn fault(&mut self, error: FrameError, vigil: &Vigil) -> WorkerFault {
        match error {
            FrameError::Stopped => {
                self.kill();
                let said = self.errors.said();
                match vigil.verdict {
                    Verdict::NotCancelled => WorkerFault::NotCancelled { grace: vigil.grace },
                    Verdict::Silent => WorkerFault::Silent { limit: vigil.limit, said },
                    Verdict::Spoilt => WorkerFault::Broken { problem: "the control page is gone".to_owned() },
                }
            }
            FrameError::Broken(problem) => self.broken(problem),
            FrameError::Closed => self.gone("it closed its connection".to_owned()),
            FrameError::Io(error) => self.gone(format!("its connection failed: {error}")),
        }
    }

    /// A process whose connection is lost: as a rule it ended, and else it is made to.
    fn gone(&mut self, problem: String) -> WorkerFault {
        match self.leave() {
            Some(status) => self.ended(status),
            None => self.broken(problem),
        }
    }

    fn ended(&mut self, status: ExitStatus) -> WorkerFault {
        let said = self.errors.said();
        match (status.signal(), status.code()) {
            (Some(signal), _) => WorkerFault::Signal { signal: signal_name(signal), said },
            (None, code) => WorkerFault::Exited { code: code.unwrap_or(-1), said },
        }
    }

    /// Waits a little for the process to end by itself.
    fn leave(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < LEAVE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    fn kill(&mut self) {
        // It may have ended meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone, Copy)]
enum Verdict {
    Silent,
    NotCancelled,
    Spoilt,
}

/// Looks for signs of life.
struct Vigil {
    limit: Duration,
    grace: Duration,
    sign: Instant,
    life: u64,
    looked: Instant,
    cancelled: Option<Instant>,
    verdict: Verdict,
}

impl Vigil {
    fn new(limit: Duration, grace: Duration) -> Self {
        let now = Instant::now();
        Self { limit, grace, sign: now, life: 0, looked: now, cancelled: None, verdict: Verdict::Silent }
    }

    /// Takes note of a sign of life.
    fn sign(&mut self) {
        self.sign = Instant::now();
    }

    /// Passes the cancel flag on and decides whether to go on waiting.
    fn look(&mut self, control: &mut Control, attendant: &dyn Attendant) -> ControlFlow<()> {
        let now = Instant::now();
        if now - self.looked < LOOK / 2 {
            return ControlFlow::Continue(());
        }
        self.looked = now;
        let Some(life) = control.life() else { return self.stop(Verdict::Spoilt) };
        if life != self.life {
            (self.life, self.sign) = (life, now);
        }
        let cancelled = attendant.cancelled();
        control.cancel(cancelled);
        if !cancelled {
            self.cancelled = None;
        } else if now - *self.cancelled.get_or_insert(now) > self.grace {
            return self.stop(Verdict::NotCancelled);
        }
        if now - self.sign > self.limit {
            return self.stop(Verdict::Silent);
        }
        ControlFlow::Continue(())
    }

    fn stop(&mut self, verdict: Verdict) -> ControlFlow<()> {
        self.verdict = verdict;
        ControlFlow::Break(())
    }
}

/// Keeps the end of what a process writes to standard error.
struct Errors {
    end: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Errors {
    fn of(stderr: Option<ChildStderr>) -> Self {
        let end = Arc::new(Mutex::new(Vec::new()));
        let reader = stderr.and_then(|mut stderr| {
            let end = Arc::clone(&end);
            let read = move || {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                    let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
                    end.extend_from_slice(&chunk[..count]);
                    let surplus = end.len().saturating_sub(LAST_WORDS);
                    end.drain(..surplus);
                }
            };
            std::thread::Builder::new().name("worker errors".to_owned()).spawn(read).ok()
        });
        Self { end, reader }
    }

    /// The last message of a process that has ended.
    fn said(&self) -> String {
        let start = Instant::now();
        // A process that it started may hold the pipe open.
        while self.reader.as_ref().is_some_and(|r| !r.is_finished()) && start.elapsed() < LEAVE / 10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&end);
        // Where a backtrace is asked for, the message stands before it.
        let text = text.rsplit_once("stack backtrace:").map_or(&*text, |(message, _)| message);
        // What follows a panic's or an abort's message is a hint for the terminal.
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("note: "));
        lines.next_back().unwrap_or_default().to_owned()
    }
}

fn signal_name(signal: i32) -> String {
    let known = [
        (Signal::SEGV, "SIGSEGV"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::ILL, "SIGILL"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::SYS, "SIGSYS"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::PIPE, "SIGPIPE"),
    ];
    let name = known.iter().find(|(known, _)| known.as_raw() == signal);
    name.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}
