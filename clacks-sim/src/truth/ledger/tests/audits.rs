//! A tower's memory against the ledger.

use super::*;

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
