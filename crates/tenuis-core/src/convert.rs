//! Conversion between stored element types and f32.

use crate::bytes::Bytes;
use crate::dtype::{DType, StoredType};
use crate::tensor::TensorError;
use float8::{F8E4M3, F8E5M2};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Widens (or, from f64, rounds) little-endian bytes of a floating-point type to f32.
///
/// # Errors
/// [`TensorError::Type`] for integer types.
///
/// # Panics
/// If `bytes` does not hold exactly `out.len()` elements.
pub fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), TensorError> {
    assert_eq!(bytes.len(), out.len() * dtype.size(), "bytes of {dtype} for {} elements", out.len());
    match dtype {
        DType::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(bytes),
        DType::F16 => match bytemuck::try_cast_slice::<u8, f16>(bytes) {
            // The crate converts eight at a time with F16C where the CPU has it.
            Ok(halves) => halves.convert_to_f32_slice(out),
            Err(_) => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        },
        DType::BF16 => each(bytes, out, |b: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        DType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DType::F8E4M3 => each(bytes, out, |b: [u8; 1]| F8E4M3::from_bits(b[0]).to_f32()),
        DType::F8E5M2 => each(bytes, out, |b: [u8; 1]| F8E5M2::from_bits(b[0]).to_f32()),
        DType::I64 | DType::I32 | DType::I16 | DType::I8 | DType::U8 | DType::Bool => {
            return Err(not_float(dtype));
        }
    }
    Ok(())
}

/// Rounds f32 values to a floating-point type, to nearest, ties to even.
///
/// # Errors
/// [`TensorError::Type`] for integer types.
pub fn from_f32(dtype: DType, values: &[f32]) -> Result<Bytes, TensorError> {
    Ok(match dtype {
        DType::F32 => Bytes::from_vec(values.to_vec()),
        DType::F16 => {
            let mut out = vec![f16::ZERO; values.len()];
            out.convert_from_f32_slice(values);
            Bytes::from_vec(out)
        }
        DType::BF16 => Bytes::from_vec(values.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>()),
        DType::F64 => Bytes::from_vec(values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()),
        DType::F8E4M3 => {
            Bytes::from_vec(values.iter().map(|&v| F8E4M3::from_f32(v).to_bits()).collect::<Vec<_>>())
        }
        DType::F8E5M2 => {
            Bytes::from_vec(values.iter().map(|&v| F8E5M2::from_f32(v).to_bits()).collect::<Vec<_>>())
        }
        DType::I64 | DType::I32 | DType::I16 | DType::I8 | DType::U8 | DType::Bool => {
            return Err(not_float(dtype));
        }
    })
}

/// The value that f32 `value` has once it is stored as `dtype`; integer types leave it as it is.
pub fn round_f32(dtype: DType, value: f32) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        DType::F8E4M3 => F8E4M3::from_f32(value).to_f32(),
        DType::F8E5M2 => F8E5M2::from_f32(value).to_f32(),
        _ => value,
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    for (slot, chunk) in out.iter_mut().zip(chunks) {
        *slot = decode(*chunk);
    }
}

fn not_float(dtype: DType) -> TensorError {
    TensorError::Type { expected: "a floating-point type", found: StoredType::Known(dtype) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every finite value of a narrow type survives f32 and back, bit for bit.
    #[test]
    fn round_trip_of_all_narrow_floats() {
        for dtype in [DType::F16, DType::BF16] {
            let bits: Vec<u16> = (0..=u16::MAX).collect();
            let mut wide = vec![0.0; bits.len()];
            to_f32(dtype, bytemuck::cast_slice(&bits), &mut wide).unwrap();
            let back = from_f32(dtype, &wide).unwrap();
            let back: Vec<u16> = bytemuck::pod_collect_to_vec(&back);
            for ((value, was), now) in wide.iter().zip(&bits).zip(&back) {
                assert!(value.is_nan() || was == now, "{dtype} {was:#06x} became {now:#06x}");
            }
        }
        for dtype in [DType::F8E4M3, DType::F8E5M2] {
            let bits: Vec<u8> = (0..=u8::MAX).collect();
            let mut wide = vec![0.0; 256];
            to_f32(dtype, &bits, &mut wide).unwrap();
            let back = from_f32(dtype, &wide).unwrap();
            for ((value, was), now) in wide.iter().zip(&bits).zip(back.iter()) {
                assert!(!value.is_finite() || was == now, "{dtype} {was:#04x} became {now:#04x}");
            }
        }
    }

    #[test]
    fn known_values() {
        let mut out = [0.0];
        to_f32(DType::F8E4M3, &[0x7e], &mut out).unwrap();
        assert_eq!(out, [448.0]);
        to_f32(DType::F8E5M2, &[0x7b], &mut out).unwrap();
        assert_eq!(out, [57344.0]);
        to_f32(DType::F16, &0x3c00u16.to_le_bytes(), &mut out).unwrap();
        assert_eq!(out, [1.0]);
        assert!(to_f32(DType::I32, &[0; 4], &mut out).is_err());
    }

    #[test]
    fn unaligned_halves_are_read() {
        let buffer = [0u8, 0x00, 0x3c, 0x00, 0x40];
        let mut out = [0.0; 2];
        to_f32(DType::F16, &buffer[1..], &mut out).unwrap();
        assert_eq!(out, [1.0, 2.0]);
    }
}
