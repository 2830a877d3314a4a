//! A message goes from tower to tower: sent, taken, confirmed, asked about, returned.

use super::*;

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
    history.split(0, 1);
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
    let twice = |between: &[Observed], later: u64| {
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
    let restart = [Observed::Crashed, Observed::Started { life: 1 }];
    let clock = |step, drift_ppm| [Observed::ClockChanged { step, drift_ppm }];
    for between in [clock(0, 500_000), clock(-1, 0)] {
        twice(&between, 30).end_with(
            "tower 1 did not recognise message 0, which it was asked about, and took it twice",
        );
    }
    for (between, later) in [
        (&restart[..], 0),
        (&[Observed::Forgot], 0),
        (&[CORRUPTED], 0),
        (&clock(1, 0), 0),
        (&clock(0, 500_000), 40),
        (&[], 60),
    ] {
        let totals = twice(between, later).end();
        assert_eq!(totals.duplicated(DuplicationCause::TakenTwice), 1, "{between:?}");
        assert_eq!(totals.copies, 2);
    }
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
fn strays_that_are_too_many_to_remember_explain_no_more_takes_than_they_would_have() {
    let mut history = History::new(20);
    for to in 1..12 {
        history.send(0, to, Attempt::First);
        history.get_back(0);
    }
    // Whoever takes it must be one of those to whom it was sent, as long as all of them are remembered.
    for by in 1..12 {
        history.take(by, 0);
        history.queue(by);
    }
    assert_eq!(history.texts(), [""; 0]);
    history.take(15, 0);
    history.queue(15);
    let totals = history.end_with("tower 15 has taken message 0 from nobody");
    assert_eq!(totals.duplicated(DuplicationCause::TakenLate), 11);
}

#[test]
fn a_stray_that_is_too_many_to_remember_explains_a_take_that_looks_like_a_second_one() {
    let mut history = History::new(20);
    history.split(0, 12);
    for to in (2..10).chain([1]) {
        history.send(0, to, Attempt::First);
        history.get_back(0);
    }
    // When another one comes, the last one has to be forgotten.
    history.send(12, 13, Attempt::First);
    history.get_back(12);
    history.send(0, 1, Attempt::First);
    // These are the bytes that were given up, and then those for which an answer is awaited.
    history.take(1, 0);
    history.queue(1);
    history.send(0, 1, Attempt::Retry);
    history.take(1, 0);
    history.confirm(0, 1);
    let totals = history.end();
    assert_eq!(totals.duplicated(DuplicationCause::TakenLate), 1);
    assert_eq!((totals.alive, totals.copies, totals.coalesced), (1, 2, 1));
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
    history.see(0, Observed::Crashed);
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
            history.see(1, Observed::Paused);
        }
        history.send(0, 1, Attempt::First);
        history.get_back(0);
        history.pass(1_000);
        // Strays are cleared away when the message has another one.
        history.send(0, 2, Attempt::First);
        history.get_back(0);
        history.see(1, Observed::Resumed);
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
fn bytes_may_be_seen_before_the_notice_that_explains_them() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    // It did not know yet that the message was back, and neither that it had been given to another link and came back from there.
    history.send(0, 2, Attempt::First);
    history.see(0, Observed::Queued { message: MESSAGE, origin: Origin::Returned });
    history.see(0, Observed::Queued { message: MESSAGE, origin: Origin::Returned });
    history.audit(0, &[in_flight(2)]);
    history.take(2, 0);
    history.queue(2);
    history.confirm(0, 2);
    history.end();
}

#[test]
fn a_taker_that_does_not_know_the_sender_has_it_from_the_one_whose_bytes_they_were() {
    // Whichever of the two it was: one is told that its message was taken, and the other gets it back, before or after that.
    for (taken, other) in [(0, 1), (1, 0)] {
        for is_told_first in [true, false] {
            let mut history = History::begin();
            history.split(0, 1);
            for sender in [0, 1] {
                history.send(sender, 2, Attempt::First);
            }
            history.take_as_from(2, None, taken);
            history.queue(2);
            if is_told_first {
                history.confirm(taken, 2);
            }
            history.get_back(other);
            if !is_told_first {
                history.confirm(taken, 2);
            }
            let totals = history.end();
            assert_eq!((totals.alive, totals.copies), (1, 2));
            assert_eq!(totals.duplicated(DuplicationCause::ConfirmationLost), 1);
        }
    }
}

#[test]
fn what_one_sender_is_told_about_a_taker_that_knows_nobody_does_not_go_for_another() {
    let mut history = History::begin();
    history.split(0, 1);
    for sender in [0, 1] {
        history.send(sender, 2, Attempt::First);
    }
    history.take_as_from(2, None, 0);
    history.queue(2);
    history.confirm(1, 2);
    history.confirm(0, 2);
    history.end_with("tower 1 was told that tower 2 has taken message 0, and that has not");
}

#[test]
fn a_taker_that_does_not_know_the_sender_may_take_twice_what_it_is_asked_about_again() {
    let mut history = History::begin();
    history.split(0, 1);
    history.send(0, 2, Attempt::First);
    history.take_as_from(2, None, 0);
    history.queue(2);
    history.send(0, 2, Attempt::Retry);
    history.send(1, 2, Attempt::First);
    history.take_as_from(2, None, 0);
    history.take(2, 1);
    history.confirm(0, 2);
    history.confirm(1, 2);
    let totals = history.end();
    assert_eq!((totals.alive, totals.copies), (1, 1));
    assert_eq!(totals.duplicated(DuplicationCause::TakenTwice), 1);
}

#[test]
fn bytes_that_may_come_late_do_not_stand_for_those_of_a_sender_that_is_not_known() {
    // The first one's bytes from before might still come; what is taken now are its new ones, and before that the other one's.
    for (sender, other) in [(0, 1), (1, 0)] {
        let mut history = History::begin();
        history.split(0, 1);
        history.send(sender, 2, Attempt::First);
        history.get_back(sender);
        for sender in [1, 0] {
            history.send(sender, 2, Attempt::First);
        }
        history.take_as_from(2, None, other);
        history.queue(2);
        history.take(2, sender);
        history.confirm(other, 2);
        history.confirm(sender, 2);
        let totals = history.end();
        assert_eq!((totals.alive, totals.copies, totals.coalesced), (1, 1, 1));
        assert_eq!(totals.duplicated(DuplicationCause::TakenLate), 0);
    }
}

#[test]
fn a_message_may_be_altered_back_as_often_as_altered_ones_are_sent() {
    for sent in [0, 1] {
        let mut history = History::begin();
        history.send(0, 1, Attempt::First);
        history.see(0, CORRUPTED);
        history.pass(1);
        let from = Some(TowerId(0));
        history.see(1, Observed::Received { from, sender: from, message: None });
        history.see(1, Observed::Queued { message: None, origin: Origin::Peer });
        history.confirm(0, 1);
        for _ in 0..sent {
            let (to, arrives) = (TowerId(2), history.at());
            let attempt = Attempt::First;
            history.see(1, Observed::HandedOver { to, message: None, attempt, arrives });
        }
        history.take(2, 1);
        history.queue(2);
        if sent == 0 {
            history.end_with("tower 2 has taken message 0 from nobody");
        } else {
            let totals = history.end();
            assert_eq!((totals.alive, totals.copies), (1, 1));
            assert_eq!(totals.duplicated(DuplicationCause::Altered), 1);
        }
    }
}

#[test]
fn a_message_is_not_altered_back_by_a_tower_that_has_sent_no_altered_one() {
    let mut history = History::begin();
    history.see(0, CORRUPTED);
    let (to, arrives, attempt) = (TowerId(2), history.at(), Attempt::First);
    history.see(1, Observed::HandedOver { to, message: None, attempt, arrives });
    history.take(2, 3);
    history.queue(2);
    history.end_with("tower 2 has taken message 0 from nobody");
}

#[test]
fn bytes_that_were_given_up_may_be_taken_by_one_that_was_stopped_while_the_next_ones_are_refused() {
    for is_stopped in [true, false] {
        let mut history = History::begin();
        history.send(0, 1, Attempt::First);
        history.get_back(0);
        history.see(0, CLOSED);
        if is_stopped {
            history.see(1, Observed::Paused);
        }
        history.pass(1_000);
        if is_stopped {
            history.see(1, Observed::Resumed);
        }
        history.send(0, 1, Attempt::First);
        history.take(1, 0);
        history.queue(1);
        history.get_back(0);
        if is_stopped {
            let totals = history.end();
            assert_eq!(totals.duplicated(DuplicationCause::TakenLate), 1);
        } else {
            history.end_with(
                "tower 0 has got message 0 back on a link that stands, though it was taken",
            );
        }
    }
}

#[test]
fn a_confirmation_that_is_lost_with_its_link_takes_nothing_from_what_may_come_late() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.see(0, CLOSED);
    history.split(0, 1);
    // The bytes of the first time.
    history.take(1, 0);
    let totals = history.end();
    assert_eq!(totals.duplicated(DuplicationCause::ConfirmationLost), 1);
    assert_eq!(totals.duplicated(DuplicationCause::TakenLate), 1);
}

#[test]
fn bytes_that_were_given_up_are_taken_once() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.see(0, CLOSED);
    for time in 0..2 {
        history.send(0, 1, Attempt::First);
        history.take(1, 0);
        if time == 0 {
            history.queue(1);
        }
        history.get_back(0);
    }
    history.end_with("tower 0 has got message 0 back on a link that stands, though it was taken");
}

#[test]
fn bytes_that_were_given_up_may_be_taken_while_the_next_ones_are_refused() {
    let mut history = History::begin();
    // The first ones wait for a verdict at the other tower, which does not notice that its link has ended.
    history.send(0, 1, Attempt::First);
    history.get_back(0);
    history.see(0, CLOSED);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.get_back(0);
    let totals = history.end();
    assert_eq!((totals.alive, totals.copies), (1, 2));
    assert_eq!(totals.duplicated(DuplicationCause::TakenLate), 1);
}
