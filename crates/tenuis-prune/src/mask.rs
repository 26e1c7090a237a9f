//! Which weights of a matrix are kept.

/// One byte a weight: 1 = kept, 0 = pruned.
///
/// # Shapes
/// `[out_features, in_features]`, row-major; the same form crosses the plugin ABI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    shape: [usize; 2],
    kept: Vec<u8>,
}

impl Mask {
    /// A mask that keeps everything.
    pub(crate) fn full(shape: [usize; 2]) -> Self {
        Self { shape, kept: vec![1; shape[0] * shape[1]] }
    }

    pub(crate) const fn of(shape: [usize; 2], kept: Vec<u8>) -> Self {
        Self { shape, kept }
    }

    pub(crate) fn kept_mut(&mut self) -> &mut [u8] {
        &mut self.kept
    }

    /// `[out_features, in_features]`.
    pub const fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// 1 = kept, 0 = pruned; row-major.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// How many weights are pruned.
    pub fn pruned(&self) -> u64 {
        self.kept.chunks(128).map(|part| u64::from(part.len() as u8 - part.iter().sum::<u8>())).sum()
    }
}
