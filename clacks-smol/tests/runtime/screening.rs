//! The application looks at messages before they are queued.

use clacks_proto::{DefaultVerdict, Message, Notice, Origin, Screening, Tower, Verdict};
use clacks_smol::Handle;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{
    FOREVER, Running, delivers, driver, find, quick, quiet, receives, run, start,
};

#[test]
fn each_verdict_is_carried_out() {
    run(async {
        // It offers a message that was refused only once.
        let mut offering = quick();
        offering.busy_backoff = FOREVER;
        let sender = start(offering);
        let from = sender.address();
        let mut config = quiet();
        let (timeout, default) = (Duration::from_secs(60), DefaultVerdict::Reject);
        config.screening = Screening::On { max_offers: 8, timeout, default };
        let (handle, driver) = driver(config);
        // The function may use a handle of its own tower.
        let own = Arc::new(OnceLock::<Handle<Tower>>::new());
        own.set(handle.clone()).unwrap();
        let driver = driver.screen_with(move |message, peer| {
            assert_eq!(peer, Some(&from));
            assert!(own.get().unwrap().queue_usage().messages > 0);
            match message.as_text() {
                Some("rude") => Verdict::Swallow,
                Some("wrong") => Verdict::Replace(Message::text("right")),
                Some("unwanted") => Verdict::Reject,
                _ => Verdict::Accept,
            }
        });
        let screened = Running::new((handle, driver));
        let (mut ours, mut theirs) = (sender.handle.notices(), screened.handle.notices());
        sender.handle.expand(&screened.address()).unwrap();
        for text in ["rude", "wrong", "fine"] {
            sender.handle.enqueue(Message::text(text)).unwrap();
        }
        delivers(&mut ours, 3).await;
        receives(&mut theirs, "fine").await;
        let held = screened.handle.peek();
        let texts: Vec<_> = held.iter().filter_map(|held| held.message.as_text()).collect();
        assert_eq!(texts, ["right", "fine"]);
        assert_eq!(screened.handle.stats().swallowed, 1);

        sender.handle.enqueue(Message::text("unwanted")).unwrap();
        find(&mut ours, |notice| match notice {
            Notice::MessageQueued { origin: Origin::Returned, .. } => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(sender.handle.stats().refused_by_peers, 1);
    });
}

#[test]
fn without_a_function_each_message_gets_the_default_verdict() {
    run(async {
        let sender = start(quick());
        let mut config = quiet();
        let (timeout, default) = (Duration::from_millis(1), DefaultVerdict::Accept);
        config.screening = Screening::On { max_offers: 8, timeout, default };
        let screened = start(config);
        let mut theirs = screened.handle.notices();
        sender.handle.expand(&screened.address()).unwrap();
        sender.handle.enqueue(Message::text("patience")).unwrap();
        receives(&mut theirs, "patience").await;
    });
}
