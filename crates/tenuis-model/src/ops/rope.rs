//! Rotary positions.

use super::{for_rows, slice};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use tenuis_spec::{Frequencies, RopeSpec};

/// The rotary positions of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    rotary_dim: usize,
    interleaved: bool,
    frequencies: Frequencies,
    /// Those of sequences that reach beyond so many positions.
    long: Option<(usize, Frequencies)>,
}

/// Cosine and sine of every pair, `[positions, rotary_dim / 2]` each: of the positions of one sequence, which all
/// share, or of those of every sequence.
pub(crate) struct Angles<'a> {
    rope: &'a Rope,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    pub(crate) fn new(spec: &RopeSpec) -> Self {
        Self {
            rotary_dim: spec.rotary_dim,
            interleaved: spec.interleaved,
            frequencies: spec.frequencies(),
            long: spec.long_after().map(|n| (n, spec.frequencies_for(n + 1))),
        }
    }

    /// The angles of positions `start..start + count` of every sequence; those of position 0 on where `starts` is
    /// empty. `reach` is how far the sequences may get: keys that are kept have to be turned as those to come.
    ///
    /// The angle is the f32 product of position and frequency, as the reference has it: far out in a sequence its
    /// rounding is larger than anything else here.
    pub(crate) fn angles(
        &self,
        starts: impl Iterator<Item = usize> + Clone,
        count: usize,
        reach: usize,
    ) -> Angles<'_> {
        let frequencies = match &self.long {
            Some((limit, long)) if reach > *limit => long,
            _ => &self.frequencies,
        };
        let pairs = frequencies.inverse.len();
        let factor = frequencies.attention_factor;
        let first = starts.clone().next().unwrap_or_default();
        let together = starts.clone().all(|start| start == first);
        let sequences = if together { 1 } else { starts.clone().count() };
        let size = sequences * count * pairs;
        let (mut cos, mut sin) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let rest = starts.skip(1).take(sequences - 1);
        for position in std::iter::once(first).chain(rest).flat_map(|start| start..start + count) {
            for &frequency in &frequencies.inverse {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * factor);
                sin.push(s * factor);
            }
        }
        Angles { rope: self, cos, sin }
    }
}

impl Angles<'_> {
    /// Turns every head of `x: [batch, seq, heads · head_dim]`.
    pub(crate) fn rotate(&self, x: &Tensor, head_dim: usize) -> candle_core::Result<Tensor> {
        super::contiguous(x)?.apply_op1_no_bwd(&Rotate { angles: self, head_dim })
    }
}

struct Rotate<'a> {
    angles: &'a Angles<'a>,
    head_dim: usize,
}

impl CustomOp1 for Rotate<'_> {
    fn name(&self) -> &'static str {
        "tenuis-rope"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout, self.name())?;
        let (batch, seq, width) = layout.shape().dims3()?;
        let Angles { rope, cos, sin } = self.angles;
        let pairs = rope.rotary_dim / 2;
        let positions = cos.len().checked_div(pairs).unwrap_or(seq);
        if (positions != seq && positions != batch * seq)
            || !width.is_multiple_of(self.head_dim)
            || rope.rotary_dim > self.head_dim
        {
            candle_core::bail!("rope: {:?} with heads of {} and other angles", layout.shape(), self.head_dim);
        }
        let mut out = vec![0.0; x.len()];
        for_rows(&mut out, width, |first, out| {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let row = first + row;
                let x = &x[row * width..(row + 1) * width];
                let position = row % positions;
                let angles = position * pairs..(position + 1) * pairs;
                let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
                for (x, out) in x.chunks_exact(self.head_dim).zip(out.chunks_exact_mut(self.head_dim)) {
                    if rope.interleaved {
                        turn_neighbours(x, cos, sin, out);
                    } else {
                        turn_halves(x, cos, sin, out);
                    }
                    out[rope.rotary_dim..].copy_from_slice(&x[rope.rotary_dim..]);
                }
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

fn turn_halves(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let pairs = cos.len();
    let (x1, x2) = (&x[..pairs], &x[pairs..2 * pairs]);
    let (out1, out2) = out[..2 * pairs].split_at_mut(pairs);
    for i in 0..pairs {
        out1[i] = x1[i] * cos[i] - x2[i] * sin[i];
        out2[i] = x2[i] * cos[i] + x1[i] * sin[i];
    }
}

fn turn_neighbours(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let (x, _) = x.as_chunks::<2>();
    let (out, _) = out.as_chunks_mut::<2>();
    for (((x, out), &c), &s) in x.iter().zip(out).zip(cos).zip(sin) {
        *out = [x[0] * c - x[1] * s, x[1] * c + x[0] * s];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use tenuis_spec::RopeScaling;

    fn rotate(interleaved: bool, start: usize) -> Vec<f32> {
        let spec = RopeSpec { theta: 100.0, rotary_dim: 4, interleaved, scaling: RopeScaling::Default };
        let x = Tensor::new(&[[[1.0f32, 2.0, 3.0, 4.0, 5.0]]], &Device::Cpu).unwrap();
        let rope = Rope::new(&spec);
        rope.angles(std::iter::once(start), 1, 1)
            .rotate(&x, 5)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn pairs_are_halves_or_neighbours() {
        let (s1, c1) = 2f32.sin_cos();
        let (s2, c2) = 0.2f32.sin_cos();
        let close = |a: Vec<f32>, b: [f32; 5]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let halves = [c1 - 3.0 * s1, 2.0 * c2 - 4.0 * s2, 3.0 * c1 + s1, 4.0 * c2 + 2.0 * s2, 5.0];
        let neighbours = [c1 - 2.0 * s1, 2.0 * c1 + s1, 3.0 * c2 - 4.0 * s2, 4.0 * c2 + 3.0 * s2, 5.0];
        assert!(close(rotate(false, 2), halves));
        assert!(close(rotate(true, 2), neighbours));
        assert_eq!(rotate(false, 0), [1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
