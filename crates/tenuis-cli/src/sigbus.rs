//! A checkpoint that is truncated while it is mapped raises SIGBUS at the next read of the missing part.

use crate::exit::Code;

/// What the handler says: it may not format or allocate.
#[cfg(unix)]
const MESSAGE: &[u8] =
    b"error: a mapped weight file became shorter while it was read (SIGBUS); the output was not \
touched; copy the model again and start over\n";

/// Turns SIGBUS into a message and the documented exit code.
#[cfg(unix)]
#[expect(unsafe_code, reason = "signal handlers can only be installed through the C library")]
pub(crate) fn install() {
    extern "C" fn handler(_signal: libc::c_int) {
        // SAFETY: `write` and `_exit` are async-signal-safe, and the message is a constant.
        unsafe {
            let _ = libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(Code::Changed as libc::c_int);
        }
    }
    let handler: extern "C" fn(libc::c_int) = handler;
    // SAFETY: the action is fully initialised, and the handler only calls async-signal-safe functions.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

/// Other systems do not map files that can shrink, or end the program themselves.
#[cfg(not(unix))]
pub(crate) fn install() {
    let _ = Code::Changed;
}
