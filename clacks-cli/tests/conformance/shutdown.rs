//! The end of a tower: a shutdown, or a driver that is dropped.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};

use clacks_proto::{EnqueueError, ExpandError, Message, Nonce, Notice, Status};

use crate::network::{
    DEADLINE, Network, Runtimes, connect, poll_until, quick, quiet, wait_until_refused,
    without_timeouts,
};

pub(crate) fn a_shutdown_hands_over_all_messages_and_closes_the_sockets(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    // No tower sends a message on its own. No timer makes a driver notice the end of the tower.
    let mut tower = network.start(without_timeouts());
    let mut peers = [network.start(without_timeouts()), network.start(without_timeouts())];
    for peer in &peers {
        tower.announce(&peer.address).unwrap();
        tower.wait_for_status(Status::Alive, &peer.address);
    }
    let nonces: BTreeSet<Nonce> =
        (0..200).map(|n| tower.enqueue(Message::text(&n.to_string())).unwrap()).collect();

    assert_eq!(tower.shut_down(), 0);
    assert_eq!(tower.wait_for_last_notice(), Some(Notice::ShutDown { left: 0 }));
    let mut received = BTreeSet::new();
    for peer in &mut peers {
        // The link is closed after the last message.
        peer.wait_for("the end of the link", |notice| {
            matches!(notice, Notice::LinkClosed { peer: Some(peer), .. } if *peer == tower.address)
                .then_some(())
        });
        received.extend(peer.peek().iter().map(|held| held.nonce));
        assert_ne!(peer.queue_len(), 0);
    }
    assert_eq!(received, nonces);
    assert_eq!(peers[0].queue_len() + peers[1].queue_len(), nonces.len());

    wait_until_refused(tower.socket);
    let refused = tower.enqueue(Message::text("too late")).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::ShuttingDown);
    assert_eq!(tower.expand(&peers[0].address), Err(ExpandError::ShuttingDown));
    assert_eq!((tower.stats().delivered, tower.queue_len()), (200, 0));
    assert_eq!(tower.shut_down(), 0, "the result of a second shutdown");
}

pub(crate) fn a_shutdown_returns_the_number_of_lost_messages(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut tower = network.start(quiet());
    for text in ["one", "two", "three"] {
        tower.enqueue_text(text);
    }
    let second = tower.shutdown();
    assert_eq!(tower.shut_down(), 3);
    assert_eq!(second.wait_timeout(DEADLINE).unwrap(), 3);
    assert_eq!(tower.wait_for_last_notice(), Some(Notice::ShutDown { left: 3 }));
    assert_eq!(tower.stats().enqueued, 3, "the counters are kept");
}

pub(crate) fn dropping_a_running_driver_closes_all_sockets(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let tower = network.start_clear(without_timeouts());
    let mut silent = connect(tower.socket);
    silent.read_exact(&mut [0; 1]).unwrap();
    let socket = tower.socket;
    tower.kill();
    // The rest of the hello, and then the end of the stream.
    let rest = silent.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert!(matches!(rest, Ok(_) | Err(ErrorKind::ConnectionReset)), "{rest:?}");
    wait_until_refused(socket);
}

pub(crate) fn dropping_a_running_driver_ends_the_tower(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut tower = network.start(quick());
    tower.enqueue_text("left over");
    tower.wait_for("the message", |notice| {
        matches!(notice, Notice::MessageQueued { .. }).then_some(())
    });
    let waiting = tower.wait(|_| None::<()>);
    tower.stop();
    assert_eq!(waiting.wait_timeout(DEADLINE).unwrap(), None);
    assert_eq!(tower.wait_for_last_notice(), None);
    let refused = tower.enqueue(Message::text("too late")).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::ShuttingDown);
    assert_eq!(tower.shut_down(), 1);
}

pub(crate) fn dropping_a_driver_that_never_ran_ends_the_tower(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let (handle, driver) = network.driver(quick(), |tower| tower);
    handle.enqueue(Message::text("left over")).unwrap();
    let mut waiting = handle.shutdown();
    assert_eq!(waiting.now(), None);
    drop(driver);
    assert_eq!(waiting.wait_timeout(DEADLINE).unwrap(), 1);
}

pub(crate) fn a_tower_runs_without_a_handle(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let peer = network.start_clear(quick());
    let (handle, mut driver) = network.driver(quick(), |tower| tower);
    handle.expand(&peer.address).unwrap();
    let address = handle.address().clone();
    drop(handle);
    poll_until("the tower is alive", || {
        driver.step();
        peer.status_of(&address) == Some(Status::Alive)
    });
}
