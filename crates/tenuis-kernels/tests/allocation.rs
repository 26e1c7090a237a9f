//! A forward pass never holds a dense copy of its weight.
#![expect(unsafe_code, reason = "a global allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tenuis_core::{
    Bits, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, LowRank, Sparse, SparsePattern, Sum, Tensor,
    Weight,
};

/// Counts live bytes and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: usize = 2048;
const THREADS: usize = 2;

/// A tile of 1 MiB, scales and codes of its rows, and what the `gemm` crate packs, for each thread; or, when an
/// operation is made, the packed copy of a weight whose columns get sorted.
const ALLOWED: usize = THREADS * (4 << 20);

fn peak_of(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
}

// One test, because the counters are the process's.
#[test]
fn forward_allocates_tiles_only() {
    let values = vec![0.5f32; SIZE * SIZE];
    let dense_bytes = SIZE * SIZE * size_of::<f32>();
    const { assert!(2 * ALLOWED <= SIZE * SIZE * size_of::<f32>(), "the bound would allow a copy") };
    let dense = |dtype| -> Weight {
        Arc::new(Dense::new(Tensor::from_f32(dtype, vec![SIZE, SIZE], &values).unwrap()).unwrap())
    };
    let grouped = |width, group_index| -> Weight {
        let spec = GroupedIntSpec {
            bits: Bits::new(width).unwrap(),
            group_size: GroupSize::Columns(128),
            symmetric: true,
            scale_dtype: DType::F16,
            group_index,
        };
        let groups = SIZE / 128;
        let index: Vec<u32> = (0..SIZE).map(|i| (i % groups) as u32).collect();
        let codes = vec![1; SIZE * SIZE];
        let scales = vec![0.5; SIZE * groups];
        let index = group_index.then_some(&index[..]);
        Arc::new(GroupedInt::from_codes(spec, [SIZE, SIZE], &codes, &scales, None, index).unwrap())
    };
    // Half of the full rank: the product of the factors would be as large as a dense matrix.
    let low_rank = || -> Weight {
        let factor = |shape: [usize; 2]| -> Weight {
            let tensor =
                Tensor::from_f32(DType::F16, shape.to_vec(), &values[..shape[0] * shape[1]]).unwrap();
            Arc::new(Dense::new(tensor).unwrap())
        };
        Arc::new(LowRank::new(factor([SIZE, SIZE / 2]), factor([SIZE / 2, SIZE])).unwrap())
    };
    let two_of_four: Vec<f32> = (0..SIZE * SIZE).map(|i| if i % 4 < 2 { 0.5 } else { 0.0 }).collect();
    let sparse = |pattern| -> Weight {
        Arc::new(Sparse::from_dense(pattern, DType::F16, [SIZE, SIZE], &two_of_four).unwrap())
    };
    let sparse_int4 = |pattern| -> Weight {
        let spec = GroupedIntSpec {
            bits: Bits::FOUR,
            group_size: GroupSize::Columns(128),
            symmetric: true,
            scale_dtype: DType::F16,
            group_index: false,
        };
        let codes: Vec<u8> = two_of_four.iter().map(|v| if *v == 0.0 { 8 } else { 3 }).collect();
        let scales = vec![0.5; SIZE * SIZE / 128];
        let dense = GroupedInt::from_codes(spec, [SIZE, SIZE], &codes, &scales, None, None).unwrap();
        Arc::new(Sparse::from_grouped_int(pattern, &dense).unwrap())
    };
    let weights = [
        sparse(SparsePattern::Bitmask),
        sparse(SparsePattern::TwoOfFour),
        sparse_int4(SparsePattern::Bitmask),
        sparse_int4(SparsePattern::TwoOfFour),
        dense(DType::F32),
        dense(DType::F16),
        dense(DType::F8E4M3),
        grouped(4, false),
        grouped(3, false),
        grouped(4, true),
        low_rank(),
        Arc::new(Sum::new(vec![grouped(4, false), low_rank()]).unwrap()),
    ];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    for weight in &weights {
        let mut op = None;
        let making = peak_of(|| op = Some(pool.install(|| tenuis_kernels::linear_op(weight)).unwrap()));
        assert!(making <= ALLOWED, "{} allocates {making} to be made", weight.descriptor());
        for rows in [1, 4, 100] {
            let (x, mut y) = (vec![1.0; rows * SIZE], vec![0.0; rows * SIZE]);
            let op = op.as_ref().unwrap();
            let peak = peak_of(|| pool.install(|| op.forward(&x, rows, None, &mut y)));
            assert!(
                peak <= ALLOWED,
                "{} allocates {peak} of {dense_bytes}, rows {rows}",
                weight.descriptor()
            );
        }
    }
}
