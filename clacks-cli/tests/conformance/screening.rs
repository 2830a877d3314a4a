//! The application looks at messages before they are queued.

use std::time::Duration;

use clacks_proto::{DefaultVerdict, Message, Origin, Report, Screening, Verdict};

use crate::network::{FOR_EVER, Network, Plan, Runtimes, quick, quiet};

fn screening(timeout: Duration, default: DefaultVerdict) -> Screening {
    Screening::On { max_offers: 8, timeout, default }
}

pub(crate) fn every_verdict_does_what_it_says(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    // It offers a message that was refused only once.
    let mut offering = quick();
    offering.busy_backoff = FOR_EVER;
    let mut sender = network.raise_with(offering);
    let from = sender.address.clone();
    let mut plan = Plan::new(quiet());
    plan.config.screening = screening(FOR_EVER, DefaultVerdict::Reject);
    plan.screen = Some(Box::new(move |message, peer| {
        // Only who has shown to be who it claims to be is named as the sender.
        assert!(peer.is_none_or(|peer| *peer == from));
        match message.as_text() {
            Some("rude") => Verdict::Swallow,
            Some("wrong") => Verdict::Replace(Message::text("right")),
            Some("unwanted") => Verdict::Reject,
            _ => Verdict::Accept,
        }
    }));
    let mut screened = network.raise(plan);
    sender.expand(&screened.address).unwrap();
    for text in ["rude", "wrong", "fine"] {
        sender.enqueue_text(text);
    }
    sender.delivers(3);
    screened.receives("fine");
    let texts: Vec<_> = screened.peek().iter().map(|held| held.message.clone()).collect();
    assert_eq!(texts, [Message::text("right"), Message::text("fine")]);
    let stats = screened.stats();
    assert_eq!((stats.swallowed, stats.received, stats.refused), (1, 2, 0));

    sender.enqueue_text("unwanted");
    sender.hears("a refusal", |report| {
        matches!(report, Report::MessageQueued { origin: Origin::Returned, .. }).then_some(())
    });
    assert_eq!((sender.stats().refused_by_peers, screened.stats().refused), (1, 1));
    assert_eq!((sender.held().0, screened.held().0), (1, 2));
}

pub(crate) fn without_a_verdict_the_default_holds(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let mut sender = network.raise_with(quick());
    let patience = Duration::from_millis(1);
    let (mut accepting, mut rejecting) = (quiet(), quiet());
    accepting.screening = screening(patience, DefaultVerdict::Accept);
    rejecting.screening = screening(patience, DefaultVerdict::Reject);
    // Nobody looks at what they are offered.
    let rejecting = network.raise_with(rejecting);
    let mut accepting = network.raise_with(accepting);
    sender.expand(&rejecting.address).unwrap();
    sender.enqueue_text("patience");
    sender.until("a refusal", |sender| sender.stats().refused_by_peers >= 1);
    sender.expand(&accepting.address).unwrap();
    accepting.receives("patience");
    assert_eq!(rejecting.stats().received, 0);
}
