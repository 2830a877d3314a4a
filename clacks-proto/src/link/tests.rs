use super::*;
use crate::ids::MessageKey;
use crate::wire::Attempt;
use alloc::vec;
use proptest::prelude::*;

const WINDOW: Window = Window { messages: 3, bytes: 100 };
const NOW: Instant = Instant::ORIGIN;

fn link() -> Link {
    Link::new(Direction::Inbound, WINDOW, NOW)
}

/// Something that a link is to say.
fn push(link: &mut Link, number: u64, len: u32) {
    link.transfers.push(transfer(number, len));
}

fn transfer(number: u64, len: u32) -> Transfer {
    let cargo = Cargo::Message { key: MessageKey { index: 0, epoch: Epoch::FIRST }, len };
    Transfer { number, attempt: Attempt::First, cargo, friend: None, sent: NOW }
}

#[test]
fn one_answer_says_all_that_was_taken_in_a_row() {
    let mut link = link();
    let refused = Outcome::Refused(RefusedReason::Busy);
    for (number, outcome) in
        [Outcome::Taken, Outcome::Taken, refused, refused, Outcome::Taken].into_iter().enumerate()
    {
        link.answer(number as u64, outcome, 10);
    }
    let answers = link.answers.iter().map(|a| (a.transfer, a.outcome, a.count, a.bytes));
    let expected = [
        (1, Outcome::Taken, 2, 20),
        (2, refused, 1, 10),
        (3, refused, 1, 10),
        (4, Outcome::Taken, 1, 10),
    ];
    assert_eq!(answers.collect::<Vec<_>>(), expected);
}

#[test]
fn a_window_is_full_of_messages_or_of_bytes() {
    let mut link = link();
    assert!(!link.is_full());
    push(&mut link, 0, 89);
    link.transfers.send_next(NOW);
    push(&mut link, 1, 10);
    assert!(!link.is_full(), "one byte is left");
    push(&mut link, 2, 1);
    assert!(link.is_full(), "bytes");
    let mut link = self::link();
    (0..3).for_each(|number| push(&mut link, number, 0));
    assert!(link.is_full(), "messages");
}

#[test]
fn a_link_wants_to_send_what_it_may_send_now() {
    let mut link = link();
    link.state = State::Greeting;
    assert!(!link.wants_transmit());
    push(&mut link, 0, 60);
    push(&mut link, 1, 60);
    assert!(!link.wants_transmit(), "hellos first");
    link.hello_due = true;
    assert!(link.wants_transmit());
    link.hello_due = false;
    link.state = State::Open;
    assert!(link.wants_transmit());
    assert_eq!(link.transfers.send_next(NOW).map(|transfer| transfer.number), Some(0));
    assert!(!link.wants_transmit(), "it waits for the window");
    link.answer(9, Outcome::Taken, 0);
    assert!(link.wants_transmit(), "answers never wait");
    link.answers.clear();
    link.farewell_due = Some(Farewell::Idle);
    assert!(link.wants_transmit());
}

#[test]
fn a_link_may_make_room_when_nothing_of_ours_is_on_it() {
    let mut link = link();
    assert!(link.is_evictable());
    push(&mut link, 0, 1);
    assert!(!link.is_evictable());
    link.transfers.send_next(NOW);
    assert!(!link.is_evictable());
    link.transfers.pop_sent();
    link.undecided.push_back(Incoming { transfer: 0, len: 0, offer: None, outcome: None });
    assert!(!link.is_evictable());
    link.undecided.pop_front();
    link.answer(0, Outcome::Taken, 0);
    assert!(link.is_evictable(), "answers that are not read don't keep a link");
    link.answers.clear();
    link.new_partial().head.push(0);
    assert!(!link.is_evictable());
}

#[test]
fn a_slot_is_free_when_its_link_has_ended_and_no_action_names_it() {
    let mut links = Links::new(1, WINDOW);
    let first = links.open(Direction::Outbound, NOW).unwrap();
    assert_eq!(links.open(Direction::Outbound, NOW), None);
    links.action_queued(first);
    links.action_queued(first);
    assert!(links.action_polled(first, false), "it still means something");
    links.close(first);
    assert!(links.get(first).is_none());
    assert_eq!((links.len(), links.iter().count()), (1, 0), "the slot is taken");
    assert_eq!(links.open(Direction::Outbound, NOW), None);
    assert!(!links.action_polled(first, false), "the action is for nobody");
    assert_eq!(links.len(), 0);
    let second = links.open(Direction::Outbound, NOW).unwrap();
    assert_eq!((second.index, second != first), (first.index, true));
    assert!(links.get(first).is_none() && links.get(second).is_some());
    assert!(!links.action_polled(first, false), "an id of old means nothing");
}

#[test]
fn a_slot_that_is_used_again_remembers_nothing() {
    let mut links = Links::new(1, WINDOW);
    let first = links.open(Direction::Inbound, NOW).unwrap();
    let link = links.get_mut(first).unwrap();
    link.peer = Some(PeerId { index: 1, epoch: Epoch::FIRST.next() });
    link.set_identity(Fingerprint([1; 32]));
    link.granted = Window { messages: 9, bytes: 9 };
    push(link, 0, 1);
    links.close(first);
    let second = links.open(Direction::Outbound, NOW).unwrap();
    let link = links.get(second).unwrap();
    assert_eq!((link.peer, link.identity(), link.granted), (None, None, WINDOW));
    assert!(link.is_evictable());
}

#[test]
fn transfers_are_answered_in_the_order_in_which_they_were_sent() {
    let mut transfers = Transfers::default();
    (0..4).for_each(|number| transfers.push(transfer(number, 10)));
    assert_eq!(transfers.pop_sent().map(|transfer| transfer.number), None, "none is sent");
    let later = NOW + core::time::Duration::from_secs(1);
    for number in 0..2 {
        let sent = transfers.send_next(later).unwrap();
        assert_eq!((sent.number, sent.sent), (number, later));
    }
    assert_eq!((transfers.sent(), transfers.sent_bytes()), (2, 20));
    assert_eq!((transfers.len(), transfers.bytes()), (4, 40));
    assert!(transfers.awaits(1) && !transfers.awaits(2));
    assert_eq!(transfers.pop_sent().map(|transfer| transfer.number), Some(0));
    assert_eq!(transfers.next().map(|transfer| transfer.number), Some(2));
    let unsent = transfers.take_unsent();
    assert_eq!(unsent.iter().map(|transfer| transfer.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((transfers.len(), transfers.bytes()), (1, 10));
    assert_eq!(transfers.oldest().map(|transfer| transfer.number), Some(1));
}

proptest! {
    #[test]
    fn half_open_links_are_counted_right(steps in proptest::collection::vec((0usize..8, 0u8..6), 0..100)) {
        let mut links = Links::new(5, WINDOW);
        let mut open = vec![];
        for (place, step) in steps {
            let id = open.get(place).copied();
            match (step, id) {
                (0, _) => open.extend(links.open(Direction::Inbound, NOW)),
                (1, _) => open.extend(links.open(Direction::Outbound, NOW)),
                (2, Some(id)) => links.set_state(id, State::Open, NOW),
                (3, Some(id)) => links.set_state(id, State::Closing, NOW),
                (4, Some(id)) => links.close(id),
                // An outbound link is greeted too, but it is our own.
                (5, Some(id)) if links.get(id).is_some_and(|l| l.state == State::Connecting) => {
                    links.set_state(id, State::Greeting, NOW);
                }
                _ => {}
            }
            let half_open = links.iter().filter(|(_, link)| {
                link.direction == Direction::Inbound && link.state == State::Greeting
            });
            prop_assert_eq!(links.half_open(), half_open.count());
            prop_assert_eq!(links.len(), open.iter().filter(|id| links.get(**id).is_some()).count());
        }
    }
}
