//! Tests of `Notices`: ways of reading, order, limits.

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

/// A method that reads a notice, and whether it waits for one.
type ReadMethod = (fn(&mut Notices) -> Option<Notice>, bool);

const READ_METHODS: [ReadMethod; 6] = [
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

/// Returns a notice with a body of `len` bytes.
fn with_body(len: usize) -> Notice {
    Notice::MessageReceived {
        id: MessageId { index: 0, epoch: Epoch::FIRST },
        nonce: Nonce(0),
        message: Message::bytes(&vec![0; len]),
        from: None,
        again: false,
        coalesced: false,
    }
}

#[test]
fn each_read_method_returns_the_notices_in_order_and_then_the_end() {
    for (read, _) in READ_METHODS {
        let (shared, handle) = share(Scripted::new());
        let mut notices = handle.notices();
        shared.notify((0..200).map(notice));
        shared.end();
        assert!((0..200).all(|number| read(&mut notices) == Some(notice(number))));
        assert_eq!((read(&mut notices), read(&mut notices)), (None, None));
    }
}

#[test]
fn each_waiting_method_is_woken_by_a_notice_and_by_the_end() {
    for (read, _) in READ_METHODS.into_iter().filter(|(_, waits)| *waits) {
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
fn no_notice_is_missed_between_a_check_and_a_wait() {
    for (read, _) in READ_METHODS.into_iter().filter(|(_, waits)| *waits) {
        let (shared, handle) = share(Scripted::new());
        let (mut requests, mut answers) = (handle.notices(), handle.notices());
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..500 {
                    shared.notify([notice(number)]);
                    // The next notice is sent when this one was read.
                    assert_eq!(answers.recv_blocking(), Some(notice(number)));
                }
            });
            assert!((0..500).all(|number| read(&mut requests) == Some(notice(number))));
        });
    }
}

#[test]
fn an_empty_reader_differs_from_a_closed_one() {
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
fn dropping_a_future_loses_no_notice() {
    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    assert_eq!(poll_once(notices.recv()), None);
    shared.notify([notice(1)]);
    drop(notices.recv());
    assert_eq!(block_on(notices.recv()), Some(notice(1)));
}

#[test]
fn a_slow_reader_loses_the_oldest_notices_and_receives_their_number() {
    let (shared, handle) = share(Scripted::new());
    let (mut slow, mut quick) = (handle.notices(), handle.notices());
    for number in 0..NOTICES_CAPACITY + 3 {
        shared.notify([notice(number)]);
        assert_eq!(quick.try_recv(), Ok(notice(number)));
    }
    assert_eq!(slow.try_recv(), Ok(Notice::Missed { count: 3 }));
    assert!(drain(&mut slow).into_iter().eq((3..NOTICES_CAPACITY + 3).map(notice)));
    shared.notify([notice(7)]);
    assert_eq!(drain(&mut slow), [notice(7)], "the count was not reset");
}

#[test]
fn unread_bodies_count_towards_the_limit() {
    const LEN: usize = NOTICES_BYTES / 4;

    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    shared.notify((0..4).map(|_| with_body(LEN)));
    assert_eq!(drain(&mut notices).len(), 4, "a notice within the limit was dropped");
    shared.notify((0..5).map(|_| with_body(LEN)));
    assert_eq!(notices.try_recv(), Ok(Notice::Missed { count: 1 }));
    assert_eq!(drain(&mut notices).len(), 4);
    // A single notice may exceed the limit.
    shared.notify([notice(1), with_body(2 * NOTICES_BYTES)]);
    assert_eq!(notices.try_recv(), Ok(Notice::Missed { count: 1 }));
    assert_eq!(drain(&mut notices).len(), 1);
}

#[test]
fn dropping_a_missed_notice_adds_its_count() {
    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    shared.notify([Notice::Missed { count: 40 }]);
    shared.notify((0..NOTICES_CAPACITY + 1).map(notice));
    assert_eq!(notices.try_recv(), Ok(Notice::Missed { count: 41 }));
}

#[test]
fn a_reader_receives_the_notices_since_its_creation() {
    let (shared, handle) = share(Scripted::new());
    let mut first = handle.notices();
    shared.notify([notice(1)]);
    let mut second = handle.notices();
    shared.notify([notice(2)]);
    drop(handle.notices());
    assert_eq!(drain(&mut first), [notice(1), notice(2)]);
    assert_eq!(drain(&mut second), [notice(2)]);
    shared.end();
    assert_eq!(handle.notices().recv_blocking(), None, "a reader that is created after the end");
}
