//! What is told to [`Truth`] reaches every checker that it concerns: for each one, a run that is right but for a single bug. The checkers' own tests know more bugs.

use std::sync::Arc;

use clacks_proto::wire::Attempt;
use clacks_proto::{Address, DefaultVerdict, Message, Screening, Seed, StatusReason};

use super::whole::{calm, plan};
use super::*;
use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};

const ONE: TowerId = TowerId(1);
const TWO: TowerId = TowerId(2);
const MESSAGE: Option<MessageId> = Some(MessageId(0));

/// A run in which all that is looked at is looked at.
struct Run {
    truth: Truth,
    plan: Plan,
}

impl Run {
    fn new(checks: Checks) -> Self {
        let plan = plan(1, calm());
        let mut run = Self { truth: Truth::new(&plan, checks), plan };
        run.say(Observed::Started { life: 0 });
        run.see(Some(TWO), Observed::Started { life: 0 });
        run.truth.after(Instant::ORIGIN, ONE, &run.tower(0));
        run.truth.audit(Instant::ORIGIN, ONE, []);
        run
    }

    fn see(&mut self, tower: Option<TowerId>, what: Observed) {
        self.truth.see(&Observation { at: Instant::ORIGIN, tower, what });
    }

    /// The first tower says something.
    fn say(&mut self, what: Observed) {
        self.see(Some(ONE), what);
    }

    /// A tower that holds so many messages.
    fn tower(&self, messages: u8) -> Tower {
        let config = Arc::clone(&self.plan.config);
        let mut tower =
            Tower::new(config, Address::new("10.0.0.2", 8_001).unwrap(), &Seed([7; 32])).unwrap();
        for number in 0..messages {
            tower.enqueue(Message::bytes(&[number; 8]), Instant::ORIGIN).unwrap();
        }
        tower
    }

    /// All that was wrong in the end.
    fn end(mut self) -> Vec<(Checker, String)> {
        let verdict = self.truth.finish(Instant::ORIGIN);
        for (checker, count) in verdict.counts {
            let kept = verdict.violations.iter().filter(|found| found.checker == checker).count();
            assert_eq!(kept as u64, count, "{checker}");
        }
        verdict.violations.into_iter().map(|found| (found.checker, found.text)).collect()
    }
}

/// What is wrong when this is told in a run that is right otherwise.
fn with(checks: Checks, tell: impl FnOnce(&mut Run)) -> Vec<(Checker, String)> {
    let mut run = Run::new(checks);
    tell(&mut run);
    run.end()
}

/// The same, with the usual checks, of what the first tower says.
fn when(said: &[Observed]) -> Vec<(Checker, String)> {
    with(Checks::default(), |run| said.iter().for_each(|what| run.say(*what)))
}

fn only(checker: Checker, text: &str) -> Vec<(Checker, String)> {
    vec![(checker, text.to_owned())]
}

fn status(from: Status, to: Status) -> Observed {
    Observed::StatusChanged { peer: Some(TWO), from, to, reason: StatusReason::Success }
}

#[test]
fn nothing_is_wrong_with_a_run_that_is_right() {
    assert_eq!(when(&[]), []);
}

#[test]
fn a_message_from_nowhere_is_found() {
    let said = [
        Observed::Enqueued { message: MessageId(0) },
        Observed::Queued { message: MESSAGE, origin: Origin::Local },
        Observed::Received { from: Some(TWO), sender: Some(TWO), message: MESSAGE },
        Observed::Crashed,
    ];
    assert_eq!(when(&said), only(Checker::Conservation, "tower 1 has taken message 0 from nobody"));
}

#[test]
fn a_message_that_waits_for_a_verdict_may_be_taken_long_after_its_sender_has_given_it_up() {
    let found = |screening: Screening| {
        let mut plan = plan(1, calm());
        Arc::make_mut(&mut plan.config).screening = screening;
        let mut run = Run { truth: Truth::new(&plan, Checks::default()), plan };
        let mut see = |second: u64, tower, what| {
            let at = Instant::from_nanos(second * 1_000_000_000);
            run.truth.see(&Observation { at, tower: Some(tower), what });
        };
        let arrives = Instant::ORIGIN;
        let sent =
            |to| Observed::HandedOver { to, message: MESSAGE, attempt: Attempt::First, arrives };
        let back = Observed::Queued { message: MESSAGE, origin: Origin::Returned };
        see(0, TWO, Observed::Enqueued { message: MessageId(0) });
        see(1, TWO, sent(ONE));
        see(40, TWO, back);
        // What can't come any more is forgotten when the message comes back once more.
        see(500, TWO, sent(TowerId(0)));
        see(540, TWO, back);
        see(541, ONE, Observed::Received { from: None, sender: Some(TWO), message: MESSAGE });
        see(541, ONE, Observed::Queued { message: MESSAGE, origin: Origin::Peer });
        let mut found = run.end();
        found.retain(|(checker, text)| {
            *checker == Checker::Conservation && !text.starts_with("nobody")
        });
        found
    };
    let (timeout, default) = (Duration::from_secs(540), DefaultVerdict::Accept);
    assert_eq!(found(Screening::On { max_offers: 1, timeout, default }), []);
    let text = "tower 1 has taken message 0 from nobody";
    assert_eq!(found(Screening::Off), only(Checker::Conservation, text));
}

#[test]
fn a_memory_that_is_not_as_told_is_found() {
    let found = with(Checks::default(), |run| {
        run.truth.after(Instant::ORIGIN, ONE, &run.tower(1));
    });
    let text = "tower 1 holds 1 messages where it should hold 0";
    assert_eq!(found, only(Checker::Conservation, text));
    let found = with(Checks::default(), |run| {
        run.say(Observed::Enqueued { message: MessageId(0) });
        run.truth.audit(Instant::ORIGIN, ONE, []);
    });
    let text = "tower 1 should hold message 0, and does not";
    assert_eq!(found, only(Checker::Conservation, text));
}

#[test]
fn a_status_that_changes_as_it_may_not_is_found() {
    use Status::{Alive, Dead, Lost, New};
    let discovered = Observed::Discovered { peer: Some(TWO) };
    let right = [
        &[discovered, status(New, Alive), Observed::Forgot, discovered][..],
        &[discovered, Observed::Crashed, Observed::Started { life: 1 }, discovered],
        &[discovered, Observed::Left { undelivered: 0 }, Observed::Started { life: 1 }, discovered],
    ];
    for said in right {
        assert_eq!(when(said), [], "{said:?}");
    }
    let wrong = [
        (&[status(Alive, Dead)][..], "tower 1 made a peer dead that was alive"),
        (&[discovered, discovered], "tower 1 discovered tower 2, which it knew"),
        (&[status(Alive, Lost), status(Lost, Dead)], "tower 1 gave tower 2 up after 0ns"),
    ];
    for (said, text) in wrong {
        assert_eq!(when(said), only(Checker::Statuses, text));
    }
    // Its clock was put forward by two hours.
    let clock = Observed::ClockChanged { step: 7_200_000_000_000, drift_ppm: 0 };
    assert_eq!(when(&[status(Alive, Lost), clock, status(Lost, Dead)]), []);
}

#[test]
fn whatever_is_done_with_an_ignored_peer_is_found() {
    let ignore = Observed::Ignored { peer: TWO };
    let (attempt, arrives) = (Attempt::First, Instant::ORIGIN);
    let deeds = [
        (Observed::Dialled { to: Some(TWO) }, "dialled"),
        (
            Observed::HandedOver { to: TWO, message: MESSAGE, attempt, arrives },
            "handed a message over to",
        ),
        (
            Observed::Received { from: Some(TWO), sender: Some(TWO), message: MESSAGE },
            "took a message from",
        ),
        (Observed::Delivered { to: Some(TWO), message: MESSAGE }, "delivered a message to"),
        (Observed::Announced { to: Some(TWO) }, "announced itself to"),
    ];
    for (what, deed) in deeds {
        let found = |said: &[Observed]| {
            let all = when(said).into_iter();
            all.filter(|(checker, _)| *checker == Checker::Ignored).collect::<Vec<_>>()
        };
        let text = format!("tower 1 {deed} tower 2, which it ignores");
        assert_eq!(found(&[ignore, what]), only(Checker::Ignored, &text));
        for end in [
            Observed::Unignored { peer: TWO },
            Observed::Crashed,
            Observed::Left { undelivered: 0 },
        ] {
            assert_eq!(found(&[ignore, end, what]), [], "{end:?}");
        }
    }
}

#[test]
fn a_tower_that_is_too_full_is_found() {
    let mut run = Run::new(Checks::default());
    let tower = run.tower(3);
    Arc::make_mut(&mut run.plan.config).max_queue_bytes = 23;
    run.truth.bounds = Bounds::new(run.plan.towers, &run.plan.config);
    for message in 0..3 {
        run.say(Observed::Enqueued { message: MessageId(message) });
    }
    run.truth.after(Instant::ORIGIN, ONE, &tower);
    let text = "tower 1 has 24 bytes of messages, and may have 23";
    assert_eq!(run.end(), only(Checker::Bounds, text));
}

#[test]
fn a_tower_that_spins_is_found() {
    let checks = Checks { events_in_an_instant: 2, ..Checks::default() };
    let found = with(checks, |run| {
        let tower = run.tower(0);
        (0..3).for_each(|_| run.truth.after(Instant::ORIGIN, ONE, &tower));
    });
    let text = "tower 1 has more than 2 events in one instant";
    assert_eq!(found, only(Checker::Spinning, text));
}

#[test]
fn towers_that_do_not_find_each_other_are_found_where_it_is_promised() {
    let promised = || Checks { liveness: Liveness::Promised, ..Checks::default() };
    let knows = |tower, status| (Some(if tower == ONE { TWO } else { ONE }), status);
    let judge = |run: &mut Run, status| {
        let peers = |tower| [knows(tower, if tower == TWO { Status::Alive } else { status })];
        run.truth.judge_liveness(Instant::ORIGIN, &[ONE, TWO], peers);
    };
    assert_eq!(with(promised(), |run| judge(run, Status::Alive)), []);
    let text = "tower 1 does not know 1 of 1 running towers as alive: 2";
    assert_eq!(with(promised(), |run| judge(run, Status::Lost)), only(Checker::Liveness, text));
}

#[test]
fn a_fault_that_never_happened_is_found() {
    let checks = || Checks { faults: vec![Fault::Cut, Fault::LinkConditions], ..Checks::default() };
    let found = with(checks(), |run| {
        run.see(None, Observed::Fault(Fault::LinkConditions));
        assert_eq!((run.truth.faults(Fault::LinkConditions), run.truth.faults(Fault::Cut)), (1, 0));
    });
    assert_eq!(found, only(Checker::Faults, "the fault \"cut\" never happened"));
    let found = with(checks(), |run| {
        run.see(None, Observed::Fault(Fault::LinkConditions));
        run.say(Observed::Fault(Fault::Cut));
    });
    assert_eq!(found, []);
}

#[test]
fn where_nobody_looks_nothing_is_right() {
    let checks = Checks { liveness: Liveness::Promised, ..Checks::default() };
    let mut run = Run::new(checks.clone());
    run.truth = Truth::new(&run.plan, checks);
    run.say(Observed::Started { life: 0 });
    run.see(Some(TWO), Observed::Started { life: 0 });
    // Only one of them is looked at: a tower alone is nobody to be known.
    run.truth.judge_liveness(Instant::ORIGIN, &[ONE], |_| []);
    let expected = [
        (Checker::Conservation, "nobody looked at what the towers hold"),
        (Checker::Bounds, "nobody looked at how much the towers hold"),
        (Checker::Liveness, "nobody looked at two towers that run"),
    ];
    assert_eq!(run.end(), expected.map(|(checker, text)| (checker, text.to_owned())));
}

#[test]
fn of_towers_that_are_down_in_the_end_nothing_is_to_be_seen() {
    let checks = Checks { liveness: Liveness::Promised, ..Checks::default() };
    let mut run = Run::new(checks.clone());
    run.truth = Truth::new(&run.plan, checks);
    run.say(Observed::Started { life: 0 });
    run.truth.after(Instant::ORIGIN, ONE, &run.tower(0));
    run.say(Observed::Crashed);
    assert_eq!(run.end(), []);
}

#[test]
fn a_run_that_ends_early_is_not_held_to_what_comes_later_and_to_all_else() {
    let checks =
        Checks { liveness: Liveness::Promised, faults: vec![Fault::Cut], ..Checks::default() };
    let found = with(checks, |run| {
        run.say(status(Status::Alive, Status::Dead));
        run.truth.excuse();
    });
    assert_eq!(found, only(Checker::Statuses, "tower 1 made a peer dead that was alive"));
}
