//! The application screens messages before they are queued.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clacks_proto::driver::{Handle, Screen};
use clacks_proto::{
    Config, DefaultVerdict, Message, Notice, Origin, Screening, StateMachine, Verdict,
};

use crate::network::{FOREVER, Network, RunningTower, Runtimes, TowerOptions, quick, quiet};

fn screening(timeout: Duration, default: DefaultVerdict) -> Screening {
    Screening::On { max_offers: 8, timeout, default }
}

/// Returns the options of a tower with a screening function that must give a verdict.
fn screened(screen: Screen) -> TowerOptions {
    let mut options = TowerOptions::from(quiet());
    options.config.screening = screening(FOREVER, DefaultVerdict::Reject);
    options.screen = Some(screen);
    options
}

fn verdict_on(message: &Message) -> Verdict {
    match message.as_text() {
        Some("rude") => Verdict::Swallow,
        Some("wrong") => Verdict::Replace(Message::text("right")),
        Some("unwanted") => Verdict::Reject,
        _ => Verdict::ACCEPT,
    }
}

pub(crate) fn each_verdict_is_carried_out_with_tls(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let sender = network.start(without_retries());
    let from = sender.address.clone();
    let receiver = network.start(screened(Box::new(move |message, peer| {
        // The sender is passed only if its key is verified.
        assert!(peer.is_none_or(|peer| *peer == from));
        verdict_on(message)
    })));
    check_verdicts(sender, receiver);
}

pub(crate) fn each_verdict_is_carried_out_without_tls(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let sender = network.start_clear(without_retries());
    let from = sender.address.clone();
    let receiver = network.start_clear(screened(Box::new(move |message, peer| {
        assert_eq!(peer, Some(&from));
        verdict_on(message)
    })));
    check_verdicts(sender, receiver);
}

pub(crate) fn a_screening_function_may_use_the_handle_of_its_tower(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let sender = network.start_clear(quick());
    let own = Arc::new(OnceLock::<Handle<_>>::new());
    let handle = own.clone();
    let mut receiver = network.start_clear(screened(Box::new(move |message, _| {
        let text = message.as_text().unwrap();
        handle.get().unwrap().enqueue(Message::text(&format!("before {text}"))).unwrap();
        Verdict::ACCEPT
    })));
    own.set((*receiver).clone()).unwrap();
    sender.expand(&receiver.address).unwrap();
    sender.enqueue_text("a message");
    receiver.wait_for_text("a message");
    let queue = receiver.peek();
    let texts: Vec<_> = queue.iter().filter_map(|held| held.message.as_text()).collect();
    assert_eq!(texts, ["before a message", "a message"]);
}

/// Returns the configuration of a tower that offers a refused message to a peer only once.
fn without_retries() -> Config {
    let mut config = quick();
    config.busy_backoff = FOREVER;
    config
}

fn check_verdicts<M: StateMachine + Send + 'static>(
    mut sender: RunningTower<M>,
    mut receiver: RunningTower<M>,
) {
    sender.expand(&receiver.address).unwrap();
    for text in ["rude", "wrong", "fine"] {
        sender.enqueue_text(text);
    }
    sender.wait_for_deliveries(3);
    receiver.wait_for_text("fine");
    let texts: Vec<_> = receiver.peek().into_iter().map(|held| held.message).collect();
    assert_eq!(texts, [Message::text("right"), Message::text("fine")]);
    let stats = receiver.stats();
    assert_eq!((stats.swallowed, stats.received, stats.refused), (1, 2, 0));

    sender.enqueue_text("unwanted");
    sender.wait_for("a refusal", |notice| {
        matches!(notice, Notice::MessageQueued { origin: Origin::Returned, .. }).then_some(())
    });
    assert_eq!((sender.stats().refused_by_peers, receiver.stats().refused), (1, 1));
    assert_eq!((sender.queue_len(), receiver.queue_len()), (1, 2));
}

pub(crate) fn a_message_without_a_verdict_gets_the_default_verdict(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut sender = network.start(quick());
    let timeout = Duration::from_millis(1);
    let (mut accepting, mut rejecting) = (quiet(), quiet());
    accepting.screening = screening(timeout, DefaultVerdict::Accept);
    rejecting.screening = screening(timeout, DefaultVerdict::Reject);
    // Neither tower has a screening function.
    let rejecting = network.start(rejecting);
    let mut accepting = network.start(accepting);
    sender.expand(&rejecting.address).unwrap();
    sender.enqueue_text("patience");
    sender.wait_until("a refusal", |sender| sender.stats().refused_by_peers >= 1);
    sender.expand(&accepting.address).unwrap();
    accepting.wait_for_text("patience");
    assert_eq!(rejecting.stats().received, 0);
}
