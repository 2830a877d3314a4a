//! Two copies of one message in one tower.

use super::*;

#[test]
fn copies_that_meet_become_one() {
    let mut history = History::begin();
    history.split(0, 1);
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
        history.split(0, 1);
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
    history.split(0, 1);
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
        |history| history.see(1, Observed::Queued { message: MESSAGE, origin: Origin::Returned }),
        |history| {
            let (to, attempt, arrives) = (TowerId(3), Attempt::First, history.at());
            history.see(1, Observed::HandedOver { to, message: MESSAGE, attempt, arrives });
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
    history.see(3, Observed::Enqueued { message: MessageId(1) });
    history.split(0, 1);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    // It holds two bodies under one name, and speaks now of this one and now of that one.
    history.queue(1);
    history.get_back(2);
    history.confirm(0, 1);
    history.audit(1, &[]);
    assert_eq!(history.texts(), [""; 0]);
    history.see(2, Observed::Queued { message: Some(MessageId(1)), origin: Origin::Returned });
    let totals = history.end_with("tower 2 has got message 1 back, which it does not hold");
    assert_eq!((totals.lost(LossCause::Unexplained), totals.lost(LossCause::Altered)), (0, 1));
}

#[test]
fn a_message_that_is_held_is_not_queued_once_more() {
    let mut history = History::begin();
    history.split(0, 1);
    history.send(0, 1, Attempt::First);
    history.take(1, 0);
    history.queue(1);
    history.end_with("tower 1 has queued message 0 twice");
}

#[test]
fn a_copy_that_may_have_been_kept_and_an_altered_one_are_not_told_apart() {
    let history = |is_tainted: bool| {
        let mut history = History::begin();
        if is_tainted {
            history.see(0, CORRUPTED);
        }
        history.split(0, 1);
        // A copy meets the one that waits, or is on a link and not yet sent: then it stays when that is confirmed.
        history.send(1, 0, Attempt::First);
        history.take(0, 1);
        history.confirm(1, 0);
        history.hop(0, 2);
        // An altered one does not meet it.
        history.hop(2, 0);
        history.hop(0, 1);
        history.send(0, 3, Attempt::First);
        history.pass(1);
        history.see(3, Observed::TimerFired);
        history
    };
    assert_eq!(history(true).texts(), [""; 0]);
    let text = "tower 0 has sent message 0 to tower 3, and had none to send";
    assert_eq!(history(false).texts(), [text]);
}
