//! A Linear over a packed weight never makes a dense copy of it.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use candle_core::{DType as CandleType, Device, Tensor as Activations};
use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenuis_core::{Bits, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, Layout, Tensor, Weight};
use tenuis_model::Linear;
use tenuis_spec::{LinearSpec, Role};

/// Counts what is allocated and how much of it lives at once.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; only counters are kept beside.
#[expect(unsafe_code, reason = "a global allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        let live = LIVE.fetch_add(memory.size(), Ordering::Relaxed) + memory.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        LIVE.fetch_sub(memory.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OUT: usize = 4096;
const IN: usize = 2048;
/// Bytes of the weight as dense f32.
const DENSE: usize = 4 * OUT * IN;
/// Buffers of tiles and of activations: far from a copy of the weight, whatever the number of threads up to 16.
const ALLOWED: usize = DENSE / 2;

fn spec(layout: Layout) -> LinearSpec {
    LinearSpec { name: "layer".into(), role: Role::Up, shape: [OUT, IN], layout, bias: false }
}

fn packed(bits: u8, symmetric: bool, indexed: bool) -> Weight {
    let groups = IN / 128;
    let spec = GroupedIntSpec {
        bits: Bits::new(bits).unwrap(),
        group_size: GroupSize::Columns(128),
        symmetric,
        scale_dtype: DType::F16,
        group_index: indexed,
    };
    let codes: Vec<u8> = (0..OUT * IN).map(|i| (i * 7 % spec.bits.levels() as usize) as u8).collect();
    let zeros = vec![1; OUT * groups];
    let index: Vec<u32> = (0..IN).map(|i| ((i * 5 + 3) % IN / 128) as u32).collect();
    let weight = GroupedInt::from_codes(
        spec,
        [OUT, IN],
        &codes,
        &vec![0.01; OUT * groups],
        (!symmetric).then_some(&zeros[..]),
        indexed.then_some(&index[..]),
    );
    Arc::new(weight.unwrap())
}

fn dense(layout: Layout) -> Weight {
    let values: Vec<f32> = (0..OUT * IN).map(|i| (i % 17) as f32).collect();
    let shape = if layout == Layout::OutIn { vec![OUT, IN] } else { vec![IN, OUT] };
    Arc::new(Dense::with_layout(Tensor::from_f32(DType::F16, shape, &values).unwrap(), layout).unwrap())
}

/// One test in this file, because the counters are the process's.
#[test]
fn a_forward_pass_allocates_tiles_only() {
    let weights = [
        ("4 bits", spec(Layout::OutIn), packed(4, true, false)),
        ("4 bits, asymmetric, indexed", spec(Layout::OutIn), packed(4, false, true)),
        ("3 bits", spec(Layout::OutIn), packed(3, false, false)),
        ("8 bits", spec(Layout::OutIn), packed(8, true, false)),
        ("f16", spec(Layout::OutIn), dense(Layout::OutIn)),
        ("f16, transposed", spec(Layout::InOut), dense(Layout::InOut)),
    ];
    for (name, spec, weight) in weights {
        for rows in [1usize, 64, 512] {
            let x = Activations::zeros((1, rows, IN), CandleType::F32, &Device::Cpu).unwrap();
            // The slot is made under the counter too: nothing may be unpacked in advance either.
            let before = LIVE.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let linear = Linear::new(spec.clone(), Arc::clone(&weight), None).unwrap();
            let y = linear.forward(&x).unwrap();
            let output = 4 * rows * OUT;
            let extra = PEAK.load(Ordering::Relaxed) - before - output;
            assert_eq!(y.dims(), [1, rows, OUT]);
            assert!(
                extra < ALLOWED,
                "{name}, {rows} rows: {extra} bytes beside the output, dense would be {DENSE}"
            );
        }
    }
}
