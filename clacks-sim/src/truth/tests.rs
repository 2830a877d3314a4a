//! The ledger: right histories on which it is silent, and one lie of each kind, which it must find.

use clacks_proto::wire::Attempt;
use clacks_proto::{CloseReason, Instant, IoCause, Origin};

use super::audit::{Body, Holding, Place};
use super::ledger::Ledger;
use super::totals::{DuplicationCause, LossCause, Totals};
use super::violation::{Checker, Violations};
use crate::occurrence::{Fault, MessageId, Occurrence, TowerId, What};

const MESSAGE: Option<MessageId> = Some(MessageId(0));
const CLOSED: What = What::LinkClosed { peer: None, why: CloseReason::Io(IoCause::Reset) };
const CORRUPTED: What = What::Fault(Fault::Corrupted);

/// A ledger and what happens in it: towers are told by their numbers, and it is always the same message.
struct History {
    ledger: Ledger,
    found: Violations,
    second: u64,
}

impl History {
    /// Four towers, and the first one has the message.
    fn begin() -> Self {
        let (ledger, found) = (Ledger::new(4, 32, 100, 60), Violations::default());
        let mut history = Self { ledger, found, second: 0 };
        (0..4).for_each(|tower| history.see(tower, What::Started { life: 0 }));
        history.see(0, What::Enqueued { message: MessageId(0) });
        history.see(0, What::Queued { message: MESSAGE, origin: Origin::Local });
        history
    }

    fn at(&self) -> Instant {
        Instant::from_nanos(self.second * 1_000_000_000)
    }

    fn see(&mut self, tower: u32, what: What) {
        let occurrence = Occurrence { at: self.at(), tower: Some(TowerId(tower)), what };
        self.ledger.see(&occurrence, &mut self.found);
    }

    /// All that belongs together happens in one second.
    fn pass(&mut self, seconds: u64) {
        self.second += seconds;
    }

    fn send(&mut self, tower: u32, to: u32, attempt: Attempt) {
        self.pass(1);
        let arrives = self.at();
        self.see(tower, What::HandedOver { to: TowerId(to), message: MESSAGE, attempt, arrives });
    }

    fn take(&mut self, tower: u32, from: u32) {
        self.pass(1);
        self.see(tower, What::Received { from: Some(TowerId(from)), message: MESSAGE });
    }

    fn queue(&mut self, tower: u32) {
        self.see(tower, What::Queued { message: MESSAGE, origin: Origin::Peer });
    }

    fn get_back(&mut self, tower: u32) {
        self.pass(1);
        self.see(tower, What::Queued { message: MESSAGE, origin: Origin::Returned });
    }

    fn confirm(&mut self, tower: u32, to: u32) {
        self.pass(1);
        self.see(tower, What::Delivered { to: Some(TowerId(to)), message: MESSAGE });
    }

    /// A hop as it should be.
    fn hop(&mut self, from: u32, to: u32) {
        self.send(from, to, Attempt::First);
        self.take(to, from);
        self.queue(to);
        self.confirm(from, to);
    }

    fn audit(&mut self, tower: u32, places: &[Place]) {
        let holding =
            |place: &Place| Holding { message: MESSAGE, place: *place, body: Body::Intact };
        let memory = places.iter().map(holding);
        self.ledger.audit(self.at(), TowerId(tower), memory, &mut self.found);
    }

    fn texts(&self) -> Vec<&str> {
        assert!(self.found.kept().iter().all(|one| one.checker == Checker::Conservation));
        self.found.kept().iter().map(|one| one.text.as_str()).collect()
    }

    /// It is over, and was as it should be.
    fn end(mut self) -> Totals {
        self.pass(1);
        self.see(3, What::TimerFired);
        self.ledger.finish(&mut self.found);
        assert_eq!(self.texts(), [""; 0]);
        self.balanced()
    }

    /// It is over, and this and nothing else was wrong.
    fn end_with(mut self, text: &str) -> Totals {
        self.pass(1);
        self.see(3, What::TimerFired);
        self.ledger.finish(&mut self.found);
        assert_eq!(self.texts(), [text]);
        self.balanced()
    }

    fn balanced(&self) -> Totals {
        let totals = *self.ledger.totals();
        assert!(totals.balance(), "{totals:?}");
        assert_eq!((totals.in_doubt, totals.unknown), (0, 0), "{totals:?}");
        totals
    }
}

fn in_flight(to: u32) -> Place {
    Place::InFlight(Some(TowerId(to)))
}

#[test]
fn a_message_that_hops_stays_one() {
    let mut history = History::begin();
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 3)] {
        history.hop(from, to);
    }
    history.audit(3, &[Place::Waiting]);
    for tower in 0..3 {
        history.audit(tower, &[]);
    }
    assert_eq!(history.ledger.message(MessageId(0)), (1, 4));
    let totals = history.end();
    assert_eq!((totals.alive, totals.copies, totals.hops, totals.audits), (1, 1, 4, 4));
}

#[test]
fn a_message_in_flight_is_held_by_its_sender_and_counted_where_it_is() {
    let mut history = History::begin();
    history.audit(0, &[in_flight(2)]);
    history.send(0, 1, Attempt::First);
    history.audit(0, &[in_flight(1)]);
    assert_eq!((history.ledger.totals().copies, history.ledger.totals().in_flight), (1, 1));
    history.take(1, 0);
    history.queue(1);
    history.audit(0, &[in_flight(1)]);
    history.audit(1, &[Place::Waiting]);
    assert_eq!((history.ledger.totals().copies, history.ledger.totals().in_flight), (1, 1));
    history.confirm(0, 1);
    assert_eq!(history.ledger.totals().in_flight, 0);
    history.end();
}

#[test]
fn a_refused_or_unsent_message_comes_back() {
    let mut history = History::begin();
    history.get_back(0);
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.audit(0, &[Place::Waiting]);
    history.hop(0, 2);
    let totals = history.end();
    assert_eq!(DuplicationCause::ALL.map(|cause| totals.duplicated(cause)), [0; 5]);
}

#[test]
fn a_lost_confirmation_makes_two_of_one() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    history.see(0, CLOSED);
    history.audit(0, &[Place::Waiting]);
    history.audit(1, &[Place::Waiting]);
    let totals = history.end();
    assert_eq!(totals.duplicated(DuplicationCause::ConfirmationLost), 1);
    assert_eq!((totals.alive, totals.copies), (1, 2));
}

#[test]
fn a_message_that_was_taken_does_not_come_back_on_a_link_that_stands() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    let totals = history
        .end_with("tower 0 has got message 0 back on a link that stands, though it was taken");
    assert_eq!(totals.duplicated(DuplicationCause::Unexplained), 1);
}

#[test]
fn a_question_that_is_recognised_changes_nothing() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.send(0, 1, Attempt::Retry);
    history.confirm(0, 1);
    assert_eq!(history.end().copies, 1);
}

#[test]
fn a_question_that_is_not_recognised_is_found() {
    let twice = |between: &[What], later: u64| {
        let mut history = History::begin();
        history.send(0, 1, Attempt::First);
        history.take(1, 0);
        history.queue(1);
        history.send(1, 2, Attempt::First);
        history.take(2, 1);
        history.queue(2);
        history.confirm(1, 2);
        between.iter().for_each(|what| history.see(1, *what));
        history.pass(later);
        history.send(0, 1, Attempt::Retry);
        history.take(1, 0);
        history.queue(1);
        history.confirm(0, 1);
        history
    };
    let totals = twice(&[], 0).end_with(
        "tower 1 did not recognise message 0, which it was asked about, and took it twice",
    );
    assert_eq!(totals.duplicated(DuplicationCause::Unexplained), 1);
    let restart = [What::Crashed, What::Started { life: 1 }];
    let clock = [What::ClockChanged { step: 1, drift_ppm: 0 }];
    for (between, later) in
        [(&restart[..], 0), (&[What::Forgot], 0), (&[CORRUPTED], 0), (&clock, 0), (&[], 60)]
    {
        let totals = twice(between, later).end();
        assert_eq!(totals.duplicated(DuplicationCause::TakenTwice), 1, "{between:?}");
        assert_eq!(totals.copies, 2);
    }
}

#[test]
fn copies_that_meet_become_one() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    history.see(0, CLOSED);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.confirm(0, 1);
    history.audit(0, &[]);
    history.audit(1, &[Place::Waiting]);
    let totals = history.end();
    assert_eq!((totals.copies, totals.coalesced), (1, 1));
}

#[test]
fn a_copy_that_comes_in_while_ours_is_away_stays_when_that_is_confirmed() {
    let swap = || {
        let mut history = History::begin();
        history.send(0, 1, Attempt::First);
        history.take(1, 0);
        history.queue(1);
        history.get_back(0);
        history.see(0, CLOSED);
        // Both have one now, and send it to each other.
        history.send(0, 1, Attempt::First);
        history.send(1, 0, Attempt::First);
        history.take(0, 1);
        history
    };
    let mut history = swap();
    history.take(1, 0);
    history.confirm(0, 1);
    assert_eq!(history.ledger.totals().copies, 2);
    history.confirm(1, 0);
    history.audit(0, &[Place::Waiting]);
    history.audit(1, &[Place::Waiting]);
    assert_eq!(history.end().copies, 2);

    let mut history = swap();
    history.get_back(0);
    history.confirm(1, 0);
    history.audit(0, &[Place::Waiting]);
    history.audit(1, &[]);
    let totals = history.end();
    assert_eq!((totals.copies, totals.coalesced), (1, 1));
}

/// A copy comes in while ours is on a link and not sent, or just waits: from outside the two look alike.
fn unclear() -> History {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    history.see(0, CLOSED);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.confirm(0, 1);
    history.send(1, 2, Attempt::First);
    history.take(2, 1);
    history.queue(2);
    history.confirm(1, 2);
    history
}

#[test]
fn what_a_tower_holds_tells_whether_it_kept_a_copy() {
    for kept in [false, true] {
        let mut history = unclear();
        let (at, holds) = (history.at(), vec![MessageId(9), MessageId(0)]);
        let held = usize::from(kept);
        history.ledger.count(at, TowerId(1), held, || holds, &mut history.found);
        let places = [Place::Waiting];
        history.audit(1, &places[..held]);
        let totals = history.end();
        assert_eq!((totals.copies, totals.coalesced), (1 + u64::from(kept), 1 - u64::from(kept)));
    }
    let mut history = unclear();
    let at = history.at();
    history.ledger.count(at, TowerId(1), 1, || vec![MessageId(9)], &mut history.found);
    history.end_with("tower 1 holds 1 messages where it should hold 0");
}

#[test]
fn what_a_tower_does_next_tells_whether_it_kept_a_copy() {
    let kept: [fn(&mut History); 3] = [
        |history| history.see(1, What::Queued { message: MESSAGE, origin: Origin::Returned }),
        |history| {
            let (to, attempt, arrives) = (TowerId(3), Attempt::First, history.at());
            history.see(1, What::HandedOver { to, message: MESSAGE, attempt, arrives });
            history.audit(1, &[in_flight(3)]);
        },
        |history| {
            history.send(2, 1, Attempt::First);
            history.take(1, 2);
            history.confirm(2, 1);
        },
    ];
    for next in kept {
        let mut history = unclear();
        next(&mut history);
        history.end();
    }
    let mut history = unclear();
    history.send(2, 1, Attempt::First);
    history.take(1, 2);
    history.queue(1);
    history.confirm(2, 1);
    let at = history.at();
    history.ledger.count(at, TowerId(1), 1, Vec::new, &mut history.found);
    assert_eq!(history.end().copies, 1);
}

#[test]
fn altered_bodies_make_a_message_murky_and_no_other_one() {
    let mut history = History::begin();
    history.see(3, CORRUPTED);
    history.see(3, What::Enqueued { message: MessageId(1) });
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    history.see(0, CLOSED);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    // It holds two bodies under one name, and speaks now of this one and now of that one.
    history.queue(1);
    history.get_back(2);
    history.confirm(0, 1);
    history.audit(1, &[]);
    assert_eq!(history.texts(), [""; 0]);
    history.see(2, What::Queued { message: Some(MessageId(1)), origin: Origin::Returned });
    let totals = history.end_with("tower 2 has got message 1 back, which it does not hold");
    assert_eq!((totals.lost(LossCause::Unexplained), totals.lost(LossCause::Altered)), (0, 1));
}

#[test]
fn bytes_sent_twice_may_be_taken_twice() {
    let mut history = History::begin();
    for _ in 0..2 {
        history.send(0, 1, Attempt::First);
        history.get_back(0);
    }
    history.hop(0, 2);
    history.take(1, 0);
    history.queue(1);
    history.take(1, 0);
    let totals = history.end();
    assert_eq!((totals.duplicated(DuplicationCause::TakenLate), totals.coalesced), (2, 1));
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.hop(0, 2);
    history.take(1, 0);
    history.queue(1);
    history.take(1, 0);
    history.end_with("tower 1 has taken message 0 from nobody");
}

#[test]
fn a_crash_takes_what_waits_and_what_nobody_takes() {
    let mut history = History::begin();
    history.see(0, What::Crashed);
    let totals = history.end();
    assert_eq!((totals.lost(LossCause::Crash), totals.alive, totals.copies_lost), (1, 0, 1));

    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.see(0, What::Crashed);
    assert_eq!((history.ledger.totals().in_doubt, history.ledger.totals().unknown), (1, 1));
    assert_eq!(history.end().lost(LossCause::Crash), 1);
}

#[test]
fn what_a_dead_tower_had_sent_may_still_be_taken() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.see(0, What::Crashed);
    history.see(0, What::Started { life: 1 });
    history.take(1, 0);
    history.queue(1);
    let totals = history.end();
    assert_eq!((totals.alive, totals.copies, totals.copies_lost), (1, 1, 0));
}

#[test]
fn a_receiver_that_dies_before_it_confirms_leaves_the_message_in_doubt_with_its_sender() {
    let doubt = || {
        let mut history = History::begin();
        history.send(0, 1, Attempt::First);
        history.take(1, 0);
        history.queue(1);
        history.see(1, What::Crashed);
        let totals = history.ledger.totals();
        assert_eq!((totals.alive, totals.in_doubt, totals.copies), (0, 1, 0));
        history
    };
    let mut history = doubt();
    history.get_back(0);
    history.see(0, CLOSED);
    let totals = history.end();
    assert_eq!((totals.alive, totals.copies, totals.lost(LossCause::Crash)), (1, 1, 0));
    let mut history = doubt();
    history.confirm(0, 1);
    assert_eq!(history.end().lost(LossCause::Crash), 1);
}

#[test]
fn slow_bytes_may_bring_back_what_was_lost_or_make_one_more() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.take(1, 0);
    history.queue(1);
    let totals = history.end();
    assert_eq!((totals.copies, totals.duplicated(DuplicationCause::TakenLate)), (2, 1));

    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.see(0, What::Crashed);
    assert_eq!(history.ledger.totals().lost(LossCause::Crash), 1);
    history.take(1, 0);
    history.queue(1);
    let totals = history.end();
    assert_eq!((totals.alive, totals.lost(LossCause::Crash)), (1, 0));
}

#[test]
fn bytes_are_not_slow_for_ever_unless_their_receiver_is_stopped() {
    for is_paused in [true, false] {
        let mut history = History::begin();
        if is_paused {
            history.see(1, What::Paused);
        }
        history.send(0, 1, Attempt::First);
        history.get_back(0);
        history.pass(1_000);
        // Strays are cleared away when the message has another one.
        history.send(0, 2, Attempt::First);
        history.get_back(0);
        history.see(1, What::Resumed);
        history.take(1, 0);
        history.queue(1);
        if is_paused {
            history.end();
        } else {
            history.end_with("tower 1 has taken message 0 from nobody");
        }
    }
}

#[test]
fn who_leaves_says_how_many_it_had() {
    let leave = |undelivered| {
        let mut history = History::begin();
        history.see(0, What::Leaving);
        history.see(0, What::Left { undelivered });
        history
    };
    assert_eq!(leave(1).end().lost(LossCause::Left), 1);
    leave(0).end_with("tower 0 left with 0 messages, and held 1");
    leave(2).end_with("tower 0 left with 2 messages, and held 1");
}

#[test]
fn bytes_may_be_seen_before_the_notice_that_explains_them() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    // It did not know yet that the message was back, and neither that it had been given to another link and came back from there.
    history.send(0, 2, Attempt::First);
    history.see(0, What::Queued { message: MESSAGE, origin: Origin::Returned });
    history.see(0, What::Queued { message: MESSAGE, origin: Origin::Returned });
    history.audit(0, &[in_flight(2)]);
    history.take(2, 0);
    history.queue(2);
    history.confirm(0, 2);
    history.end();
}

#[test]
fn a_message_sent_to_two_at_once_is_found() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.send(0, 2, Attempt::First);
    history.end_with("tower 0 has sent message 0 to tower 2, and had none to send");
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.send(0, 2, Attempt::Retry);
    history.end_with("tower 0 has sent message 0 to tower 2, and had none to send");
}

#[test]
fn a_confirmation_of_what_was_not_taken_is_found_unless_a_byte_was_altered() {
    let forged = |corrupted: bool| {
        let mut history = History::begin();
        history.send(0, 1, Attempt::First);
        if corrupted {
            history.see(1, CORRUPTED);
        }
        history.confirm(0, 1);
        history
    };
    let text = "tower 0 was told that tower 1 has taken message 0, and that has not";
    assert_eq!(forged(false).end_with(text).lost(LossCause::Unexplained), 1);
    assert_eq!(forged(true).end().lost(LossCause::Altered), 1);
    let mut late = forged(true);
    late.take(1, 0);
    late.queue(1);
    assert_eq!(late.end().alive, 1);
}

#[test]
fn one_altered_byte_does_not_excuse_everything() {
    let mut history = History::begin();
    history.see(2, CORRUPTED);
    history.send(0, 1, Attempt::First);
    history.confirm(0, 1);
    history.end_with("tower 0 was told that tower 1 has taken message 0, and that has not");
}

#[test]
fn a_message_taken_and_not_kept_is_found() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.confirm(0, 1);
    let totals = history.end_with("tower 1 has taken message 0 and holds none");
    assert_eq!((totals.lost(LossCause::Unexplained), totals.alive), (1, 0));
}

#[test]
fn a_message_from_nowhere_is_found() {
    let mut history = History::begin();
    history.take(1, 0);
    history.queue(1);
    history.end_with("tower 1 has taken message 0 from nobody");
    let mut history = History::begin();
    history.queue(1);
    history.end_with("tower 1 has queued message 0, which it has not taken");
    let mut history = History::begin();
    history.see(1, What::Queued { message: MESSAGE, origin: Origin::Local });
    history.end_with("tower 1 has queued message 0, which it does not hold");
    let mut history = History::begin();
    history.get_back(1);
    history.end_with("tower 1 has got message 0 back, which it does not hold");
    let mut history = History::begin();
    history.confirm(1, 0);
    history.end_with("tower 1 was told that message 0 was taken, and has not sent it");
    let mut history = History::begin();
    history.see(1, What::Enqueued { message: MessageId(0) });
    history.end_with("message 0 was enqueued twice");
}

#[test]
fn a_message_that_is_held_is_not_queued_once_more() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    history.see(0, CLOSED);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.end_with("tower 1 has queued message 0 twice");
}

#[test]
fn a_message_from_another_than_it_says_is_found() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 2);
    history.queue(1);
    history.end_with("tower 1 says that message 0 came from tower 2, and it came from tower 0");
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.confirm(0, 2);
    history.end_with(
        "tower 0 was told that message 0 was taken by another one than tower 1, to which it sent it",
    );
}

#[test]
fn an_altered_address_misleads_a_sender_about_who_has_taken_its_message() {
    let mut history = History::begin();
    history.see(1, CORRUPTED);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.confirm(0, 2);
    assert_eq!(history.end().copies, 1);
}

#[test]
fn a_message_that_nobody_enqueued_is_found_unless_a_byte_was_altered() {
    let made_up = What::Received { from: None, message: None };
    let mut history = History::begin();
    history.see(1, made_up);
    history.end_with("tower 1 has a message that nobody enqueued, and no byte was altered");
    let mut history = History::begin();
    history.see(0, CORRUPTED);
    history.see(1, made_up);
    history.end();
}

#[test]
fn a_tower_that_comes_up_with_its_old_memory_and_one_that_drops_notices_are_found() {
    let mut history = History::begin();
    history.see(0, What::Started { life: 1 });
    history.end_with("tower 0 came up, and had 1 messages from before");
    let mut history = History::begin();
    history.see(0, What::Missed { count: 3 });
    history.end_with("tower 0 dropped 3 notices, so that nobody knows what it holds");
}

#[test]
fn an_audit_finds_every_difference_once() {
    let audited = |places: &[Place]| {
        let mut history = History::begin();
        history.hop(0, 1);
        history.send(1, 2, Attempt::First);
        history.audit(1, places);
        history.audit(1, &places[..places.len().min(1)]);
        history
    };
    audited(&[in_flight(2)]).end();
    let totals = audited(&[]).end_with("tower 1 should hold message 0, and does not");
    assert_eq!((totals.lost(LossCause::Unexplained), totals.copies), (1, 0));
    let mut history = History::begin();
    history.audit(1, &[Place::Waiting]);
    let totals = history.end_with("tower 1 holds message 0, which it should not have");
    assert_eq!((totals.copies, totals.duplicated(DuplicationCause::Unexplained)), (2, 1));
    for place in [in_flight(3), Place::Waiting, Place::InFlight(None)] {
        let mut history = audited(&[in_flight(2)]);
        history.audit(1, &[place]);
        history
            .end_with(&format!("tower 1 has message 0 {place}, which is not where it should be"));
    }
}

#[test]
fn an_audit_finds_bytes_that_nobody_altered() {
    for (message, body) in [(None, Body::Intact), (MESSAGE, Body::Altered)] {
        for corrupted in [false, true] {
            let mut history = History::begin();
            if corrupted {
                history.see(3, CORRUPTED);
            }
            let wrong = Holding { message, place: Place::Waiting, body };
            let right = Holding { message: MESSAGE, place: Place::Waiting, body: Body::Intact };
            let memory = if message.is_none() { vec![wrong, right] } else { vec![wrong] };
            history.ledger.audit(Instant::ORIGIN, TowerId(0), memory, &mut history.found);
            if corrupted {
                history.end();
            } else {
                history.end_with("tower 0 holds a message with bytes that nobody enqueued, and none was altered on its way");
            }
        }
    }
}

#[test]
fn a_tower_that_holds_another_number_of_messages_is_found_at_once() {
    let counted = |held| {
        let mut history = History::begin();
        for _ in 0..3 {
            let at = history.at();
            history.ledger.count(at, TowerId(0), held, Vec::new, &mut history.found);
        }
        history
    };
    counted(1).end();
    counted(0).end_with("tower 0 holds 0 messages where it should hold 1");
    counted(2).end_with("tower 0 holds 2 messages where it should hold 1");
    let mut history = History::begin();
    history.see(0, CORRUPTED);
    history.ledger.count(Instant::ORIGIN, TowerId(0), 2, Vec::new, &mut history.found);
    history.end();
}
