//! Notices: ways of reading, order, bounds.

use alloc::vec;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use std::thread;

use futures_core::Stream;

use super::super::{NOTICES_BYTES, NOTICES_CAPACITY, Notices, RecvTimeoutError, TryRecvError};
use super::{Scripted, block_on, notice, poll_once, share};
use crate::event::Notice;
use crate::ids::{Epoch, MessageId};
use crate::message::{Message, Nonce};

/// A way to read a notice, and whether it waits for one.
type Way = (fn(&mut Notices) -> Option<Notice>, bool);

const WAYS: [Way; 6] = [
    (|notices| block_on(notices.recv()), true),
    (|notices| block_on(poll_fn(|context| Pin::new(&mut *notices).poll_next(context))), true),
    (|notices| notices.recv_blocking(), true),
    (|notices| notices.recv_timeout(Duration::MAX).ok(), true),
    (|notices| notices.iter().next(), true),
    (|notices| notices.try_recv().ok(), false),
];

fn drain(notices: &mut Notices) -> Vec<Notice> {
    core::iter::from_fn(|| notices.try_recv().ok()).collect()
}

/// A notice with a body of a length.
fn with_body(len: usize) -> Notice {
    Notice::MessageReceived {
        id: MessageId { index: 0, epoch: Epoch::FIRST },
        nonce: Nonce(0),
        message: Message::bytes(&vec![0; len]),
        from: None,
        again: false,
    }
}

#[test]
fn each_way_of_reading_returns_the_notices_in_order_and_then_the_end() {
    for (read, _) in WAYS {
        let (shared, handle) = share(Scripted::new());
        let mut notices = handle.notices();
        shared.notify((0..200).map(notice));
        shared.end();
        assert!((0..200).all(|number| read(&mut notices) == Some(notice(number))));
        assert_eq!((read(&mut notices), read(&mut notices)), (None, None));
    }
}

#[test]
fn each_way_of_waiting_is_woken_by_a_notice_and_by_the_end() {
    for (read, _) in WAYS.into_iter().filter(|(_, waits)| *waits) {
        let (shared, handle) = share(Scripted::new());
        let mut notices = handle.notices();
        thread::scope(|scope| {
            let reader = scope.spawn(move || [read(&mut notices), read(&mut notices)]);
            shared.notify([notice(1)]);
            shared.end();
            assert_eq!(reader.join().unwrap(), [Some(notice(1)), None]);
        });
    }
}

#[test]
fn no_notice_is_missed_between_a_look_and_a_wait() {
    for (read, _) in WAYS.into_iter().filter(|(_, waits)| *waits) {
        let (shared, handle) = share(Scripted::new());
        let (mut requests, mut answers) = (handle.notices(), handle.notices());
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..500 {
                    shared.notify([notice(number)]);
                    // The next notice comes when this one was read.
                    assert_eq!(answers.recv_blocking(), Some(notice(number)));
                }
            });
            assert!((0..500).all(|number| read(&mut requests) == Some(notice(number))));
        });
    }
}

#[test]
fn not_yet_differs_from_never() {
    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    let moment = Duration::from_millis(1);
    assert_eq!(notices.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(notices.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
    assert_eq!(poll_once(notices.recv()), None);
    shared.end();
    assert_eq!(notices.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(notices.recv_timeout(moment), Err(RecvTimeoutError::Closed));
    assert_eq!(poll_once(notices.recv()), Some(None));
}

#[test]
fn a_cancelled_wait_loses_no_notice() {
    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    assert_eq!(poll_once(notices.recv()), None);
    shared.notify([notice(1)]);
    drop(notices.recv());
    assert_eq!(block_on(notices.recv()), Some(notice(1)));
}

#[test]
fn a_slow_reader_loses_the_oldest_notices_and_learns_how_many() {
    let (shared, handle) = share(Scripted::new());
    let (mut slow, mut quick) = (handle.notices(), handle.notices());
    for number in 0..NOTICES_CAPACITY + 3 {
        shared.notify([notice(number)]);
        assert_eq!(quick.try_recv(), Ok(notice(number)));
    }
    assert_eq!(slow.try_recv(), Ok(Notice::Missed { count: 3 }));
    assert!(drain(&mut slow).into_iter().eq((3..NOTICES_CAPACITY + 3).map(notice)));
    shared.notify([notice(7)]);
    assert_eq!(drain(&mut slow), [notice(7)], "the count starts anew");
}

#[test]
fn bodies_count_until_they_are_read() {
    const LEN: usize = NOTICES_BYTES / 4;

    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    shared.notify((0..4).map(|_| with_body(LEN)));
    assert_eq!(drain(&mut notices).len(), 4, "as many as fit");
    shared.notify((0..5).map(|_| with_body(LEN)));
    assert_eq!(notices.try_recv(), Ok(Notice::Missed { count: 1 }));
    assert_eq!(drain(&mut notices).len(), 4);
    // A single notice may be larger than the bound.
    shared.notify([notice(1), with_body(2 * NOTICES_BYTES)]);
    assert_eq!(notices.try_recv(), Ok(Notice::Missed { count: 1 }));
    assert_eq!(drain(&mut notices).len(), 1);
}

#[test]
fn notices_that_the_tower_dropped_count_when_their_count_is_dropped() {
    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    shared.notify([Notice::Missed { count: 40 }]);
    shared.notify((0..NOTICES_CAPACITY + 1).map(notice));
    assert_eq!(notices.try_recv(), Ok(Notice::Missed { count: 41 }));
}

#[test]
fn readers_get_the_notices_since_they_were_made() {
    let (shared, handle) = share(Scripted::new());
    let mut first = handle.notices();
    shared.notify([notice(1)]);
    let mut second = handle.notices();
    shared.notify([notice(2)]);
    drop(handle.notices());
    assert_eq!(drain(&mut first), [notice(1), notice(2)]);
    assert_eq!(drain(&mut second), [notice(2)]);
    shared.end();
    assert_eq!(handle.notices().recv_blocking(), None, "a reader after the end");
}
