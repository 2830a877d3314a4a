//! One tower under test. The test plays every peer and sends its frames by hand, so that a peer can
//! violate the protocol or stay silent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{
    AnnounceFrame, Attempt, Decoder, Farewell, Frame, Hello, MessageFrame, RefusedReason,
    TransferId, VERSION,
};
use clacks_proto::{
    Action, Address, CloseMode, CloseReason, Config, Event, Instant, IoCause, Kind, Lifetime,
    LinkId, Message, Nonce, Notice, OfferId, StateMachine, Status, Tower, Window,
};

use super::{LOCAL, address, tower};

/// A frame that the tower sent, reduced to the fields that tests check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentFrame {
    Hello {
        link: u64,
        network: String,
        address: Option<Address>,
        window: Window,
        max_message: u32,
    },
    Message {
        transfer: u64,
        retry_of: Option<TransferId>,
        lifetime: Lifetime,
        nonce: Nonce,
        friend: Option<Address>,
        /// The body, read as UTF-8.
        text: String,
    },
    Announce {
        transfer: u64,
        friends: Vec<Address>,
    },
    Confirmed(u64),
    Refused(u64, RefusedReason),
    Goodbye(Farewell),
    Datagram(Vec<u8>),
}

/// A tower under test, its driver, and the peer at the other end of every link.
pub struct Harness {
    pub tower: Tower,
    pub now: Instant,
    /// Every action polled.
    pub actions: Vec<Action>,
    /// Every notice polled.
    pub notices: Vec<Notice>,
    /// Dials that are neither connected nor refused, oldest first.
    pub dialled: VecDeque<(LinkId, Address)>,
    /// Offers polled, each with the peer that it came from.
    pub offers: VecDeque<(OfferId, Option<Address>)>,
    /// Links with an `Action::Close`, each with the mode and the reason of the first one.
    pub closed: BTreeMap<LinkId, (CloseMode, CloseReason)>,
    /// Links on which the driver transmits nothing, as if the send buffer were full.
    pub blocked: BTreeSet<LinkId>,
    /// Maximum number of bytes in one call of `transmit`.
    pub transmit_limit: usize,
    /// The driver does not answer `Action::Close` with `Event::Closed`.
    pub ignores_close: bool,
    /// Decoder and decoded frames of each link that the tower sends on.
    streams: BTreeMap<LinkId, (Decoder, Vec<SentFrame>)>,
    /// Incarnation in the hellos of the peers.
    incarnation: u64,
    /// Numbers of the links in the hellos of the tower.
    pub link_numbers: BTreeMap<LinkId, u64>,
    /// What the peers sent on each link.
    outgoing: BTreeMap<LinkId, Outgoing>,
    /// The name of the first sending of each transfer, by the number that the test gave it.
    first_sendings: BTreeMap<u64, TransferId>,
}

/// What a peer sent on a link.
#[derive(Default)]
struct Outgoing {
    /// The number of the link in the peer's hello.
    link: u64,
    /// The numbers that the test gave to the transfers, in order.
    transfers: Vec<u64>,
}

/// Returns the hello of a peer at `address`, with the limits of the default configuration.
pub fn hello(address: Option<Address>) -> Hello<'static> {
    Hello {
        version: VERSION,
        incarnation: 77,
        link: 1,
        max_message: 64 * 1024,
        window: Window { messages: 32, bytes: 256 * 1024 },
        datagram: 0,
        network: "clacks",
        address,
        rest: &[],
    }
}

/// Returns the first attempt of a transfer. The nonce is the number of the transfer.
///
/// Tests give each transfer a number. [`Harness::send_frame`] replaces it by the next number of the
/// link, and translates the tower's answers back.
pub fn message(transfer: u64, text: &str) -> MessageFrame<'_> {
    MessageFrame {
        transfer,
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(u128::from(transfer)),
        kind: Kind::Text,
        friend: None,
        body: text.as_bytes(),
    }
}

/// Returns a retry of a transfer.
pub fn retry(transfer: u64, text: &str) -> MessageFrame<'_> {
    let number = NonZeroU64::new(transfer).expect("transfers are numbered from 1");
    MessageFrame { retry_of: Some(TransferId { link: 0, number }), ..message(transfer, text) }
}

pub fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

impl Harness {
    /// Creates tower 0 without peers and links.
    pub fn new(config: &Config) -> Self {
        Self {
            tower: tower(0, config),
            now: Instant::ORIGIN,
            actions: Vec::new(),
            notices: Vec::new(),
            dialled: VecDeque::new(),
            offers: VecDeque::new(),
            closed: BTreeMap::new(),
            blocked: BTreeSet::new(),
            transmit_limit: 1_000_000,
            ignores_close: false,
            streams: BTreeMap::new(),
            incarnation: 77,
            link_numbers: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            first_sendings: BTreeMap::new(),
        }
    }

    /// Connects a peer to the tower. The peer sends nothing.
    pub fn accept(&mut self) -> LinkId {
        let link = self.tower.accept(LOCAL, self.now).expect("the tower accepts the link");
        self.drive();
        link
    }

    /// Connects peer `n` to the tower and sends its hello.
    pub fn accept_from(&mut self, n: usize) -> LinkId {
        let link = self.accept();
        self.send_hello(link, Some(address(n)));
        link
    }

    /// Connects peer `n` to the tower. Its hello and an announce make it alive.
    pub fn accept_alive(&mut self, n: usize) -> LinkId {
        let link = self.accept_from(n);
        self.send_announce(link, 1_000);
        self.take_frames(link);
        assert_eq!(self.status(n), Some(Status::Alive));
        link
    }

    /// Creates a tower that has dialled peer 1 and sent it one message. The peer has sent its hello
    /// and confirmed the announce, but not the message. Returns the link and the transfer too.
    pub fn with_unconfirmed_message(config: &Config, text: &str) -> (Self, LinkId, u64) {
        let mut harness = Self::new(config);
        harness.expand(1);
        harness.enqueue(text);
        assert!(harness.run_until_dial(Duration::from_secs(2)));
        let link = harness.connect_dial_alive();
        let [(transfer, Attempt::First, _)] = harness.take_messages(link)[..] else {
            panic!("expected one message")
        };
        (harness, link, transfer)
    }

    /// Establishes the connection of the oldest dial. The peer sends nothing.
    pub fn connect_dial(&mut self) -> LinkId {
        let (link, _) = self.dialled.pop_front().expect("the tower has dialled");
        self.handle(Event::Connected { link, at: None });
        link
    }

    /// Establishes the connection of the oldest dial and sends the peer's hello.
    pub fn connect_dial_with_hello(&mut self) -> LinkId {
        let link = self.connect_dial();
        self.send_hello(link, None);
        link
    }

    /// Establishes the connection of the oldest dial, sends the peer's hello, and confirms the
    /// announce of the tower. The peer is alive then.
    pub fn connect_dial_alive(&mut self) -> LinkId {
        let link = self.connect_dial_with_hello();
        let transfer = self.take_announce(link);
        self.confirm(link, transfer);
        link
    }

    /// Returns the number of the only announce that the tower sent on a link since the last call.
    /// Drops the other frames.
    pub fn take_announce(&mut self, link: LinkId) -> u64 {
        let announce = |frame| match frame {
            SentFrame::Announce { transfer, .. } => Some(transfer),
            _ => None,
        };
        let sent: Vec<_> = self.take_frames(link).into_iter().filter_map(announce).collect();
        let [transfer] = sent[..] else { panic!("expected one announce: {sent:?}") };
        transfer
    }

    /// Refuses the oldest dial.
    pub fn refuse_dial(&mut self) {
        let (link, _) = self.dialled.pop_front().expect("the tower has dialled");
        self.handle(Event::ConnectFailed { link, cause: IoCause::Refused });
    }

    /// Sends the hello of a peer.
    pub fn send_hello(&mut self, link: LinkId, address: Option<Address>) {
        let link_number = 1_000 + self.outgoing.len() as u64;
        self.outgoing.entry(link).or_default().link = link_number;
        let hello = Hello { incarnation: self.incarnation, link: link_number, ..hello(address) };
        self.send_frame(link, &Frame::Hello(hello));
    }

    /// Gives the peers another incarnation, as after a restart.
    pub fn restart_peer(&mut self) {
        self.incarnation += 1;
    }

    /// Sends a frame of a peer. A transfer gets the next number of the link. A retry names the link
    /// on which the transfer was sent first, or a link that never existed.
    pub fn send_frame(&mut self, link: LinkId, frame: &Frame<'_>) {
        let mut frame = frame.clone();
        let outgoing = self.outgoing.entry(link).or_default();
        let number = outgoing.transfers.len() as u64 + 1;
        match &mut frame {
            Frame::Message(message) => {
                outgoing.transfers.push(message.transfer);
                let given = std::mem::replace(&mut message.transfer, number);
                let number = NonZeroU64::new(number).expect("numbers begin with 1");
                let name = TransferId { link: outgoing.link, number };
                if message.retry_of.is_some() {
                    let unknown = TransferId { link: u64::MAX, number };
                    message.retry_of = self.first_sendings.get(&given).copied().or(Some(unknown));
                } else {
                    self.first_sendings.insert(given, name);
                }
            }
            Frame::Announce(announce) => {
                outgoing.transfers.push(announce.transfer);
                announce.transfer = number;
            }
            _ => {}
        }
        self.send_bytes(link, &encode(&frame));
    }

    /// Sends a message of a peer.
    pub fn send_message(&mut self, link: LinkId, transfer: u64, text: &str) {
        self.send_frame(link, &Frame::Message(message(transfer, text)));
    }

    /// Sends an announce of a peer.
    pub fn send_announce(&mut self, link: LinkId, transfer: u64) {
        self.send_frame(link, &Frame::Announce(AnnounceFrame { transfer, friends: Vec::new() }));
    }

    /// Confirms all transfers up to `through`.
    pub fn confirm(&mut self, link: LinkId, through: u64) {
        self.send_frame(link, &Frame::Confirmed { through });
    }

    /// Refuses a transfer.
    pub fn refuse(&mut self, link: LinkId, transfer: u64, reason: RefusedReason) {
        self.send_frame(link, &Frame::Refused { transfer, reason });
    }

    /// Sends bytes of a peer.
    pub fn send_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        self.handle(Event::BytesArrived { link, bytes });
    }

    /// Resets the connection.
    pub fn reset(&mut self, link: LinkId) {
        self.handle(Event::Lost { link, cause: IoCause::Reset });
    }

    /// Sends the goodbye of an idle peer.
    pub fn send_goodbye(&mut self, link: LinkId) {
        self.send_frame(link, &Frame::Goodbye { farewell: Farewell::Idle });
    }

    /// Passes an event to the tower, then calls [`drive`](Self::drive).
    pub fn handle(&mut self, event: Event<'_>) {
        self.tower.handle(event, self.now);
        self.drive();
    }

    /// Calls `f` with the tower and the current time, then calls [`drive`](Self::drive).
    pub fn with<R>(&mut self, f: impl FnOnce(&mut Tower, Instant) -> R) -> R {
        let result = f(&mut self.tower, self.now);
        self.drive();
        result
    }

    pub fn enqueue(&mut self, text: &str) -> Nonce {
        self.with(|tower, now| tower.enqueue(Message::text(text), now)).expect("the queue has room")
    }

    /// Enqueues `count` messages: "`word` 0", "`word` 1", and so on.
    pub fn enqueue_many(&mut self, count: usize, word: &str) {
        for n in 0..count {
            self.enqueue(&format!("{word} {n}"));
        }
    }

    pub fn expand(&mut self, n: usize) {
        self.with(|tower, now| tower.expand(&address(n), now)).expect("the peer is accepted");
    }

    pub fn status(&self, n: usize) -> Option<Status> {
        self.tower.find(&address(n)).map(|peer| peer.status)
    }

    /// Returns the texts of all messages in the queue, in the order of `peek`.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.tower.peek().map(|held| held.message.as_text().unwrap().to_string());
        texts.collect()
    }

    /// Returns for each message that was received, in order, whether it was coalesced.
    pub fn received(&self) -> Vec<bool> {
        let received = self.notices.iter().filter_map(|notice| match notice {
            Notice::MessageReceived { coalesced, .. } => Some(*coalesced),
            _ => None,
        });
        received.collect()
    }

    /// Returns the frames that the tower sent on a link since the last call.
    pub fn take_frames(&mut self, link: LinkId) -> Vec<SentFrame> {
        self.streams.get_mut(&link).map(|(_, frames)| std::mem::take(frames)).unwrap_or_default()
    }

    /// Returns transfer, attempt and text of the messages that the tower sent on a link since the
    /// last call. Drops the other frames.
    pub fn take_messages(&mut self, link: LinkId) -> Vec<(u64, Attempt, String)> {
        let message = |frame| match frame {
            SentFrame::Message { transfer, retry_of, text, .. } => {
                let attempt = if retry_of.is_some() { Attempt::Retry } else { Attempt::First };
                Some((transfer, attempt, text))
            }
            _ => None,
        };
        self.take_frames(link).into_iter().filter_map(message).collect()
    }

    /// Returns why the tower closed a link. Returns `None` if the link is open.
    pub fn close_reason(&self, link: LinkId) -> Option<CloseReason> {
        self.closed.get(&link).map(|(_, reason)| *reason)
    }

    /// Advances the clock by `time`. Fires the timer of the tower when it is due.
    pub fn advance(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Advances the clock until a dial is pending, but at most by `limit`. Returns whether one is.
    pub fn run_until_dial(&mut self, limit: Duration) -> bool {
        self.run_until(self.now + limit, |harness| !harness.dialled.is_empty());
        !self.dialled.is_empty()
    }

    /// Advances the clock until the tower has closed a link, but at most by `limit`. Returns the
    /// reason.
    pub fn run_until_close(&mut self, link: LinkId, limit: Duration) -> Option<CloseReason> {
        self.run_until(self.now + limit, |harness| harness.close_reason(link).is_some());
        self.close_reason(link)
    }

    /// Advances the clock until the tower has sent `frame` on a link, but at most by `limit`.
    ///
    /// # Panics
    ///
    /// The tower has not sent the frame.
    pub fn run_until_sent(&mut self, link: LinkId, limit: Duration, frame: &SentFrame) {
        let is_sent = |harness: &Self| {
            harness.streams.get(&link).is_some_and(|(_, frames)| frames.contains(frame))
        };
        self.run_until(self.now + limit, is_sent);
        assert!(is_sent(self), "{frame:?} was not sent");
    }

    /// Advances the clock to `end` unless `done` returns true before. Fires the timer of the tower
    /// when it is due, also at `end`.
    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        let mut spins = 0;
        self.drive();
        while !done(self) {
            let wakeup = self.tower.next_wakeup().filter(|wakeup| wakeup.at <= end);
            let Some(wakeup) = wakeup else {
                self.now = end;
                return;
            };
            spins = if wakeup.at > self.now { 0 } else { spins + 1 };
            assert!(spins < 1_000, "the timer fires again and again at the same time: {wakeup:?}");
            self.now = self.now.max(wakeup.at);
            assert!(
                self.now < Instant::ORIGIN + Duration::from_secs(20_000),
                "the condition never became true"
            );
            self.tower.handle(Event::TimerFired, self.now);
            self.drive();
        }
    }

    /// Handles all pending actions.
    pub fn drive(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            self.actions.push(action.clone());
            match action {
                Action::Connect { link, address, .. } => self.dialled.push_back((link, address)),
                Action::Send { link } => self.read(link),
                Action::Close { link, how, reason } => self.close(link, how, reason),
                Action::Screen { offer, from, .. } => self.offers.push_back((offer, from)),
                Action::Notify(notice) => self.notices.push(notice),
                _ => {}
            }
        }
    }

    fn close(&mut self, link: LinkId, how: CloseMode, reason: CloseReason) {
        if how == CloseMode::Flush {
            self.read(link);
        }
        self.closed.entry(link).or_insert((how, reason));
        self.dialled.retain(|(dialled, _)| *dialled != link);
        if !self.ignores_close {
            self.tower.handle(Event::Closed { link }, self.now);
        }
    }

    /// Transmits and decodes all bytes that the tower has to send on a link, unless the link is
    /// blocked.
    pub fn read(&mut self, link: LinkId) {
        if self.blocked.contains(&link) {
            return;
        }
        let mut bytes = Vec::new();
        while self.tower.transmit(link, &mut (&mut bytes).limit(self.transmit_limit)) > 0 {}
        let (decoder, frames) = self.streams.entry(link).or_insert_with(|| {
            let decoder = Decoder::new(clacks_proto::wire::MAX_BODY);
            (decoder.accept_datagrams(u32::MAX).expect_hello(), Vec::new())
        });
        let mut input = bytes.as_slice();
        while let Some(frame) = decoder.decode(&mut input).expect("the tower sends valid frames") {
            if let Frame::Hello(hello) = &frame {
                self.link_numbers.insert(link, hello.link);
            }
            frames.push(sent_frame(frame, self.outgoing.get(&link)));
        }
    }
}

/// Copies the fields that tests check. Answers name the numbers that the test gave to transfers.
fn sent_frame(frame: Frame<'_>, outgoing: Option<&Outgoing>) -> SentFrame {
    let given = |number: u64| {
        let position = usize::try_from(number).expect("a small number").wrapping_sub(1);
        let given = outgoing.and_then(|outgoing| outgoing.transfers.get(position));
        given.copied().unwrap_or(number)
    };
    match frame {
        Frame::Hello(Hello { link, network, address, window, max_message, .. }) => {
            let network = network.to_string();
            SentFrame::Hello { link, network, address, window, max_message }
        }
        Frame::Message(MessageFrame {
            transfer, retry_of, lifetime, nonce, friend, body, ..
        }) => {
            let text = String::from_utf8_lossy(body).into_owned();
            SentFrame::Message { transfer, retry_of, lifetime, nonce, friend, text }
        }
        Frame::Announce(AnnounceFrame { transfer, friends }) => {
            SentFrame::Announce { transfer, friends }
        }
        Frame::Confirmed { through } => SentFrame::Confirmed(given(through)),
        Frame::Refused { transfer, reason } => SentFrame::Refused(given(transfer), reason),
        Frame::Goodbye { farewell } => SentFrame::Goodbye(farewell),
        Frame::Datagram(body) => SentFrame::Datagram(body.to_vec()),
        other => panic!("unexpected frame: {other:?}"),
    }
}
