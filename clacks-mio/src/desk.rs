//! What a reactor and the application's handles share besides the machine.

use clacks_proto::Instant;
use mio::Waker;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::notices::Board;

/// The clock, the bell, the notices and the news of the end.
pub(crate) struct Desk {
    pub(crate) local_addr: SocketAddr,
    pub(crate) board: Board,
    waker: Waker,
    /// Somebody rang, and the reactor has not looked yet.
    rung: AtomicBool,
    /// The shutdown was asked for.
    leaving: AtomicBool,
    origin: std::time::Instant,
    over: Mutex<bool>,
    went: Condvar,
}

impl Desk {
    pub(crate) fn new(local_addr: SocketAddr, waker: Waker) -> Self {
        Self {
            local_addr,
            board: Board::default(),
            waker,
            rung: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            origin: std::time::Instant::now(),
            over: Mutex::new(false),
            went: Condvar::new(),
        }
    }

    /// The moment on the machine's clock, which reads zero when the reactor is made.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Has the reactor look at the machine. One system call, however many ring before it does.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            // Whoever rings next tries again.
            self.rung.store(false, Ordering::SeqCst);
            self.complain(&error);
        }
    }

    /// The reactor is about to look: whoever rings from now on means something new.
    pub(crate) fn answer_bell(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Whether this is the first time that the shutdown is asked for. To ask again must not ring: whoever asks after each turn would
    /// wake itself for ever.
    pub(crate) fn begins_to_leave(&self) -> bool {
        !self.leaving.swap(true, Ordering::SeqCst)
    }

    /// The reactor is gone.
    pub(crate) fn end(&self) {
        self.board.close();
        *lock(&self.over) = true;
        self.went.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        *lock(&self.over)
    }

    pub(crate) fn wait_for_the_end(&self) {
        let over = lock(&self.over);
        drop(self.went.wait_while(over, |over| !*over));
    }

    fn complain(&self, error: &io::Error) {
        tracing::warn!(%error, tower = %self.local_addr, "a reactor can't be woken");
    }
}

/// Locks, poisoned or not: a panic elsewhere is a bug to be reported there, and must not spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
