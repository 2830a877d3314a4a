//! Flags that any task sets and one task waits for.

use atomic_waker::AtomicWaker;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Context;

/// Up to eight flags, and the waker of the one task that waits for them.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    flags: AtomicU8,
    waker: AtomicWaker,
}

impl Signal {
    /// Sets a flag. Wakes the waiting task if the flag was not set.
    pub(crate) fn set(&self, flag: u8) {
        if self.flags.fetch_or(flag, Ordering::AcqRel) & flag == 0 {
            self.waker.wake();
        }
    }

    /// Returns the flags and clears them. The task is woken when a flag is set later.
    pub(crate) fn take(&self, context: &Context<'_>) -> u8 {
        // Register before the check, so that no flag is missed.
        self.waker.register(context.waker());
        self.flags.swap(0, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future;
    use std::future::poll_fn;
    use std::task::Poll;

    async fn wait(signal: &Signal) -> u8 {
        poll_fn(|context| match signal.take(context) {
            0 => Poll::Pending,
            flags => Poll::Ready(flags),
        })
        .await
    }

    #[test]
    fn a_task_receives_the_flags_that_were_set_before_and_during_its_wait() {
        let signal = Signal::default();
        signal.set(1);
        signal.set(4);
        assert_eq!(smol::block_on(wait(&signal)), 5);
        let set = async {
            future::yield_now().await;
            signal.set(2);
        };
        assert_eq!(smol::block_on(future::zip(wait(&signal), set)).0, 2);
    }

    #[test]
    fn no_flag_of_another_thread_is_missed() {
        const FLAGS: usize = 10_000;
        let signal = Signal::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..FLAGS {
                    while signal.flags.load(Ordering::Acquire) != 0 {
                        std::thread::yield_now();
                    }
                    signal.set(1 << (number % 8));
                }
            });
            for number in 0..FLAGS {
                assert_eq!(smol::block_on(wait(&signal)), 1 << (number % 8));
            }
        });
    }
}
