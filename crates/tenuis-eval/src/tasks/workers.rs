//! Items on all cores, each item on one.

use crate::error::EvalError;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `work` for every item and gives the results in their order.
///
/// An item is too little work to be spread over cores, so every worker is a pool of its own with one thread, in which
/// the kernels run straight on. In one pool for all, a thread that waits for a part of an item would begin another
/// item meanwhile, and another in that: unbounded stacks, and half-done items that hold memory.
pub(super) fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, EvalError> + Sync,
) -> Result<Vec<R>, EvalError> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return Ok(done) };
            match work(item) {
                Ok(result) => done.push((index, result)),
                Err(error) => {
                    // No use in beginning more.
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let count = rayon::current_num_threads().min(items.len());
    // Where the system has no more threads, those that there are do the work.
    let pools: Vec<ThreadPool> =
        (0..count).map_while(|_| ThreadPoolBuilder::new().num_threads(1).build().ok()).collect();
    let parts: Vec<Result<Vec<(usize, R)>, EvalError>> = if pools.is_empty() {
        vec![run()]
    } else {
        std::thread::scope(|scope| {
            let threads: Vec<_> = pools.iter().map(|pool| scope.spawn(|| pool.install(run))).collect();
            let finish = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(finish).collect()
        })
    };
    let mut done = Vec::with_capacity(items.len());
    for part in parts {
        done.extend(part?);
    }
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(each(&items, |&i| Ok(2 * i)).unwrap(), (0..100).map(|i| 2 * i).collect::<Vec<_>>());
        assert_eq!(each(&[0; 0], |&i: &i32| Ok(i)).unwrap(), [0; 0]);
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        let failed = each(&items, |&tokens| match tokens {
            7 => Err(EvalError::Context { tokens, max_positions: 0 }),
            _ => Ok(()),
        });
        assert!(matches!(failed, Err(EvalError::Context { tokens: 7, .. })));
    }
}
