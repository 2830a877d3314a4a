//! Datagrams and guests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use clacks_proto::wire::{AnnounceFrame, Frame, Hello, RefusedReason, WireError};
use clacks_proto::{
    CloseReason, Config, DatagramError, DatagramLoss, Datagrams, Event, IoCause, LinkId, Notice, To,
};
use common::harness::{Harness, SentFrame, encode, hello};
use common::{address, fast_config, seconds};

fn config() -> Config {
    let mut config = fast_config();
    config.datagrams = Datagrams::On { max_len: 100, outbox: 1_000, inbox: 10_000 };
    config
}

/// Sends the hello of a peer that takes datagrams of at most `datagram` bytes.
fn greet(harness: &mut Harness, link: LinkId, n: Option<usize>, datagram: u32) {
    let hello = Hello { datagram, ..hello(n.map(address)) };
    harness.send_frame(link, &Frame::Hello(hello));
}

fn send(harness: &mut Harness, to: To, body: &[u8]) -> Result<LinkId, DatagramError> {
    let body = body.to_vec();
    harness.with(|tower, now| tower.datagram(to, body, now))
}

fn sent(harness: &mut Harness, link: LinkId) -> Vec<String> {
    let frames = harness.take_frames(link).into_iter();
    let datagram = |frame| match frame {
        SentFrame::Datagram(body) => Some(String::from_utf8(body).unwrap()),
        SentFrame::Message { text, .. } => Some(format!("message {text}")),
        _ => None,
    };
    frames.filter_map(datagram).collect()
}

#[test]
fn a_datagram_goes_to_the_other_end_of_a_link_and_comes_from_there() {
    let mut harness = Harness::new(&config());
    let link = harness.accept();
    greet(&mut harness, link, Some(1), 50);
    for body in [b"first", b"other"] {
        harness.send_frame(link, &Frame::Datagram(body));
    }
    let first = harness.tower.take_datagram().unwrap();
    assert_eq!((first.link, first.from, &first.body[..]), (link, Some(address(1)), &b"first"[..]));
    assert_eq!(&harness.tower.take_datagram().unwrap().body[..], b"other");
    assert_eq!(harness.tower.take_datagram(), None);
    assert_eq!(send(&mut harness, To::Link(link), b"answer"), Ok(link));
    assert_eq!(sent(&mut harness, link), ["answer"]);
}

#[test]
fn a_peer_without_a_link_is_dialled_for_a_datagram() {
    let mut harness = Harness::new(&config());
    harness.expand(1);
    let peer = harness.tower.find(&address(1)).unwrap().id;
    let link = send(&mut harness, To::Peer(peer), b"question").unwrap();
    assert_eq!(harness.connect_dial(), link);
    assert!(sent(&mut harness, link).is_empty(), "nothing before the hello");
    greet(&mut harness, link, None, 50);
    assert_eq!(sent(&mut harness, link), ["question"]);
}

#[test]
fn datagrams_and_messages_are_sent_in_turn() {
    let mut harness = Harness::new(&config());
    let link = harness.accept();
    greet(&mut harness, link, Some(1), 50);
    harness.send_announce(link, 1);
    harness.blocked.insert(link);
    harness.enqueue_many(3, "m");
    harness.advance(seconds(1));
    for body in ["a", "b", "c", "d"] {
        send(&mut harness, To::Link(link), body.as_bytes()).unwrap();
    }
    harness.blocked.clear();
    harness.read(link);
    let expected = ["message m 0", "a", "message m 1", "b", "message m 2", "c", "d"];
    assert_eq!(sent(&mut harness, link), expected);
}

#[test]
fn a_datagram_that_the_other_side_does_not_take_is_not_sent() {
    let mut harness = Harness::new(&config());
    let [short, none] = [50, 0].map(|max| {
        let link = harness.accept();
        greet(&mut harness, link, None, max);
        link
    });
    let length = Err(DatagramError::Length { max: 50 });
    assert_eq!(send(&mut harness, To::Link(short), &[b'x'; 51]), length);
    assert_eq!(send(&mut harness, To::Link(short), b""), length);
    assert!(send(&mut harness, To::Link(short), &[b'x'; 50]).is_ok());
    assert_eq!(send(&mut harness, To::Link(none), b"x"), Err(DatagramError::NotTaken));
    // A dialled peer tells only in its hello what it takes.
    harness.expand(1);
    let peer = harness.tower.find(&address(1)).unwrap().id;
    let link = send(&mut harness, To::Peer(peer), &[b'x'; 51]).unwrap();
    send(&mut harness, To::Peer(peer), &[b'x'; 50]).unwrap();
    harness.connect_dial();
    greet(&mut harness, link, None, 50);
    assert_eq!(sent(&mut harness, link).len(), 1);
    let why = DatagramLoss::NotTaken;
    let dropped = Notice::DatagramsDropped { link, to: Some(address(1)), count: 1, why };
    assert!(harness.notices.contains(&dropped));
    // Over a link that ends, and to what is not known.
    harness.reset(short);
    assert_eq!(send(&mut harness, To::Link(short), b"x"), Err(DatagramError::Gone));
}

#[test]
fn a_datagram_that_is_too_long_is_a_violation() {
    for (config, len) in [(config(), 101), (fast_config(), 1)] {
        let mut harness = Harness::new(&config);
        let link = harness.accept_from(1);
        harness.send_bytes(link, &encode(&Frame::Datagram(&vec![b'x'; len])));
        assert!(matches!(
            harness.close_reason(link),
            Some(CloseReason::Wire(WireError::Length { .. }))
        ));
    }
}

#[test]
fn datagrams_are_off_by_default() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    assert_eq!(send(&mut harness, To::Link(link), b"x"), Err(DatagramError::Off));
}

#[test]
fn an_outbox_is_bounded_and_tells_when_it_has_room() {
    let mut harness = Harness::new(&config());
    let link = harness.accept();
    greet(&mut harness, link, None, 100);
    harness.blocked.insert(link);
    // Each costs 164 bytes of 1 000.
    let results: Vec<_> =
        (0..8).map(|_| send(&mut harness, To::Link(link), &[b'x'; 100])).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 6);
    assert_eq!(results[6..], [Err(DatagramError::Full); 2]);
    let room = Notice::DatagramRoom { link };
    assert!(!harness.notices.contains(&room));
    harness.blocked.clear();
    harness.read(link);
    harness.drive();
    assert_eq!(harness.notices.iter().filter(|notice| **notice == room).count(), 1);
    // Datagrams that were not sent when the link ended are counted in a notice.
    harness.blocked.insert(link);
    (0..3).for_each(|_| _ = send(&mut harness, To::Link(link), b"x").unwrap());
    harness.handle(Event::Lost { link, cause: IoCause::Reset });
    let why = DatagramLoss::LinkEnded;
    let dropped = Notice::DatagramsDropped { link, to: None, count: 3, why };
    assert!(harness.notices.contains(&dropped));
}

#[test]
fn an_inbox_is_bounded_and_one_link_may_use_an_eighth() {
    let mut harness = Harness::new(&config());
    let links: Vec<_> = (0..12)
        .map(|_| {
            let link = harness.accept();
            greet(&mut harness, link, None, 100);
            link
        })
        .collect();
    // Each costs 228 bytes, and a link may use 1 250.
    for link in &links {
        (0..7).for_each(|_| harness.send_frame(*link, &Frame::Datagram(&[b'x'; 100])));
    }
    let mut per_link = std::collections::BTreeMap::new();
    while let Some(datagram) = harness.tower.take_datagram() {
        *per_link.entry(datagram.link).or_insert(0) += 1;
    }
    assert!(per_link.values().all(|count| *count <= 5));
    assert_eq!(per_link.values().sum::<u64>(), 43, "so many cost 10 000 bytes");
    assert_eq!(harness.tower.stats().datagrams_dropped, 84 - 43);
    // What was taken makes room.
    harness.send_frame(links[0], &Frame::Datagram(b"again"));
    assert_eq!(harness.tower.stats().datagrams_dropped, 84 - 43);
    // Datagrams of a link that has ended are still there.
    harness.reset(links[0]);
    assert_eq!(&harness.tower.take_datagram().unwrap().body[..], b"again");
}

#[test]
fn a_guest_hands_over_messages_and_is_neither_learned_nor_announced_to() {
    let mut harness = Harness::new(&config());
    let link = harness.accept();
    greet(&mut harness, link, None, 50);
    harness.send_message(link, 1, "from a guest");
    let announce = AnnounceFrame { transfer: 2, friends: vec![address(7)] };
    harness.send_frame(link, &Frame::Announce(announce));
    let answers = harness.take_frames(link);
    let expected = [SentFrame::Confirmed(1), SentFrame::Refused(2, RefusedReason::Busy)];
    assert_eq!(answers[1..], expected);
    assert_eq!(harness.tower.survey().count(), 0, "neither the guest nor its friend");
    harness.advance(seconds(5));
    assert!(sent(&mut harness, link).is_empty());
}

#[test]
fn a_tower_that_is_a_guest_names_no_address_and_takes_nothing() {
    let mut config = config();
    config.is_guest = true;
    let mut harness = Harness::new(&config);
    harness.expand(1);
    harness.enqueue("from this guest");
    assert!(harness.run_until_dial(seconds(2)));
    let link = harness.connect_dial_with_hello();
    let frames = harness.take_frames(link);
    assert!(matches!(frames[0], SentFrame::Hello { address: None, .. }));
    // The peer does not learn the guest, but has answered.
    harness.refuse(link, 1, RefusedReason::Busy);
    harness.advance(seconds(2));
    let frames = harness.take_frames(link);
    assert!(frames.iter().any(|frame| matches!(frame, SentFrame::Message { .. })), "{frames:?}");
    harness.send_message(link, 1, "to this guest");
    harness.send_announce(link, 2);
    let busy = |transfer| SentFrame::Refused(transfer, RefusedReason::Busy);
    assert_eq!(harness.take_frames(link), [busy(1), busy(2)]);
}

#[test]
fn peers_that_take_datagrams_are_alive_and_said_so() {
    let mut harness = Harness::new(&config());
    let peers = |harness: &Harness, len| {
        let peers = harness.tower.datagram_peers(len);
        peers.map(|peer| (peer.address.clone(), peer.link)).collect::<Vec<_>>()
    };
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let link = harness.connect_dial();
    greet(&mut harness, link, None, 50);
    let announce = harness.take_announce(link);
    assert_eq!(peers(&harness, 50), [], "not alive yet");
    harness.confirm(link, announce);
    assert_eq!(peers(&harness, 50), [(address(1), Some(link))]);
    assert_eq!(peers(&harness, 51), []);
    assert_eq!(harness.tower.datagram_peer(&address(1), 50).unwrap().link, Some(link));
    assert_eq!(harness.tower.datagram_peer(&address(2), 50), None);
    // After the end of the link, the last hello counts.
    harness.send_goodbye(link);
    harness.advance(seconds(1));
    assert_eq!(peers(&harness, 50), [(address(1), None)]);
}

#[test]
fn an_idle_link_can_be_closed_for_others() {
    let mut harness = Harness::new(&config());
    let link = harness.accept();
    greet(&mut harness, link, None, 50);
    harness.blocked.insert(link);
    send(&mut harness, To::Link(link), b"datagram").unwrap();
    assert!(!harness.with(|tower, now| tower.close_idle(link, now)), "it has something to send");
    harness.blocked.clear();
    harness.read(link);
    assert!(harness.with(|tower, now| tower.close_idle(link, now)));
    assert_eq!(harness.close_reason(link), Some(CloseReason::Evicted));
    assert!(!harness.with(|tower, now| tower.close_idle(link, now)), "only once");
}
