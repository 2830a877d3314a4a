//! One tower, and whatever its driver, its application and its peers may do.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::num::{NonZeroU16, NonZeroU64};
use core::time::Duration;

use super::observer::{Link, Observer};
use crate::ids::Epoch;
use crate::wire::arbitrary::Supply;
use crate::wire::{
    AnnounceFrame, Farewell, Frame, Hello, MessageFrame, RefusedReason, TransferId, VERSION, Window,
};
use crate::{
    Action, Address, Allowance, Config, Datagrams, DefaultVerdict, EnqueueOptions, Event, Instant,
    IoCause, Lifetime, LinkId, Message, MessageState, Nonce, Notice, Odds, OfferId, Screening,
    Seed, SendRate, ShutdownProgress, StateMachine, Tower, Verdict, WakeupReason,
};

/// The most steps of a run.
const MAX_STEPS: usize = 400;
/// The most timers fired in the steps of a run. A tower whose peers rest for a millisecond has a
/// thousand in a second.
const MAX_TIMERS: usize = 400;
/// The most wake-ups at one instant: one for each kind of timer that may be due.
const MAX_WAKEUPS_AT_ONCE: usize = 6;
/// The most wake-ups until all messages are handed over.
const MAX_ROUNDS: usize = 1000;
/// The longest body, in bytes.
pub(super) const MAX_MESSAGE: usize = 60;
/// Longer than any time-out.
const LONG: Duration = Duration::from_secs(60);

/// Checks that a tower keeps the laws of the protocol, whatever happens to it, and that it hands
/// over all its messages when a peer cooperates in the end. See the module `observer` for
/// the laws.
///
/// The input is a configuration and then steps, each a byte and its parameters. Steps may be what
/// no driver does, such as an event of a link that has ended.
pub fn tower_events(input: &[u8]) {
    // The same input gives the same trace.
    let is_traced = input.len().is_multiple_of(8);
    let trace = run(input, is_traced).observer.trace;
    if is_traced {
        assert_eq!(run(input, true).observer.trace, trace, "two runs differ");
    }
}

fn run(input: &[u8], is_traced: bool) -> Driver {
    let mut supply = Supply(input);
    let mut config = config(&mut supply);
    let has_options = set_rules(&mut config, &supply);
    let mut driver = Driver::new(config, has_options, is_traced);
    for _ in 0..MAX_STEPS {
        if supply.0.is_empty() {
            break;
        }
        driver.step(&mut supply);
    }
    driver.finish();
    driver
}

/// Returns a configuration with little of everything.
fn config(supply: &mut Supply<'_>) -> Config {
    let mut config = Config::default();
    let mut small = |from: u8, to: u8| from + supply.below(to - from + 1);
    config.send_rate = match small(0, 3) {
        0 => SendRate::Unlimited,
        rate => SendRate::per_second(u32::from(rate) * 2),
    };
    config.burst = u32::from(small(1, 4));
    config.kill_timeout = Duration::from_secs(u64::from(small(0, 20)));
    config.max_message = MAX_MESSAGE;
    config.max_queue_messages = usize::from(small(2, 9));
    config.max_queue_bytes = MAX_MESSAGE + 10 * usize::from(small(0, 30));
    config.local_share = small(40, 100);
    config.max_peers = usize::from(small(1, 6));
    config.max_links = usize::from(small(2, 6));
    config.window = Window { messages: small(1, 4).into(), bytes: u32::from(small(0, 200)) };
    config.max_probes = usize::from(small(1, 3));
    config.probe_backoff = Duration::from_millis(1 + 50 * u64::from(small(0, 40)));
    config.busy_backoff = Duration::from_millis(50 * u64::from(small(0, 20)));
    let mut allowance =
        || Allowance { burst: small(0, 3).into(), every: Duration::from_secs(small(0, 3).into()) };
    (config.friends, config.strangers) = (allowance(), allowance());
    config.heartbeat = match small(0, 2) {
        0 => None,
        some => Some(Duration::from_secs(3 * u64::from(some))),
    };
    let times = &mut config.timeouts;
    for time in [
        &mut times.connect,
        &mut times.handshake,
        &mut times.confirm,
        &mut times.idle,
        &mut times.close,
        &mut times.shutdown,
    ] {
        *time = Duration::from_millis(500 * (1 + u64::from(small(0, 20))));
    }
    if small(0, 2) == 1 {
        config.odds = Odds { alive: 1, lost: small(0, 1).into(), dead: small(0, 1).into() };
    }
    config.screening = match small(0, 3) {
        0 | 1 => Screening::Off,
        verdict => Screening::On {
            max_offers: usize::from(small(1, 3)),
            timeout: Duration::from_millis(300 * u64::from(small(0, 20))),
            default: match verdict {
                2 => DefaultVerdict::Accept,
                _ => DefaultVerdict::Reject,
            },
        },
    };
    config.max_pending_notices = 16 + usize::from(small(0, 30));
    set_max_links(&mut config, supply);
    config
}

/// Sets the number of links and the datagrams by the last three bytes of the input: few links, or
/// so many that the tower keeps some free.
fn set_max_links(config: &mut Config, supply: &mut Supply<'_>) {
    let mut last = || {
        let (last, rest) = supply.0.split_last().unwrap_or((&0, &[]));
        supply.0 = rest;
        *last
    };
    config.max_links = match last() {
        192..=223 => 16,
        224..=255 => 32,
        _ => config.max_links,
    };
    let max = config.max_links - 1;
    config.datagrams = match last() {
        0..=127 => Datagrams::On { max_len: 40, outbox: 300, inbox: 8 * 400 },
        _ => Datagrams::Off,
    };
    config.max_unproved = match last() {
        some @ 160..=255 => 1 + usize::from(some) % max,
        _ => max,
    };
}

/// Sets rules by the last byte that is left, which is also one of the steps: 221 and a sum of 1 for
/// a tower that is a guest, 2 for the rules of the original, 4 for an application that uses holds
/// and lifetimes, and 8 for short lifetimes. Returns whether the application uses them. No input
/// that is older than these settings has such a byte.
fn set_rules(config: &mut Config, supply: &Supply<'_>) -> bool {
    let Some(last @ 221..=236) = supply.0.last() else { return false };
    let is_set = |bit: u8| (last - 221) & bit > 0;
    config.is_guest = is_set(1);
    if is_set(2) {
        let original = Config::original();
        config.odds = original.odds;
        config.contact_rate = original.contact_rate;
        config.newcomers = original.newcomers;
        config.announced_friends = original.announced_friends;
        (config.lifetime, config.max_lifetime) = (original.lifetime, original.max_lifetime);
        config.hold_below = original.hold_below;
        config.max_probe_backoff = original.max_probe_backoff;
        config.max_busy_backoff = original.max_busy_backoff;
    }
    if is_set(8) {
        config.lifetime = Some(Duration::from_secs(4));
        config.max_lifetime = Some(Duration::from_secs(6));
    }
    is_set(4)
}

/// The epoch of links that never exist: no slot is used so often in one run.
const FUTURE: Epoch = {
    let (mut epoch, mut times) = (Epoch::FIRST, 0);
    while times < 10 * MAX_STEPS {
        epoch = epoch.next();
        times += 1;
    }
    epoch
};

const FAREWELLS: [Farewell; 7] = [
    Farewell::Idle,
    Farewell::Leaving,
    Farewell::Ignored,
    Farewell::Misbehaved,
    Farewell::WrongNetwork,
    Farewell::OwnAddress,
    Farewell::WrongVersion,
];

/// Returns the address with a number. Number 0 is the tower's own.
fn address(number: u8) -> Address {
    let ip = Ipv4Addr::new(10, 0, 0, number + 1);
    Address::from_ip(IpAddr::V4(ip), NonZeroU16::MIN).unwrap()
}

/// The driver, the application and the peers of the tower.
struct Driver {
    observer: Observer,
    /// The application enqueues messages with holds and lifetimes.
    has_options: bool,
    now: Instant,
    offers: Vec<OfferId>,
    /// How many hellos were sent to the tower.
    hellos: u64,
    timers: usize,
    has_shut_down: bool,
}

impl Driver {
    fn new(config: Config, has_options: bool, is_traced: bool) -> Self {
        let tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
        Self {
            observer: Observer::new(tower, is_traced),
            has_options,
            now: Instant::ORIGIN,
            offers: Vec::new(),
            hellos: 0,
            timers: 0,
            has_shut_down: false,
        }
    }

    fn step(&mut self, supply: &mut Supply<'_>) {
        let (observer, now) = (&mut self.observer, self.now);
        let kind = supply.below(32);
        match kind {
            0 | 1 => {
                let options = if self.has_options { options(supply) } else { Default::default() };
                observer.enqueue(message(supply), options, now);
            }
            2 => observer.expand(&address(supply.below(8)), now),
            3 | 4 => observer.announce(&address(supply.below(8)), now),
            5 => observer.ignore(&address(supply.below(8)), now),
            6 => observer.unignore(&address(supply.below(8)), now),
            7 => drop(observer.accept(now)),
            8..=12 => self.link_event(kind, supply),
            13..=18 => self.frames(supply),
            19 => self.answer_all(supply),
            20 => {
                let room = usize::from(supply.byte());
                if let Some(link) = self.link(supply) {
                    self.observer.transmit(link, room);
                }
            }
            21 => {
                let count = supply.below(8);
                (0..count).for_each(|_| _ = self.poll());
                if count == 0
                    && let Some(link) = self.link(supply)
                {
                    let body = vec![count; 1 + usize::from(supply.below(60))];
                    self.observer.exchange_datagrams(link, body, self.now);
                }
            }
            22..=24 => self.serve(usize::from(supply.byte()) + 1),
            25 => self.now = self.now + Duration::from_millis(20 * u64::from(supply.byte())),
            26 => self.fire(),
            27 | 28 => self.pass(Duration::from_millis(40 * u64::from(supply.byte()))),
            29 => {
                // The time that the driver passes in may go back.
                let byte = supply.byte();
                self.now = Instant::from_nanos(u64::from(byte) << 25);
                match byte % 4 {
                    0 => drop(self.observer.accept(self.now)),
                    1 => self.link_event(10, supply),
                    _ => self.fire(),
                }
                self.now = now;
            }
            30 => self.decide(supply),
            _ => match supply.below(8) {
                0 => observer.shutdown(now),
                1..=4 => self.meet(supply.below(8)),
                5 => self.stale(LinkId { index: supply.byte().into(), epoch: FUTURE }, supply),
                6 => {
                    if let Some(link) = self.observer.last_ended {
                        self.stale(link, supply);
                    }
                }
                _ => observer.forget(&address(supply.below(8)), now),
            },
        }
    }

    /// Returns one of the links, the newest first.
    fn link(&mut self, supply: &mut Supply<'_>) -> Option<LinkId> {
        let known = self.observer.links.iter().rev().filter(|link| link.is_known);
        let known: Vec<_> = known.map(|link| link.id).collect();
        if known.is_empty() {
            return None;
        }
        Some(known[usize::from(supply.byte()) % known.len()])
    }

    fn find(&self, id: LinkId) -> Option<&Link> {
        self.observer.links.iter().find(|link| link.id == id)
    }

    fn handle(&mut self, event: Event<'_>) {
        self.observer.handle(event, self.now);
    }

    fn link_event(&mut self, kind: u8, supply: &mut Supply<'_>) {
        let Some(link) = self.link(supply) else { return };
        match kind {
            8 | 9 => self.handle(Event::Connected { link, at: None }),
            10 => self.handle(Event::Finished { link }),
            _ => self.end(link, supply.below(8)),
        }
    }

    /// Ends a link with one of the three terminal events.
    fn end(&mut self, link: LinkId, how: u8) {
        let cause = match how {
            0 => IoCause::Exhausted,
            1 | 2 => IoCause::Refused,
            3..=5 => IoCause::Reset,
            _ => IoCause::Other,
        };
        self.handle(match how {
            0 | 1 => Event::ConnectFailed { link, cause },
            2..=6 => Event::Lost { link, cause },
            _ => Event::Closed { link },
        });
    }

    /// An event of a link that has ended or never existed.
    fn stale(&mut self, link: LinkId, supply: &mut Supply<'_>) {
        match supply.below(4) {
            0 => self.handle(Event::Connected { link, at: None }),
            1 => self.handle(Event::Finished { link }),
            2 => self.handle(Event::BytesArrived { link, bytes: b"whatever" }),
            _ => self.end(link, supply.below(8)),
        }
        self.observer.transmit(link, 1000);
    }

    /// The other side of a link sends a few frames, whole or cut, or bytes that are no frames.
    fn frames(&mut self, supply: &mut Supply<'_>) {
        let count = 1 + supply.below(3);
        let Some(link) = self.link(supply) else { return };
        let mut unconfirmed = self.find(link).map_or_else(Vec::new, Link::unconfirmed);
        // Which message is under screening shows only if no other one comes with it.
        let is_screened = self.observer.tower.config().screening != Screening::Off;
        let mut pieces = vec![Vec::new()];
        let mut next = self.find(link).map_or(1, Link::next_incoming);
        for _ in 0..count {
            let kind = supply.below(12);
            if is_screened && (3..=5).contains(&kind) {
                pieces.push(Vec::new());
            }
            let bytes = pieces.last_mut().unwrap();
            match kind {
                0..=2 => {
                    self.hellos += 1;
                    hello(supply, self.hellos, self.observer.incarnation).encode(bytes);
                }
                3..=5 => self.message(link, &mut next, bytes, supply),
                6 => {
                    let friends = friends(supply);
                    Frame::Announce(AnnounceFrame { transfer: next, friends }).encode(bytes);
                    next += 1;
                }
                7 | 8 => {
                    let through = answered(&mut unconfirmed, supply);
                    Frame::Confirmed { through }.encode(bytes);
                }
                9 => {
                    let transfer = answered(&mut unconfirmed, supply);
                    let reason = match supply.below(4) {
                        0 => RefusedReason::Busy,
                        1 => RefusedReason::Ignored,
                        2 => RefusedReason::TooLarge,
                        _ => RefusedReason::Screened,
                    };
                    Frame::Refused { transfer, reason }.encode(bytes);
                }
                10 => {
                    let farewell = FAREWELLS[usize::from(supply.below(7))];
                    Frame::Goodbye { farewell }.encode(bytes);
                }
                _ => {
                    let len = usize::from(supply.below(6)).min(supply.0.len());
                    if len == 0 {
                        Frame::Datagram(&[supply.byte(); 30]).encode(bytes);
                    } else {
                        let (some, rest) = supply.0.split_at(len);
                        bytes.extend(some);
                        supply.0 = rest;
                    }
                }
            }
        }
        let mut cut = match supply.below(4) {
            0 => usize::from(supply.byte()),
            _ => usize::MAX,
        };
        // A frame that is sent in part may be an answer, or a transfer that is answered.
        if self.find(link).is_some_and(Link::is_mid_frame) {
            self.observer.transmit(link, 1000);
        }
        for piece in pieces {
            let (first, rest) = piece.split_at(cut.min(piece.len()));
            cut = cut.saturating_sub(piece.len());
            for bytes in [first, rest] {
                if !bytes.is_empty() {
                    self.handle(Event::BytesArrived { link, bytes });
                }
            }
        }
    }

    /// Writes a message frame: a first attempt, or a retry of one of the last transfers.
    fn message(
        &mut self,
        link: LinkId,
        next: &mut u64,
        bytes: &mut Vec<u8>,
        supply: &mut Supply<'_>,
    ) {
        let is_retry = supply.below(4) == 0;
        let older = supply.below(4);
        let taken = self.observer.taken_from(link).get(usize::from(older)).copied();
        let number = NonZeroU64::MIN.saturating_add(older.into());
        let older = taken.unwrap_or(TransferId { link: self.hellos, number });
        let retry_of = is_retry.then_some(older);
        let mut message = message(supply);
        let choice = supply.byte();
        let mut nonce = match choice {
            // Several messages have one name.
            128.. => Nonce((choice % 4).into()),
            _ => Nonce(1000 + 3 * message.len() as u128 + message.kind() as u128),
        };
        // A message that was enqueued here returns.
        let mut enqueued = self.observer.enqueued.iter().rev();
        if let Some(known) = enqueued.nth(usize::from(choice % 16))
            && (64..128).contains(&choice)
        {
            (nonce, message) = known.clone();
        }
        // Now and then a number is left out.
        let transfer = *next + u64::from(choice == 63);
        *next = transfer + 1;
        let lifetime = match choice % 8 {
            0 => Lifetime::UNLIMITED,
            _ => Lifetime::new(Duration::from_millis(u64::from(choice) * 100)),
        };
        let (kind, friend, body) = (message.kind(), friend(supply), message.body());
        let frame = MessageFrame { transfer, retry_of, lifetime, nonce, kind, friend, body };
        Frame::Message(frame).encode(bytes);
    }

    /// The other side of a link confirms all that it got.
    fn answer_all(&mut self, supply: &mut Supply<'_>) {
        if let Some(link) = self.link(supply) {
            self.confirm(link);
        }
    }

    fn confirm(&mut self, link: LinkId) {
        let unconfirmed = self.find(link).map_or_else(Vec::new, Link::unconfirmed);
        if let Some(through) = unconfirmed.last().copied() {
            let mut bytes = Vec::new();
            Frame::Confirmed { through }.encode(&mut bytes);
            self.handle(Event::BytesArrived { link, bytes: &bytes });
        }
    }

    /// A peer calls, or answers a dial, with a proper hello.
    fn meet(&mut self, number: u8) {
        self.serve(1000);
        let newest = self.observer.links.iter().rev().find(|link| link.is_known);
        let link = match newest.map(|link| link.id).filter(|_| number.is_multiple_of(2)) {
            Some(link) => {
                self.handle(Event::Connected { link, at: None });
                Some(link)
            }
            None => self.observer.accept(self.now),
        };
        if let Some(link) = link {
            self.greet(link, Some(address(number)));
            self.serve(1000);
        }
    }

    fn greet(&mut self, link: LinkId, address: Option<Address>) {
        self.hellos += 1;
        let hello = Hello {
            version: VERSION,
            incarnation: 77,
            link: self.hellos,
            max_message: 1000,
            window: Window { messages: 4, bytes: 1000 },
            datagram: 0,
            network: "clacks",
            address,
            rest: &[],
        };
        let mut bytes = Vec::new();
        Frame::Hello(hello).encode(&mut bytes);
        self.handle(Event::BytesArrived { link, bytes: &bytes });
    }

    fn poll(&mut self) -> Option<Action> {
        let action = self.observer.poll();
        match &action {
            Some(Action::Screen { offer, .. }) => self.offers.push(*offer),
            Some(Action::Notify(Notice::ShutDown { .. })) => self.has_shut_down = true,
            _ => {}
        }
        action
    }

    /// Does all that the tower asks for, except closing.
    fn serve(&mut self, buffer: usize) {
        while self.poll().is_some() {}
        let links = self.observer.links.iter().filter(|link| link.is_known && link.wants_send);
        for link in links.map(|link| link.id).collect::<Vec<_>>() {
            while self.observer.transmit(link, buffer) > 0 {}
        }
        self.observer.check_all_sent();
    }

    fn fire(&mut self) {
        self.timers += 1;
        self.handle(Event::TimerFired);
    }

    /// Lets time pass, and fires each timer when it is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut at_once = 0;
        let mut is_complete = true;
        loop {
            while self.poll().is_some() {}
            let wakeup = self.observer.tower.next_wakeup();
            let Some(wakeup) = wakeup.filter(|wakeup| wakeup.at <= until) else { break };
            if self.timers >= MAX_TIMERS {
                is_complete = false;
                break;
            }
            at_once = if wakeup.at > self.now { 0 } else { at_once + 1 };
            assert!(at_once <= MAX_WAKEUPS_AT_ONCE, "the timer spins: {wakeup:?}");
            self.now = self.now.max(wakeup.at);
            self.fire();
        }
        self.now = until;
        if is_complete {
            self.observer.check_overdue(until);
        }
    }

    fn decide(&mut self, supply: &mut Supply<'_>) {
        let verdict = match supply.below(5) {
            0 => Verdict::ACCEPT,
            1 => Verdict::Accept { hold: Duration::from_secs(supply.below(8).into()) },
            2 => Verdict::Swallow,
            3 => Verdict::Reject,
            _ => Verdict::Replace(message(supply)),
        };
        if !self.offers.is_empty() {
            let place = usize::from(supply.byte()) % self.offers.len();
            self.observer.decide(self.offers[place], &verdict, self.now);
        }
    }

    /// Brings the run to an end: all links break, a peer takes all messages, and the tower shuts
    /// down.
    fn finish(&mut self) {
        self.timers = 0;
        self.break_links();
        let waits = |held: crate::HeldMessage| {
            matches!(held.state, MessageState::Waiting | MessageState::Held)
        };
        assert!(self.observer.tower.peek().all(waits), "a message is on no link");
        for number in 0..8 {
            self.observer.forget(&address(number), self.now);
        }
        self.break_links();
        self.rest();
        if self.observer.tower.shutdown_progress() == ShutdownProgress::Running {
            self.observer.expand(&address(9), self.now);
            self.hand_over_all();
            self.break_links();
            self.observer.forget(&address(9), self.now);
            self.rest();
            self.observer.shutdown(self.now);
        }
        while self.poll().is_some() {}
        assert!(self.has_shut_down, "{:?}", self.observer.tower);
        assert_eq!(self.observer.tower.shutdown_progress(), ShutdownProgress::Done);
        assert_eq!(self.observer.tower.next_wakeup(), None, "a wake-up after the shutdown");
    }

    /// Breaks all links, and those that the tower dials meanwhile.
    fn break_links(&mut self) {
        let mut broken = 0;
        while let Some(link) = self.observer.links.first().map(|link| link.id) {
            self.end(link, 2);
            while self.poll().is_some() {}
            broken += 1;
            assert!(broken < 1000, "the tower dials without end");
        }
    }

    /// Checks that the tower does nothing without peers.
    fn rest(&mut self) {
        self.pass(LONG);
        let wakeup = self.observer.tower.next_wakeup();
        let is_idle = wakeup.is_none_or(|wakeup| {
            use WakeupReason::{Heartbeat, Hold, Lifetime};
            matches!(wakeup.reason, Heartbeat | Hold | Lifetime)
        });
        assert!(is_idle, "{wakeup:?} at rest");
        assert!(self.observer.links.is_empty());
    }

    /// Answers every dial and confirms every message, until no message is left.
    fn hand_over_all(&mut self) {
        let until = self.now + LONG;
        let mut rounds = 0;
        while self.observer.tower.queue_usage().messages > 0 {
            rounds += 1;
            let is_late = self.now > until || rounds > MAX_ROUNDS;
            assert!(!is_late, "a message waits for ever: {:?}", self.observer.tower);
            self.serve(1000);
            for link in self.observer.links.iter().map(|link| link.id).collect::<Vec<_>>() {
                if self.find(link).is_some_and(Link::is_dialled) {
                    self.handle(Event::Connected { link, at: None });
                    self.greet(link, None);
                } else if self.find(link).is_some_and(|link| link.is_aborted) {
                    self.handle(Event::Closed { link });
                }
                self.serve(1000);
                self.confirm(link);
            }
            if let Some(wakeup) = self.observer.tower.next_wakeup() {
                self.now = self.now.max(wakeup.at);
                self.fire();
            }
        }
    }
}

/// Returns a hold of up to 10 s, and no lifetime or one of up to 13 s.
fn options(supply: &mut Supply<'_>) -> EnqueueOptions {
    let hold = Duration::from_millis(40 * u64::from(supply.byte()));
    let lifetime = Some(supply.byte()).filter(|byte| *byte > 0);
    let lifetime = lifetime.map(|byte| Duration::from_millis(50 * u64::from(byte)));
    EnqueueOptions { lifetime, hold }
}

/// Returns a message with one of a few bodies, so that copies meet. Some are longer than the tower
/// takes.
fn message(supply: &mut Supply<'_>) -> Message {
    let len = match supply.below(4) {
        0 | 1 => usize::from(supply.below(4)),
        2 => 20,
        _ => usize::from(supply.below(70)),
    };
    match supply.below(3) {
        0 => Message::json(&"7".repeat(len)),
        1 => Message::text(&"t".repeat(len)),
        _ => Message::bytes(&vec![7; len]),
    }
}

fn friend(supply: &mut Supply<'_>) -> Option<Address> {
    match supply.below(12) {
        number @ 0..=7 => Some(address(number)),
        _ => None,
    }
}

/// Returns up to three friends. None is named twice.
fn friends(supply: &mut Supply<'_>) -> Vec<Address> {
    let mut friends = vec![friend(supply)];
    if friends[0].is_some() {
        friends.extend([friend(supply), friend(supply)]);
    }
    let mut friends: Vec<_> = friends.into_iter().flatten().collect();
    friends.dedup();
    friends
}

fn hello(supply: &mut Supply<'_>, link: u64, own_incarnation: Option<u64>) -> Frame<'static> {
    let choice = supply.byte();
    Frame::Hello(Hello {
        version: match choice {
            255 => 1,
            253 => 3,
            _ => VERSION,
        },
        incarnation: match (choice, own_incarnation) {
            (200..=215, Some(own)) => own,
            _ => (choice % 3).into(),
        },
        link,
        max_message: if choice % 4 == 3 { 1 + u32::from(supply.below(40)) } else { 1000 },
        window: Window {
            messages: 1 + u16::from(supply.below(4)),
            bytes: 8 * u32::from(supply.below(20)),
        },
        datagram: choice.into(),
        network: if choice == 254 { "another" } else { "clacks" },
        address: friend(supply),
        rest: &[7; 3][..usize::from(choice % 4)],
    })
}

/// Returns a transfer that waits for its answer, or the number of one that does not. Those before
/// it are answered with it.
fn answered(unconfirmed: &mut Vec<u64>, supply: &mut Supply<'_>) -> u64 {
    let choice = usize::from(supply.byte());
    if unconfirmed.is_empty() || choice > 250 {
        return choice as u64;
    }
    let place = choice % unconfirmed.len();
    let number = unconfirmed[place];
    unconfirmed.drain(..=place);
    number
}
