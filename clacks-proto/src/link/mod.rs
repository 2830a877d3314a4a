//! One connection: its codec, its unanswered transfers and its deadlines.
//!
//! A [`Link`] turns bytes and time into [`LinkEvent`]s, and transfers of the tower into bytes. It
//! knows nothing of peers, queues and other links. Each part has a file: the codec, the handshake,
//! the window of incoming transfers, the outgoing frames, the memory of taken transfers, and the
//! timers.

mod codec;
mod datagrams;
mod dedup;
mod handshake;
mod outgoing;
mod timer;
mod window;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use bytes::{BufMut, Bytes};
use core::num::NonZeroU64;

use crate::address::Address;
use crate::config::Config;
use crate::error::{CloseReason, IoCause, ProtocolError};
use crate::event::{CloseMode, Dialect};
use crate::ids::{Fingerprint, LinkId, MessageId, PeerId};
use crate::message::{Lifetime, Message, Nonce};
use crate::prefix::Prefix;
use crate::time::Instant;
use crate::wire::{AnnounceFrame, Farewell, Frame, Hello, MAX_DATAGRAM, MessageFrame};

use codec::Codec;
pub(crate) use codec::HAS_HTTP;
pub(crate) use datagrams::DatagramRefusal;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use dedup::MAX_RUNS;
use dedup::RefusedTransfers;
pub(crate) use dedup::{LinkName, MAX_RETRIED_LINKS, RetryMemory, leaves_no_doubt, lifetime};
use outgoing::Outgoing;
pub(crate) use outgoing::{MAX_RETRIES, Payload, Retry, Transfer};
use timer::{LinkTimer, TimerTable};
pub(crate) use window::Outcome;
use window::ReceiveWindow;

const NANOS_PER_MICRO: u64 = 1_000;

/// What links need to know of their own tower.
#[derive(Debug)]
pub(crate) struct Local {
    /// Shared by all towers that were made with it.
    pub(crate) config: Arc<Config>,
    pub(crate) address: Address,
    /// The key that this tower proves to others.
    pub(crate) identity: Option<Box<Fingerprint>>,
    /// A number drawn when the tower was made.
    pub(crate) incarnation: u64,
    /// Whether HTTP is spoken with peers that do not speak the native dialect.
    pub(crate) speaks_http: bool,
}

/// What the tower lends to a link that encodes transfers.
pub(crate) trait Content {
    /// Returns a message in flight.
    fn message(&self, id: MessageId) -> Option<HeldContent<'_>>;
    /// Draws the friend that a message names.
    fn friend(&mut self) -> Option<Address>;
    /// Draws the friends that an announce names.
    fn friends(&mut self) -> Vec<Address>;
    /// Returns the address of the peer to which the link leads.
    #[allow(dead_code, reason = "only HTTP needs it")]
    fn recipient(&self) -> Option<&Address>;
}

/// The fields of a message frame that come from the queue.
#[derive(Debug)]
pub(crate) struct HeldContent<'a> {
    pub(crate) nonce: Nonce,
    pub(crate) lifetime: Lifetime,
    pub(crate) message: &'a Message,
}

/// Takes the events of a link.
pub(crate) trait Router {
    fn local(&self) -> &Local;
    fn now(&self) -> Instant;
    fn on_link_event(&mut self, id: LinkId, link: &mut Session, event: LinkEvent<'_>);
}

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Dialled, not yet connected.
    Connecting,
    /// Connected. TLS and the other side's hello are awaited.
    Handshake,
    /// Hellos were exchanged.
    Open,
    /// This tower said goodbye, and waits for what is unanswered.
    Leaving(CloseReason),
    /// Bytes that arrive are ignored. The driver closes the connection, or has done so.
    Closed,
}

/// Which side made the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

/// Who handed over a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender<'a> {
    /// The peer that the link is known to lead to.
    Link,
    /// Each request names its sender (HTTP).
    #[allow(dead_code, reason = "only HTTP needs it")]
    Claimed(Option<&'a Address>),
}

/// An event on a link that the tower must handle. Borrows from the frame that caused it.
#[derive(Debug)]
pub(crate) enum LinkEvent<'a> {
    /// Nothing that the tower must handle.
    Handled,
    /// The link is open. The hello is the other side's, if its dialect has one.
    Opened(Option<&'a Hello<'a>>),
    /// The peer hands over a message. Answer with [`Session::answer`] or [`Session::defer`].
    Message(&'a MessageFrame<'a>, Sender<'a>),
    /// A datagram for the application.
    Datagram(&'a [u8]),
    /// The peer announces itself. Answer with [`Session::answer`].
    Announce(&'a AnnounceFrame, Sender<'a>),
    /// The peer answered a transfer.
    Settled(Transfer, Outcome),
    /// The link said goodbye, and waits for what is unanswered. No new transfers may be given to
    /// it.
    Leaving(Withdrawn),
    /// The link handles and sends no more frames.
    Closed(Box<Closed>),
    /// The driver did not close the connection in time.
    CloseTimedOut,
}

/// The transfers and messages that a closing link returns to the tower.
#[derive(Debug, Default)]
pub(crate) struct Withdrawn {
    /// Transfers that were not sent.
    pub(crate) unsent: VecDeque<Transfer>,
    /// Messages under screening. Their sender keeps them.
    pub(crate) offers: Vec<MessageId>,
    /// The number of datagrams that were not sent.
    pub(crate) datagrams: u32,
}

/// How a link has ended, and what it left unsettled.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) reason: CloseReason,
    /// How the driver must close the connection; `None` if the connection is gone.
    pub(crate) how: Option<CloseMode>,
    /// Whether the link was dialled and the other side sent nothing.
    pub(crate) is_unreached: bool,
    pub(crate) withdrawn: Withdrawn,
    /// A transfer on which the peer has decided, though its answer is not complete (HTTP).
    pub(crate) early: Option<(Transfer, Outcome)>,
    /// Transfers that were sent and not answered.
    pub(crate) unanswered: VecDeque<Transfer>,
    /// The number of the first of them.
    pub(crate) first_unanswered: u64,
    pub(crate) doubt: Doubt,
    /// The dialect that the peer turned out to speak.
    pub(crate) speaks: Option<Dialect>,
}

/// Whether transfers that were sent and not answered may have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    InDoubt,
    /// The other side said goodbye without answering them, or never got them.
    NotTaken,
}

/// The dial of a name that may have several addresses.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// The IP address to which the link is connected.
    pub(crate) at: Option<IpAddr>,
    /// The IP addresses at which another tower answered, or none that could be used.
    pub(crate) failed: Vec<IpAddr>,
    /// Why the first of these links was closed.
    pub(crate) reason: Option<CloseReason>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    codec: Codec,
    session: Session,
}

/// All of a link except its codec, from whose frames the events borrow.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    direction: Direction,
    /// The dialled peer, or the peer that the caller claims to be.
    pub(crate) peer: Option<PeerId>,
    /// Where the connection comes from or leads to.
    pub(crate) prefix: Prefix,
    /// The address that the caller claims, if it was not learned yet.
    pub(crate) unlearned: Option<Box<Address>>,
    /// The caller claims an address for which another key is pinned.
    pub(crate) is_disproved: bool,
    /// Where a dial of a name has led, once it is connected.
    pub(crate) route: Option<Box<Route>>,
    /// The link's number among the unproved links, if it is one.
    pub(crate) unproved: Option<NonZeroU64>,
    /// When the link last moved to the end of the list of links.
    pub(crate) listed: Instant,
    /// What TLS proved of the other side.
    identity: Option<Box<Fingerprint>>,
    /// The number that this tower drew for the link.
    pub(crate) number: u64,
    /// The incarnation and the number of the link in the other side's hello.
    pub(crate) name: LinkName,
    dialect: Dialect,
    incoming: ReceiveWindow,
    outgoing: Outgoing,
    timers: TimerTable,
    /// The peer has answered all transfers up to this number, the last one with this outcome.
    settling: Option<(u64, Outcome)>,
    /// The outcome of the oldest transfer, from a response that is not complete (HTTP).
    early_outcome: Option<Outcome>,
    /// The codec has bytes to send besides frames (HTTP).
    has_output: bool,
    /// The link is closed when all transfers that came in are answered (HTTP).
    closes_when_answered: bool,
    /// How long the link may be unused; less than configured if the peer asks for it (HTTP).
    idle: Duration,
    /// An [`Action::Send`](crate::Action::Send) for this link waits to be polled.
    pub(crate) send_queued: bool,
    /// When the tower will call [`Link::handle_timeout`].
    pub(crate) scheduled: Instant,
    /// The time from the last transfer that was answered to its answer, in microseconds.
    round_trip: u32,
    /// The longest datagram that the other side takes, in bytes. 0 if it takes none.
    datagram_max: u32,
    /// The cost of the datagrams of this link in the inbox of the tower.
    pub(crate) inbox_cost: u32,
    /// The other side called and claims no address.
    pub(crate) is_guest: bool,
    /// A message came in.
    has_brought_messages: bool,
    /// The number of links that transfers of this link have named as that of their first sending
    /// and that were not remembered.
    pub(crate) retried_links: u8,
    /// The driver was asked to abort the connection.
    is_aborted: bool,
    /// The link counts as busy in its peer's record.
    pub(crate) counts_as_busy: bool,
    /// The window of the link is full in its peer's record.
    pub(crate) counts_as_full: bool,
}

impl Link {
    /// Returns the link of an inbound connection. `number` is drawn for the link.
    pub(crate) fn inbound(number: u64, local: &Local, now: Instant) -> Self {
        let mut link = Self::new(number, Direction::Inbound, State::Handshake, local);
        _ = link.begin_handshake(local, now);
        link
    }

    /// Returns the link of a dial to `peer`, which spoke `dialect` last. `number` is drawn for the
    /// link.
    pub(crate) fn outbound(
        number: u64,
        peer: PeerId,
        dialect: Option<Dialect>,
        local: &Local,
        now: Instant,
    ) -> Self {
        let mut link = Self::new(number, Direction::Outbound, State::Connecting, local);
        let session = &mut link.session;
        session.peer = Some(peer);
        session.dialect = dialect.unwrap_or(Dialect::Native);
        session.outgoing.granted = codec::window(session.dialect, local.config.window);
        session.timers.set(LinkTimer::Connect, now + local.config.timeouts.connect);
        link
    }

    fn new(number: u64, direction: Direction, state: State, local: &Local) -> Self {
        let idle = local.config.timeouts.idle;
        let session = Session {
            state,
            direction,
            peer: None,
            prefix: Prefix::UNKNOWN,
            unlearned: None,
            is_disproved: false,
            route: None,
            unproved: None,
            listed: Instant::ORIGIN,
            identity: None,
            number,
            name: LinkName { incarnation: 0, number: 0 },
            dialect: Dialect::Native,
            incoming: ReceiveWindow::default(),
            outgoing: Outgoing::new(local.config.window),
            timers: TimerTable::default(),
            settling: None,
            early_outcome: None,
            has_output: false,
            closes_when_answered: false,
            idle,
            send_queued: false,
            scheduled: Instant::FAR_FUTURE,
            round_trip: 0,
            datagram_max: 0,
            inbox_cost: 0,
            is_guest: false,
            has_brought_messages: false,
            retried_links: 0,
            is_aborted: false,
            counts_as_busy: false,
            counts_as_full: false,
        };
        Self { codec: Codec::default(), session }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Handles bytes that arrived, and passes the events that follow to the router.
    #[inline(always)]
    pub(crate) fn handle_bytes(&mut self, id: LinkId, bytes: &[u8], router: &mut impl Router) {
        let Self { codec, session } = self;
        session.touch(router.now());
        codec.handle_bytes(bytes, id, session, router);
    }

    /// Handles all deadlines that have come, up to the first one with an event for the tower.
    pub(crate) fn handle_timeout(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        let Self { codec, session } = self;
        while let Some(timer) = session.timers.expire(now) {
            let abort = Some(CloseMode::Abort);
            let event = match timer {
                LinkTimer::Connect => {
                    let reason = CloseReason::ConnectTimeout;
                    session.close(reason, Doubt::NotTaken, abort, local, now)
                }
                LinkTimer::Handshake => match codec.handle_request_timeout(session, local, now) {
                    Some(event) => event,
                    None => {
                        let reason = CloseReason::HandshakeTimeout;
                        session.close(reason, Doubt::NotTaken, abort, local, now)
                    }
                },
                LinkTimer::Confirm => match session.confirm_deadline(local) {
                    Some(at) if at <= now => {
                        let reason = CloseReason::ConfirmTimeout;
                        session.close(reason, Doubt::InDoubt, abort, local, now)
                    }
                    later => {
                        session
                            .timers
                            .set(LinkTimer::Confirm, later.unwrap_or(Instant::FAR_FUTURE));
                        continue;
                    }
                },
                LinkTimer::Idle if session.state != State::Open => continue,
                LinkTimer::Idle if session.is_in_use() => {
                    // Not the link's own idle time, which an HTTP server may have set to zero.
                    session.timers.set(LinkTimer::Idle, now + local.config.timeouts.idle);
                    continue;
                }
                LinkTimer::Idle => {
                    session.close_gracefully(CloseReason::Idle, Farewell::Idle, local, now)
                }
                LinkTimer::Request => match codec.handle_request_timeout(session, local, now) {
                    Some(event) => event,
                    None => continue,
                },
                LinkTimer::Close => session.handle_close_timeout(local, now),
            };
            return event;
        }
        LinkEvent::Handled
    }

    /// Ends the wait for a close that is in progress. Returns the event of its time-out, unless the
    /// time is over already.
    pub(crate) fn abort_close(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        let session = &mut self.session;
        if session.timers.get(LinkTimer::Close) == Instant::FAR_FUTURE {
            return LinkEvent::Handled;
        }
        session.timers.stop(LinkTimer::Close);
        session.handle_close_timeout(local, now)
    }

    /// Handles the connection of a dialled link.
    pub(crate) fn handle_connected(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        debug_assert_eq!(self.session.state, State::Connecting, "a link is connected once");
        self.session.state = State::Handshake;
        self.session.timers.stop(LinkTimer::Connect);
        self.begin_handshake(local, now)
    }

    /// Handles the end of the stream.
    pub(crate) fn handle_finished(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        let Self { codec, session } = self;
        if session.state == State::Closed {
            return LinkEvent::Handled;
        }
        let reason = match codec.handle_finished(session) {
            CloseReason::Truncated if session.is_dialling() => CloseReason::HungUp,
            reason => reason,
        };
        // The other side sends no more, but may still read.
        session.close(reason, Doubt::InDoubt, Some(CloseMode::Flush), local, now)
    }

    /// Handles the end of the connection.
    pub(crate) fn handle_lost(
        &mut self,
        cause: IoCause,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        if self.session.state == State::Closed {
            return LinkEvent::Handled;
        }
        let is_shaking_hands =
            self.session.direction == Direction::Outbound && self.session.state == State::Handshake;
        let reason = match cause {
            IoCause::Reset if is_shaking_hands => CloseReason::HungUp,
            cause => CloseReason::Io(cause),
        };
        self.session.close(reason, Doubt::InDoubt, None, local, now)
    }

    /// Writes what the link has to send, as much as fits, and returns the number of bytes.
    #[inline]
    pub(crate) fn poll_transmit(
        &mut self,
        out: &mut impl BufMut,
        local: &Local,
        content: &mut impl Content,
        now: Instant,
    ) -> usize {
        let Self { codec, session } = self;
        let room = out.remaining_mut();
        codec.transmit(session, out, local, content, now);
        let written = room - out.remaining_mut();
        if written > 0 {
            session.touch(now);
        }
        written
    }
}

impl Session {
    /// Starts to load the queues of the link into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        self.outgoing.prefetch();
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn identity(&self) -> Option<&Fingerprint> {
        self.identity.as_deref()
    }

    /// Returns the dialled peer of an outbound link.
    pub(crate) fn dialled(&self) -> Option<PeerId> {
        self.peer.filter(|_| self.direction == Direction::Outbound)
    }

    /// Returns whether frames still matter.
    pub(crate) fn is_live(&self) -> bool {
        self.state != State::Closed
    }

    /// Returns whether new transfers may be given to the link.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.state, State::Connecting | State::Handshake | State::Open)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Returns whether the link is being closed.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Leaving(_) | State::Closed)
    }

    /// Returns whether the driver was asked to abort the connection: no other side can delay its
    /// end.
    pub(crate) fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// Returns whether the link was dialled and the other side has not been heard.
    pub(crate) fn is_dialling(&self) -> bool {
        self.direction == Direction::Outbound
            && matches!(self.state, State::Connecting | State::Handshake)
    }

    /// Returns whether the link may be closed to make room: nothing is unsettled on it. Answers
    /// that the other side does not read are no reason to keep it.
    pub(crate) fn is_evictable(&self) -> bool {
        self.is_open()
            && !self.is_unsettled()
            && !self.outgoing.is_mid_frame()
            && !self.outgoing.has_datagrams()
    }

    /// Returns the time from the last transfer that was answered to its answer, in nanoseconds.
    #[inline]
    pub(crate) fn round_trip(&self) -> u64 {
        u64::from(self.round_trip) * NANOS_PER_MICRO
    }

    /// Returns whether the window has no room for one more transfer.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.outgoing.is_full()
    }

    /// Returns whether the link carries transfers that are not settled.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns when [`Link::handle_timeout`] must be called.
    #[inline]
    pub(crate) fn next_timeout(&self) -> Instant {
        self.timers.next()
    }

    /// Returns whether the tower must be called for a send, a deadline or a load that has changed.
    #[inline]
    pub(crate) fn needs_attention(&self) -> bool {
        !self.send_queued && self.wants_transmit()
            || self.next_timeout() < self.scheduled
            || self.is_busy() != self.counts_as_busy
            || self.is_full() != self.counts_as_full
    }

    /// Returns whether there is something to send.
    #[inline]
    pub(crate) fn wants_transmit(&self) -> bool {
        self.outgoing.hello_due
            || self.incoming.has_answers()
            || self.outgoing.goodbye_due.is_some()
            || self.outgoing.is_mid_frame()
            || self.has_output
            || self.state == State::Open
                && (self.outgoing.may_send() || self.outgoing.has_datagrams())
    }

    /// Gives a transfer to the link.
    #[inline]
    pub(crate) fn give(&mut self, transfer: Transfer, local: &Local) {
        debug_assert!(self.is_usable(), "an ending link takes nothing");
        if self.outgoing.is_empty() && self.is_open() {
            self.timers.set(LinkTimer::Confirm, transfer.sent + local.config.timeouts.confirm);
        }
        self.outgoing.push(transfer);
    }

    /// Gives a datagram to the link. The datagrams that wait may cost `bound` bytes together.
    pub(crate) fn send_datagram(
        &mut self,
        body: Bytes,
        bound: usize,
    ) -> Result<(), DatagramRefusal> {
        let max = match self.state {
            State::Open => self.datagram_max,
            // The other side's hello decides.
            State::Connecting | State::Handshake => MAX_DATAGRAM,
            State::Leaving(_) | State::Closed => return Err(DatagramRefusal::Gone),
        };
        if max == 0 || !self.dialect.has_hello() {
            return Err(DatagramRefusal::NotTaken);
        }
        if !u32::try_from(body.len()).is_ok_and(|len| (1..=max).contains(&len)) {
            return Err(DatagramRefusal::Length { max });
        }
        self.outgoing.datagrams.get_or_insert_default().push(body, bound)
    }

    /// Drops the datagrams that the other side does not take, and returns their number.
    pub(crate) fn drop_long_datagrams(&mut self) -> u32 {
        let max = self.datagram_max;
        self.outgoing.datagrams.as_mut().map_or(0, |outbox| outbox.drop_longer(max))
    }

    /// Returns whether a datagram did not fit, and there is room again. Returns true once.
    #[inline]
    pub(crate) fn has_datagram_room_again(&mut self, bound: usize) -> bool {
        self.outgoing.datagrams.as_mut().is_some_and(|outbox| outbox.has_room_again(bound))
    }

    /// Returns whether an announce waits to be sent.
    pub(crate) fn has_unsent_announce(&self) -> bool {
        self.outgoing.has_unsent_announce()
    }

    /// Takes back the transfers that were not sent and for which `test` holds.
    pub(crate) fn take_unsent(&mut self, test: impl Fn(&Transfer) -> bool) -> Vec<Transfer> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.outgoing.take_unsent().into_iter().partition(test);
        kept.into_iter().for_each(|transfer| self.outgoing.push(transfer));
        taken
    }

    /// Answers the transfer that came in last, after all those before it.
    #[inline(always)]
    pub(crate) fn answer(&mut self, len: usize, outcome: Outcome) {
        self.incoming.answer(len, outcome);
    }

    /// Leaves the transfer that came in last unanswered until the application decides about its
    /// message.
    pub(crate) fn defer(&mut self, len: usize, message: MessageId) {
        self.incoming.defer(len, message);
    }

    /// Answers the transfer of a message about which the application decided. Returns whether the
    /// transfer waited for that.
    pub(crate) fn decide(&mut self, message: MessageId, outcome: Outcome, now: Instant) -> bool {
        self.touch(now);
        self.incoming.decide(message, outcome)
    }

    /// Returns whether a message came in on this link, and not only announces.
    pub(crate) fn has_brought_messages(&self) -> bool {
        self.has_brought_messages
    }

    /// Returns whether a transfer that came in on this link was taken.
    pub(crate) fn has_taken(&self, number: u64) -> bool {
        self.incoming.has_taken(number)
    }

    /// Returns what was taken on a link that has ended: the number of the last transfer, and those
    /// that were refused.
    pub(crate) fn take_taken(&mut self) -> (u64, RefusedTransfers) {
        self.incoming.take_taken()
    }

    /// Says goodbye. The link is closed when nothing is unanswered. Only for an open link.
    pub(crate) fn close_gracefully(
        &mut self,
        reason: CloseReason,
        farewell: Farewell,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        if !self.is_open() {
            return LinkEvent::Handled;
        }
        self.outgoing.goodbye_due = Some(farewell);
        if self.outgoing.sent() == 0 {
            return self.close(reason, Doubt::NotTaken, Some(CloseMode::Flush), local, now);
        }
        let withdrawn = self.withdraw();
        self.state = State::Leaving(reason);
        self.timers.stop_all();
        self.timers.set(LinkTimer::Close, now + local.config.timeouts.close);
        LinkEvent::Leaving(withdrawn)
    }

    /// Ends the link's part in the protocol. With `how` the driver is asked to close the
    /// connection; without, the connection is gone. Only for a live link.
    pub(crate) fn close(
        &mut self,
        reason: CloseReason,
        doubt: Doubt,
        how: Option<CloseMode>,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        debug_assert!(self.is_live(), "a link is closed once");
        let is_unreached = self.is_dialling();
        if !matches!(self.state, State::Open | State::Leaving(_))
            && self.outgoing.goodbye_due.is_none()
        {
            self.outgoing.hello_due = false;
        }
        let withdrawn = self.withdraw();
        let first_unanswered = self.outgoing.answered() + 1;
        let mut unanswered = self.outgoing.take_sent();
        let early = self.early_outcome.take();
        let early = early.and_then(|outcome| Some((unanswered.pop_front()?, outcome)));
        self.state = State::Closed;
        self.is_aborted = how == Some(CloseMode::Abort);
        self.settling = None;
        self.timers.stop_all();
        if how.is_some() {
            self.timers.set(LinkTimer::Close, now + local.config.timeouts.close);
        }
        LinkEvent::Closed(Box::new(Closed {
            reason,
            how,
            is_unreached,
            withdrawn,
            early,
            unanswered,
            first_unanswered,
            doubt,
            speaks: None,
        }))
    }

    /// Aborts a link at a time if it is closed and the driver has not ended it by then.
    pub(crate) fn hasten_close(&mut self, at: Instant) -> LinkEvent<'static> {
        let deadline = self.timers.get(LinkTimer::Close);
        if self.state == State::Closed && deadline < Instant::FAR_FUTURE {
            self.timers.set(LinkTimer::Close, at.min(deadline));
        }
        LinkEvent::Handled
    }

    /// Closes the link because the peer violated the protocol.
    pub(crate) fn close_for_misbehaviour(
        &mut self,
        reason: CloseReason,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        // A leaving link has sent its goodbye, which must be its last frame.
        if !matches!(self.state, State::Leaving(_)) {
            self.outgoing.goodbye_due = Some(Farewell::Misbehaved);
        }
        self.close(reason, Doubt::InDoubt, Some(CloseMode::Flush), local, now)
    }

    /// Sends a hello and a farewell before the link is closed, though the other side's hello has
    /// not arrived. Only after the TLS handshake.
    #[cfg(any(feature = "tls", feature = "simulation"))]
    pub(crate) fn refuse_key(&mut self) {
        self.outgoing.hello_due = true;
        self.outgoing.goodbye_due = Some(Farewell::OtherKey);
    }

    /// Sends a farewell before the link is closed, if it is open.
    pub(crate) fn say_goodbye(&mut self, farewell: Farewell) {
        if self.is_open() {
            self.outgoing.goodbye_due = Some(farewell);
        }
    }

    /// Notes that the link is used.
    #[inline]
    pub(crate) fn touch(&mut self, now: Instant) {
        if self.is_open() {
            self.timers.set(LinkTimer::Idle, now + self.idle);
        }
    }

    /// Returns whether bytes that arrive are read.
    fn reads(&self) -> bool {
        !matches!(self.state, State::Connecting | State::Closed)
    }

    /// Returns whether a transfer on an open link is unsettled.
    fn is_unsettled(&self) -> bool {
        self.is_busy() || self.incoming.is_pending()
    }

    /// Returns whether an open link is not idle: a transfer is unsettled, or a request is
    /// incomplete.
    fn is_in_use(&self) -> bool {
        self.is_unsettled() || self.timers.get(LinkTimer::Request) < Instant::FAR_FUTURE
    }

    fn handle_close_timeout(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        match self.state {
            State::Leaving(reason) => {
                self.close(reason, Doubt::InDoubt, Some(CloseMode::Abort), local, now)
            }
            _ => {
                self.is_aborted = true;
                LinkEvent::CloseTimedOut
            }
        }
    }

    fn withdraw(&mut self) -> Withdrawn {
        let offers = self.incoming.withdraw().collect();
        let datagrams = self.outgoing.datagrams.take().map_or(0, |outbox| outbox.len());
        Withdrawn { unsent: self.outgoing.take_unsent(), offers, datagrams }
    }

    fn confirm_deadline(&self, local: &Local) -> Option<Instant> {
        let oldest = self.outgoing.oldest().filter(|_| self.is_open())?;
        Some(oldest.sent + local.config.timeouts.confirm)
    }

    #[inline(always)]
    fn handle_frame<'a>(
        &mut self,
        frame: &'a Frame<'a>,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'a> {
        match frame {
            Frame::Message(frame) if self.is_open() => {
                self.handle_message(frame, Sender::Link, local, now)
            }
            Frame::Confirmed { through } => {
                self.handle_answer(*through, Outcome::Taken, local, now)
            }
            Frame::Announce(frame) if self.is_open() => {
                self.handle_announce(frame, Sender::Link, local, now)
            }
            // Transfers after our goodbye are not taken. The peer learns that from the goodbye.
            Frame::Message(_) | Frame::Announce(_) => LinkEvent::Handled,
            Frame::Refused { transfer, reason } => {
                self.handle_answer(*transfer, Outcome::Refused(*reason), local, now)
            }
            // The decoder of a fresh link accepts nothing but a hello.
            Frame::Hello(hello) if self.state == State::Handshake => {
                self.handle_hello(hello, local, now)
            }
            Frame::Hello(_) => self.violation(ProtocolError::HelloTwice, local, now),
            Frame::Datagram(body) if self.is_open() => LinkEvent::Datagram(body),
            Frame::Datagram(_) => LinkEvent::Handled,
            Frame::Goodbye { farewell } => {
                // Our goodbye lets the peer know that transfers without an answer were not taken.
                self.say_goodbye(*farewell);
                let reason = CloseReason::Goodbye(*farewell);
                self.close(reason, Doubt::NotTaken, Some(CloseMode::Flush), local, now)
            }
        }
    }

    #[inline(always)]
    fn handle_message<'a>(
        &mut self,
        frame: &'a MessageFrame<'a>,
        sender: Sender<'a>,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'a> {
        match self.open_transfer(frame.transfer, frame.body.len(), local, now) {
            Ok(()) => {
                self.has_brought_messages = true;
                LinkEvent::Message(frame, sender)
            }
            Err(closed) => closed,
        }
    }

    fn handle_announce<'a>(
        &mut self,
        frame: &'a AnnounceFrame,
        sender: Sender<'a>,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'a> {
        match self.open_transfer(frame.transfer, 0, local, now) {
            Ok(()) => LinkEvent::Announce(frame, sender),
            Err(closed) => closed,
        }
    }

    /// Counts a transfer that came in. The link is closed if the number is not the next one, or if
    /// the window does not admit the transfer.
    #[inline]
    fn open_transfer(
        &mut self,
        number: u64,
        len: usize,
        local: &Local,
        now: Instant,
    ) -> Result<(), LinkEvent<'static>> {
        if number != self.incoming.next() {
            Err(self.violation(ProtocolError::WrongNumber, local, now))
        } else if self.incoming.open(len, local.config.window) {
            Ok(())
        } else {
            Err(self.violation(ProtocolError::WindowExceeded, local, now))
        }
    }

    /// Handles the answer to the transfer `number`. Those before it that the peer has not answered
    /// are confirmed by it. [`settle`](Self::settle) passes them on.
    #[inline]
    fn handle_answer(
        &mut self,
        number: u64,
        outcome: Outcome,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        if !self.outgoing.awaits(number) {
            return self.violation(ProtocolError::UnknownTransfer, local, now);
        }
        self.settling = Some((number, outcome));
        LinkEvent::Handled
    }

    /// Settles the transfers that the last frame has answered, and closes the link if that was all
    /// it waited for.
    #[inline(always)]
    pub(crate) fn settle(&mut self, id: LinkId, router: &mut impl Router) {
        if let Some((number, outcome)) = self.settling.take() {
            self.settle_through(number, outcome, id, router);
        }
        let reason = match self.state {
            State::Leaving(reason) if self.outgoing.sent() == 0 => reason,
            State::Open if self.closes_when_answered && !self.incoming.is_pending() => {
                CloseReason::Goodbye(Farewell::Idle)
            }
            _ => return,
        };
        let flush = Some(CloseMode::Flush);
        let event = self.close(reason, Doubt::NotTaken, flush, router.local(), router.now());
        router.on_link_event(id, self, event);
    }

    fn settle_through(
        &mut self,
        number: u64,
        outcome: Outcome,
        id: LinkId,
        router: &mut impl Router,
    ) {
        while let Some(transfer) = self.outgoing.pop_sent(router.now()) {
            let is_last = self.outgoing.answered() == number;
            let outcome = if is_last { outcome } else { Outcome::Taken };
            if is_last {
                let time = router.now().as_nanos().saturating_sub(transfer.sent.as_nanos());
                self.round_trip = u32::try_from(time / NANOS_PER_MICRO).unwrap_or(u32::MAX);
            }
            router.on_link_event(id, self, LinkEvent::Settled(transfer, outcome));
            if is_last {
                break;
            }
        }
        let confirm = self.confirm_deadline(router.local()).unwrap_or(Instant::FAR_FUTURE);
        self.timers.set(LinkTimer::Confirm, confirm);
    }

    #[cold]
    fn violation(
        &mut self,
        error: ProtocolError,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        self.close_for_misbehaviour(CloseReason::Protocol(error), local, now)
    }
}

/// For [`Tower::assert_consistent`](crate::Tower::assert_consistent).
#[cfg(any(test, feature = "fuzzing"))]
impl Session {
    pub(crate) fn assert_consistent(&self) {
        self.outgoing.assert_consistent();
        self.incoming.assert_consistent();
        let is_counted = self.peer.is_some();
        assert_eq!(self.counts_as_busy, is_counted && self.is_live() && self.is_busy());
        assert!(!is_counted || self.counts_as_full == self.is_full());
    }

    /// Returns the number of the next transfer of the other side.
    #[cfg(all(test, feature = "tls"))]
    pub(crate) fn next_incoming(&self) -> u64 {
        self.incoming.next()
    }

    pub(crate) fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.outgoing.transfers()
    }

    pub(crate) fn offers(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.incoming.offers()
    }

    pub(crate) fn earliest_deadline(&self) -> Instant {
        self.timers.earliest()
    }
}

#[cfg(test)]
mod tests;
