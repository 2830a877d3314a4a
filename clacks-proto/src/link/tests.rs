//! A link alone, with a router that records its events.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::ids::Epoch;
use crate::wire::{Decoder, RefusedReason, VERSION, Window};

const ID: LinkId = LinkId { index: 0, epoch: Epoch::FIRST };
const PEER: PeerId = PeerId { index: 0, epoch: Epoch::FIRST };
const BUSY: Outcome = Outcome::Refused(RefusedReason::Busy);

/// What a link passed to its router.
#[derive(Debug, PartialEq)]
enum Seen {
    Handled,
    Opened(Option<u64>),
    Message(u64, Vec<u8>),
    Announce(u64),
    Datagram(Vec<u8>),
    Settled(u64, Outcome),
    Leaving { unsent: usize },
    Closed { reason: CloseReason, unsent: usize, unanswered: usize, doubt: Doubt },
    CloseTimedOut,
}

impl From<LinkEvent<'_>> for Seen {
    fn from(event: LinkEvent<'_>) -> Self {
        match event {
            LinkEvent::Handled => Self::Handled,
            LinkEvent::Opened(hello) => Self::Opened(hello.map(|hello| hello.incarnation)),
            LinkEvent::Message(frame, _) => Self::Message(frame.transfer, frame.body.into()),
            LinkEvent::Announce(frame, _) => Self::Announce(frame.transfer),
            LinkEvent::Datagram(body) => Self::Datagram(body.into()),
            LinkEvent::Settled(_, outcome) => Self::Settled(0, outcome),
            LinkEvent::Leaving(withdrawn) => Self::Leaving { unsent: withdrawn.unsent.len() },
            LinkEvent::Closed(closed) => Self::Closed {
                reason: closed.reason,
                unsent: closed.withdrawn.unsent.len(),
                unanswered: closed.unanswered.len(),
                doubt: closed.doubt,
            },
            LinkEvent::CloseTimedOut => Self::CloseTimedOut,
        }
    }
}

/// The tower of a link: has one message, takes every transfer and records events.
struct Host {
    local: Local,
    now: Instant,
    message: Message,
    seen: Vec<Seen>,
}

impl Router for Host {
    fn local(&self) -> &Local {
        &self.local
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn on_link_event(&mut self, _: LinkId, link: &mut Session, event: LinkEvent<'_>) {
        match &event {
            LinkEvent::Message(frame, _) => {
                link.answer(frame.body.len(), Outcome::Taken);
            }
            LinkEvent::Announce(..) => link.answer(0, Outcome::Taken),
            _ => {}
        }
        let seen = match event.into() {
            Seen::Settled(_, outcome) => Seen::Settled(link.outgoing.answered(), outcome),
            seen => seen,
        };
        self.seen.push(seen);
    }
}

struct FrameContent<'a>(&'a Message);

impl Content for FrameContent<'_> {
    fn message(&self, _: MessageId) -> Option<HeldContent<'_>> {
        let (nonce, lifetime) = (Nonce(7), Lifetime::UNLIMITED);
        Some(HeldContent { nonce, lifetime, message: self.0 })
    }

    fn friend(&mut self) -> Option<Address> {
        None
    }

    fn friends(&mut self) -> Vec<Address> {
        Vec::new()
    }

    fn recipient(&self) -> Option<&Address> {
        None
    }
}

impl Host {
    fn new() -> Self {
        let config = Config {
            window: Window { messages: 4, bytes: 100 },
            network: String::from("test"),
            ..Config::default()
        };
        let local = Local {
            config: config.into(),
            address: Address::new("127.0.0.1", 8001).unwrap(),
            identity: None,
            incarnation: 1,
            speaks_http: false,
        };
        let message = Message::bytes(&[9; 10]);
        Self { local, now: Instant::ORIGIN, message, seen: Vec::new() }
    }

    /// Passes bytes to a link, and returns its events without [`Seen::Handled`].
    fn bytes(&mut self, link: &mut Link, bytes: &[u8]) -> Vec<Seen> {
        link.handle_bytes(ID, bytes, self);
        let mut seen = core::mem::take(&mut self.seen);
        seen.retain(|event| *event != Seen::Handled);
        seen
    }

    fn frames(&mut self, link: &mut Link, frames: &[Frame<'_>]) -> Vec<Seen> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        self.bytes(link, &bytes)
    }

    /// Returns the kinds of frames that a link sends now, through a buffer of `room` bytes.
    fn sent_through(&mut self, link: &mut Link, room: usize) -> String {
        let (mut bytes, mut decoder) = (Vec::new(), Decoder::new(1 << 20));
        let mut content = FrameContent(&self.message);
        while link.poll_transmit(&mut (&mut bytes).limit(room), &self.local, &mut content, self.now)
            > 0
        {}
        let (mut input, mut kinds) = (&bytes[..], String::new());
        while let Some(frame) = decoder.decode(&mut input).unwrap() {
            kinds += &match frame {
                Frame::Hello(_) => String::from("hello "),
                Frame::Message(frame) => alloc::format!("message {} ", frame.transfer),
                Frame::Announce(frame) => alloc::format!("announce {} ", frame.transfer),
                Frame::Confirmed { through } => alloc::format!("confirmed {through} "),
                Frame::Refused { transfer, .. } => alloc::format!("refused {transfer} "),
                Frame::Goodbye { farewell } => alloc::format!("goodbye {farewell:?} "),
                Frame::Datagram(_) => String::from("datagram "),
            };
        }
        assert!(!decoder.is_mid_frame(), "a frame was cut");
        kinds
    }

    fn sent(&mut self, link: &mut Link) -> String {
        self.sent_through(link, usize::MAX)
    }

    /// Lets time pass, and returns what follows.
    fn pass(&mut self, link: &mut Link, time: Duration) -> Seen {
        self.now = self.now + time;
        link.handle_timeout(&self.local, self.now).into()
    }

    fn give(&self, link: &mut Link) {
        let id = MessageId { index: 0, epoch: Epoch::FIRST };
        let len = u32::try_from(self.message.len()).unwrap();
        let payload = Payload::Message { id, len };
        let transfer = Transfer { payload, retry: None, sent: self.now };
        link.session_mut().give(transfer, &self.local);
    }

    /// Returns a dialled link that is open and has sent its hello.
    fn open(&mut self) -> Link {
        let mut link = Link::outbound(5, PEER, None, &self.local, self.now);
        _ = link.handle_connected(&self.local, self.now);
        assert_eq!(self.sent(&mut link), "hello ");
        assert_eq!(self.frames(&mut link, &[hello(2, "test")]), [Seen::Opened(Some(2))]);
        link
    }
}

fn hello(incarnation: u64, network: &str) -> Frame<'_> {
    let window = Window { messages: 2, bytes: 15 };
    Frame::Hello(Hello {
        version: VERSION,
        incarnation,
        link: 6,
        max_message: 1 << 20,
        window,
        datagram: 0,
        network,
        address: None,
        rest: &[],
    })
}

fn message(transfer: u64, body: &[u8]) -> Frame<'_> {
    Frame::Message(MessageFrame {
        transfer,
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(1),
        kind: crate::Kind::Bytes,
        friend: None,
        body,
    })
}

fn closed(reason: CloseReason, unsent: usize, unanswered: usize, doubt: Doubt) -> Seen {
    Seen::Closed { reason, unsent, unanswered, doubt }
}

#[test]
fn a_link_opens_with_the_other_sides_hello_and_answers_what_comes_in() {
    let mut host = Host::new();
    let mut link = Link::inbound(5, &host.local, host.now);
    let announce = Frame::Announce(AnnounceFrame { transfer: 2, friends: Vec::new() });
    let seen = host.frames(&mut link, &[hello(2, "test"), message(1, b"body"), announce]);
    let expected = [Seen::Opened(Some(2)), Seen::Message(1, b"body".into()), Seen::Announce(2)];
    assert_eq!(seen, expected);
    assert_eq!(host.sent(&mut link), "hello confirmed 2 ", "one frame confirms both");
}

#[test]
fn a_hello_of_another_network_or_of_this_tower_closes_the_link() {
    for (hello, reason, farewell) in [
        (hello(2, "other"), CloseReason::WrongNetwork, "hello goodbye WrongNetwork "),
        (hello(1, "test"), CloseReason::OwnAddress, "hello goodbye OwnAddress "),
    ] {
        let mut host = Host::new();
        let mut link = Link::inbound(5, &host.local, host.now);
        let expected = closed(reason, 0, 0, Doubt::NotTaken);
        assert_eq!(host.frames(&mut link, &[hello, message(1, b"")]), [expected]);
        assert_eq!(host.sent(&mut link), farewell);
    }
}

#[test]
fn more_than_the_granted_window_is_a_violation() {
    let mut host = Host::new();
    let mut link = host.open();
    let frames: Vec<_> = (1..6).map(|transfer| message(transfer, b"x")).collect();
    let seen = host.frames(&mut link, &frames);
    assert_eq!(seen.len(), 5);
    let reason = CloseReason::Protocol(ProtocolError::WindowExceeded);
    assert_eq!(seen[4], closed(reason, 0, 0, Doubt::InDoubt));
    assert_eq!(host.sent(&mut link), "confirmed 4 goodbye Misbehaved ");
}

#[test]
fn more_bytes_than_the_granted_window_are_a_violation() {
    let mut host = Host::new();
    let mut link = host.open();
    let seen = host.frames(&mut link, &[message(1, &[0; 60]), message(2, &[0; 41])]);
    let reason = CloseReason::Protocol(ProtocolError::WindowExceeded);
    assert_eq!(seen[1..], [closed(reason, 0, 0, Doubt::InDoubt)]);
}

#[test]
fn a_number_that_is_not_the_next_one_is_a_violation() {
    for wrong in [0, 1, 3, u64::MAX] {
        let mut host = Host::new();
        let mut link = host.open();
        let seen = host.frames(&mut link, &[message(1, b""), message(wrong, b"")]);
        let reason = CloseReason::Protocol(ProtocolError::WrongNumber);
        assert_eq!(seen[1..], [closed(reason, 0, 0, Doubt::InDoubt)], "{wrong}");
        assert_eq!(host.sent(&mut link), "confirmed 1 goodbye Misbehaved ");
    }
}

#[test]
fn a_hello_of_version_1_gets_its_farewell_and_a_later_version_is_accepted() {
    let mut bytes = Vec::new();
    hello(2, "test").encode(&mut bytes);
    for (version, seen, sent) in [
        (1, closed(CloseReason::WrongVersion(1), 0, 0, Doubt::NotTaken), "goodbye WrongVersion "),
        (3, Seen::Opened(Some(2)), ""),
    ] {
        let mut host = Host::new();
        let mut link = Link::inbound(1, &host.local, host.now);
        bytes[5] = version;
        assert_eq!(host.bytes(&mut link, &bytes), [seen]);
        assert_eq!(host.sent(&mut link), String::from("hello ") + sent);
    }
}

#[test]
fn transfers_are_sent_as_the_peers_window_admits_and_settled_in_order() {
    let mut host = Host::new();
    let mut link = host.open();
    (0..4).for_each(|_| host.give(&mut link));
    // The window has 15 bytes, and each message 10.
    assert_eq!(host.sent(&mut link), "message 1 ");
    assert!(link.session().is_full());
    let seen = host.frames(&mut link, &[Frame::Confirmed { through: 1 }]);
    assert_eq!(seen, [Seen::Settled(1, Outcome::Taken)]);
    assert_eq!(host.sent(&mut link), "message 2 ");
    let busy = Frame::Refused { transfer: 2, reason: RefusedReason::Busy };
    assert_eq!(host.frames(&mut link, &[busy]), [Seen::Settled(2, BUSY)]);
    assert_eq!(host.sent(&mut link), "message 3 ");
    let unknown = host.frames(&mut link, &[Frame::Confirmed { through: 4 }]);
    let reason = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    assert_eq!(unknown, [closed(reason, 1, 1, Doubt::InDoubt)]);
}

#[test]
fn an_answer_settles_all_transfers_before_it() {
    let mut host = Host::new();
    host.message = Message::bytes(b"");
    let mut link = host.open();
    (0..2).for_each(|_| host.give(&mut link));
    assert_eq!(host.sent(&mut link), "message 1 message 2 ");
    let busy = Frame::Refused { transfer: 2, reason: RefusedReason::Busy };
    let expected = [Seen::Settled(1, Outcome::Taken), Seen::Settled(2, BUSY)];
    assert_eq!(host.frames(&mut link, &[busy]), expected);
}

#[test]
fn a_link_that_leaves_waits_for_its_answers_and_takes_nothing_more() {
    let mut host = Host::new();
    let mut link = host.open();
    (0..3).for_each(|_| host.give(&mut link));
    assert_eq!(host.sent(&mut link), "message 1 ");
    let (local, now) = (&host.local, host.now);
    let session = link.session_mut();
    let left = session.close_gracefully(CloseReason::Shutdown, Farewell::Leaving, local, now);
    assert_eq!(Seen::from(left), Seen::Leaving { unsent: 2 });
    assert_eq!(host.sent(&mut link), "goodbye Leaving ");
    assert_eq!(host.frames(&mut link, &[message(1, b"late")]), []);
    let seen = host.frames(&mut link, &[Frame::Confirmed { through: 1 }]);
    let end = closed(CloseReason::Shutdown, 0, 0, Doubt::NotTaken);
    assert_eq!(seen, [Seen::Settled(1, Outcome::Taken), end]);
}

#[test]
fn a_goodbye_leaves_no_doubt_and_the_end_of_the_stream_does() {
    let goodbye = Frame::Goodbye { farewell: Farewell::Idle };
    for ends_by_goodbye in [true, false] {
        let mut host = Host::new();
        let mut link = host.open();
        (0..2).for_each(|_| host.give(&mut link));
        assert_eq!(host.sent(&mut link), "message 1 ");
        if ends_by_goodbye {
            let reason = CloseReason::Goodbye(Farewell::Idle);
            let end = closed(reason, 1, 1, Doubt::NotTaken);
            assert_eq!(host.frames(&mut link, core::slice::from_ref(&goodbye)), [end]);
            assert_eq!(host.sent(&mut link), "goodbye Idle ");
        } else {
            let end = link.handle_finished(&host.local, host.now).into();
            assert_eq!(closed(CloseReason::Truncated, 1, 1, Doubt::InDoubt), end);
        }
        assert_eq!(host.bytes(&mut link, b"anything"), [], "a closed link reads nothing");
    }
}

#[test]
fn each_deadline_closes_the_link_for_its_own_reason() {
    let mut host = Host::new();
    let times = host.local.config.timeouts;
    let end = |reason, unanswered, doubt| closed(reason, 0, unanswered, doubt);

    let mut dialled = Link::outbound(5, PEER, None, &host.local, host.now);
    let early = host.pass(&mut dialled, times.connect - Duration::from_nanos(1));
    assert_eq!(early, Seen::Handled);
    let late = host.pass(&mut dialled, Duration::from_nanos(1));
    assert_eq!(late, end(CloseReason::ConnectTimeout, 0, Doubt::NotTaken));
    assert_eq!(host.pass(&mut dialled, times.close), Seen::CloseTimedOut);

    let mut silent = Link::inbound(5, &host.local, host.now);
    let late = host.pass(&mut silent, times.handshake);
    assert_eq!(late, end(CloseReason::HandshakeTimeout, 0, Doubt::NotTaken));

    let mut unanswered = host.open();
    host.give(&mut unanswered);
    assert_eq!(host.sent(&mut unanswered), "message 1 ");
    let late = host.pass(&mut unanswered, times.confirm);
    assert_eq!(late, end(CloseReason::ConfirmTimeout, 1, Doubt::InDoubt));

    let mut unused = host.open();
    host.pass(&mut unused, times.idle / 2);
    host.frames(&mut unused, &[message(1, b"used")]);
    assert_eq!(host.pass(&mut unused, times.idle - Duration::from_nanos(1)), Seen::Handled);
    let late = host.pass(&mut unused, Duration::from_nanos(1));
    assert_eq!(late, end(CloseReason::Idle, 0, Doubt::NotTaken));
}

#[test]
fn a_message_is_written_whole_through_buffers_of_any_size() {
    for room in 1..80 {
        let mut host = Host::new();
        let mut link = host.open();
        host.give(&mut link);
        assert_eq!(host.sent_through(&mut link, room), "message 1 ", "{room}");
        assert!(!link.session().wants_transmit());
    }
}

#[test]
fn every_cut_of_the_input_gives_the_same_events() {
    let mut bytes = Vec::new();
    for frame in [hello(2, "test"), message(1, b"one"), message(2, b"two")] {
        frame.encode(&mut bytes);
    }
    let run = |chunk: usize| {
        let mut host = Host::new();
        let mut link = Link::inbound(5, &host.local, host.now);
        bytes.chunks(chunk).flat_map(|chunk| host.bytes(&mut link, chunk)).collect::<Vec<_>>()
    };
    let whole = run(bytes.len());
    let messages = [Seen::Message(1, b"one".into()), Seen::Message(2, b"two".into())];
    assert_eq!(whole[1..], messages[..]);
    (1..bytes.len()).for_each(|chunk| assert_eq!(run(chunk), whole, "{chunk}"));
}
