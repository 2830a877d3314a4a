//! Waiting for a condition, with or without an async runtime.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::time::Instant;

use event_listener::{Event, EventListener, Listener};

/// A future result. Await it, or call [`wait`](Self::wait) outside of an async runtime.
///
/// Do not call `wait` on the thread that runs the driver, because this would deadlock. Dropping a
/// `Wait` does not undo the call that returned it.
#[must_use = "it does nothing but wait: await it, or call `wait`"]
pub struct Wait<T> {
    check: Box<dyn FnMut() -> Option<T> + Send>,
    changed: Arc<Event>,
    listener: Option<EventListener>,
}

impl<T> Wait<T> {
    /// Returns a wait for the result of `check`, which is called after each notification of
    /// `changed`.
    pub(super) fn new(
        changed: Arc<Event>,
        check: impl FnMut() -> Option<T> + Send + 'static,
    ) -> Self {
        Self { check: Box::new(check), changed, listener: None }
    }

    /// Returns the result if it is available.
    pub fn now(&mut self) -> Option<T> {
        (self.check)()
    }

    /// Blocks until the result is available.
    pub fn wait(mut self) -> T {
        loop {
            // Listen before the check, so that no notification is missed.
            let listener = self.changed.listen();
            if let Some(result) = self.now() {
                return result;
            }
            listener.wait();
        }
    }

    /// Blocks until the result is available, but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the `Wait` after the timeout.
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<T, Self> {
        // The deadline is beyond the range of the clock.
        let Some(deadline) = Instant::now().checked_add(timeout) else { return Ok(self.wait()) };
        loop {
            let listener = self.changed.listen();
            if let Some(result) = self.now() {
                return Ok(result);
            }
            if listener.wait_deadline(deadline).is_none() {
                return self.now().ok_or(self);
            }
        }
    }
}

impl<T> Future for Wait<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        loop {
            let changed = self.changed.clone();
            let mut listener = self.listener.take().unwrap_or_else(|| changed.listen());
            if let Some(result) = self.now() {
                return Poll::Ready(result);
            }
            if Pin::new(&mut listener).poll(context).is_pending() {
                self.listener = Some(listener);
                return Poll::Pending;
            }
        }
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}
