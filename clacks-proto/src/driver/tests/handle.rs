//! Tests of `Handle`, before and after the end of the driver.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::{Delivery, Shared};
use super::pair::Pair;
use super::{Scripted, address, block_on, notice, share, tower};
use crate::config::{Config, SendRate};
use crate::event::Notice;
use crate::event::Status;
use crate::ids::Fingerprint;
use crate::message::Message;
use crate::tower::{EnqueueError, EnqueueOptions, ExpandError, ShutdownProgress};

fn unlimited() -> Config {
    Config { send_rate: SendRate::Unlimited, ..Config::default() }
}

#[test]
fn a_delivery_is_reported_when_the_peer_has_confirmed() {
    let mut pair = Pair::new(unlimited());
    let [one, two] = pair.handles();
    one.expand(two.address()).unwrap();
    let mut delivery = one.deliver(Message::text("x")).unwrap();
    let mut other = one.deliver(Message::text("x")).unwrap();
    assert_eq!((delivery.now(), other.now()), (None, None));
    pair.run();
    let delivered = Some(Delivery { to: Some(two.address().clone()) });
    assert_eq!(delivery.now(), Some(delivered.clone()));
    assert_eq!((delivery.wait(), block_on(other)), (delivered.clone(), delivered));
    assert_eq!(two.queue_usage().messages, 2);
}

#[test]
fn a_delivery_has_the_options_of_its_message() {
    let (_, handle) = share(tower(Config::default(), 8001));
    let lifetime = Duration::from_secs(5);
    let options = EnqueueOptions { lifetime: Some(lifetime), ..EnqueueOptions::default() };
    let _delivery = handle.deliver_with(Message::text("x"), options).unwrap();
    let expires_at = handle.peek()[0].expires_at.unwrap();
    assert!(expires_at <= handle.now() + lifetime);
}

#[test]
fn a_refused_message_is_returned() {
    let (_, handle) = share(tower(Config::default(), 8001));
    let message = Message::bytes(&[0; 64 * 1024 + 1]);
    let refused = handle.deliver(message.clone()).unwrap_err();
    assert_eq!(refused.message, message);
    assert_eq!(refused.reason, EnqueueError::TooLarge { max: 64 * 1024 });
}

#[test]
fn a_delivery_is_none_if_the_driver_ends_first() {
    let (shared, handle) = share(tower(Config::default(), 8001));
    let (awaited, blocking) =
        (handle.deliver(Message::text("x")).unwrap(), handle.deliver(Message::text("y")).unwrap());
    shared.end();
    assert_eq!((block_on(awaited), blocking.wait()), (None, None));
    let refused = handle.deliver(Message::text("z")).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::ShuttingDown);
}

#[test]
fn a_delivery_before_the_end_is_reported_after_it() {
    let mut pair = Pair::new(unlimited());
    let [one, two] = pair.handles();
    one.expand(two.address()).unwrap();
    let mut delivery = one.deliver(Message::text("x")).unwrap();
    pair.run();
    pair.end();
    assert!(delivery.now().flatten().is_some());
}

#[test]
fn a_delivery_whose_notice_was_dropped_is_reported_without_the_peer() {
    let mut config = unlimited();
    config.max_pending_notices = 16;
    let mut pair = Pair::new(config);
    let [one, two] = pair.handles();
    one.announce(two.address()).unwrap();
    pair.run();
    let message = Message::text("x");
    let mut delivery = one.deliver(message.clone()).unwrap();
    // The notices of these messages fill the limit, so the notices of deliveries are dropped.
    (0..16).for_each(|n| _ = one.enqueue(Message::bytes(&[n])).unwrap());
    pair.run_without_polling_the_first();
    assert!(two.peek().iter().any(|held| held.message == message));
    pair.run();
    assert_eq!(delivery.now(), Some(Some(Delivery { to: None })));
}

#[test]
fn a_missed_notice_does_not_resolve_a_delivery_whose_notice_is_queued() {
    let (shared, handle) = share(Scripted::new());
    let message = Message::text("x");
    let mut delivery = handle.deliver(message.clone()).unwrap();
    let held = handle.peek().remove(0);
    let (to, kept) = (address(2), false);
    let (id, nonce) = (held.id, held.nonce);
    let delivered = Notice::MessageDelivered { id, nonce, message, to: to.clone(), kept };
    // The tower no longer holds the message. The notice comes more than a batch later.
    handle.with(|machine, _| machine.tower = tower(Config::default(), 8001));
    let others = (0..200).map(|_| Notice::Announced { to: to.clone() });
    shared.notify([Notice::Missed { count: 1 }].into_iter().chain(others).chain([delivered]));
    assert_eq!(delivery.now(), Some(Some(Delivery { to: Some(to) })));
}

#[test]
fn a_missed_notice_does_not_report_a_held_message_as_delivered() {
    let (shared, handle) = share(Scripted::new());
    let mut delivery = handle.deliver(Message::text("x")).unwrap();
    shared.notify([Notice::Missed { count: 1 }]);
    assert_eq!(delivery.now(), None);
}

#[test]
fn dropping_a_delivery_removes_its_entry() {
    let (shared, handle) = share(tower(Config::default(), 8001));
    drop(handle.deliver(Message::text("x")).unwrap());
    assert!(super::lock(&shared.deliveries).pending.is_empty());
    assert_eq!(handle.queue_usage().messages, 1, "the message stays in the queue");
}

#[test]
fn a_shutdown_is_complete_when_the_driver_has_ended() {
    let (shared, handle) = share(tower(Config::default(), 8001));
    handle.enqueue(Message::text("left over")).unwrap();
    let (mut shutdown, mut second) =
        (handle.shutdown(), handle.shutdown_within(Duration::from_secs(1)));
    while shared.poll_action().is_some() {}
    assert_eq!(shared.shutdown_progress(), ShutdownProgress::Done);
    assert_eq!((shutdown.now(), second.now()), (None, None));
    shared.end();
    assert_eq!((shutdown.wait(), block_on(second), handle.shutdown().wait()), (1, 1, 1));
}

#[test]
fn a_shutdown_with_a_zero_limit_hands_over_nothing() {
    let mut pair = Pair::new(unlimited());
    let [one, two] = pair.handles();
    one.expand(two.address()).unwrap();
    (0..3).for_each(|n| _ = one.enqueue(Message::bytes(&[n])).unwrap());
    let shutdown = one.shutdown_within(Duration::ZERO);
    pair.run();
    pair.end();
    assert_eq!((shutdown.wait(), two.queue_usage().messages), (3, 0));
}

#[test]
fn getters_show_the_changes_of_other_methods() {
    let (_, handle) = share(tower(Config::default(), 8001));
    let key = Fingerprint([7; 32]);
    handle.expand(&address(1)).unwrap();
    handle.announce(&address(2)).unwrap();
    handle.ignore(&address(3)).unwrap();
    handle.pin(&address(4), key).unwrap();
    assert_eq!(handle.expand(&address(8001)), Err(ExpandError::OwnAddress));
    assert_eq!(handle.pin(&address(5), key), Err(ExpandError::KeyInUse));
    let counts = handle.status_counts();
    assert_eq!((counts.new, counts.ignored), (3, 1));
    assert!(handle.unignore(&address(3)) && !handle.unignore(&address(3)));
    assert!(handle.forget(&address(1)) && !handle.forget(&address(1)));
    assert_eq!((handle.find(&address(1)), handle.survey().len()), (None, 3));
    assert_eq!(handle.find(&address(4)).unwrap().fingerprint, Some(key));
    // The announce is dialled.
    let [link] = &handle.links()[..] else { panic!("one link") };
    assert_eq!(link.peer, Some(address(2)));
    let nonce = handle.enqueue(Message::text("abc")).unwrap();
    assert_eq!(handle.peek()[0].nonce, nonce);
    let usage = handle.queue_usage();
    assert_eq!((usage.messages, usage.bytes, handle.stats().enqueued), (1, 3, 1));

    let (_, restored) = share(tower(Config::default(), 8002));
    handle.snapshot().iter().for_each(|record| restored.restore(record).unwrap());
    assert_eq!(restored.find(&address(4)).unwrap().fingerprint, Some(key));
    assert_eq!((handle.address(), handle.identity()), (&address(8001), None));
    assert_eq!(handle.config(), &Config::default());
    assert!(handle.now() >= handle.find(&address(4)).unwrap().since);
}

#[test]
fn a_handle_can_be_used_after_the_end() {
    let (shared, handle) = share(tower(Config::default(), 8001));
    handle.ignore(&address(1)).unwrap();
    handle.enqueue(Message::text("abc")).unwrap();
    shared.end();
    shared.end();
    let message = Message::text("too late");
    let refused = handle.enqueue(message.clone()).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::ShuttingDown));
    for result in [
        handle.expand(&address(1)),
        handle.announce(&address(1)),
        handle.ignore(&address(1)),
        handle.pin(&address(1), Fingerprint([7; 32])),
    ] {
        assert_eq!(result, Err(ExpandError::ShuttingDown));
    }
    assert!(!handle.unignore(&address(1)) && !handle.forget(&address(1)));
    assert!(handle.peek().is_empty() && handle.survey().is_empty());
    assert_eq!(handle.find(&address(1)), None);
    let [kept] = &handle.snapshot()[..] else { panic!("one peer") };
    assert_eq!((&kept.address, kept.status), (&address(1), Status::Ignored));
    let usage = handle.queue_usage();
    assert_eq!((usage.messages, usage.bytes, handle.stats().enqueued), (1, 3, 1));
    assert_eq!((handle.address(), handle.with(|_, _| ())), (&address(8001), None));
    assert_eq!((shared.poll_action(), shared.shutdown_progress()), (None, ShutdownProgress::Done));
}

#[test]
fn each_change_wakes_the_driver() {
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicUsize, Ordering};

    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = wakes.clone();
    let local_addr = (core::net::Ipv4Addr::LOCALHOST, 8001).into();
    let shared = Shared::new(tower(Config::default(), 8001), local_addr, move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let handle = super::Handle::new(shared);
    handle.enqueue(Message::text("x")).unwrap();
    handle.expand(&address(1)).unwrap();
    handle.with(|_, _| ());
    handle.wake();
    drop(handle.shutdown());
    assert_eq!(wakes.load(Ordering::SeqCst), 5);
    let _ = (handle.survey(), handle.stats(), handle.notices());
    assert_eq!(wakes.load(Ordering::SeqCst), 5, "a getter woke the driver");
}

#[test]
fn a_panic_under_the_lock_does_not_spread() {
    let (shared, handle) = share(Scripted::new());
    let mut notices = handle.notices();
    let panics = || handle.with(|_, _| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    handle.enqueue(Message::text("x")).unwrap();
    shared.notify([notice(1)]);
    assert_eq!((handle.peek().len(), notices.try_recv()), (1, Ok(notice(1))));
}
