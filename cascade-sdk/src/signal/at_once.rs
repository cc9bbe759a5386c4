//! Several futures in one task: no task is spawned for them, so that all of them end when their caller goes away.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

pub(super) type Pending<'f, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'f>>;

/// Runs futures to their end, at most `limit` at once; results in the order in which they come. After an error no further
/// one is begun, and those under way are let end: what was sent is paid for.
///
/// # Errors
/// The first error.
pub(super) async fn at_once<T, E>(futures: Vec<Pending<'_, T, E>>, limit: usize) -> Result<Vec<T>, E> {
    let mut waiting = VecDeque::from(futures);
    let mut running: Vec<Pending<'_, T, E>> = Vec::new();
    let (mut done, mut failed) = (Vec::new(), None);
    poll_fn(|context| {
        loop {
            while failed.is_none() && running.len() < limit.max(1) {
                let Some(next) = waiting.pop_front() else { break };
                running.push(next);
            }
            let before = running.len();
            running.retain_mut(|future| match future.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(Ok(value)) => {
                    done.push(value);
                    false
                }
                Poll::Ready(Err(error)) => {
                    failed.get_or_insert(error);
                    false
                }
            });
            if running.is_empty() && (waiting.is_empty() || failed.is_some()) {
                return Poll::Ready(());
            }
            // What ended made room: the next one must be polled before its wake-up can be waited for.
            if running.len() == before || failed.is_some() || waiting.is_empty() {
                return Poll::Pending;
            }
        }
    })
    .await;
    failed.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_limit_and_none_after_an_error() {
        for (limit, fails_at, begun_in_all) in [(1, 9, 7), (3, 9, 7), (7, 9, 7), (2, 2, 4), (0, 9, 7)] {
            let (running, most, begun) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
            let futures = (0..7).map(|index| {
                let (running, most, begun) = (&running, &most, &begun);
                let future = async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10 + index)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    if index == fails_at { Err(index) } else { Ok(index) }
                };
                Box::pin(future) as Pending<'_, u64, u64>
            });
            let result = at_once(futures.collect(), limit).await;
            assert_eq!(result.as_ref().err(), (fails_at < 7).then_some(&fails_at), "{limit}");
            assert_eq!(result.map_or(7, |values| values.len()), 7);
            assert_eq!(most.load(Ordering::SeqCst), limit.clamp(1, 7));
            assert_eq!((begun.load(Ordering::SeqCst), running.load(Ordering::SeqCst)), (begun_in_all, 0));
        }
    }
}
