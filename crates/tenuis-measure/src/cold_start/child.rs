//! One process, from its start to its exit.

use super::ColdStart;
use crate::error::MeasureError;
use crate::memory::ProcessMemory;
use crate::system::SystemRoot;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of standard error that are kept for a message.
const KEPT_BYTES: usize = 2000;

/// How often a process that closed its standard output and has not ended is looked at: what its exit may be late by.
const EXIT_INTERVAL: Duration = Duration::from_micros(200);

/// What became of a process.
pub(super) struct Run {
    pub(super) ready: Duration,
    pub(super) exit: Duration,
    pub(super) memory: Option<ProcessMemory>,
}

/// What the reader of standard output sees.
enum Output {
    Marker(Instant),
    End,
}

/// A process that is ended when this goes out of scope, so that an error leaves none behind.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only where it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program, waits for its marker and its exit.
pub(super) fn run(start: &ColdStart, limit: Duration, root: &SystemRoot) -> Result<Run, MeasureError> {
    let failed = |action| {
        let program = start.program.clone();
        move |source| MeasureError::Process { action, program, source }
    };
    let mut command = Command::new(&start.program);
    command.args(&start.arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = Guard(command.spawn().map_err(failed("starting"))?);
    let (events, stderr) = listen(&mut child.0, &start.marker);
    let timeout = || MeasureError::Timeout { program: start.program.clone(), limit };

    let mut ready = None;
    let mut memory = None;
    loop {
        match events.recv_timeout(limit.saturating_sub(began.elapsed())) {
            Ok(Output::Marker(at)) => {
                ready = Some(at - began);
                memory = ProcessMemory::of_process(root, child.0.id());
            }
            Ok(Output::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(timeout()),
        }
    }
    let status = loop {
        if let Some(status) = child.0.try_wait().map_err(failed("waiting for"))? {
            break status;
        }
        if began.elapsed() >= limit {
            return Err(timeout());
        }
        thread::sleep(EXIT_INTERVAL);
    };
    let exit = began.elapsed();
    let ready = check(start, status, ready, &stderr, limit.saturating_sub(began.elapsed()))?;
    Ok(Run { ready, exit, memory })
}

fn check(
    start: &ColdStart,
    status: ExitStatus,
    ready: Option<Duration>,
    stderr: &Receiver<String>,
    patience: Duration,
) -> Result<Duration, MeasureError> {
    let program = start.program.clone();
    if !status.success() {
        // A grandchild may hold the pipe open: then its message is not worth waiting for to the end of time.
        let message = stderr.recv_timeout(patience).unwrap_or_default();
        return Err(MeasureError::Failed { program, status, message });
    }
    ready.ok_or_else(|| MeasureError::NoMarker { program, marker: start.marker.clone() })
}

/// Reads both outputs on threads of their own: a full pipe would stop the process. The threads end with the pipes.
fn listen(child: &mut Child, marker: &str) -> (Receiver<Output>, Receiver<String>) {
    let (events, received) = channel();
    let marker = marker.as_bytes().to_owned();
    if let Some(stdout) = child.stdout.take() {
        // After a timeout nobody listens any more, and there is nobody to tell.
        thread::spawn(move || {
            drain(stdout, &marker, |at| drop(events.send(Output::Marker(at))));
            drop(events.send(Output::End));
        });
    }
    let (messages, message) = channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || drop(messages.send(last_words(stderr))));
    }
    (received, message)
}

/// Reads to the end and tells when the first line came that begins with the marker.
fn drain(stdout: ChildStdout, marker: &[u8], found: impl FnOnce(Instant)) {
    let mut reader = BufReader::new(stdout);
    let mut found = Some(found);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let at = Instant::now();
        if line.starts_with(marker)
            && let Some(found) = found.take()
        {
            found(at);
        }
        line.clear();
    }
}

/// Reads to the end and keeps the last bytes.
fn last_words(mut stderr: ChildStderr) -> String {
    let mut kept = VecDeque::with_capacity(KEPT_BYTES);
    let mut buffer = [0; 4096];
    while let Ok(length) = stderr.read(&mut buffer)
        && length > 0
    {
        kept.extend(&buffer[..length]);
        kept.drain(..kept.len().saturating_sub(KEPT_BYTES));
    }
    String::from_utf8_lossy(kept.make_contiguous()).trim().to_owned()
}
