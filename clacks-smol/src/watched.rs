//! A value that one task waits on and anyone may change.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A value with room for the waker of the one task that waits for it. A task may wait in several of its
/// futures at once, because they all share its waker; a second task would take the first one's place.
pub(crate) struct Watched<T>(Mutex<Inner<T>>);

struct Inner<T> {
    value: T,
    waiting: Option<Waker>,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Inner { value, waiting: None }))
    }

    /// Changes the value, and wakes the task that waits if the change says `true`.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut inner = lock(&self.0);
        let waker = if change(&mut inner.value) { inner.waiting.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until `ready` finds in the value what it is looking for. `ready` may take it out.
    pub(crate) async fn until<R>(&self, mut ready: impl FnMut(&mut T) -> Option<R>) -> R {
        poll_fn(|context| {
            let mut inner = lock(&self.0);
            if let Some(found) = ready(&mut inner.value) {
                return Poll::Ready(found);
            }
            match &mut inner.waiting {
                Some(waker) => waker.clone_from(context.waker()),
                waiting => *waiting = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

/// Locks, poisoned or not: a panic elsewhere is a bug to be reported there, and must not spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future;

    #[test]
    fn whoever_waits_is_woken_by_the_change_it_waits_for() {
        let watched = Watched::new(0);
        let found = smol::block_on(future::zip(
            watched.until(|value| (*value > 1).then_some(*value)),
            async {
                watched.change(|value| {
                    *value = 1;
                    true
                });
                future::yield_now().await;
                watched.change(|value| {
                    *value = 2;
                    true
                });
            },
        ));
        assert_eq!(found.0, 2);
    }

    #[test]
    fn a_poisoned_lock_still_opens() {
        let mutex = Mutex::new(7);
        std::thread::scope(|scope| {
            let poisoner = scope.spawn(|| {
                let _held = mutex.lock().unwrap();
                panic!("on purpose");
            });
            assert!(poisoner.join().is_err());
        });
        assert_eq!(*lock(&mutex), 7);
    }
}
