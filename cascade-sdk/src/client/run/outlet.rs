//! Where a streamed request says what happens, before it is over.

use cascade_sdk_core::decide::Why;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// What happened; tiers are positions in the route.
#[derive(Debug)]
pub(in crate::client) enum Event {
    Started { tier: usize },
    Escalated { from: usize, to: usize, why: Why },
    FailedOver { from: usize, to: usize },
    Delta(String),
}

/// Events on their way from the run to whoever reads the stream. Both sides are polled by the same task, so nothing needs
/// to be woken: the reader takes what is there before it lets the run go on.
#[derive(Debug, Default)]
pub(in crate::client) struct Outlet {
    waiting: Mutex<VecDeque<Event>>,
}

impl Outlet {
    /// Says that something happened.
    pub(super) fn put(&self, event: Event) {
        self.events().push_back(event);
    }

    /// Shows a piece of the answer, and waits until it was taken: a slow reader slows the provider's stream down instead
    /// of filling memory.
    pub(super) async fn show(&self, text: String) {
        if text.is_empty() {
            return;
        }
        self.put(Event::Delta(text));
        poll_fn(|_| if self.is_empty() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The oldest event that was not taken yet.
    pub(in crate::client) fn take(&self) -> Option<Event> {
        self.events().pop_front()
    }

    /// True if everything was taken.
    pub(in crate::client) fn is_empty(&self) -> bool {
        self.events().is_empty()
    }

    /// Nothing under this lock can panic.
    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
