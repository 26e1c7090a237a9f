//! Integer codes as a contiguous little-endian bit stream.

use crate::units::Bits;

/// Packs codes into 32-bit words, low bits first, without gaps: code `i` occupies bits `i·bits .. (i+1)·bits` of the
/// stream, so that 3-, 5- and 6-bit codes may straddle words. The last word is filled with zeros.
///
/// ```
/// use tenuis_core::{Bits, pack_codes, unpack_codes};
/// let bits = Bits::new(3).unwrap();
/// let codes = [5, 1, 7, 0, 2, 6, 3, 4, 5, 1, 7];
/// let words = pack_codes(bits, &codes);
/// assert_eq!(words.len(), 2);
/// let mut back = [0; 11];
/// unpack_codes(bits, bytemuck::cast_slice(&words), &mut back);
/// assert_eq!(back, codes);
/// ```
pub fn pack_codes(bits: Bits, codes: &[u8]) -> Vec<i32> {
    let width = u32::from(bits.get());
    let mut words = Vec::with_capacity(bits.words(codes.len()));
    let (mut stream, mut filled) = (0u64, 0);
    for &code in codes {
        debug_assert!(code <= bits.max_code());
        stream |= u64::from(code) << filled;
        filled += width;
        if filled >= 32 {
            words.push(stream as u32 as i32);
            stream >>= 32;
            filled -= 32;
        }
    }
    if filled > 0 {
        words.push(stream as u32 as i32);
    }
    words
}

/// Reads `out.len()` codes back from the bytes of little-endian words.
///
/// # Panics
/// If `bytes` is shorter than the codes.
pub fn unpack_codes(bits: Bits, bytes: &[u8], out: &mut [u8]) {
    match bits.get() {
        8 => out.copy_from_slice(&bytes[..out.len()]),
        4 => unpack_within_bytes::<4, 2>(bytes, out),
        2 => unpack_within_bytes::<2, 4>(bytes, out),
        width => unpack_straddling(width, bytes, out),
    }
}

/// Codes that never straddle a byte.
fn unpack_within_bytes<const WIDTH: usize, const PER_BYTE: usize>(bytes: &[u8], out: &mut [u8]) {
    let mask = ((1u16 << WIDTH) - 1) as u8;
    let (whole, tail) = out.as_chunks_mut::<PER_BYTE>();
    let used = whole.len();
    for (codes, &byte) in whole.iter_mut().zip(&bytes[..used]) {
        for (i, code) in codes.iter_mut().enumerate() {
            *code = (byte >> (i * WIDTH)) & mask;
        }
    }
    for (i, code) in tail.iter_mut().enumerate() {
        *code = (bytes[used] >> (i * WIDTH)) & mask;
    }
}

fn unpack_straddling(width: u8, bytes: &[u8], out: &mut [u8]) {
    let mask = (1u16 << width) - 1;
    let mut position = 0usize;
    for code in out {
        let byte = position / 8;
        let low = u16::from(bytes[byte]);
        let high = bytes.get(byte + 1).map_or(0, |&b| u16::from(b));
        *code = (((low | high << 8) >> (position % 8)) & mask) as u8;
        position += width as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Packing loses nothing, for every width and length, and uses exactly the words it claims.
        #[test]
        fn round_trip(width in prop::sample::select(&Bits::ALLOWED[..]), raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let bits = Bits::new(width).unwrap();
            let codes: Vec<u8> = raw.iter().map(|c| c & bits.max_code()).collect();
            let words = pack_codes(bits, &codes);
            prop_assert_eq!(words.len(), bits.words(codes.len()));
            let mut back = vec![0xff; codes.len()];
            unpack_codes(bits, bytemuck::cast_slice(&words), &mut back);
            prop_assert_eq!(back, codes);
        }
    }

    #[test]
    fn nibble_order_is_low_first() {
        let words = pack_codes(Bits::new(4).unwrap(), &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(words, [0x8765_4321_u32 as i32]);
    }
}
