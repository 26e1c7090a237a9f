//! Memory in larger pages.

/// Asks the system to back memory by pages of 2 MiB where it has them to spare; of no effect on what is in it.
///
/// Memory that was just allocated is not there yet: each page of 4 KiB comes with a fault at its first write, which takes longer
/// than writing it.
#[cfg(target_os = "linux")]
pub(crate) fn prefer_huge_pages<T>(memory: &mut [T]) {
    const HUGE: usize = 1 << 21;
    let begin = memory.as_mut_ptr().cast::<u8>();
    let skipped = begin.align_offset(HUGE);
    let length = size_of_val(memory).saturating_sub(skipped) / HUGE * HUGE;
    if length == 0 {
        return;
    }
    // SAFETY: the range lies inside `memory`, as `skipped + length` is at most its size, and the advice leaves its content alone.
    #[expect(unsafe_code, reason = "advice is given for an address")]
    unsafe {
        // A system without such pages says so, and all goes on as it was.
        let _ = rustix::mm::madvise(begin.add(skipped).cast(), length, rustix::mm::Advice::LinuxHugepage);
    }
}

/// Other systems decide by themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prefer_huge_pages<T>(_memory: &mut [T]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_left_alone() {
        for length in [0usize, 1, 1000, 3 << 20] {
            let mut memory: Vec<u32> = (0..length as u32).collect();
            prefer_huge_pages(&mut memory);
            assert!(memory.iter().enumerate().all(|(at, &value)| value == at as u32));
        }
    }
}
