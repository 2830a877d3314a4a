//! Towers that say what cannot be.

use super::*;

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
    history.see(1, Observed::Queued { message: MESSAGE, origin: Origin::Local });
    history.end_with("tower 1 has queued message 0, which it does not hold");
    let mut history = History::begin();
    history.get_back(1);
    history.end_with("tower 1 has got message 0 back, which it does not hold");
    let mut history = History::begin();
    history.confirm(1, 0);
    history.end_with("tower 1 was told that message 0 was taken, and has not sent it");
    let mut history = History::begin();
    history.see(1, Observed::Enqueued { message: MessageId(0) });
    history.end_with("message 0 was enqueued twice");
}

#[test]
fn a_message_from_another_than_it_says_is_found() {
    let mut history = History::begin();
    history.send(0, 1, Attempt::First);
    history.take_as_from(1, Some(2), 0);
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
fn an_altered_address_misleads_a_sender_about_whom_it_has_to_ask_again() {
    let history = |is_tainted: bool| {
        let mut history = History::begin();
        if is_tainted {
            history.see(0, CORRUPTED);
        }
        history.send(0, 1, Attempt::First);
        history.take(1, 0);
        history.queue(1);
        history.audit(0, &[in_flight(2)]);
        history.send(0, 2, Attempt::Retry);
        history.take(2, 0);
        history.queue(2);
        history.confirm(0, 2);
        history
    };
    let totals = history(true).end();
    assert_eq!((totals.copies, totals.in_flight), (2, 0));
    let texts = [
        "tower 0 has message 0 in flight to tower 2, which is not where it should be",
        "tower 0 has sent message 0 to tower 2, and had none to send",
        "tower 0 was told that message 0 was taken by another one than tower 1, to which it sent it",
    ];
    assert_eq!(history(false).texts(), texts);
}

#[test]
fn a_message_that_nobody_enqueued_is_found_unless_a_byte_was_altered() {
    let made_up = Observed::Received { from: None, sender: None, message: None };
    let mut history = History::begin();
    history.see(1, made_up);
    history.end_with("tower 1 has a message that nobody enqueued, and no byte was altered");
    let mut history = History::begin();
    history.see(0, CORRUPTED);
    history.see(1, made_up);
    history.end();
}
