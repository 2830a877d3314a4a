//! Messages go from tower to tower.

use clacks_proto::{Address, Message, Notice, Status};

use crate::support::{becomes, delivers, find, quick, quiet, receives, run, start};

#[test]
fn a_message_passes_between_two_towers() {
    run(|| {
        let (one, two) = (start(quick()), start(quiet()));
        let (mut sent, mut taken) = (one.handle.notices(), two.handle.notices());
        one.handle.expand(&two.address()).unwrap();
        let nonce = one.handle.enqueue(Message::text("GNU Terry Pratchett")).unwrap();
        let (from, name, message) = find(&mut taken, |notice| match notice {
            Notice::MessageReceived { from, nonce, message, .. } => Some((from, nonce, message)),
            _ => None,
        });
        assert_eq!((from, name), (Some(one.address()), nonce));
        assert_eq!(message.as_text(), Some("GNU Terry Pratchett"));
        delivers(&mut sent, 1);
        let usage = two.handle.queue_usage();
        assert_eq!((one.handle.queue_usage().messages, usage.messages, usage.bytes), (0, 1, 19));
        assert_eq!(two.handle.peek()[0].nonce, nonce);
        assert_eq!(one.handle.stats().delivered, 1);
        let peers = one.handle.survey();
        assert_eq!(peers.len(), 1);
        assert_eq!((&peers[0].address, peers[0].status), (&two.address(), Status::Alive));
    });
}

#[test]
fn a_delivery_is_waited_for() {
    run(|| {
        let (one, two) = (start(quick()), start(quiet()));
        one.handle.expand(&two.address()).unwrap();
        let delivery = one.handle.deliver(Message::text("registered mail")).unwrap().wait();
        assert_eq!(delivery.unwrap().to, Some(two.address()));
        let is_empty =
            |machine: &clacks_proto::Tower| (machine.queue_usage().messages == 0).then_some(());
        assert_eq!(one.handle.wait(is_empty).wait(), Some(()));
    });
}

#[test]
fn bodies_of_any_size_arrive_whole() {
    run(|| {
        let mut config = quick();
        config.max_message = 4 << 20;
        let one = start(config.clone());
        config.send_rate = quiet().send_rate;
        let two = start(config);
        let mut taken = two.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for len in [0, 1, 65_535, 65_536, 65_537, 4 << 20] {
            let body: Vec<u8> = (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
            one.handle.enqueue(Message::bytes(&body)).unwrap();
            let arrived = find(&mut taken, |notice| match notice {
                Notice::MessageReceived { message, .. } => Some(message),
                _ => None,
            });
            assert!(arrived.body() == body, "{len} bytes were altered");
        }
    });
}

#[test]
fn names_are_resolved_and_their_addresses_tried() {
    run(|| {
        // `localhost` may also be ::1, where no tower listens.
        let (one, two) = (start(quick()), start(quiet()));
        let mut taken = two.handle.notices();
        let name = Address::new("localhost", two.handle.local_addr().port()).unwrap();
        one.handle.expand(&name).unwrap();
        one.handle.enqueue(Message::text("by name")).unwrap();
        receives(&mut taken, "by name");
    });
}

#[test]
fn an_announce_is_confirmed_and_makes_both_known() {
    run(|| {
        let (one, two) = (start(quick()), start(quick()));
        let (mut ours, mut theirs) = (one.handle.notices(), two.handle.notices());
        one.handle.announce(&two.address()).unwrap();
        find(&mut ours, |notice| matches!(notice, Notice::Announced { .. }).then_some(()));
        becomes(&mut theirs, &one.address(), Status::Alive);
    });
}

#[test]
fn messages_of_an_ignored_tower_are_refused_until_it_is_unignored() {
    run(|| {
        let (one, two) = (start(quick()), start(quiet()));
        two.handle.ignore(&one.address()).unwrap();
        assert!(!two.handle.unignore(&two.address()));
        let (mut ours, mut taken) = (one.handle.notices(), two.handle.notices());
        one.handle.expand(&two.address()).unwrap();
        one.handle.enqueue(Message::text("listen!")).unwrap();
        becomes(&mut ours, &two.address(), Status::Lost);
        assert_eq!(two.handle.queue_usage().messages, 0);
        assert!(two.handle.unignore(&one.address()));
        receives(&mut taken, "listen!");
    });
}

#[test]
fn fifty_towers_in_one_process_learn_of_each_other() {
    run(|| {
        let towers: Vec<_> = (0..50).map(|_| start(quick())).collect();
        let hub = towers[0].address();
        let mut discoveries = towers[0].handle.notices();
        for tower in &towers[1..] {
            tower.handle.expand(&hub).unwrap();
            tower.handle.enqueue(Message::text("hello")).unwrap();
        }
        // There may be more notices than a reader keeps.
        find(&mut discoveries, |_| (towers[0].handle.survey().len() == 49).then_some(()));
        assert!(towers.iter().all(|tower| tower.handle.stats().links_misbehaved == 0));
    });
}
