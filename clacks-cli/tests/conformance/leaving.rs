//! Towers that leave in good order.

use std::collections::BTreeSet;

use clacks_proto::{EnqueueError, ExpandError, Message, Nonce, Report, Status};

use crate::network::{Network, Runtimes, nobody_listens, quiet};

pub(crate) fn a_tower_that_leaves_hands_over_all_it_has(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    // None of them sends anything of itself: what moves moves because of the shutdown.
    let mut leaver = network.raise_with(quiet());
    let mut heirs = [network.raise_with(quiet()), network.raise_with(quiet())];
    for heir in &heirs {
        leaver.announce(&heir.address).unwrap();
        leaver.thinks(Status::Alive, &heir.address);
    }
    let nonces: BTreeSet<Nonce> =
        (0..200).map(|n| leaver.enqueue(Message::text(&n.to_string())).unwrap()).collect();

    assert_eq!(leaver.leave(), 0);
    let mut inherited = BTreeSet::new();
    for heir in &mut heirs {
        // The farewell is heard after the last message.
        heir.hears("the farewell", |report| {
            matches!(report, Report::LinkClosed { tower: Some(tower), .. } if *tower == leaver.address)
                .then_some(())
        });
        inherited.extend(heir.peek().iter().map(|held| held.nonce));
        assert_ne!(heir.held().0, 0);
    }
    assert_eq!(inherited, nonces);
    assert_eq!(heirs[0].held().0 + heirs[1].held().0, nonces.len());

    // What is gone says so.
    nobody_listens(leaver.socket);
    let refused = leaver.enqueue(Message::text("too late")).unwrap_err();
    assert_eq!(refused.why, EnqueueError::ShuttingDown);
    assert_eq!(leaver.expand(&heirs[0].address), Err(ExpandError::ShuttingDown));
    assert_eq!((leaver.stats().delivered, leaver.held().0), (200, 0));
    assert_eq!(leaver.leave(), 0);
}

pub(crate) fn a_tower_that_knows_nobody_says_what_is_lost_with_it(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let mut lonely = network.raise_with(quiet());
    lonely.enqueue_text("Hello?");
    lonely.enqueue_text("Anybody?");
    assert_eq!(lonely.leave(), 2);
    lonely.hears("the end", |report| (*report == Report::ShutDown { left: 2 }).then_some(()));
}
