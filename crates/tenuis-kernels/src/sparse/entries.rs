//! The kept entries of a row, eight at a time.

use crate::dense::Element;
use crate::dispatch::{LANES, Lanes};
use std::marker::PhantomData;

/// Entries that are read as f32.
pub(super) trait Entries: Copy {
    /// Whether they are codes, with a scale and a zero point for each group of columns.
    const SCALED: bool;

    /// Eight entries from `first` on. Those beyond the last are arbitrary, and finite.
    fn read<L: Lanes>(self, lanes: L, first: usize) -> L::Floats;
}

/// Little-endian floats, the row's own and whatever comes behind them.
#[derive(Debug)]
pub(super) struct Floats<'a, E> {
    bytes: &'a [u8],
    element: PhantomData<E>,
}

impl<'a, E> Floats<'a, E> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, element: PhantomData }
    }
}

impl<E> Clone for Floats<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Floats<'_, E> {}

impl<E: Element> Entries for Floats<'_, E> {
    const SCALED: bool = false;

    #[inline(always)]
    fn read<L: Lanes>(self, lanes: L, first: usize) -> L::Floats {
        let from = first * E::SIZE;
        if let Some(bytes) = self.bytes.get(from..from + LANES * E::SIZE)
            && let Some(chunk) = E::chunks(bytes).0.first()
        {
            return E::read(lanes, chunk);
        }
        // The last entries of the matrix.
        let rest = self.bytes.get(from..).unwrap_or_default();
        let mut chunk = E::ZERO;
        chunk.as_mut()[..rest.len()].copy_from_slice(rest);
        E::read(lanes, &chunk)
    }
}

/// Unpacked codes, with eight bytes behind the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes<'a>(pub(super) &'a [u8]);

impl Entries for Codes<'_> {
    const SCALED: bool = true;

    #[inline(always)]
    fn read<L: Lanes>(self, lanes: L, first: usize) -> L::Floats {
        match self.0.get(first..).and_then(<[u8]>::first_chunk::<LANES>) {
            Some(codes) => lanes.read_u8(*codes),
            None => lanes.splat(0.0),
        }
    }
}
