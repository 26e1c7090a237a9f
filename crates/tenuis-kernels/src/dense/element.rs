//! The stored types that have a dense kernel.

use crate::dispatch::{LANES, Lanes};

/// A little-endian floating-point type that widens to f32 in registers.
pub(crate) trait Element {
    /// The bytes of [`LANES`] values.
    type Chunk: AsMut<[u8]> + Copy;
    /// A chunk of zeros.
    const ZERO: Self::Chunk;
    /// Bytes of a value.
    const SIZE: usize = size_of::<Self::Chunk>() / LANES;

    /// Cuts bytes into whole chunks; the rest comes second.
    fn chunks(bytes: &[u8]) -> (&[Self::Chunk], &[u8]);

    /// Widens a chunk.
    fn read<L: Lanes>(lanes: L, chunk: &Self::Chunk) -> L::Floats;
}

macro_rules! element {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $read:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Element for $name {
            type Chunk = [u8; $bytes];
            const ZERO: Self::Chunk = [0; $bytes];

            #[inline(always)]
            fn chunks(bytes: &[u8]) -> (&[Self::Chunk], &[u8]) {
                bytes.as_chunks()
            }

            #[inline(always)]
            fn read<L: Lanes>(lanes: L, chunk: &Self::Chunk) -> L::Floats {
                lanes.$read(chunk)
            }
        }
    };
}

element!(
    /// IEEE binary32.
    F32, 32, read_f32
);
element!(
    /// IEEE binary16.
    F16, 16, read_f16
);
element!(
    /// The upper half of a binary32.
    Bf16, 16, read_bf16
);
