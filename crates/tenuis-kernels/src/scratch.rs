//! Buffers that a thread keeps between calls, so that a forward pass neither allocates nor faults pages.

use std::cell::RefCell;

/// Values of a tile that one thread decodes at a time: 1 MiB of f32, which stays in a level-2 cache.
pub(crate) const TILE_VALUES: usize = 1 << 18;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` values with arbitrary contents.
///
/// Calls nest, each with a buffer of its own: within a kernel, and where a thread that waits for others takes over
/// one of their tasks.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        // Not grown in place: the old contents would be copied.
        buffer = vec![0.0; len];
    }
    let result = work(&mut buffer[..len]);
    if buffer.len() <= TILE_VALUES {
        KEPT.with_borrow_mut(|kept| kept.push(buffer));
    }
    result
}
