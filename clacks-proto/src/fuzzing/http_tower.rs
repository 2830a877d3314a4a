//! Any bytes to a tower that speaks HTTP in clear text: as the requests of a caller, and as the answers of a peer that it calls.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use bytes::BufMut;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::http::{RequestEvent, RequestReader, ResponseReader};
use crate::{
    Action, Address, CloseMode, Config, Dialects, Event, Instant, IoCause, LinkId, Message, Notice,
    Seed, SendRate, StateMachine, Status, Tower,
};

/// The longest message.
const MAX_MESSAGE: usize = 2048;
/// The most wake-ups at one instant, for all that may be due at it.
const MOST_AT_ONCE: usize = 4;
/// Longer than any timeout.
const LONG: Duration = Duration::from_secs(20);
/// So many pieces show what there is to see, and keep a run short.
const MOST_PIECES: usize = 300;

/// A tower that gets the pieces on a link that called it and on one that it dialled stays within its bounds, loses no message, ends each link once, writes
/// nothing that its own readers would not take, does not keep its driver awake, and comes to rest. After each piece something happens, by a byte each, over and
/// over; the first of them also says how fast the tower sends.
pub(super) fn survive(pieces: &[&[u8]], choices: &[u8]) -> Tower {
    let is_quick = choices.first().is_none_or(|choice| choice % 2 == 0);
    let mut host = Host::acquainted(is_quick);
    let choices = choices.iter().copied().chain([0]).cycle();
    for (piece, choice) in pieces.iter().take(MOST_PIECES).zip(choices) {
        host.bytes(piece);
        host.happen(choice);
        host.check();
    }
    host.rest();
    host.tower
}

/// The tower's driver, application and peers.
struct Host {
    tower: Tower,
    now: Instant,
    /// Links that stand and were accepted, and those that were dialled, the newest last.
    accepted: Vec<LinkId>,
    dialled: Vec<LinkId>,
    /// Whether dialled links come to stand.
    is_reached: bool,
    /// How much is asked for at a time, and whether it is asked for now or later.
    room: usize,
    puts_off: bool,
    put_off: Vec<LinkId>,
    began: BTreeSet<LinkId>,
    ended: BTreeSet<LinkId>,
    said: BTreeMap<LinkId, Vec<u8>>,
}

fn address(port: u16) -> Address {
    Address::new("localhost", port).unwrap()
}

impl Host {
    /// A tower with a message, and a peer that it knows to speak HTTP and to be alive.
    fn acquainted(is_quick: bool) -> Self {
        let mut config = Config {
            dialects: Dialects::NativeAndHttp,
            send_rate: if is_quick { SendRate::Unlimited } else { SendRate::per_second(5) },
            max_message: MAX_MESSAGE,
            max_queue_messages: 4,
            max_queue_bytes: 3 * MAX_MESSAGE,
            max_links: 6,
            max_half_open: 2,
            max_peers: 4,
            ..Config::default()
        };
        config.timeouts.connect = Duration::from_secs(2);
        config.timeouts.handshake = Duration::from_secs(2);
        config.timeouts.confirm = Duration::from_secs(3);
        config.timeouts.idle = Duration::from_secs(5);
        config.timeouts.close = Duration::from_secs(1);
        config.timeouts.shutdown = Duration::from_secs(3);
        let tower = Tower::new(config, address(9001), &Seed::from_u64(1)).unwrap();
        let mut host = Self {
            tower,
            now: Instant::ORIGIN,
            accepted: Vec::new(),
            dialled: Vec::new(),
            is_reached: true,
            room: 4096,
            puts_off: false,
            put_off: Vec::new(),
            began: BTreeSet::new(),
            ended: BTreeSet::new(),
            said: BTreeMap::new(),
        };
        let payload =
            r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#;
        let len = payload.len();
        let announce =
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n{payload}");
        host.accept();
        // The first one makes it known, and the second one is believed.
        host.bytes(announce.repeat(2).as_bytes());
        let peer = host.tower.find(&address(8001)).unwrap();
        assert_eq!(peer.status, Status::Alive);
        host.enqueue(20);
        host.accept();
        host
    }

    /// Gives a piece to the newest link that called, and to the newest that was dialled.
    fn bytes(&mut self, bytes: &[u8]) {
        let newest = [self.accepted.last().copied(), self.dialled.last().copied()];
        for link in newest.into_iter().flatten() {
            self.tell(Event::BytesArrived { link, bytes });
        }
    }

    fn happen(&mut self, choice: u8) {
        let size = usize::from(choice / 16);
        match choice % 16 {
            0 | 1 => {}
            2 | 3 => self.pass(Duration::from_millis(1 << size)),
            4 => self.room = 1 << size,
            5 => self.puts_off = true,
            6 => {
                self.puts_off = false;
                for link in core::mem::take(&mut self.put_off) {
                    self.send(link);
                }
                self.act();
            }
            7 => self.finish(|host| &host.accepted, size),
            8 => self.finish(|host| &host.dialled, size),
            9 => self.accept(),
            10 | 11 => self.enqueue(MAX_MESSAGE / 15 * size),
            12 => rotate(&mut self.dialled),
            13 => rotate(&mut self.accepted),
            14 => self.is_reached = !self.is_reached,
            _ => {
                let _ = self.tower.announce(&address(8000 + u16::from(choice / 16)), self.now);
                self.act();
            }
        }
    }

    fn accept(&mut self) {
        if let Ok(link) = self.tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now) {
            self.began.insert(link);
            self.accepted.push(link);
        }
        self.act();
    }

    fn enqueue(&mut self, len: usize) {
        let _ = self.tower.enqueue(Message::text(&"m".repeat(len)), self.now);
        self.act();
    }

    /// The other side of the newest link ends it, or it is lost, or the driver has closed it.
    fn finish(&mut self, links: fn(&Self) -> &Vec<LinkId>, how: usize) {
        let Some(link) = links(self).last().copied() else { return };
        match how % 4 {
            0 | 1 => self.tell(Event::Finished { link }),
            2 => self.gone(Event::Lost { link, cause: IoCause::Reset }, link),
            _ => self.gone(Event::Closed { link }, link),
        }
    }

    /// The driver is done with a link.
    fn gone(&mut self, event: Event<'_>, link: LinkId) {
        for links in [&mut self.accepted, &mut self.dialled, &mut self.put_off] {
            links.retain(|other| *other != link);
        }
        self.tell(event);
    }

    fn tell(&mut self, event: Event<'_>) {
        self.tower.handle(event, self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            match action {
                Action::Connect { link, .. } => {
                    assert!(self.began.insert(link), "a link is dialled twice");
                    if self.is_reached {
                        self.dialled.push(link);
                        self.tower.handle(Event::Connected { link }, self.now);
                    } else {
                        let cause = IoCause::Refused;
                        self.tower.handle(Event::ConnectFailed { link, cause }, self.now);
                    }
                }
                Action::Send { link } if self.puts_off => self.put_off.push(link),
                Action::Send { link } => self.send(link),
                Action::Close { link, how, .. } => {
                    if how == CloseMode::Flush {
                        self.send(link);
                    }
                    self.gone(Event::Closed { link }, link);
                }
                Action::Screen { .. } => panic!("nobody asked for screening"),
                Action::Notify(Notice::LinkClosed { link, .. }) => {
                    assert!(self.began.contains(&link), "a link that never began has ended");
                    assert!(self.ended.insert(link), "a link ends twice");
                }
                Action::Notify(notice) => drop(self.tower.report(notice)),
            }
        }
    }

    fn send(&mut self, link: LinkId) {
        let said = self.said.entry(link).or_default();
        loop {
            let before = said.len();
            let written = self.tower.transmit(link, &mut (&mut *said).limit(self.room));
            assert_eq!(said.len() - before, written);
            if written == 0 {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut at_once = 0;
        while let Some(at) = self.tower.next_wakeup().map(|it| it.at).filter(|at| *at < until) {
            at_once = if at > self.now { 1 } else { at_once + 1 };
            assert!(at_once <= MOST_AT_ONCE, "the tower is woken over and over");
            self.now = self.now.max(at);
            self.tell(Event::TimerFired);
        }
        self.now = until;
    }

    fn check(&self) {
        let (tower, stats) = (&self.tower, self.tower.stats());
        let ((messages, bytes), config) = (tower.held(), tower.config());
        let came = stats.enqueued + stats.received - stats.coalesced;
        let left = came.checked_sub(stats.delivered + stats.swallowed);
        assert_eq!(left, Some(messages as u64), "{stats:?}");
        assert_eq!(tower.peek().map(|held| held.message.body().len()).sum::<usize>(), bytes);
        assert!(messages <= config.max_queue_messages && bytes <= config.max_queue_bytes);
        assert!(tower.links() <= config.max_links && tower.peers() <= config.max_peers);
        let standing = self.began.len() - self.ended.len();
        assert!(standing <= tower.links(), "a link is gone without a word");
    }

    /// Nobody says anything any more: all links end by themselves, and their messages come back. Then the tower shuts down.
    fn rest(&mut self) {
        (self.puts_off, self.is_reached) = (false, false);
        for link in core::mem::take(&mut self.put_off) {
            self.send(link);
        }
        self.act();
        self.pass(LONG);
        self.check();
        assert_eq!(self.tower.links(), 0, "a link stands for ever");
        assert!(self.tower.peek().all(|held| held.in_flight.is_none()), "a message is in limbo");
        self.tower.shutdown(self.now);
        self.act();
        self.pass(LONG);
        self.check();
        assert_eq!(self.tower.links(), 0);
        assert_eq!(self.began, self.ended, "each link ends");
        self.said.values().for_each(|said| check_said(said));
    }
}

/// Another link is the newest.
fn rotate(links: &mut [LinkId]) {
    if !links.is_empty() {
        links.rotate_right(1);
    }
}

/// What the tower says is what it would understand itself.
fn check_said(said: &[u8]) {
    let mut rest = said;
    if said.starts_with(b"HTTP") {
        let mut reader = ResponseReader::default();
        while let Some(response) = reader.read(&mut rest).expect("an answer is written badly") {
            assert!((200..600).contains(&response.status));
        }
    } else if said.starts_with(b"POST") {
        let mut reader = RequestReader::new(8 * MAX_MESSAGE);
        while let Some(event) = reader.read(&mut rest) {
            let RequestEvent::Request(request) = event else {
                panic!("a request is written badly")
            };
            assert!(!request.closes, "the length of a request is wrong");
            let payload = crate::http::Payload::parse(&request.body.unwrap());
            assert_eq!(payload.unwrap().sender, Some(address(9001)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_and_an_answer_confirms() {
        let payload =
            r#"{"message":"hi","type":"message","sender":{"hostname":"localhost","port":8001}}"#;
        let len = payload.len();
        let request =
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n{payload}");
        let tower = survive(&[request.as_bytes()], &[0]);
        assert_eq!(tower.stats().received, 1);
        let tower = survive(&[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], &[0]);
        assert_eq!(tower.stats().delivered, 1);
    }
}
