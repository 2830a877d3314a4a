//! The application looks at messages before they are queued.

use clacks_proto::{DefaultVerdict, Message, Screening, Verdict};
use clacks_smol::Driver;
use std::time::Duration;

use crate::support::{FOR_EVER, delivers, find, port, quick, quiet, receives, run, start, tower};

#[test]
fn every_verdict_does_what_it_says() {
    run(async {
        // It offers a message that was refused only once.
        let mut offering = quick();
        offering.busy_backoff = FOR_EVER;
        let sender = start(offering);
        let from = sender.address();
        let mut config = quiet();
        config.screening = Screening::On {
            max_offers: 8,
            timeout: Duration::from_secs(60),
            default: DefaultVerdict::Reject,
        };
        let listener = port();
        let (screened, driver) = Driver::new(tower(config, &listener), listener).unwrap();
        let driver = driver.screen_with(move |message, peer| {
            assert_eq!(peer, Some(&from));
            match message.as_text() {
                Some("rude") => Verdict::Swallow,
                Some("wrong") => Verdict::Replace(Message::text("right")),
                Some("unwanted") => Verdict::Reject,
                _ => Verdict::Accept,
            }
        });
        let _task = smol::spawn(driver.run());
        let (mut ours, mut theirs) = (sender.handle.notices(), screened.notices());
        let address = clacks_proto::Address::try_from(screened.local_addr()).unwrap();
        sender.handle.expand(&address).await.unwrap();
        for text in ["rude", "wrong", "fine"] {
            sender.handle.enqueue(Message::text(text)).await.unwrap();
        }
        delivers(&mut ours, 3).await;
        receives(&mut theirs, "fine").await;
        let texts: Vec<_> = screened
            .peek()
            .await
            .iter()
            .filter_map(|held| Some(held.message.as_text()?.to_owned()))
            .collect();
        assert_eq!(texts, ["right", "fine"]);
        assert_eq!(screened.stats().await.swallowed, 1);

        sender.handle.enqueue(Message::text("unwanted")).await.unwrap();
        find(&mut ours, |report| {
            let returned = clacks_proto::Origin::Returned;
            matches!(report, clacks_proto::Report::MessageQueued { origin, .. } if origin == returned)
                .then_some(())
        })
        .await;
        assert_eq!(sender.handle.stats().await.refused_by_peers, 1);
    });
}

#[test]
fn without_a_function_the_default_verdict_holds() {
    run(async {
        let sender = start(quick());
        let mut config = quiet();
        config.screening = Screening::On {
            max_offers: 8,
            timeout: Duration::from_millis(1),
            default: DefaultVerdict::Accept,
        };
        let screened = start(config);
        let mut theirs = screened.handle.notices();
        sender.handle.expand(&screened.address()).await.unwrap();
        sender.handle.enqueue(Message::text("patience")).await.unwrap();
        receives(&mut theirs, "patience").await;
    });
}
