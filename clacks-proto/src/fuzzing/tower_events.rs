//! A tower and its model, side by side, through whatever may happen to a tower.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bytes::BufMut;
use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU16;
use core::time::Duration;

use super::model::{Model, Outgoing};
use crate::ids::Epoch;
use crate::wire::arbitrary::Supply;
use crate::wire::{
    AnnounceFrame, Attempt, Decoder, Farewell, Frame, Hello, MAX_BODY, MessageFrame, RefusedReason,
    VERSION,
};
use crate::{
    Action, Address, Allowance, CloseMode, Config, DefaultVerdict, Event, Instant, IoCause, LinkId,
    Message, Nonce, Odds, OfferId, Screening, Seed, SendRate, StateMachine, Tower, Verdict, Window,
};

/// So many steps show what there is to see, and keep a run short.
const MOST_STEPS: usize = 400;

/// So many timers, too: a tower whose peers rest for a millisecond has a thousand of them in a second.
const MOST_TIMERS: usize = 400;

/// The longest body in a run, in bytes.
const MAX_MESSAGE: usize = 60;

/// A tower does what its model does, whatever its driver, its application and its peers do: the same statuses, the same messages in the same places, the same
/// notices, frames, counts and bounds after every step.
///
/// The input is a configuration and then steps, each a byte and what belongs to it. It may ask for what no driver does.
pub fn tower_events(input: &[u8]) {
    run(input);
}

fn run(input: &[u8]) -> Stage {
    let mut supply = Supply(input);
    let mut stage = Stage::new(config(&mut supply));
    for _ in 0..MOST_STEPS {
        if supply.0.is_empty() {
            break;
        }
        stage.step(&mut supply);
    }
    stage
}

/// A tower that is short of everything.
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
    links(&mut config, supply);
    config
}

/// How many links there may be: few, or so many that some are kept free. It is chosen by the last two bytes, so that the steps stay where they are.
fn links(config: &mut Config, supply: &mut Supply<'_>) {
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
    // As many as there can be, more often than not.
    let most = config.max_links - 1;
    config.max_half_open = match last() {
        some @ 160..=255 => 1 + usize::from(some) % most,
        _ => most,
    };
}

/// Of links that are never there: no place is taken so often in one run.
const FUTURE: Epoch = {
    let (mut epoch, mut times) = (Epoch::FIRST, 0);
    while times < 2 * MOST_STEPS {
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

/// The address with a number; that of the tower itself has number 0.
fn address(number: u8) -> Address {
    let ip = Ipv4Addr::new(10, 0, 0, number + 1);
    Address::from_ip(IpAddr::V4(ip), NonZeroU16::MIN).unwrap()
}

/// What is at the other end of a link.
struct Remote {
    link: LinkId,
    decoder: Decoder,
    /// The frame of which a part has come.
    cut: Option<Outgoing>,
    /// Transfers of the tower that are not answered.
    unanswered: Vec<u64>,
    /// There are bytes to send, as far as was said.
    is_asked: bool,
    is_aborted: bool,
    said_goodbye: bool,
    /// It had its terminal event.
    is_over: bool,
}

struct Stage {
    tower: Tower,
    model: Model,
    now: Instant,
    remotes: Vec<Remote>,
    offers: Vec<OfferId>,
    /// The number of the next transfer to the tower.
    next_transfer: u64,
    /// How many timers were fired.
    timers: usize,
    seen: BTreeSet<LinkId>,
}

impl Stage {
    fn new(config: Config) -> Self {
        let tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
        Self {
            model: Model::new(&tower),
            tower,
            now: Instant::ORIGIN,
            remotes: Vec::new(),
            offers: Vec::new(),
            next_transfer: 0,
            timers: 0,
            seen: BTreeSet::new(),
        }
    }

    /// Something happens to the tower, and then to its model.
    fn both<T>(
        &mut self,
        happens: impl FnOnce(&mut Tower, Instant) -> T,
        predicted: impl FnOnce(&mut Model, T),
    ) {
        let before = self.tower.inside();
        let result = happens(&mut self.tower, self.now);
        self.model.step(before, &self.tower, self.now, |model| predicted(model, result));
    }

    fn step(&mut self, supply: &mut Supply<'_>) {
        let what = supply.below(32);
        match what {
            0 | 1 => {
                let message = message(supply);
                self.both(
                    |tower, now| {
                        tower.enqueue(message.clone(), now).map_err(|refused| {
                            assert_eq!(refused.message, message, "it is given back");
                            refused.why
                        })
                    },
                    |model, result| model.enqueue(&message, result),
                );
            }
            2 => {
                let address = address(supply.below(8));
                self.both(
                    |tower, now| tower.expand(&address, now),
                    |model, result| model.expand(&address, result),
                );
            }
            3 | 4 => {
                let address = address(supply.below(8));
                self.both(
                    |tower, now| tower.announce(&address, now),
                    |model, result| model.announce(&address, result),
                );
            }
            5 => {
                let address = address(supply.below(8));
                self.both(
                    |tower, now| tower.ignore(&address, now),
                    |model, result| model.ignore(&address, result),
                );
            }
            6 => {
                let address = address(supply.below(8));
                self.both(
                    |tower, now| tower.heed(&address, now),
                    |model, is_new: bool| model.heed(&address, is_new),
                );
            }
            7 => drop(self.accept()),
            8..=12 => self.link_event(what, supply),
            13..=18 => self.frames(supply),
            19 => self.answer_all(supply),
            20 => self.transmit(supply),
            21 => {
                for _ in 0..supply.below(8) {
                    self.poll();
                }
            }
            22..=24 => self.serve(usize::from(supply.byte()) + 1),
            25 => self.now = self.now + Duration::from_millis(20 * u64::from(supply.byte())),
            26 => self.fire(),
            27 | 28 => self.pass(Duration::from_millis(40 * u64::from(supply.byte()))),
            29 => {
                // Time never goes back, whoever says so.
                let byte = supply.byte();
                let earlier = Instant::from_nanos(u64::from(byte) << 25);
                let now = core::mem::replace(&mut self.now, earlier);
                match byte % 4 {
                    0 => drop(self.accept()),
                    1 => self.link_event(10, supply),
                    _ => self.fire(),
                }
                self.now = now;
            }
            30 => self.decide(supply),
            _ => match supply.below(8) {
                0 => self.both(Tower::shutdown, |model, ()| model.shutdown()),
                1..=4 => self.meet(supply.below(8)),
                5 => self.stale(LinkId { index: supply.byte().into(), epoch: FUTURE }, supply),
                _ => self.stale_again(supply),
            },
        }
        self.model.look(&self.tower);
    }

    /// One of the links, the newest first.
    fn remote(&mut self, supply: &mut Supply<'_>) -> Option<&mut Remote> {
        let mut open: Vec<_> =
            self.remotes.iter_mut().rev().filter(|remote| !remote.is_over).collect();
        if open.is_empty() {
            return None;
        }
        let place = usize::from(supply.byte()) % open.len();
        Some(open.swap_remove(place))
    }

    fn accept(&mut self) -> Option<LinkId> {
        let before = self.tower.inside();
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let accepted = self.tower.accept(from, self.now);
        self.model.step(before, &self.tower, self.now, |model| model.accept(accepted));
        let link = accepted.ok()?;
        self.new_remote(link);
        Some(link)
    }

    fn new_remote(&mut self, link: LinkId) {
        // Law 5: an id is never used again, and a place only after the terminal event of the link before.
        assert!(self.seen.insert(link), "{link:?} again");
        let is_there = |other: &&Remote| !other.is_over && other.link.index() == link.index();
        assert!(self.remotes.iter().find(is_there).is_none(), "the place is taken");
        assert!(link.index() < self.tower.config().max_links);
        self.remotes.push(Remote {
            link,
            decoder: Decoder::new(MAX_BODY),
            cut: None,
            unanswered: Vec::new(),
            is_asked: false,
            is_aborted: false,
            said_goodbye: false,
            is_over: false,
        });
    }

    fn link_event(&mut self, what: u8, supply: &mut Supply<'_>) {
        let Some(remote) = self.remote(supply) else { return };
        let link = remote.link;
        match what {
            8 | 9 => self.connected(link),
            10 => self.both(
                |tower, now| tower.handle(Event::Finished { link }, now),
                |model, ()| model.finished(link),
            ),
            _ => {
                remote.is_over = true;
                self.gone(link, supply.below(8));
            }
        }
    }

    fn connected(&mut self, link: LinkId) {
        self.both(
            |tower, now| tower.handle(Event::Connected { link }, now),
            |model, ()| model.connected(link),
        );
    }

    /// One of the three terminal events.
    fn gone(&mut self, link: LinkId, how: u8) {
        let cause = match how {
            0 => IoCause::Exhausted,
            1 | 2 => IoCause::Refused,
            3..=5 => IoCause::Reset,
            _ => IoCause::Other,
        };
        let event = match how {
            0 | 1 => Event::ConnectFailed { link, cause },
            2..=6 => Event::Lost { link, cause },
            _ => Event::Closed { link },
        };
        self.both(|tower, now| tower.handle(event, now), |model, ()| model.gone(link, cause));
    }

    /// An event of a link that had its terminal event.
    fn stale_again(&mut self, supply: &mut Supply<'_>) {
        let Some(remote) = self.remotes.iter().rfind(|remote| remote.is_over) else { return };
        self.stale(remote.link, supply);
    }

    /// An event of a link that is not there.
    fn stale(&mut self, link: LinkId, supply: &mut Supply<'_>) {
        match supply.below(4) {
            0 => self.connected(link),
            1 => self.both(
                |tower, now| tower.handle(Event::Finished { link }, now),
                |model, ()| model.finished(link),
            ),
            2 => self.arrive(link, b"whatever"),
            _ => self.gone(link, supply.below(8)),
        }
        assert_eq!(self.tower.transmit(link, &mut Vec::new()), 0);
    }

    fn arrive(&mut self, link: LinkId, bytes: &[u8]) {
        self.both(
            |tower, now| tower.handle(Event::BytesArrived { link, bytes }, now),
            |model, ()| model.bytes_arrived(link, bytes),
        );
    }

    /// The other side says something: a few frames, whole or cut, or bytes that are none.
    fn frames(&mut self, supply: &mut Supply<'_>) {
        let count = 1 + supply.below(3);
        let Some(remote) = self.remote(supply) else { return };
        let (link, mut unanswered) = (remote.link, remote.unanswered.clone());
        let mut bytes = Vec::new();
        for _ in 0..count {
            match supply.below(12) {
                0..=2 => bytes.extend(hello(supply, self.tower.inside().incarnation)),
                3..=5 => {
                    let is_retry = supply.below(4) == 0;
                    let older = u64::from(supply.below(4));
                    let transfer = if is_retry {
                        self.next_transfer.saturating_sub(older)
                    } else {
                        self.next_transfer += 1;
                        self.next_transfer
                    };
                    let mut message = message(supply);
                    let choice = supply.byte();
                    let mut nonce = Nonce((choice % 4).into());
                    // A message that began here comes home.
                    let own = self.model.known.iter().rev().filter(|known| known.is_own);
                    if let Some(known) = own.clone().nth(usize::from(choice % 16))
                        && (64..128).contains(&choice)
                    {
                        nonce = known.nonce.unwrap();
                        message = Message::from_parts(known.kind, known.body.clone());
                    }
                    frame(
                        &mut bytes,
                        &Frame::Message(MessageFrame {
                            transfer,
                            attempt: if is_retry { Attempt::Retry } else { Attempt::First },
                            nonce,
                            kind: message.kind(),
                            friend: friend(supply),
                            body: message.body(),
                        }),
                    );
                }
                6 => {
                    self.next_transfer += 1;
                    let transfer = self.next_transfer;
                    let announce = AnnounceFrame { transfer, friend: friend(supply) };
                    frame(&mut bytes, &Frame::Announce(announce));
                }
                7 | 8 => {
                    let through = answered(&mut unanswered, supply);
                    frame(&mut bytes, &Frame::Confirmed { through });
                }
                9 => {
                    let transfer = answered(&mut unanswered, supply);
                    let reason = match supply.below(4) {
                        0 => RefusedReason::Busy,
                        1 => RefusedReason::Ignored,
                        2 => RefusedReason::TooLarge,
                        _ => RefusedReason::Screened,
                    };
                    frame(&mut bytes, &Frame::Refused { transfer, reason });
                }
                10 => {
                    let farewell = FAREWELLS[usize::from(supply.below(7))];
                    frame(&mut bytes, &Frame::Goodbye { farewell });
                }
                _ => {
                    let len = usize::from(supply.below(6)).min(supply.0.len());
                    let (some, rest) = supply.0.split_at(len);
                    bytes.extend(some);
                    supply.0 = rest;
                }
            }
        }
        if let Some(remote) = self.remotes.iter_mut().find(|remote| remote.link == link) {
            remote.unanswered = unanswered;
        }
        let cut = match supply.below(4) {
            0 => usize::from(supply.byte()).min(bytes.len()),
            _ => bytes.len(),
        };
        let (first, rest) = bytes.split_at(cut);
        self.arrive(link, first);
        if !rest.is_empty() {
            self.arrive(link, rest);
        }
    }

    /// A well-behaved other side: it takes all that it got.
    fn answer_all(&mut self, supply: &mut Supply<'_>) {
        let Some(remote) = self.remote(supply) else { return };
        let link = remote.link;
        let Some(through) = core::mem::take(&mut remote.unanswered).pop() else { return };
        let mut bytes = Vec::new();
        frame(&mut bytes, &Frame::Confirmed { through });
        self.arrive(link, &bytes);
    }

    /// A stranger calls, or one who was dialled answers, with a proper hello.
    fn meet(&mut self, number: u8) {
        self.serve(1000);
        let dialled = self.remotes.iter().rev().find(|remote| !remote.is_over);
        let link = match dialled.map(|remote| remote.link).filter(|_| number.is_multiple_of(2)) {
            Some(link) => {
                self.connected(link);
                Some(link)
            }
            None => self.accept(),
        };
        let Some(link) = link else { return };
        let mut bytes = Vec::new();
        frame(
            &mut bytes,
            &Frame::Hello(Hello {
                version: VERSION,
                incarnation: 77,
                max_message: 1000,
                window: Window { messages: 4, bytes: 1000 },
                network: "clacks",
                address: Some(address(number)),
            }),
        );
        self.arrive(link, &bytes);
        self.serve(1000);
    }

    fn transmit(&mut self, supply: &mut Supply<'_>) {
        let room = usize::from(supply.byte());
        if let Some(link) = self.remote(supply).map(|remote| remote.link) {
            self.transmit_on(link, room);
        }
    }

    /// Takes bytes from the tower, as many as fit, and reads them at the other side. How many there were.
    fn transmit_on(&mut self, link: LinkId, room: usize) -> usize {
        let mut out = Vec::new().limit(room);
        let len = self.tower.transmit(link, &mut out);
        let bytes = out.into_inner();
        assert_eq!(len, bytes.len());
        assert!(len <= room);
        let remote = self.remotes.iter_mut().find(|remote| remote.link == link).unwrap();
        remote.is_asked &= len > 0 || room == 0;
        if len == 0 {
            if room > 0 {
                let rest = self.model.next_outgoing(link);
                assert!(rest.is_none(), "{rest:?} was not sent on {link:?}");
            }
            return 0;
        }
        let mut input = bytes.as_slice();
        while let Some(frame) = remote.decoder.decode(&mut input).unwrap() {
            assert!(!remote.said_goodbye, "{frame:?} after the goodbye");
            let outgoing = remote.cut.take().or_else(|| self.model.next_outgoing(link));
            let outgoing = outgoing.unwrap_or_else(|| panic!("{frame:?} was not expected"));
            check_frame(&frame, &outgoing, &self.tower, &self.model);
            match frame {
                Frame::Message(MessageFrame { transfer, .. })
                | Frame::Announce(AnnounceFrame { transfer, .. }) => {
                    remote.unanswered.push(transfer);
                }
                Frame::Goodbye { .. } => remote.said_goodbye = true,
                _ => {}
            }
        }
        if remote.decoder.is_mid_frame() && remote.cut.is_none() {
            remote.cut = self.model.next_outgoing(link);
            assert!(remote.cut.is_some(), "a part of nothing");
        }
        self.model.transmitted(link, remote.cut.as_ref());
        len
    }

    /// Law 5: nothing is asked of a link that has ended.
    fn poll(&mut self) -> Option<Action> {
        let action = self.tower.poll_action();
        self.model.polled(&self.tower, action);
        let action = action?;
        match action {
            Action::Connect { link, .. } => self.new_remote(link),
            Action::Send { link } => self.known(link).is_asked = true,
            Action::Close { link, how, .. } => {
                let remote = self.known(link);
                // Who is to flush is to send all that there is; who is to abort is to send nothing.
                remote.is_asked = how == CloseMode::Flush;
                remote.is_aborted |= how == CloseMode::Abort;
            }
            Action::Screen { offer, .. } => {
                assert!(self.tower.offer(offer).is_some(), "there is nothing to decide");
                self.offers.push(offer);
            }
            Action::Notify(_) => {}
        }
        Some(action)
    }

    fn known(&mut self, link: LinkId) -> &mut Remote {
        let remote = self.remotes.iter_mut().find(|remote| remote.link == link);
        let remote = remote.unwrap_or_else(|| panic!("nobody knows of {link:?}"));
        assert!(!remote.is_over, "{link:?} has ended");
        remote
    }

    /// A driver that does all that is asked, but for closing.
    fn serve(&mut self, buffer: usize) {
        while self.poll().is_some() {}
        for link in self.model.links() {
            self.known(link);
        }
        let asked = self.remotes.iter().filter(|remote| remote.is_asked && !remote.is_over);
        for link in asked.map(|remote| remote.link).collect::<Vec<_>>() {
            while self.transmit_on(link, buffer) > 0 {}
        }
        // Whatever is to be sent was asked for.
        let all = self.remotes.iter().filter(|remote| !remote.is_over && !remote.is_aborted);
        for link in all.map(|remote| remote.link).collect::<Vec<_>>() {
            assert_eq!(self.transmit_on(link, 1000), 0, "nobody was asked to send");
        }
    }

    fn fire(&mut self) {
        self.timers += 1;
        self.both(
            |tower, now| tower.handle(Event::TimerFired, now),
            |model, ()| model.timer_fired(),
        );
    }

    /// A driver that lets time pass, and fires each timer when it is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut at_once = 0;
        loop {
            while self.poll().is_some() {}
            let wakeup = self.tower.next_wakeup().filter(|_| self.timers < MOST_TIMERS);
            let Some(wakeup) = wakeup.filter(|wakeup| wakeup.at <= until) else { break };
            at_once = if wakeup.at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 40, "it is always now: {wakeup:?}");
            self.now = self.now.max(wakeup.at);
            self.fire();
        }
        self.now = until;
    }

    fn decide(&mut self, supply: &mut Supply<'_>) {
        let verdict = match supply.below(5) {
            0 | 1 => Verdict::Accept,
            2 => Verdict::Swallow,
            3 => Verdict::Reject,
            _ => Verdict::Replace(message(supply)),
        };
        if self.offers.is_empty() {
            return;
        }
        let place = usize::from(supply.byte()) % self.offers.len();
        let offer = self.offers[place];
        self.both(
            |tower, now| tower.decide(offer, verdict.clone(), now),
            |model, result| model.verdict(offer, &verdict, result),
        );
    }
}

/// A message of one of a few bodies, so that copies meet; some are longer than is taken.
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

fn frame(bytes: &mut Vec<u8>, frame: &Frame<'_>) {
    frame.encode(bytes);
}

fn hello(supply: &mut Supply<'_>, own_incarnation: u64) -> Vec<u8> {
    let choice = supply.byte();
    let mut bytes = Vec::new();
    frame(
        &mut bytes,
        &Frame::Hello(Hello {
            version: if choice == 255 { 2 } else { VERSION },
            incarnation: match choice {
                200..=215 => own_incarnation,
                _ => (choice % 3).into(),
            },
            max_message: if choice % 4 == 3 { 1 + u32::from(supply.below(40)) } else { 1000 },
            window: Window {
                messages: 1 + u16::from(supply.below(4)),
                bytes: 8 * u32::from(supply.below(20)),
            },
            network: if choice == 254 { "another" } else { "clacks" },
            address: friend(supply),
        }),
    );
    bytes
}

/// A transfer that waits for its answer, or one that does not. Those before it are answered with it.
fn answered(unanswered: &mut Vec<u64>, supply: &mut Supply<'_>) -> u64 {
    let choice = usize::from(supply.byte());
    if unanswered.is_empty() || choice > 250 {
        return choice as u64;
    }
    let place = choice % unanswered.len();
    let number = unanswered[place];
    unanswered.drain(..=place);
    number
}

/// A frame is the one that the model would have sent.
fn check_frame(frame: &Frame<'_>, outgoing: &Outgoing, tower: &Tower, model: &Model) {
    match (frame, outgoing) {
        (Frame::Hello(hello), Outgoing::Hello) => {
            let config = tower.config();
            assert_eq!(hello.address.as_ref(), Some(tower.address()));
            assert_eq!((hello.version, hello.network), (VERSION, &*config.network));
            assert_eq!(hello.window, config.window);
            assert_eq!(hello.max_message as usize, config.max_message);
        }
        (Frame::Confirmed { through }, Outgoing::Confirmed { through: expected }) => {
            assert_eq!(through, expected);
        }
        (
            Frame::Refused { transfer, reason },
            Outgoing::Refused { transfer: expected, reason: why },
        ) => assert_eq!((transfer, reason), (expected, why)),
        (Frame::Message(message), Outgoing::Message { transfer, is_retry, number, friend }) => {
            let known = &model.known[*number];
            assert_eq!(message.transfer, *transfer);
            assert_eq!(message.attempt == Attempt::Retry, *is_retry);
            assert_eq!((Some(message.nonce), message.kind), (known.nonce, known.kind));
            assert_eq!(message.body, &known.body[..]);
            assert_eq!(message.friend, *friend);
        }
        (Frame::Announce(announce), Outgoing::Announce { transfer, friend }) => {
            assert_eq!(announce.transfer, *transfer);
            assert_eq!(announce.friend, *friend);
        }
        (Frame::Goodbye { farewell }, Outgoing::Goodbye(expected)) => {
            assert_eq!(farewell, expected);
        }
        _ => panic!("{} instead of {outgoing:?}", frame.kind().to_string()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Stats;
    use crate::link::State;

    /// What was counted in the run of an input.
    pub(in super::super) fn counted(input: &[u8]) -> Stats {
        *run(input).tower.stats()
    }

    /// A stage on which a stranger has called and said hello.
    fn stage() -> Stage {
        let mut stage = Stage::new(Config { max_message: MAX_MESSAGE, ..Config::default() });
        stage.meet(1);
        stage.model.look(&stage.tower);
        stage
    }

    #[test]
    fn the_sixteenth_of_the_links_is_kept_free_by_both() {
        let mut stage =
            Stage::new(Config { max_links: 16, max_half_open: 15, ..Config::default() });
        (0..15).for_each(|_| stage.meet(1));
        let evicted = |stage: &Stage| {
            let is_going = |link: &&crate::tower::inside::LinkInside| link.state == State::Closing;
            stage.tower.inside().links.iter().filter(is_going).count()
        };
        assert_eq!(evicted(&stage), 0);
        stage.meet(1);
        assert_eq!(evicted(&stage), 1);
    }

    #[test]
    #[should_panic(expected = "messages that wait")]
    fn a_message_that_the_model_does_not_know_is_noticed() {
        let mut stage = stage();
        stage.tower.enqueue(Message::text("psst"), stage.now).unwrap();
        stage.model.look(&stage.tower);
    }

    #[test]
    #[should_panic(expected = "10.0.0.2:1, Ignored")]
    fn a_status_that_the_model_does_not_know_is_noticed() {
        let mut stage = stage();
        stage.tower.ignore(&address(1), stage.now).unwrap();
        stage.model.look(&stage.tower);
    }

    #[test]
    #[should_panic(expected = "was not sent")]
    fn a_frame_that_the_model_does_not_see_is_noticed() {
        let mut stage = stage();
        let link = stage.accept().unwrap();
        assert!(stage.tower.transmit(link, &mut Vec::new()) > 0);
        stage.serve(1000);
    }

    #[test]
    #[should_panic(expected = "there is nothing to tell")]
    fn a_notice_that_the_model_does_not_expect_is_noticed() {
        let mut stage = stage();
        stage.tower.expand(&address(2), stage.now).unwrap();
        stage.serve(1000);
    }

    #[test]
    #[should_panic(expected = "was asked to close")]
    fn a_link_that_nobody_is_asked_to_close_is_noticed() {
        let mut stage = stage();
        let link = stage.accept().unwrap();
        stage.both(
            |tower, now| tower.handle(Event::Finished { link }, now),
            |model, ()| model.finished(link),
        );
        while !matches!(stage.tower.poll_action(), Some(Action::Close { .. })) {}
        stage.serve(1000);
    }
}
