//! One tower in clear text that speaks both dialects, and whoever is at the other end of its links:
//! bytes by hand.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, CloseReason, Config, Dialects, Event, Instant, LinkId, Message, Notice,
    OfferId, Seed, SendRate, StateMachine, Status, Tower,
};

pub(crate) struct Host {
    pub(crate) tower: Tower,
    pub(crate) now: Instant,
    pub(crate) notices: Vec<Notice>,
    /// Links that the tower dialled and that nobody answered yet.
    pub(crate) dialled: VecDeque<(LinkId, Address)>,
    pub(crate) offers: VecDeque<OfferId>,
    pub(crate) closed: BTreeMap<LinkId, CloseReason>,
    /// The driver asks for at most so many bytes at a time.
    pub(crate) room: usize,
    said: BTreeMap<LinkId, Vec<u8>>,
}

/// Speaks both dialects, and sends nothing unless it is told to.
pub(crate) fn quiet() -> Config {
    let mut config = Config::default();
    config.dialects = Dialects::NativeAndHttp;
    config.send_rate = SendRate::Every(Duration::from_secs(1_000_000));
    config.heartbeat = None;
    config
}

/// Hands on what it has.
pub(crate) fn quick() -> Config {
    let mut config = quiet();
    config.send_rate = SendRate::per_second(20);
    config
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// The payload of a JavaScript tower at `localhost` and `port`.
pub(crate) fn payload(message: &str, port: u16) -> String {
    format!(
        r#"{{"message":{message},"type":"message","sender":{{"hostname":"localhost","port":{port}}}}}"#
    )
}

/// A request as JavaScript towers write it, with the right length.
pub(crate) fn post(body: &str) -> Vec<u8> {
    post_with(body.len(), body)
}

/// The same, with a length of any kind.
pub(crate) fn post_with(len: impl std::fmt::Display, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len}\r\nHost: localhost:9001\r\nConnection: keep-alive\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The answer of a JavaScript tower.
pub(crate) fn answer(status: u16) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Word\r\nDate: now\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    .into_bytes()
}

impl Host {
    /// The tower at `localhost:9001`.
    pub(crate) fn new(config: Config) -> Self {
        let tower = Tower::new(config, address("localhost:9001"), &Seed::from_u64(1)).unwrap();
        Self {
            tower,
            now: Instant::ORIGIN,
            notices: Vec::new(),
            dialled: VecDeque::new(),
            offers: VecDeque::new(),
            closed: BTreeMap::new(),
            room: 1 << 20,
            said: BTreeMap::new(),
        }
    }

    pub(crate) fn call(&mut self) -> LinkId {
        let link = self.tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now).unwrap();
        self.settle();
        link
    }

    pub(crate) fn bytes(&mut self, link: LinkId, bytes: &[u8]) {
        self.tell(Event::BytesArrived { link, bytes });
    }

    pub(crate) fn tell(&mut self, event: Event<'_>) {
        self.tower.handle(event, self.now);
        self.settle();
    }

    pub(crate) fn with<R>(&mut self, verb: impl FnOnce(&mut Tower, Instant) -> R) -> R {
        let result = verb(&mut self.tower, self.now);
        self.settle();
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

    /// What the tower has said on a link since the last time.
    pub(crate) fn heard(&mut self, link: LinkId) -> String {
        String::from_utf8_lossy(&self.heard_bytes(link)).into_owned()
    }

    pub(crate) fn heard_bytes(&mut self, link: LinkId) -> Vec<u8> {
        self.read(link);
        self.said.remove(&link).unwrap_or_default()
    }

    /// The statuses in what the tower has said, and whether it closes the link.
    pub(crate) fn statuses(&mut self, link: LinkId) -> (Vec<u16>, bool) {
        let said = self.heard(link);
        let statuses = said.split("HTTP/1.1 ").skip(1);
        let statuses = statuses.map(|status| status[..3].parse().unwrap()).collect();
        (statuses, said.contains("Connection: close"))
    }

    /// The message texts that the tower holds, sorted.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        let mut texts: Vec<_> = self.tower.peek().map(|held| text(held.message.body())).collect();
        texts.sort();
        texts
    }

    /// Answers the oldest dial: the connection stands.
    pub(crate) fn pick_up(&mut self) -> (LinkId, Address) {
        let (link, address) = self.dialled.pop_front().expect("a dial");
        self.tell(Event::Connected { link });
        (link, address)
    }

    /// Lets time pass, waking the tower when it asks for it.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    pub(crate) fn run_to_dial(&mut self) {
        let end = self.now + Duration::from_secs(60);
        self.run_until(end, |host| !host.dialled.is_empty());
        assert!(!self.dialled.is_empty(), "nobody is called: {:?}", self.notices);
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        self.settle();
        while !done(self) && self.now < end {
            let next = self.tower.next_wakeup().map_or(end, |wakeup| wakeup.at.min(end));
            self.now = self.now.max(next);
            self.tower.handle(Event::TimerFired, self.now);
            self.settle();
        }
    }

    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            match action {
                Action::Connect { link, address } => {
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
        let said = self.said.entry(link).or_default();
        while self.tower.transmit(link, &mut (&mut *said).limit(self.room)) > 0 {}
    }
}
