//! One connection: how far it has come, what is unanswered on it in each direction, and its deadlines.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::Window;
use crate::event::{CloseReason, Fingerprint, LinkId, MessageKey, PeerId};
use crate::time::Instant;
use crate::wire::{Attempt, Decoder, Farewell, MAX_HEAD, RefusedReason};

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The slot is free.
    Vacant,
    /// Dialled, not yet connected.
    Connecting,
    /// Connected; TLS and the other side's hello are awaited.
    Greeting,
    /// Hellos were exchanged.
    Open,
    /// We said goodbye, and wait for what is unanswered.
    Parting(CloseReason),
    /// The driver was asked to close it.
    Closing,
    /// It has ended, and actions that name it still wait to be polled.
    Ended,
}

/// Who made the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

/// Something that a peer must confirm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) number: u64,
    pub(crate) attempt: Attempt,
    pub(crate) cargo: Cargo,
    pub(crate) friend: Option<PeerId>,
    /// When it was handed to the driver.
    pub(crate) sent: Instant,
}

/// What a transfer carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cargo {
    Message { key: MessageKey, len: u32 },
    Announce,
}

impl Transfer {
    /// Bytes that count towards the window.
    pub(crate) fn len(&self) -> usize {
        match self.cargo {
            Cargo::Message { len, .. } => len as usize,
            Cargo::Announce => 0,
        }
    }

    pub(crate) fn message(&self) -> Option<MessageKey> {
        match self.cargo {
            Cargo::Message { key, .. } => Some(key),
            Cargo::Announce => None,
        }
    }
}

/// What became of a transfer that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Refused(RefusedReason),
}

/// A transfer that came in and waits for the application's verdict, or for that on one before it.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) transfer: u64,
    pub(crate) len: usize,
    /// The message under screening.
    pub(crate) offer: Option<MessageKey>,
    pub(crate) outcome: Option<Outcome>,
}

/// An answer to be sent: to one transfer, and if that was taken, to those right before it that were taken too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) transfer: u64,
    pub(crate) outcome: Outcome,
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// A frame of which the driver's last buffer took only a part.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// The frame without its body; empty when no frame is cut.
    pub(crate) head: Vec<u8>,
    /// How many bytes of head and body have gone.
    pub(crate) sent: usize,
    /// The message whose body follows the head.
    pub(crate) body: Option<MessageKey>,
}

impl Partial {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.head.clear();
        self.sent = 0;
        self.body = None;
    }
}

/// The state of one link. Slots and their buffers are used again.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) epoch: u32,
    pub(crate) state: State,
    pub(crate) direction: Direction,
    /// The dialled peer, or the one that an inbound link claims to be.
    pub(crate) peer: Option<PeerId>,
    /// What TLS proved.
    pub(crate) identity: Option<Fingerprint>,
    /// The other side's number in its hello.
    pub(crate) incarnation: u64,
    /// What the other side lets be unconfirmed.
    pub(crate) granted: Window,
    /// The peer is ignored: all it hands over is refused.
    pub(crate) is_ignored: bool,

    pub(crate) hello_due: bool,
    pub(crate) farewell_due: Option<Farewell>,
    /// Actions that name this link and wait to be polled.
    pub(crate) actions: u8,
    /// One of them is a `Send`.
    pub(crate) send_asked: bool,
    /// Transfers to be sent.
    pub(crate) outbox: VecDeque<Transfer>,
    /// Transfers sent and not answered, in their order on the link.
    pub(crate) window: VecDeque<Transfer>,
    pub(crate) window_bytes: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) partial: Partial,

    pub(crate) decoder: Decoder,
    /// Transfers that came in and are not decided, in their order on the link.
    pub(crate) undecided: VecDeque<Incoming>,
    /// Answers not yet handed to the driver.
    pub(crate) answers: VecDeque<Answer>,
    /// Transfers that came in and whose answer has not been handed to the driver.
    pub(crate) unanswered: usize,
    pub(crate) unanswered_bytes: usize,

    /// When the state began.
    pub(crate) since: Instant,
    /// When a frame last went either way.
    pub(crate) used: Instant,
}

impl Link {
    fn new(window: Window) -> Self {
        Self {
            epoch: 0,
            state: State::Vacant,
            direction: Direction::Inbound,
            peer: None,
            identity: None,
            incarnation: 0,
            granted: window,
            is_ignored: false,
            hello_due: false,
            farewell_due: None,
            actions: 0,
            send_asked: false,
            outbox: VecDeque::new(),
            window: VecDeque::new(),
            window_bytes: 0,
            outbox_bytes: 0,
            partial: Partial::default(),
            decoder: Decoder::default(),
            undecided: VecDeque::new(),
            answers: VecDeque::new(),
            unanswered: 0,
            unanswered_bytes: 0,
            since: Instant::ORIGIN,
            used: Instant::ORIGIN,
        }
    }

    /// What one link takes at most, in bytes: its record, transfers in each direction (twice a window, where those in doubt
    /// are added to it), a frame half received and the head of one half sent. Vectors grow by doubling.
    pub(crate) const fn memory(window: usize, max_message: usize) -> usize {
        let out = 2 * (2 * window + 4) * 2 * size_of::<Transfer>();
        let back = 2 * (window + 4) * (size_of::<Incoming>() + size_of::<Answer>());
        let frame = MAX_HEAD + max_message;
        2 * (size_of::<Self>() + size_of::<u32>()) + out + back + 2 * MAX_HEAD + frame
    }

    /// Whether frames still matter on it.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.state, State::Vacant | State::Closing | State::Ended)
    }

    /// Whether the driver still has to do with it.
    fn exists(&self) -> bool {
        !matches!(self.state, State::Vacant | State::Ended)
    }

    /// Whether nothing is unanswered in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty()
            && self.window.is_empty()
            && self.undecided.is_empty()
            && self.answers.is_empty()
            && self.partial.is_empty()
    }

    /// Whether the window has no room for one more transfer.
    pub(crate) fn is_full(&self) -> bool {
        let transfers = self.outbox.len() + self.window.len();
        !self.granted.admits(transfers, self.outbox_bytes + self.window_bytes, 1)
    }

    pub(crate) fn wants_transmit(&self) -> bool {
        let next_fits = |transfer: &Transfer| {
            self.granted.admits(self.window.len(), self.window_bytes, transfer.len())
        };
        self.hello_due
            || self.farewell_due.is_some()
            || !self.answers.is_empty()
            || !self.partial.is_empty()
            || self.state == State::Open && self.outbox.front().is_some_and(next_fits)
    }

    /// Adds an answer, together with the one before it where one frame says both.
    pub(crate) fn answer(&mut self, transfer: u64, outcome: Outcome, len: usize) {
        if outcome == Outcome::Taken
            && let Some(last) =
                self.answers.back_mut().filter(|last| last.outcome == Outcome::Taken)
        {
            last.transfer = transfer;
            last.count += 1;
            last.bytes += len;
            return;
        }
        self.answers.push_back(Answer { transfer, outcome, count: 1, bytes: len });
    }

    /// Makes the slot ready for its next link. Buffers stay, so that a warm tower allocates nothing.
    fn reset(&mut self, window: Window) {
        self.state = State::Vacant;
        self.epoch = self.epoch.wrapping_add(1);
        (self.peer, self.identity) = (None, None);
        self.granted = window;
        (self.is_ignored, self.hello_due, self.send_asked) = (false, false, false);
        self.farewell_due = None;
        self.outbox.clear();
        self.window.clear();
        (self.window_bytes, self.outbox_bytes) = (0, 0);
        self.partial.clear();
        self.decoder = Decoder::default();
        self.undecided.clear();
        self.answers.clear();
        (self.unanswered, self.unanswered_bytes) = (0, 0);
    }
}

/// The links of a tower, live and closing.
#[derive(Debug)]
pub(crate) struct Links {
    slots: Vec<Link>,
    vacant: Vec<u32>,
    capacity: usize,
    window: Window,
    /// Inbound links that have not said hello.
    half_open: usize,
}

impl Links {
    pub(crate) fn new(capacity: usize, window: Window) -> Self {
        Self { slots: Vec::new(), vacant: Vec::new(), capacity, window, half_open: 0 }
    }

    /// Links in whatever state.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    pub(crate) fn half_open(&self) -> usize {
        self.half_open
    }

    /// A new link, or `None` when all are taken.
    #[allow(clippy::cast_possible_truncation, reason = "Config::check keeps links within u32")]
    pub(crate) fn open(&mut self, direction: Direction, now: Instant) -> Option<LinkId> {
        let index = match self.vacant.pop() {
            Some(index) => index,
            None if self.slots.len() < self.capacity => {
                self.slots.push(Link::new(self.window));
                (self.slots.len() - 1) as u32
            }
            None => return None,
        };
        let link = &mut self.slots[index as usize];
        link.direction = direction;
        link.since = now;
        link.used = now;
        link.state = match direction {
            Direction::Inbound => State::Greeting,
            Direction::Outbound => State::Connecting,
        };
        self.half_open += usize::from(direction == Direction::Inbound);
        Some(LinkId { index, epoch: link.epoch })
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        let link = self.slots.get(id.index as usize)?;
        (link.epoch == id.epoch && link.exists()).then_some(link)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.slots.get_mut(id.index as usize)?;
        (link.epoch == id.epoch && link.exists()).then_some(link)
    }

    /// A link that still exchanges frames.
    pub(crate) fn live(&self, id: LinkId) -> Option<&Link> {
        self.get(id).filter(|link| link.is_live())
    }

    pub(crate) fn live_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.get_mut(id).filter(|link| link.is_live())
    }

    /// Moves a link to another state.
    pub(crate) fn set_state(&mut self, id: LinkId, state: State, now: Instant) {
        let Some(link) = self.get_mut(id) else { return };
        let was_half_open = link.direction == Direction::Inbound && link.state == State::Greeting;
        link.state = state;
        link.since = now;
        if was_half_open && state != State::Greeting {
            self.half_open -= 1;
        }
    }

    /// Frees a link's slot, once no action names the link any more.
    pub(crate) fn close(&mut self, id: LinkId) {
        self.set_state(id, State::Closing, Instant::ORIGIN);
        let Some(link) = self.get_mut(id) else { return };
        link.state = State::Ended;
        self.vacate_if_done(id);
    }

    /// Notes that an action that names a link waits to be polled.
    pub(crate) fn action_queued(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            link.actions += 1;
        }
    }

    /// Notes that an action that names a link was polled. Returns whether it still means something.
    pub(crate) fn action_polled(&mut self, id: LinkId, is_send: bool) -> bool {
        let Some(link) =
            self.slots.get_mut(id.index as usize).filter(|link| link.epoch == id.epoch)
        else {
            return false;
        };
        link.actions = link.actions.saturating_sub(1);
        link.send_asked &= !is_send;
        let means_something = link.exists();
        self.vacate_if_done(id);
        means_something
    }

    fn vacate_if_done(&mut self, id: LinkId) {
        let window = self.window;
        let Some(link) = self.slots.get_mut(id.index as usize) else { return };
        if link.state == State::Ended && link.actions == 0 {
            link.reset(window);
            self.vacant.push(id.index);
        }
    }

    pub(crate) fn id(&self, index: u32) -> Option<LinkId> {
        let link = self.slots.get(index as usize)?;
        link.exists().then_some(LinkId { index, epoch: link.epoch })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.slots.iter().zip(0..).filter_map(|(link, index)| {
            let id = LinkId { index, epoch: link.epoch };
            link.exists().then_some((id, link))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const WINDOW: Window = Window { messages: 3, bytes: 100 };
    const NOW: Instant = Instant::ORIGIN;

    fn transfer(number: u64, len: u32) -> Transfer {
        let cargo = Cargo::Message { key: MessageKey { index: 0, epoch: 0 }, len };
        Transfer { number, attempt: Attempt::First, cargo, friend: None, sent: NOW }
    }

    #[test]
    fn one_answer_says_all_that_was_taken_in_a_row() {
        let mut link = Link::new(WINDOW);
        let refused = Outcome::Refused(RefusedReason::Busy);
        for (number, outcome) in [Outcome::Taken, Outcome::Taken, refused, refused, Outcome::Taken]
            .into_iter()
            .enumerate()
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
        let mut link = Link::new(WINDOW);
        assert!(!link.is_full());
        link.outbox.push_back(transfer(1, 10));
        link.outbox_bytes = 10;
        link.window.push_back(transfer(0, 89));
        link.window_bytes = 89;
        assert!(!link.is_full(), "one byte is left");
        link.outbox_bytes = 11;
        assert!(link.is_full(), "bytes");
        (link.outbox_bytes, link.window_bytes) = (0, 0);
        link.outbox.push_back(transfer(2, 0));
        assert!(link.is_full(), "messages");
    }

    #[test]
    fn a_link_wants_to_send_what_it_may_send_now() {
        let mut link = Link::new(WINDOW);
        link.state = State::Greeting;
        assert!(!link.wants_transmit());
        link.outbox.push_back(transfer(0, 60));
        assert!(!link.wants_transmit(), "hellos first");
        link.hello_due = true;
        assert!(link.wants_transmit());
        link.hello_due = false;
        link.state = State::Open;
        assert!(link.wants_transmit());
        link.window.push_back(transfer(1, 60));
        link.window_bytes = 60;
        assert!(!link.wants_transmit(), "it waits for the window");
        link.answer(9, Outcome::Taken, 0);
        assert!(link.wants_transmit(), "answers never wait");
        link.answers.clear();
        link.farewell_due = Some(Farewell::Idle);
        assert!(link.wants_transmit());
    }

    #[test]
    fn a_link_is_idle_when_nothing_is_unanswered_in_either_direction() {
        let mut link = Link::new(WINDOW);
        assert!(link.is_idle());
        link.outbox.push_back(transfer(0, 1));
        assert!(!link.is_idle());
        let sent = link.outbox.pop_front();
        link.window.extend(sent);
        assert!(!link.is_idle());
        link.window.clear();
        link.undecided.push_back(Incoming { transfer: 0, len: 0, offer: None, outcome: None });
        assert!(!link.is_idle());
        link.undecided.clear();
        link.answer(0, Outcome::Taken, 0);
        assert!(!link.is_idle());
        link.answers.clear();
        link.partial.head.push(0);
        assert!(!link.is_idle());
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
        link.peer = Some(PeerId { index: 1, epoch: 1 });
        link.identity = Some(Fingerprint([1; 32]));
        link.granted = Window { messages: 9, bytes: 9 };
        (link.is_ignored, link.hello_due, link.send_asked) = (true, true, true);
        link.farewell_due = Some(Farewell::Idle);
        link.outbox.push_back(transfer(0, 1));
        link.window.push_back(transfer(0, 1));
        (link.outbox_bytes, link.window_bytes) = (1, 1);
        (link.unanswered, link.unanswered_bytes) = (1, 1);
        link.partial.head.push(0);
        link.undecided.push_back(Incoming { transfer: 0, len: 0, offer: None, outcome: None });
        link.answer(0, Outcome::Taken, 0);
        links.close(first);
        let second = links.open(Direction::Outbound, NOW).unwrap();
        let link = links.get(second).unwrap();
        assert_eq!((link.peer, link.identity, link.granted), (None, None, WINDOW));
        assert!(!link.is_ignored && !link.hello_due && !link.send_asked);
        assert_eq!(link.farewell_due, None);
        assert_eq!((link.outbox_bytes, link.window_bytes), (0, 0));
        assert_eq!((link.unanswered, link.unanswered_bytes), (0, 0));
        assert!(link.is_idle());
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
}
