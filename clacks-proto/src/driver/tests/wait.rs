//! Tests of `Wait`.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::thread;

use super::{Scripted, block_on, poll_once, share};
use alloc::sync::Arc;

#[test]
fn a_condition_can_be_awaited_or_waited_for() {
    let (shared, handle) = share(Scripted::new());
    let condition = |machine: &Scripted| (machine.transmits == 1).then_some(7);
    let (mut awaited, mut blocking) = (handle.wait(condition), handle.wait(condition));
    assert_eq!((poll_once(&mut awaited), blocking.now()), (None, None));
    thread::scope(|scope| {
        let awaited = scope.spawn(|| block_on(awaited));
        let blocking = scope.spawn(|| blocking.wait());
        shared.call(|machine, _| machine.transmits = 1);
        assert_eq!(shared.poll_action(), None);
        assert_eq!((awaited.join().unwrap(), blocking.join().unwrap()), (Some(7), Some(7)));
    });
    assert_eq!(handle.wait(condition).now(), Some(Some(7)), "the condition was true before");
}

#[test]
fn a_turn_is_one_after_the_call_and_not_a_poll_of_the_wait() {
    let (shared, handle) = share(Scripted::new());
    assert_eq!(shared.poll_action(), None);
    let mut turn = handle.next_turn();
    for _ in 0..3 {
        assert_eq!((poll_once(&mut turn), turn.now()), (None, None));
    }
    assert_eq!(shared.poll_action(), None);
    assert_eq!(poll_once(&mut turn), Some(true));
    let turn = handle.next_turn();
    shared.end();
    assert!(!turn.wait());
}

#[test]
fn the_end_of_the_driver_ends_every_wait() {
    let (shared, handle) = share(Scripted::new());
    let never = || handle.wait(|_| None::<()>);
    let (awaited, blocking, timed) = (never(), never(), never());
    thread::scope(|scope| {
        let awaited = scope.spawn(|| block_on(awaited));
        let blocking = scope.spawn(|| blocking.wait());
        let timed = scope.spawn(|| timed.wait_timeout(Duration::MAX).unwrap());
        shared.end();
        let results = [awaited, blocking, timed].map(|thread| thread.join().unwrap());
        assert_eq!(results, [None, None, None]);
    });
    assert_eq!(never().wait(), None);
}

#[test]
fn a_wait_with_a_timeout_can_be_continued() {
    let (shared, handle) = share(Scripted::new());
    let wait = handle.wait(|machine| (machine.transmits == 1).then_some(()));
    let wait = wait.wait_timeout(Duration::from_millis(1)).unwrap_err();
    shared.call(|machine, _| machine.transmits = 1);
    assert_eq!(wait.wait_timeout(Duration::ZERO).unwrap(), Some(()));
}

#[test]
fn no_change_is_missed_between_a_check_and_a_wait() {
    const ROUNDS: usize = 500;

    let (shared, handle) = share(Scripted::new());
    let done = Arc::new(AtomicUsize::new(0));
    let reaches = |round| handle.wait(move |machine| (machine.transmits >= round).then_some(()));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                shared.call(|machine, _| machine.transmits = round);
                assert_eq!(shared.poll_action(), None);
                // The next change is made when both threads have seen this one.
                while done.load(Ordering::SeqCst) < 2 * round {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                assert_eq!(reaches(round).wait(), Some(()));
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        for round in 1..=ROUNDS {
            assert_eq!(block_on(reaches(round)), Some(()));
            done.fetch_add(1, Ordering::SeqCst);
        }
    });
}
