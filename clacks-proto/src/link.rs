//! One connection: how far it has come, what is unanswered on it in each direction, and its deadlines.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::Window;
use crate::ids::{Fingerprint, LinkId, MessageKey, PeerId};
use crate::reason::CloseReason;
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

    /// Whether the other side of it has not been heard yet.
    pub(crate) fn is_dialling(&self) -> bool {
        self.direction == Direction::Outbound
            && matches!(self.state, State::Connecting | State::Greeting)
    }

    /// Whether the driver still has to do with it.
    fn exists(&self) -> bool {
        !matches!(self.state, State::Vacant | State::Ended)
    }

    /// Whether it may be closed to make room: nothing of ours is on it, and nobody decides. Answers that the other side does not read
    /// are no reason to keep it.
    pub(crate) fn is_evictable(&self) -> bool {
        self.outbox.is_empty()
            && self.window.is_empty()
            && self.undecided.is_empty()
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
        (self.hello_due, self.send_asked) = (false, false);
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
mod tests;
