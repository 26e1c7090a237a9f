//! Frames over a Unix socket: two lengths, a JSON message, some bytes, and with the first byte at most one open file.
//!
//! ```text
//! u64 length of the message │ u64 length of the bytes │ message (JSON) │ bytes
//! ```
//!
//! All integers are little-endian. The file, sent as ancillary data, is the shared memory that the message's tensors lie in.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A message is no longer than this: the names, shapes and configuration of a very large checkpoint.
const MESSAGE_LIMIT: u64 = 256 << 20;
/// Nor the bytes behind it; tensors travel in shared memory.
const TAIL_LIMIT: u64 = 1 << 30;
/// The two lengths.
const HEADER: usize = 16;

/// A received frame.
pub(crate) struct Frame<M> {
    pub(crate) message: M,
    pub(crate) tail: Vec<u8>,
    pub(crate) file: Option<File>,
}

/// Why a frame did not come or go.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The other side is gone.
    Closed,
    /// What came is no frame.
    Broken(String),
    /// The idle function said so.
    Stopped,
    /// Something else.
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Called whenever the socket's time limit passes without a byte.
pub(crate) type Idle<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// Does a system call again until it did something.
fn persist(idle: Idle<'_>, mut work: impl FnMut() -> io::Result<usize>) -> Result<usize, FrameError> {
    loop {
        match work() {
            Ok(count) => return Ok(count),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if idle().is_break() {
                    return Err(FrameError::Stopped);
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Sends a frame.
pub(crate) fn send(
    stream: &UnixStream,
    message: &impl Serialize,
    tail: &[u8],
    file: Option<BorrowedFd<'_>>,
    idle: Idle<'_>,
) -> Result<(), FrameError> {
    let text = serde_json::to_vec(message).map_err(|e| FrameError::Broken(e.to_string()))?;
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&(text.len() as u64).to_le_bytes());
    header[8..].copy_from_slice(&(tail.len() as u64).to_le_bytes());
    let files = file.map(|f| [f]);
    let sent = persist(idle, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(files) = &files {
            ancillary.push(SendAncillaryMessage::ScmRights(files));
        }
        Ok(sendmsg(stream, &[IoSlice::new(&header)], &mut ancillary, no_signal())?)
    })?;
    for part in [&header[sent..], &text, tail] {
        let mut rest = part;
        while !rest.is_empty() {
            let written = persist(idle, || (&mut &*stream).write(rest))?;
            rest = &rest[written..];
        }
    }
    Ok(())
}

/// Waits for a frame.
pub(crate) fn receive<M: DeserializeOwned>(
    stream: &UnixStream,
    idle: Idle<'_>,
) -> Result<Frame<M>, FrameError> {
    let mut header = [0; HEADER];
    let mut file = None;
    let mut filled = 0;
    while filled < HEADER {
        let count = persist(idle, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut header[filled..])];
            let received = recvmsg(stream, &mut slices, &mut ancillary, close_on_exec())?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(files) = message {
                    file = files.last().map(File::from).or(file.take());
                }
            }
            Ok(received.bytes)
        })?;
        if count == 0 {
            return Err(FrameError::Closed);
        }
        filled += count;
    }
    let [text, tail] =
        [&header[..8], &header[8..]].map(|part| part.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)));
    if text > MESSAGE_LIMIT || tail > TAIL_LIMIT {
        return Err(FrameError::Broken(format!("a frame of {text} + {tail} bytes")));
    }
    let mut read = |len: u64| {
        let mut bytes = vec![0; len as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match persist(idle, || (&mut &*stream).read(&mut bytes[filled..]))? {
                0 => return Err(FrameError::Closed),
                count => filled += count,
            }
        }
        Ok(bytes)
    };
    let (text, tail) = (read(text)?, read(tail)?);
    let message = serde_json::from_slice(&text).map_err(|e| FrameError::Broken(e.to_string()))?;
    Ok(Frame { message, tail, file })
}

/// The handle of a file, to send it.
pub(crate) fn handle(file: &File) -> BorrowedFd<'_> {
    file.as_fd()
}

/// A peer that is gone is an error and no signal, where the system can say so per call; Rust's start-up code ignores the
/// signal elsewhere.
const fn no_signal() -> SendFlags {
    #[cfg(not(target_vendor = "apple"))]
    return SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    return SendFlags::empty();
}

/// Files that come are not handed on to programs that the plugin starts, where the system can say so.
const fn close_on_exec() -> RecvFlags {
    #[cfg(not(target_vendor = "apple"))]
    return RecvFlags::CMSG_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    return RecvFlags::empty();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    fn never() -> impl FnMut() -> ControlFlow<()> {
        || ControlFlow::Break(())
    }

    #[test]
    fn a_frame_arrives_whole_with_its_file() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"shared").unwrap();
        send(&here, &vec!["a", "b"], &[1, 2, 3], Some(handle(&file)), &mut never()).unwrap();
        send(&here, &7, &[], None, &mut never()).unwrap();
        let frame: Frame<Vec<String>> = receive(&there, &mut never()).unwrap();
        assert_eq!((frame.message, frame.tail), (vec!["a".to_owned(), "b".to_owned()], vec![1, 2, 3]));
        let mut text = String::new();
        let mut received = frame.file.unwrap();
        received.rewind().unwrap();
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "shared");
        let second: Frame<u32> = receive(&there, &mut never()).unwrap();
        assert!(second.message == 7 && second.file.is_none());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let (mut here, there) = UnixStream::pair().unwrap();
        there.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
        let nothing = receive::<u32>(&there, &mut never()).err();
        assert!(matches!(nothing, Some(FrameError::Stopped)));
        here.write_all(&[0xff; HEADER]).unwrap();
        let long = receive::<u32>(&there, &mut never()).err();
        assert!(matches!(long, Some(FrameError::Broken(_))));
        send(&here, &"text", &[], None, &mut never()).unwrap();
        let other = receive::<u32>(&there, &mut never()).err();
        assert!(matches!(other, Some(FrameError::Broken(_))));
        drop(here);
        let closed = receive::<u32>(&there, &mut never()).err();
        assert!(matches!(closed, Some(FrameError::Closed)));
    }
}
