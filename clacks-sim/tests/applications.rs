//! Applications that send datagrams and let messages rest, and towers that are guests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BufMut;
use clacks_proto::{
    Action, Datagrams, EnqueueOptions, Event, Instant, LinkId, Message, Refusal, SendRate,
    StateMachine, Status, To, Tower, Wakeup,
};
use clacks_sim::scenario::Shape;
use clacks_sim::{NewNode, Options, Scenario, Simulation, TowerId};
use common::{finish, seconds};

/// What the applications of all towers have seen.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    answered: AtomicU64,
    /// The most messages that rested at one tower.
    at_rest: AtomicU64,
    /// Messages that their applications enqueued.
    enqueued: AtomicU64,
}

/// An application that asks another tower something every 10 s, answers what it is asked, and
/// enqueues a message that rests for a minute.
struct Application {
    tower: Tower,
    next: Instant,
    turn: usize,
    seen: Arc<Seen>,
}

impl Application {
    fn act(&mut self, now: Instant) {
        while let Some(datagram) = self.tower.take_datagram() {
            match datagram.body.split_first() {
                Some((b'?', question)) => {
                    let answer = [b"!", question].concat();
                    let _ = self.tower.datagram(To::Link(datagram.link), answer, now);
                }
                _ => _ = self.seen.answered.fetch_add(1, Ordering::Relaxed),
            }
        }
        if now >= self.next {
            self.next = now + seconds(10);
            self.ask(now);
        }
        let at_rest = self.tower.queue_usage().at_rest as u64;
        self.seen.at_rest.fetch_max(at_rest, Ordering::Relaxed);
    }

    fn ask(&mut self, now: Instant) {
        self.turn += 1;
        let alive = self.tower.survey().filter(|peer| peer.status == Status::Alive);
        let alive: Vec<_> = alive.map(|peer| peer.id).collect();
        if let Some(peer) = alive.get(self.turn % alive.len().max(1))
            && self.tower.datagram(To::Peer(*peer), &b"?who are you"[..], now).is_ok()
        {
            self.seen.asked.fetch_add(1, Ordering::Relaxed);
        }
        let text = Message::text(&format!("{} {}", self.tower.address(), self.turn));
        let options = EnqueueOptions { hold: seconds(60), ..EnqueueOptions::default() };
        self.tower.enqueue_with(text, options, now).unwrap();
        self.seen.enqueued.fetch_add(1, Ordering::Relaxed);
    }
}

impl StateMachine for Application {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.tower.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.tower.handle(event, now);
        self.act(now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.tower.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.tower.poll_action()
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        self.tower.next_wakeup()
    }

    fn tower(&self) -> &Tower {
        &self.tower
    }

    fn tower_mut(&mut self) -> &mut Tower {
        &mut self.tower
    }
}

fn network() -> Scenario {
    let mut scenario = Scenario::new("applications", 6, seconds(600))
        .contacts(|contacts| contacts.shape = Shape::Full)
        .messages(|messages| messages.count = 0)
        .tower(|tower| {
            tower.send_rate = SendRate::per_second(5);
            tower.heartbeat = Some(seconds(5));
            tower.datagrams = Datagrams::ON;
        })
        .checks(|checks| checks.convergence = false);
    scenario.link.broken = 0.001;
    scenario
}

/// Prepares a run with an application at each tower. Towers from `guests` on are guests.
fn simulation(scenario: &Scenario, guests: u32) -> (Simulation<Application>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    let make = move |new: NewNode| {
        let mut config = (*new.config).clone();
        config.is_guest = new.tower.0 >= guests;
        let tower = Tower::new(config, new.address, &new.seed).ok()?;
        let next = Instant::ORIGIN + seconds(20);
        Some(Application { tower, next, turn: 0, seen: Arc::clone(&shared) })
    };
    let options = Options::default();
    (Simulation::with_machines(scenario, Path::new("."), options, make).unwrap(), seen)
}

#[test]
fn applications_ask_each_other_and_their_messages_rest() {
    let (simulation, seen) = simulation(&network(), 6);
    let outcome = finish(simulation);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let counts = [&seen.asked, &seen.answered, &seen.at_rest, &seen.enqueued];
    let [asked, answered, at_rest, enqueued] = counts.map(|count| count.load(Ordering::Relaxed));
    assert!(asked > 6 * 50, "{asked} questions");
    // A link that breaks loses datagrams.
    assert!(answered * 10 > asked * 9 && answered <= asked, "{answered} of {asked} answers");
    assert!((5..20).contains(&at_rest), "{at_rest} messages rested at one tower");
    let totals = &outcome.totals;
    assert_eq!((totals.enqueued, totals.alive), (enqueued, enqueued), "{totals:?}");
    assert!(totals.hops > enqueued, "{totals:?}");
}

#[test]
fn without_datagrams_no_question_is_sent() {
    let scenario = network().tower(|tower| tower.datagrams = Datagrams::Off);
    let (simulation, seen) = simulation(&scenario, 6);
    let outcome = finish(simulation);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    assert_eq!(seen.asked.load(Ordering::Relaxed), 0);
}

#[test]
fn a_guest_hands_over_its_messages_and_is_not_known() {
    let scenario = network().contacts(|contacts| contacts.shape = Shape::WellKnown);
    let (mut simulation, _) = simulation(&scenario, 5);
    simulation.advance_until(seconds(590));
    let guest = simulation.address(TowerId(5)).unwrap();
    for number in 0..5 {
        let tower = &simulation.tower(TowerId(number)).unwrap().tower;
        assert!(tower.find(&guest).is_none(), "tower {number} knows the guest");
        assert!(tower.survey().count() >= 4, "tower {number} knows the others");
    }
    let stats = *simulation.tower(TowerId(5)).unwrap().tower.stats();
    assert!(stats.delivered > 30 && stats.received == 0, "{stats:?}");
    let outcome = finish(simulation);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    assert_eq!(outcome.totals.alive, outcome.totals.enqueued, "{:?}", outcome.totals);
}
