//! A tower that speaks HTTP in clear text. Its caller and the peer that it dials send arbitrary
//! bytes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use bytes::BufMut;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::http::{Payload, RequestEvent, RequestReader, ResponseReader};
use crate::{
    Action, Address, Claims, CloseMode, Config, Dialects, Event, Instant, IoCause, LinkId, Message,
    MessageState, Notice, Seed, SendRate, StateMachine, Status, Tower,
};

/// The longest message.
const MAX_MESSAGE: usize = 2048;
/// The most wake-ups at one instant: one for each kind of timer that may be due.
const MAX_WAKEUPS_AT_ONCE: usize = 4;
/// Longer than any timeout.
const LONG: Duration = Duration::from_secs(20);
/// The most pieces of one run.
const MAX_PIECES: usize = 300;

/// Gives each piece to a link that called the tower and to a link that the tower dialled, and lets
/// something else happen after each piece, chosen by the next of `choices`. The first choice also
/// sets the send rate.
///
/// Checks that the tower stays within its bounds, loses no message, ends each link once, writes
/// nothing that its own readers refuse, does not keep its driver awake, and comes to rest.
pub(super) fn survive(pieces: &[&[u8]], choices: &[u8]) -> Tower {
    let is_unlimited = choices.first().is_none_or(|choice| choice % 2 == 0);
    let mut driver = Driver::new(is_unlimited);
    let choices = choices.iter().copied().chain([0]).cycle();
    for (piece, choice) in pieces.iter().take(MAX_PIECES).zip(choices) {
        driver.deliver(piece);
        driver.step(choice);
        driver.check();
    }
    driver.finish();
    driver.tower
}

/// The tower, its driver, its application and its peers.
struct Driver {
    tower: Tower,
    now: Instant,
    /// Connected inbound links, the newest last.
    accepted: Vec<LinkId>,
    /// Connected outbound links, the newest last.
    dialled: Vec<LinkId>,
    /// Whether dials succeed.
    is_reachable: bool,
    /// How many bytes are taken at a time.
    room: usize,
    /// Whether the driver puts off sending.
    is_slow: bool,
    waiting_to_send: Vec<LinkId>,
    began: BTreeSet<LinkId>,
    ended: BTreeSet<LinkId>,
    sent: BTreeMap<LinkId, Vec<u8>>,
}

fn address(port: u16) -> Address {
    Address::new("localhost", port).unwrap()
}

impl Driver {
    /// Returns a tower with one message, and with a peer that is alive and speaks HTTP.
    fn new(is_unlimited: bool) -> Self {
        let mut config = Config {
            dialects: Dialects::NativeAndHttp,
            send_rate: if is_unlimited { SendRate::Unlimited } else { SendRate::per_second(5) },
            max_message: MAX_MESSAGE,
            max_queue_messages: 4,
            max_queue_bytes: 3 * MAX_MESSAGE,
            max_links: 6,
            max_unproved: 2,
            max_peers: 4,
            claims: Claims::Believe,
            ..Config::default()
        };
        config.timeouts.connect = Duration::from_secs(2);
        config.timeouts.handshake = Duration::from_secs(2);
        config.timeouts.confirm = Duration::from_secs(3);
        config.timeouts.idle = Duration::from_secs(5);
        config.timeouts.close = Duration::from_secs(1);
        config.timeouts.shutdown = Duration::from_secs(3);
        let tower = Tower::new(config, address(9001), &Seed::from_u64(1)).unwrap();
        let mut driver = Self {
            tower,
            now: Instant::ORIGIN,
            accepted: Vec::new(),
            dialled: Vec::new(),
            is_reachable: true,
            room: 4096,
            is_slow: false,
            waiting_to_send: Vec::new(),
            began: BTreeSet::new(),
            ended: BTreeSet::new(),
            sent: BTreeMap::new(),
        };
        let payload =
            r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#;
        let len = payload.len();
        let announce = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n{payload}"
        );
        driver.accept();
        // The first announce makes the peer known, the second one makes it alive.
        driver.deliver(announce.repeat(2).as_bytes());
        let peer = driver.tower.find(&address(8001)).unwrap();
        assert_eq!(peer.status, Status::Alive);
        driver.enqueue(20);
        driver.accept();
        driver
    }

    /// Gives a piece to the newest inbound link and to the newest outbound link.
    fn deliver(&mut self, bytes: &[u8]) {
        let newest = [self.accepted.last().copied(), self.dialled.last().copied()];
        for link in newest.into_iter().flatten() {
            self.handle(Event::BytesArrived { link, bytes });
        }
    }

    fn step(&mut self, choice: u8) {
        let size = usize::from(choice / 16);
        match choice % 16 {
            0 | 1 => {}
            2 | 3 => self.pass(Duration::from_millis(1 << size)),
            4 => self.room = 1 << size,
            5 => self.is_slow = true,
            6 => self.send_waiting(),
            7 => self.end(self.accepted.last().copied(), size),
            8 => self.end(self.dialled.last().copied(), size),
            9 => self.accept(),
            10 | 11 => self.enqueue(MAX_MESSAGE / 15 * size),
            12 => rotate(&mut self.dialled),
            13 => rotate(&mut self.accepted),
            14 => self.is_reachable = !self.is_reachable,
            _ => {
                let _ = self.tower.announce(&address(8000 + u16::from(choice / 16)), self.now);
                self.act();
            }
        }
    }

    fn accept(&mut self) {
        if let Ok(link) = self.tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now) {
            assert!(self.began.insert(link), "a link is accepted twice");
            self.accepted.push(link);
        }
        self.act();
    }

    fn enqueue(&mut self, len: usize) {
        let _ = self.tower.enqueue(Message::text(&"m".repeat(len)), self.now);
        self.act();
    }

    /// Ends a link: the other side finishes its stream, the connection breaks, or the driver closes
    /// it.
    fn end(&mut self, link: Option<LinkId>, how: usize) {
        let Some(link) = link else { return };
        match how % 4 {
            0 | 1 => self.handle(Event::Finished { link }),
            2 => self.handle_terminal(Event::Lost { link, cause: IoCause::Reset }, link),
            _ => self.handle_terminal(Event::Closed { link }, link),
        }
    }

    fn handle_terminal(&mut self, event: Event<'_>, link: LinkId) {
        for links in [&mut self.accepted, &mut self.dialled, &mut self.waiting_to_send] {
            links.retain(|other| *other != link);
        }
        self.handle(event);
    }

    fn handle(&mut self, event: Event<'_>) {
        self.tower.handle(event, self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            match action {
                Action::Connect { link, .. } => {
                    assert!(self.began.insert(link), "a link is dialled twice");
                    if self.is_reachable {
                        self.dialled.push(link);
                        self.tower.handle(Event::Connected { link, at: None }, self.now);
                    } else {
                        let cause = IoCause::Refused;
                        self.tower.handle(Event::ConnectFailed { link, cause }, self.now);
                    }
                }
                Action::Send { link } if self.is_slow => self.waiting_to_send.push(link),
                Action::Send { link } => self.send(link),
                Action::Close { link, how, .. } => {
                    if how == CloseMode::Flush {
                        self.send(link);
                    }
                    self.handle_terminal(Event::Closed { link }, link);
                }
                Action::Notify(Notice::LinkClosed { link, .. }) => {
                    assert!(self.began.contains(&link), "a link ends that never began");
                    assert!(self.ended.insert(link), "a link ends twice");
                }
                Action::Notify(_) => {}
                Action::Screen { .. } => panic!("screening is off"),
            }
        }
    }

    fn send_waiting(&mut self) {
        self.is_slow = false;
        for link in core::mem::take(&mut self.waiting_to_send) {
            self.send(link);
        }
        self.act();
    }

    fn send(&mut self, link: LinkId) {
        let sent = self.sent.entry(link).or_default();
        loop {
            let before = sent.len();
            let written = self.tower.transmit(link, &mut (&mut *sent).limit(self.room));
            assert_eq!(sent.len() - before, written);
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
            assert!(at_once <= MAX_WAKEUPS_AT_ONCE, "the tower keeps its driver awake");
            self.now = self.now.max(at);
            self.handle(Event::TimerFired);
        }
        self.now = until;
    }

    fn check(&self) {
        self.tower.assert_consistent();
        let (tower, stats, config) = (&self.tower, self.tower.stats(), self.tower.config());
        let usage = tower.queue_usage();
        let came = stats.enqueued + stats.received - stats.coalesced;
        let left = came.checked_sub(stats.delivered + stats.swallowed);
        assert_eq!(left, Some(usage.messages as u64), "{stats:?}");
        assert_eq!(tower.peek().map(|held| held.message.len()).sum::<usize>(), usage.bytes);
        assert!(usage.messages <= config.max_held_messages());
        assert!(usage.bytes <= config.max_held_bytes());
        let links = tower.links().count();
        assert!(links <= config.max_links && tower.survey().count() <= config.max_peers);
        assert!(self.began.len() - self.ended.len() <= links, "a link ended without a notice");
    }

    /// Falls silent until all links have ended and their messages are back in the queue, then shuts
    /// the tower down.
    fn finish(&mut self) {
        self.is_reachable = false;
        self.send_waiting();
        self.pass(LONG);
        self.check();
        assert_eq!(self.tower.links().count(), 0, "a link never ends");
        let is_waiting = |state| matches!(state, MessageState::Waiting);
        assert!(self.tower.peek().all(|held| is_waiting(held.state)), "a message is on no link");
        self.tower.shutdown(self.now);
        self.act();
        self.pass(LONG);
        self.check();
        assert_eq!(self.tower.links().count(), 0);
        assert_eq!(self.began, self.ended, "each link ends");
        self.sent.values().for_each(|sent| check_sent(sent));
    }
}

/// Makes another link the newest.
fn rotate(links: &mut [LinkId]) {
    if !links.is_empty() {
        links.rotate_right(1);
    }
}

/// Checks that the tower's own readers take what the tower sent.
fn check_sent(sent: &[u8]) {
    let mut rest = sent;
    if sent.starts_with(b"HTTP") {
        let mut reader = ResponseReader::default();
        while let Some(response) = reader.read(&mut rest).expect("an invalid response") {
            assert!((200..600).contains(&response.status));
        }
    } else if sent.starts_with(b"POST") {
        let mut reader = RequestReader::new(8 * MAX_MESSAGE);
        while let Some(event) = reader.read(&mut rest) {
            let RequestEvent::Request(request) = event else { panic!("an invalid request") };
            assert!(!request.closes, "a request has a wrong length");
            let payload = Payload::parse(&request.body.unwrap());
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
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n{payload}"
        );
        let tower = survive(&[request.as_bytes()], &[0]);
        assert_eq!(tower.stats().received, 1);
        let tower = survive(&[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], &[0]);
        assert_eq!(tower.stats().delivered, 1);
    }
}
