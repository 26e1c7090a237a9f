//! Buffers that a thread keeps between calls, so that a forward pass neither allocates nor faults pages.

use std::cell::Cell;

/// Values of a tile that one thread decodes at a time: 1 MiB of f32, which stays in a level-2 cache.
pub(crate) const TILE_VALUES: usize = 1 << 18;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Lends `len` values with arbitrary contents.
///
/// The buffer is taken out of its slot for the time of the call: a decoder that itself waits on the thread pool may
/// come back here on the same thread, and then gets a buffer of its own.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = KEPT.take();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = work(&mut buffer[..len]);
    if buffer.len() <= TILE_VALUES {
        KEPT.set(buffer);
    }
    result
}
