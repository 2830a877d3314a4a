//! One connection: how far it has come, what is unanswered on it in each direction, and its deadlines.

#[cfg(feature = "http")]
mod talk;
mod transfers;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::Window;
use crate::ids::{Epoch, Fingerprint, LinkId, MessageKey, PeerId};
use crate::reason::CloseReason;
use crate::room::{self, RareQueue};
use crate::time::Instant;
use crate::wire::{Decoder, Farewell, MAX_HEAD, RefusedReason};

#[cfg(feature = "http")]
pub(crate) use talk::{Asking, Talk};
pub(crate) use transfers::{Cargo, Transfer, Transfers};

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
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
}

/// Who made the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

/// What became of a transfer that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Refused(RefusedReason),
    /// It makes no sense. Only a request can be that and not end its link.
    #[cfg(feature = "http")]
    Malformed,
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
    pub(crate) count: u32,
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

/// The state of one link. It is given back when the link ends, and what only some links need is made when it is needed.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: State,
    pub(crate) direction: Direction,
    /// The dialled peer, or the one that an inbound link claims to be.
    pub(crate) peer: Option<PeerId>,
    /// What TLS proved.
    identity: Option<Box<Fingerprint>>,
    /// The other side's number in its hello.
    pub(crate) incarnation: u64,
    /// What the other side lets be unconfirmed.
    pub(crate) granted: Window,

    pub(crate) hello_due: bool,
    pub(crate) farewell_due: Option<Farewell>,
    /// An action that asks the driver to send waits to be polled.
    pub(crate) send_asked: bool,
    /// What we have for the other side.
    pub(crate) transfers: Transfers,
    /// The frame that is cut, if one ever was.
    partial: Option<Box<Partial>>,

    pub(crate) decoder: Decoder,
    /// What it needs when it does not speak the native dialect, or that is not yet known.
    #[cfg(feature = "http")]
    pub(crate) talk: Option<Box<Talk>>,
    /// Transfers that came in and are not decided, in their order on the link.
    pub(crate) undecided: RareQueue<Incoming>,
    /// Answers not yet handed to the driver.
    answers: VecDeque<Answer>,
    /// Transfers that came in and whose answer has not been handed to the driver.
    pub(crate) unanswered: u32,
    pub(crate) unanswered_bytes: usize,

    /// When the state began.
    pub(crate) since: Instant,
    /// When a frame last went either way.
    pub(crate) used: Instant,
}

impl Link {
    fn new(direction: Direction, window: Window, now: Instant) -> Self {
        Self {
            state: match direction {
                Direction::Inbound => State::Greeting,
                Direction::Outbound => State::Connecting,
            },
            direction,
            peer: None,
            identity: None,
            incarnation: 0,
            granted: window,
            hello_due: false,
            farewell_due: None,
            send_asked: false,
            transfers: Transfers::default(),
            partial: None,
            decoder: Decoder::default(),
            #[cfg(feature = "http")]
            talk: None,
            undecided: RareQueue::default(),
            answers: VecDeque::new(),
            unanswered: 0,
            unanswered_bytes: 0,
            since: now,
            used: now,
        }
    }

    /// What one link takes at most, in bytes: its place and its record, its own transfers (twice a window, where those in doubt
    /// are added to it), those that came in, a frame half received and the head of one half sent.
    pub(crate) const fn memory(window: usize, max_message: usize) -> usize {
        let record = size_of::<Self>() + size_of::<Fingerprint>() + size_of::<Partial>();
        let place = 2 * (size_of::<Slot>() + size_of::<u32>());
        let out = Transfers::memory(2 * window + 4);
        let back = room::MOST_SPARE * (window + 4) * size_of::<Answer>()
            + RareQueue::<Incoming>::memory(window + 4);
        let frame = MAX_HEAD + max_message;
        record + place + out + back + 2 * MAX_HEAD + frame
    }

    /// A word of each of its cache lines.
    pub(crate) fn look_ahead(&self) -> u64 {
        self.incarnation
            ^ self.since.as_nanos()
            ^ self.used.as_nanos()
            ^ self.unanswered_bytes as u64
            ^ self.answers.len() as u64
            ^ self.transfers.len() as u64
            ^ self.transfers.bytes() as u64
            ^ self.decoder.buffered() as u64
            ^ u64::from(self.hello_due)
            ^ u64::from(self.peer.is_some())
    }

    /// What TLS proved of the other side.
    pub(crate) fn identity(&self) -> Option<Fingerprint> {
        self.identity.as_deref().copied()
    }

    pub(crate) fn set_identity(&mut self, identity: Fingerprint) {
        self.identity = Some(Box::new(identity));
    }

    /// The frame that is cut, if one is.
    pub(crate) fn partial(&mut self) -> Option<&mut Partial> {
        self.partial.as_deref_mut().filter(|partial| !partial.is_empty())
    }

    /// Where to put a frame that is to be cut. The last one has gone.
    pub(crate) fn new_partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    fn is_mid_frame(&self) -> bool {
        self.partial.as_deref().is_some_and(|partial| !partial.is_empty())
    }

    /// Whether frames still matter on it.
    pub(crate) fn is_live(&self) -> bool {
        self.state != State::Closing
    }

    /// Whether the other side of it has not been heard yet.
    pub(crate) fn is_dialling(&self) -> bool {
        self.direction == Direction::Outbound
            && matches!(self.state, State::Connecting | State::Greeting)
    }

    /// Whether it may be closed to make room: nothing of ours is on it, and nobody decides. Answers that the other side does not read
    /// are no reason to keep it.
    pub(crate) fn is_evictable(&self) -> bool {
        self.transfers.is_empty() && self.undecided.is_empty() && !self.is_mid_frame()
    }

    /// Whether the window has no room for one more transfer.
    pub(crate) fn is_full(&self) -> bool {
        !self.granted.admits(self.transfers.len(), self.transfers.bytes(), 1)
    }

    /// Whether the next transfer may go out now.
    pub(crate) fn may_send(&self) -> bool {
        let transfers = &self.transfers;
        self.state == State::Open
            && transfers.next().is_some_and(|next| {
                self.granted.admits(transfers.sent(), transfers.sent_bytes(), next.len())
            })
    }

    pub(crate) fn wants_transmit(&self) -> bool {
        self.hello_due
            || self.farewell_due.is_some()
            || !self.answers.is_empty()
            || self.is_mid_frame()
            || self.may_send()
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
        room::for_one_more(&mut self.answers);
        self.answers.push_back(Answer { transfer, outcome, count: 1, bytes: len });
    }

    /// How many answers wait to be sent.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn unsent_answers(&self) -> usize {
        self.answers.len()
    }

    /// Takes the answer that goes out next.
    pub(crate) fn pop_answer(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        self.unanswered -= answer.count;
        self.unanswered_bytes -= answer.bytes;
        Some(answer)
    }
}

/// A place for a link. Its index is used again when the link has ended and no action names it any more.
#[derive(Debug)]
struct Slot {
    link: Option<Box<Link>>,
    epoch: Epoch,
    /// Actions that name the link and wait to be polled.
    actions: u8,
}

/// The links of a tower, live and closing.
#[derive(Debug)]
pub(crate) struct Links {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    capacity: u32,
    window: Window,
    /// Inbound links that have not said hello.
    half_open: u32,
}

impl Links {
    pub(crate) fn new(capacity: usize, window: Window) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        Self { slots: Vec::new(), vacant: Vec::new(), capacity, window, half_open: 0 }
    }

    /// Links in whatever state.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// How many more there may be.
    pub(crate) fn free(&self) -> usize {
        self.capacity as usize - self.len()
    }

    /// How many are to be free for those who come next. A caller whom a full tower turns away takes it for lost; where there are more peers than
    /// links that would happen all the time.
    pub(crate) fn reserve(&self) -> usize {
        self.capacity as usize / 16
    }

    pub(crate) fn half_open(&self) -> usize {
        self.half_open as usize
    }

    /// A new link, or `None` when all are taken.
    #[allow(clippy::cast_possible_truncation, reason = "Config::check keeps links within u32")]
    pub(crate) fn open(&mut self, direction: Direction, now: Instant) -> Option<LinkId> {
        let index = match self.vacant.pop() {
            Some(index) => index,
            None if self.slots.len() < self.capacity as usize => {
                room::for_one_more(&mut self.slots);
                self.slots.push(Slot { link: None, epoch: Epoch::FIRST, actions: 0 });
                (self.slots.len() - 1) as u32
            }
            None => return None,
        };
        let slot = &mut self.slots[index as usize];
        slot.link = Some(Box::new(Link::new(direction, self.window, now)));
        self.half_open += u32::from(direction == Direction::Inbound);
        Some(LinkId { index, epoch: slot.epoch })
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.epoch == id.epoch { slot.link.as_deref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slot_mut(id)?.link.as_deref_mut()
    }

    /// A link that still exchanges frames.
    pub(crate) fn live(&self, id: LinkId) -> Option<&Link> {
        let link = self.get(id)?;
        link.is_live().then_some(link)
    }

    pub(crate) fn live_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.get_mut(id)?;
        link.is_live().then_some(link)
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

    /// Ends a link, and frees its slot once no action names the link any more.
    pub(crate) fn close(&mut self, id: LinkId) {
        self.set_state(id, State::Closing, Instant::ORIGIN);
        if self.slot_mut(id).and_then(|slot| slot.link.take()).is_some() {
            self.vacate_if_done(id);
        }
    }

    /// Notes that an action that names a link waits to be polled.
    pub(crate) fn action_queued(&mut self, id: LinkId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.actions += 1;
        }
    }

    /// Notes that an action that names a link was polled. Returns whether it still means something.
    pub(crate) fn action_polled(&mut self, id: LinkId, is_send: bool) -> bool {
        let Some(slot) = self.slot_mut(id) else { return false };
        slot.actions = slot.actions.saturating_sub(1);
        match &mut slot.link {
            Some(link) => {
                link.send_asked &= !is_send;
                true
            }
            None => {
                self.vacate_if_done(id);
                false
            }
        }
    }

    /// Actions that name a link and wait to be polled.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn actions(&self, id: LinkId) -> u8 {
        self.slots
            .get(id.index as usize)
            .filter(|slot| slot.epoch == id.epoch)
            .map_or(0, |slot| slot.actions)
    }

    fn vacate_if_done(&mut self, id: LinkId) {
        let Some(slot) = self.slot_mut(id) else { return };
        if slot.link.is_none() && slot.actions == 0 {
            slot.epoch = slot.epoch.next();
            room::for_one_more(&mut self.vacant);
            self.vacant.push(id.index);
        }
    }

    fn slot_mut(&mut self, id: LinkId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.epoch == id.epoch).then_some(slot)
    }

    pub(crate) fn id(&self, index: u32) -> Option<LinkId> {
        let slot = self.slots.get(index as usize)?;
        slot.link.as_ref().map(|_| LinkId { index, epoch: slot.epoch })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let link = slot.link.as_deref()?;
            Some((LinkId { index, epoch: slot.epoch }, link))
        })
    }
}

#[cfg(test)]
mod tests;
