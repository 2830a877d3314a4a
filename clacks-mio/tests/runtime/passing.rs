//! Messages go from tower to tower, and gossip with them.

use clacks_proto::{Address, Message, Report, Status};

use crate::support::{delivers, find, quick, quiet, receives, run, start, turns};

#[test]
fn two_towers_pass_a_message() {
    run(|| {
        let (one, two) = (start(quick()), start(quiet()));
        let (sent, taken) = (one.handle.notices(), two.handle.notices());
        one.handle.expand(&two.address()).unwrap();
        let nonce = one.handle.enqueue(Message::text("GNU Terry Pratchett")).unwrap();
        let (from, name, message) = find(&taken, |report| match report {
            Report::MessageReceived { from, nonce, message } => Some((from, nonce, message)),
            _ => None,
        });
        assert_eq!((from, name), (Some(one.address()), nonce));
        assert_eq!(message.as_text(), Some("GNU Terry Pratchett"));
        delivers(&sent, 1);
        assert_eq!((one.handle.held().0, two.handle.held()), (0, (1, 19)));
        assert_eq!(two.handle.peek()[0].nonce, nonce);
        assert_eq!(one.handle.stats().delivered, 1);
        let peers = one.handle.survey();
        assert_eq!(peers.len(), 1);
        assert_eq!((&peers[0].address, peers[0].status), (&two.address(), Status::Alive));
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
        let taken = two.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for len in [0, 1, 65_535, 65_536, 65_537, 4 << 20] {
            let body: Vec<u8> = (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
            one.handle.enqueue(Message::bytes(&body)).unwrap();
            let arrived = find(&taken, |report| match report {
                Report::MessageReceived { message, .. } => Some(message),
                _ => None,
            });
            assert!(arrived.body()[..] == body[..], "{len} bytes were altered");
        }
    });
}

#[test]
fn names_are_resolved_and_their_addresses_tried() {
    run(|| {
        // `localhost` may also be ::1, where nobody listens.
        let (one, two) = (start(quick()), start(quiet()));
        let taken = two.handle.notices();
        let name = Address::new("localhost", two.handle.local_addr().port()).unwrap();
        one.handle.expand(&name).unwrap();
        one.handle.enqueue(Message::text("by name")).unwrap();
        receives(&taken, "by name");
    });
}

#[test]
fn an_announce_is_confirmed_and_makes_both_known() {
    run(|| {
        let (one, two) = (start(quick()), start(quick()));
        let (ours, theirs) = (one.handle.notices(), two.handle.notices());
        one.handle.announce(&two.address()).unwrap();
        find(&ours, |report| matches!(report, Report::Announced { .. }).then_some(()));
        turns(&theirs, &one.address(), Status::Alive);
    });
}

#[test]
fn an_ignored_tower_is_not_heard_until_it_is_heeded() {
    run(|| {
        let (one, two) = (start(quick()), start(quiet()));
        two.handle.ignore(&one.address()).unwrap();
        assert!(!two.handle.heed(&two.address()));
        let (ours, taken) = (one.handle.notices(), two.handle.notices());
        one.handle.expand(&two.address()).unwrap();
        one.handle.enqueue(Message::text("listen!")).unwrap();
        turns(&ours, &two.address(), Status::Lost);
        assert_eq!(two.handle.held().0, 0);
        assert!(two.handle.heed(&one.address()));
        receives(&taken, "listen!");
    });
}

#[test]
fn fifty_towers_in_one_process_all_hear_of_a_newcomer() {
    run(|| {
        let towers: Vec<_> = (0..50).map(|_| start(quick())).collect();
        let hub = towers[0].address();
        let discoveries = towers[0].handle.notices();
        for tower in &towers[1..] {
            tower.handle.expand(&hub).unwrap();
            tower.handle.enqueue(Message::text("hello")).unwrap();
        }
        // The reports are too many to count on each of them.
        find(&discoveries, |_| (towers[0].handle.survey().len() == 49).then_some(()));
        for tower in &towers {
            assert_eq!(tower.handle.stats().links_misbehaved, 0);
        }
    });
}
