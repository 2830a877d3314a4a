//! One tower under test that speaks both dialects in clear text. The test plays every peer and
//! sends its bytes by hand.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, CloseReason, Config, Dialects, Event, Instant, LinkId, Message, Notice,
    OfferId, Seed, SendRate, StateMachine, Status, Tower,
};

/// A tower under test, its driver, and the peer at the other end of every link.
pub(crate) struct Harness {
    pub(crate) tower: Tower,
    pub(crate) now: Instant,
    /// Every notice polled.
    pub(crate) notices: Vec<Notice>,
    /// Dials that are not connected, oldest first.
    pub(crate) dialled: VecDeque<(LinkId, Address)>,
    /// Offers polled.
    pub(crate) offers: VecDeque<OfferId>,
    /// Links with an `Action::Close`, each with the reason of the first one.
    pub(crate) closed: BTreeMap<LinkId, CloseReason>,
    /// Maximum number of bytes in one call of `transmit`.
    pub(crate) transmit_limit: usize,
    /// Bytes that the tower has sent on each link and the test has not taken.
    sent: BTreeMap<LinkId, Vec<u8>>,
}

/// Returns a configuration with both dialects that sends no message: the first tick is later than
/// any test.
pub(crate) fn paused_config() -> Config {
    let mut config = Config::default();
    config.dialects = Dialects::NativeAndHttp;
    // The clients of these tests are peers without a dial.
    config.claims = clacks_proto::Claims::Believe;
    config.send_rate = SendRate::Every(Duration::from_secs(1_000_000));
    config.heartbeat = None;
    config
}

/// Returns a configuration with both dialects that sends 20 messages per second.
pub(crate) fn fast_config() -> Config {
    let mut config = paused_config();
    config.send_rate = SendRate::per_second(20);
    config
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// Returns the payload of a JavaScript tower at `localhost` and `port`.
pub(crate) fn payload(message: &str, port: u16) -> String {
    let sender = format!(r#"{{"hostname":"localhost","port":{port}}}"#);
    format!(r#"{{"message":{message},"type":"message","sender":{sender}}}"#)
}

/// Returns a request as JavaScript towers write it.
pub(crate) fn post(body: &str) -> Vec<u8> {
    post_with_length(body.len(), body)
}

/// Returns a request as JavaScript towers write it, with `len` as its content length.
pub(crate) fn post_with_length(len: impl std::fmt::Display, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\
         Host: localhost:9001\r\nConnection: keep-alive\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Returns the response of a JavaScript tower.
pub(crate) fn response(status: u16) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Word\r\nDate: now\r\nConnection: keep-alive\r\n\
         Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    .into_bytes()
}

impl Harness {
    /// Creates the tower at `localhost:9001` without peers and links.
    pub(crate) fn new(config: Config) -> Self {
        let tower = Tower::new(config, address("localhost:9001"), &Seed::from_u64(1)).unwrap();
        Self {
            tower,
            now: Instant::ORIGIN,
            notices: Vec::new(),
            dialled: VecDeque::new(),
            offers: VecDeque::new(),
            closed: BTreeMap::new(),
            transmit_limit: 1 << 20,
            sent: BTreeMap::new(),
        }
    }

    /// Connects a client to the tower. The client sends nothing.
    pub(crate) fn accept(&mut self) -> LinkId {
        let link = self.tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now).unwrap();
        self.drive();
        link
    }

    /// Sends bytes of a peer.
    pub(crate) fn send_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        self.handle(Event::BytesArrived { link, bytes });
    }

    /// Passes an event to the tower, then calls [`drive`](Self::drive).
    pub(crate) fn handle(&mut self, event: Event<'_>) {
        self.tower.handle(event, self.now);
        self.drive();
    }

    /// Calls `f` with the tower and the current time, then calls [`drive`](Self::drive).
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Tower, Instant) -> R) -> R {
        let result = f(&mut self.tower, self.now);
        self.drive();
        result
    }

    pub(crate) fn enqueue(&mut self, message: Message) {
        self.with(|tower, now| tower.enqueue(message, now)).unwrap();
    }

    pub(crate) fn expand(&mut self, peer: &str) {
        self.with(|tower, now| tower.expand(&address(peer), now)).unwrap();
    }

    pub(crate) fn status(&self, peer: &str) -> Option<Status> {
        self.tower.find(&address(peer)).map(|peer| peer.status)
    }

    /// Returns the text that the tower sent on a link since the last call.
    pub(crate) fn take_sent(&mut self, link: LinkId) -> String {
        String::from_utf8_lossy(&self.take_sent_bytes(link)).into_owned()
    }

    /// Returns the bytes that the tower sent on a link since the last call.
    pub(crate) fn take_sent_bytes(&mut self, link: LinkId) -> Vec<u8> {
        self.read(link);
        self.sent.remove(&link).unwrap_or_default()
    }

    /// Returns the status codes that the tower sent on a link since the last call, and whether one
    /// of the responses has `Connection: close`.
    pub(crate) fn take_statuses(&mut self, link: LinkId) -> (Vec<u16>, bool) {
        let sent = self.take_sent(link);
        let statuses = sent.split("HTTP/1.1 ").skip(1);
        let statuses = statuses.map(|status| status[..3].parse().unwrap()).collect();
        (statuses, sent.contains("Connection: close"))
    }

    /// Returns the bodies of all messages in the queue as text, sorted.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        let mut texts: Vec<_> = self.tower.peek().map(|held| text(held.message.body())).collect();
        texts.sort();
        texts
    }

    /// Establishes the connection of the oldest dial.
    pub(crate) fn connect_dial(&mut self) -> (LinkId, Address) {
        let (link, address) = self.dialled.pop_front().expect("the tower has dialled");
        self.handle(Event::Connected { link, at: None });
        (link, address)
    }

    /// Advances the clock by `time`. Fires the timer of the tower when it is due.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Advances the clock until a dial is pending.
    ///
    /// # Panics
    ///
    /// No dial is pending after 60 seconds.
    pub(crate) fn run_until_dial(&mut self) {
        let end = self.now + Duration::from_secs(60);
        self.run_until(end, |harness| !harness.dialled.is_empty());
        assert!(!self.dialled.is_empty(), "the tower has not dialled: {:?}", self.notices);
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        self.drive();
        while !done(self) && self.now < end {
            let next = self.tower.next_wakeup().map_or(end, |wakeup| wakeup.at.min(end));
            self.now = self.now.max(next);
            self.tower.handle(Event::TimerFired, self.now);
            self.drive();
        }
    }

    /// Handles all pending actions.
    pub(crate) fn drive(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            match action {
                Action::Connect { link, address, .. } => {
                    self.dialled.push_back((link, address));
                }
                Action::Send { link } => self.read(link),
                Action::Close { link, reason, .. } => {
                    self.read(link);
                    self.closed.entry(link).or_insert(reason);
                    self.dialled.retain(|(dialled, _)| *dialled != link);
                    self.tower.handle(Event::Closed { link }, self.now);
                }
                Action::Screen { offer, .. } => self.offers.push_back(offer),
                Action::Notify(notice) => self.notices.push(notice),
                _ => {}
            }
        }
    }

    fn read(&mut self, link: LinkId) {
        let sent = self.sent.entry(link).or_default();
        while self.tower.transmit(link, &mut (&mut *sent).limit(self.transmit_limit)) > 0 {}
    }
}
