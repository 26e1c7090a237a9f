//! Shared bytes: an owned buffer or a piece of a mapped file, cheap to clone.

use bytemuck::NoUninit;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Immutable, reference-counted bytes.
///
/// A clone shares the buffer. The bytes may live in a mapped file, so holding them does not mean that they
/// occupy RAM.
///
/// ```
/// use tenuis_core::Bytes;
/// let bytes = Bytes::from_vec(vec![1.0f32, 2.0]);
/// assert_eq!(bytes.len(), 8);
/// assert_eq!(bytes.slice(4..8)[..], 2.0f32.to_le_bytes());
/// ```
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

/// Keeps the alignment of `T` for the bytes of a vector.
struct PodVec<T>(Vec<T>);

impl<T: NoUninit> AsRef<[u8]> for PodVec<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Bytes {
    /// Takes over a vector of plain numbers without copying; the bytes keep its alignment.
    pub fn from_vec<T: NoUninit + Send + Sync>(values: Vec<T>) -> Self {
        Self::from_owner(Arc::new(PodVec(values)))
    }

    /// Shares the bytes of any owner, such as a mapped file.
    pub fn from_owner(owner: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        let range = 0..(*owner).as_ref().len();
        Self { owner, range }
    }

    /// A part of these bytes that shares the owner.
    ///
    /// # Panics
    /// If `range` reaches beyond the bytes.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "slice {range:?} of {} bytes",
            self.len()
        );
        let start = self.range.start + range.start;
        Self { owner: Arc::clone(&self.owner), range: start..start + range.len() }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.range.len())
    }
}
