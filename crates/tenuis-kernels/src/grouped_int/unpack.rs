//! Codes of any width to one byte each.

use tenuis_core::{Bits, unpack_codes};

/// Unpacks the codes of a row to bytes, `out.len()` of them.
///
/// # Panics
/// If `row` is shorter than the codes.
pub(crate) fn unpack(bits: Bits, row: &[u8], out: &mut [u8]) {
    match bits.get() {
        3 => straddling::<3>(row, out),
        5 => straddling::<5>(row, out),
        6 => straddling::<6>(row, out),
        _ => unpack_codes(bits, row, out),
    }
}

/// Eight codes fill `WIDTH` whole bytes: they are read as one word and spread by halves.
fn straddling<const WIDTH: usize>(row: &[u8], out: &mut [u8]) {
    let (eights, rest) = out.as_chunks_mut::<8>();
    for (i, codes) in eights.iter_mut().enumerate() {
        *codes = spread::<WIDTH>(&row[i * WIDTH..]);
    }
    if !rest.is_empty() {
        let codes = spread::<WIDTH>(&row[eights.len() * WIDTH..]);
        rest.copy_from_slice(&codes[..rest.len()]);
    }
}

#[inline]
fn spread<const WIDTH: usize>(bytes: &[u8]) -> [u8; 8] {
    let mut word = if let Some(&chunk) = bytes.first_chunk::<8>() {
        u64::from_le_bytes(chunk)
    } else {
        let mut chunk = [0; 8];
        chunk[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(chunk)
    };
    let four = (1 << (4 * WIDTH)) - 1;
    word = (word & four) | ((word >> (4 * WIDTH)) & four) << 32;
    let two = ((1 << (2 * WIDTH)) - 1) * 0x0000_0001_0000_0001;
    word = (word & two) | ((word >> (2 * WIDTH)) & two) << 16;
    let one = ((1 << WIDTH) - 1) * 0x0001_0001_0001_0001;
    word = (word & one) | ((word >> WIDTH) & one) << 8;
    word.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tenuis_core::pack_codes;

    proptest! {
        #[test]
        fn undoes_packing(
            width in prop::sample::select(&Bits::ALLOWED[..]),
            raw in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bits = Bits::new(width).unwrap();
            let codes: Vec<u8> = raw.iter().map(|c| c & bits.max_code()).collect();
            let words = pack_codes(bits, &codes);
            let mut back = vec![0xff; codes.len()];
            unpack(bits, bytemuck::cast_slice(&words), &mut back);
            prop_assert_eq!(back, codes);
        }
    }
}
