//! Towers die, leave and come up.

use super::*;

#[test]
fn a_crash_takes_what_waits_and_what_nobody_takes() {
    let mut history = History::begin();
    history.see(0, Observed::Crashed);
    let totals = history.end();
    assert_eq!((totals.lost(LossCause::Crash), totals.alive, totals.copies_lost), (1, 0, 1));

    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.see(0, Observed::Crashed);
    assert_eq!((history.ledger.totals().in_doubt, history.ledger.totals().unknown), (1, 1));
    assert_eq!(history.end().lost(LossCause::Crash), 1);
}

#[test]
fn what_a_dead_tower_had_sent_may_still_be_taken() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.see(0, Observed::Crashed);
    history.see(0, Observed::Started { life: 1 });
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
        history.see(1, Observed::Crashed);
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
fn who_leaves_says_how_many_it_had() {
    let leave = |undelivered| {
        let mut history = History::begin();
        history.see(0, Observed::Leaving);
        history.see(0, Observed::Left { undelivered });
        history
    };
    assert_eq!(leave(1).end().lost(LossCause::Left), 1);
    leave(0).end_with("tower 0 left with 0 messages, and held 1");
    leave(2).end_with("tower 0 left with 2 messages, and held 1");
}

#[test]
fn a_tower_that_comes_up_with_its_old_memory_and_one_that_drops_notices_are_found() {
    let mut history = History::begin();
    history.see(0, Observed::Started { life: 1 });
    history.end_with("tower 0 came up, and had 1 messages from before");
    let mut history = History::begin();
    history.see(0, Observed::Missed { count: 3 });
    history.end_with("tower 0 dropped 3 notices, so that nobody knows what it holds");
}
