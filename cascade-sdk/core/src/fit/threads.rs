//! Work spread over threads with results in a fixed order.

/// Calls `work` for every index below `count` on up to `threads` threads. The result does not depend on `threads`.
pub(crate) fn map<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let workers = threads.clamp(1, count.max(1));
    if workers == 1 {
        return (0..count).map(work).collect();
    }
    let mut slots: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    let mut shares: Vec<Vec<(usize, &mut Option<T>)>> =
        std::iter::repeat_with(Vec::new).take(workers).collect();
    // Dealt out in turn, since neighbours tend to cost the same.
    for (index, slot) in slots.iter_mut().enumerate() {
        shares[index % workers].push((index, slot));
    }
    let work = &work;
    std::thread::scope(|scope| {
        for share in shares {
            scope.spawn(move || {
                for (index, slot) in share {
                    *slot = Some(work(index));
                }
            });
        }
    });
    slots.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_index_order() {
        for threads in [0, 1, 2, 3, 50] {
            assert_eq!(super::map(threads, 7, |index| index * index), [0, 1, 4, 9, 16, 25, 36]);
        }
        assert_eq!(super::map(2, 0, |index| index), Vec::<usize>::new());
    }
}
