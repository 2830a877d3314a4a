//! An observer of one tower, which checks the laws of the protocol.
//!
//! The observer knows what can be seen from outside: the inputs, the actions, the bytes in both
//! directions, and what the getters return. It compares the getters before and after each input,
//! and asks whether the input explains the difference. It does not predict what the tower decides
//! freely, such as which peer gets a message.

mod frames;
mod holds;
mod lifetimes;
mod messages;
mod notices;
mod peers;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::mem;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::{
    Action, Address, CloseMode, CloseReason, Config, EnqueueError, EnqueueOptions, Event,
    HeldMessage, Instant, IoCause, Lifetime, LinkId, LinkInfo, Message, MessageId, MessageState,
    Nonce, OfferId, Peer, Screening, ShutdownProgress, StateMachine, Status, Tower, Verdict,
    WakeupReason,
};
use frames::{Sent, Taken};
use messages::{Copied, Offer};
use notices::Told;

pub(super) use frames::Link;

/// A message by its name and its content.
pub(super) type Content = (Nonce, Message);

/// What the getters return.
#[derive(Default)]
struct View {
    held: BTreeMap<MessageId, HeldMessage>,
    peers: BTreeMap<Address, Peer>,
    links: BTreeMap<LinkId, LinkInfo>,
}

impl View {
    fn of(tower: &Tower) -> Self {
        let view = Self {
            held: tower.peek().map(|held| (held.id, held)).collect(),
            peers: tower.survey().map(|peer| (peer.address.clone(), peer)).collect(),
            links: tower.links().map(|link| (link.id, link)).collect(),
        };
        assert!(view.held.values().all(|held| tower.message(held.id).as_ref() == Some(held)));
        assert!(view.peers.iter().all(|(at, peer)| tower.find(at).as_ref() == Some(peer)));
        assert!(view.links.values().all(|link| tower.link(link.id).as_ref() == Some(link)));
        let (held, peers, links) =
            (tower.peek().count(), tower.survey().count(), tower.links().count());
        assert_eq!((view.held.len(), view.peers.len(), view.links.len()), (held, peers, links));
        view
    }

    fn status(&self, address: &Address) -> Option<Status> {
        self.peers.get(address).map(|peer| peer.status)
    }

    fn is_ignored(&self, address: Option<&Address>) -> bool {
        address.and_then(|address| self.status(address)) == Some(Status::Ignored)
    }

    /// Returns whether a link is closing or has ended.
    fn is_closing(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|link| link.is_closing)
    }

    fn peer_of(&self, link: LinkId) -> Option<&Address> {
        self.links.get(&link)?.peer.as_ref()
    }

    fn in_flight_to(&self, peer: &Address) -> usize {
        self.held.values().filter(|held| recipient(held) == Some(peer)).count()
    }

    /// Returns the messages with this content, except those under screening.
    fn copies<'a>(&'a self, content: &'a Content) -> impl Iterator<Item = &'a HeldMessage> {
        self.held.values().filter(|held| offer(held).is_none() && is(held, content))
    }
}

fn is(held: &HeldMessage, content: &Content) -> bool {
    held.nonce == content.0 && held.message == content.1
}

fn recipient(held: &HeldMessage) -> Option<&Address> {
    match &held.state {
        MessageState::InFlight { to } => to.as_ref(),
        _ => None,
    }
}

fn offer(held: &HeldMessage) -> Option<OfferId> {
    match held.state {
        MessageState::Offered { offer } => Some(offer),
        _ => None,
    }
}

/// Returns when the lifetime of a message is over.
fn end(held: &HeldMessage) -> Instant {
    held.expires_at.unwrap_or(Instant::FAR_FUTURE)
}

/// What one input is about.
#[derive(Default, PartialEq, Eq)]
enum Input {
    #[default]
    Other,
    Accept,
    /// Something happened on a link.
    Link(LinkId),
    /// The terminal event of a link.
    End(LinkId),
    Timer,
    Announce(Address),
    Ignore(Address),
    Unignore(Address),
    Forget(Address),
    Decide(MessageId, Verdict),
}

/// A peer's confirmation of a transfer of the tower.
struct Confirmation {
    /// `None` for an announce.
    content: Option<Content>,
    to: Address,
    /// Whether the tower still listens on the link for sure.
    is_certain: bool,
}

/// One input, and what it may lead to.
#[derive(Default)]
struct Step {
    input: Input,
    /// Messages that may enter.
    entering: Vec<Content>,
    /// When the lifetimes of messages from a peer are over.
    ends: Vec<(Content, Instant)>,
    /// When the lifetime of a message of the application is over: the earliest and the latest time.
    drawn_ends: Option<[Instant; 2]>,
    /// For how long a message of the application rests.
    hold: Duration,
    /// The length of a message of the application that was enqueued.
    len: Option<usize>,
    /// A message that enters with a new name.
    replacement: Option<Message>,
    confirmed: Vec<Confirmation>,
    /// Messages that the peer refused.
    refused: Vec<Content>,
    /// Addresses that may become peers.
    named: Vec<Address>,
    /// A peer of which a frame came that may be a success.
    heard: Option<Address>,
    /// A peer that was not reached, or whose link broke before it answered.
    failed: Option<Address>,
    /// A peer that refused something, and whether it said that it ignores this tower.
    refused_by: Option<(Address, bool)>,
    /// No shutdown had begun.
    was_running: bool,
    /// The link has ended: nothing may follow.
    is_stale: bool,
    /// How many frames came.
    frames: usize,
    /// Peers whose links began to close or ended.
    closed: Vec<Address>,
    /// Those of them whose links may have carried unconfirmed messages.
    in_doubt: Vec<Address>,
}

impl Step {
    fn of(input: Input) -> Self {
        Self { input, ..Self::default() }
    }
}

/// A tower, and what was seen of it. See the [module](self).
pub(super) struct Observer {
    pub(super) tower: Tower,
    pub(super) now: Instant,
    config: Config,
    view: View,
    /// The links that have not ended, the oldest first.
    pub(super) links: Vec<Link>,
    pub(super) last_ended: Option<LinkId>,
    link_ids: BTreeSet<LinkId>,
    /// The tower's own incarnation, if it has sent a hello.
    pub(super) incarnation: Option<u64>,
    /// Messages that were enqueued.
    pub(super) enqueued: Vec<Content>,
    swallowed: u64,
    stale_events: u64,
    /// Every message that was ever held.
    contents: BTreeMap<MessageId, Content>,
    /// Names that several messages had at one time. Copies of such messages need not coalesce.
    shared_nonces: BTreeSet<Nonce>,
    offers: BTreeMap<MessageId, Offer>,
    /// Messages at rest, and when their holds end.
    holds: BTreeMap<MessageId, Instant>,
    copied: Vec<Copied>,
    /// Transfers that may have been taken.
    maybe_taken: BTreeSet<frames::Name>,
    taken: Vec<Taken>,
    /// Datagrams that came in, and were not taken or dropped.
    datagrams: VecDeque<(LinkId, Vec<u8>)>,
    /// Every transfer that the tower has sent, by the number of its link and its own.
    sent: BTreeMap<(u64, u64), Sent>,
    /// Until when peers are left alone at least.
    resting: BTreeMap<Address, Instant>,
    told: Told,
    /// How many messages were handed to peers.
    departed: u128,
    /// How many messages left because a peer confirmed them.
    delivered: u64,
    /// How many messages left because their time was over.
    expired: u64,
    /// How many copies were taken for held messages before the current input.
    coalesced: u64,
    /// How many messages stayed when a peer confirmed them: at least, and at most.
    kept: [u64; 2],
    is_running: bool,
    /// Whether all actions were polled before the last input.
    is_drained: bool,
    /// A hash of all actions and bytes, if it is wanted.
    pub(super) trace: Option<u64>,
}

impl Observer {
    pub(super) fn new(tower: Tower, is_traced: bool) -> Self {
        Self {
            config: tower.config().clone(),
            tower,
            now: Instant::ORIGIN,
            view: View::default(),
            links: Vec::new(),
            last_ended: None,
            link_ids: BTreeSet::new(),
            incarnation: None,
            enqueued: Vec::new(),
            swallowed: 0,
            stale_events: 0,
            contents: BTreeMap::new(),
            shared_nonces: BTreeSet::new(),
            offers: BTreeMap::new(),
            holds: BTreeMap::new(),
            copied: Vec::new(),
            maybe_taken: BTreeSet::new(),
            taken: Vec::new(),
            datagrams: VecDeque::new(),
            sent: BTreeMap::new(),
            resting: BTreeMap::new(),
            told: Told::default(),
            departed: 0,
            delivered: 0,
            expired: 0,
            coalesced: 0,
            kept: [0; 2],
            is_running: true,
            is_drained: true,
            trace: is_traced.then_some(0),
        }
    }

    // Inputs.

    pub(super) fn accept(&mut self, now: Instant) -> Option<LinkId> {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.apply(now, Step::of(Input::Accept), |tower, _| tower.accept(from, now).ok())
    }

    pub(super) fn handle(&mut self, event: Event<'_>, now: Instant) {
        let mut step = Step::default();
        let lost = |cause| Some(CloseReason::Io(cause));
        let (link, input, reason) = match event {
            Event::Connected { link, .. } => (link, Input::Link(link), None),
            Event::BytesArrived { link, .. } => (link, Input::Link(link), None),
            Event::Finished { link } => (link, Input::Link(link), Some(CloseReason::Truncated)),
            Event::ConnectFailed { link, cause } | Event::Lost { link, cause } => {
                (link, Input::End(link), lost(cause))
            }
            Event::Closed { link } => (link, Input::End(link), lost(IoCause::Other)),
            Event::AcceptFailed { .. } => {
                return self.apply(now, step, |tower, _| tower.handle(event, now));
            }
            Event::TimerFired => {
                let step = Step::of(Input::Timer);
                return self.apply(now, step, |tower, _| tower.handle(event, now));
            }
        };
        // The other side of a dial hangs up before its hello.
        let info = self.view.links.get(&link).filter(|info| !info.is_inbound && !info.is_open);
        let is_connected = self.links.iter().any(|it| it.id == link && it.connected_at.is_some());
        let reason = match reason {
            Some(CloseReason::Truncated) if info.is_some() => Some(CloseReason::HungUp),
            Some(CloseReason::Io(IoCause::Reset)) if info.is_some() && is_connected => {
                Some(CloseReason::HungUp)
            }
            reason => reason,
        };
        step.input = input;
        let at = self.now.max(now);
        let is_stale = !self.view.links.contains_key(&link);
        if let Event::BytesArrived { bytes, .. } = event {
            self.read(link, bytes, at, &mut step);
        } else if let Some(record) = self.links.iter_mut().find(|record| record.id == link) {
            if reason.is_none() {
                record.connected_at.get_or_insert(at);
            } else if record.closed_at.is_none() {
                record.reason = reason;
            }
        }
        if let Input::End(id) = step.input
            && !matches!(reason, Some(CloseReason::Io(cause)) if cause.is_local())
        {
            step.failed = self.peer_of_failed(id);
        }
        self.stale_events += u64::from(is_stale);
        step.is_stale = is_stale && self.is_running;
        self.apply(now, step, |tower, _| tower.handle(event, now));
    }

    pub(super) fn enqueue(&mut self, message: Message, options: EnqueueOptions, now: Instant) {
        let (len, copy) = (message.len(), message.clone());
        let usage = self.tower.queue_usage();
        let share = |whole: usize| whole * usize::from(self.config.local_share) / 100;
        let has_place = usage.messages < share(self.config.max_queue_messages);
        let bytes = usage.bytes + len;
        let (max, max_bytes) = (self.config.max_message, share(self.config.max_queue_bytes));
        let unpolled = self.told.most_unpolled_bytes();
        let is_running = self.is_running;
        let at = self.now.max(now);
        let ends = match options.lifetime {
            Some(lifetime) => [self.end_of(Lifetime::new(lifetime), at); 2],
            None => self.drawn_ends(at),
        };
        let step = Step { drawn_ends: Some(ends), hold: options.hold, ..Step::default() };
        let result = self.apply(now, step, |tower, step| {
            let result = tower.enqueue_with(message, options, now);
            step.len = result.is_ok().then_some(len);
            step.entering.extend(result.as_ref().ok().map(|nonce| (*nonce, copy.clone())));
            result
        });
        match result {
            Ok(nonce) => {
                assert!(is_running && len <= max && has_place && bytes <= max_bytes, "no room");
                self.enqueued.push((nonce, copy));
                assert_eq!(self.tower.stats().enqueued, self.enqueued.len() as u64);
            }
            Err(refused) => {
                assert_eq!(refused.message, copy);
                match refused.reason {
                    EnqueueError::ShuttingDown => assert!(!is_running),
                    EnqueueError::TooLarge { max: told } => assert!(told == max && len > max),
                    EnqueueError::Full => {
                        let is_full = !has_place || bytes + unpolled > max_bytes;
                        assert!(is_full, "{bytes} and {unpolled} bytes are less than {max_bytes}");
                    }
                }
            }
        }
    }

    pub(super) fn expand(&mut self, address: &Address, now: Instant) {
        let step = Step { named: Vec::from([address.clone()]), ..Step::default() };
        let result = self.apply(now, step, |tower, _| tower.expand(address, now));
        self.check_peer_verb(address, result);
    }

    pub(super) fn announce(&mut self, address: &Address, now: Instant) {
        let mut step = Step::of(Input::Announce(address.clone()));
        step.named.push(address.clone());
        let result = self.apply(now, step, |tower, _| tower.announce(address, now));
        self.check_peer_verb(address, result);
    }

    pub(super) fn ignore(&mut self, address: &Address, now: Instant) {
        let mut step = Step::of(Input::Ignore(address.clone()));
        step.named.push(address.clone());
        let result = self.apply(now, step, |tower, _| tower.ignore(address, now));
        let is_ignored = self.view.is_ignored(Some(address));
        assert!(result.is_err() || is_ignored, "the peer is not ignored");
    }

    pub(super) fn unignore(&mut self, address: &Address, now: Instant) {
        let was_ignored = self.view.is_ignored(Some(address));
        let step = Step::of(Input::Unignore(address.clone()));
        let result = self.apply(now, step, |tower, _| tower.unignore(address, now));
        assert_eq!(result, was_ignored);
    }

    /// Sends a datagram on a link, and takes one that came in.
    pub(super) fn exchange_datagrams(&mut self, link: LinkId, body: Vec<u8>, now: Instant) {
        let copy = body.clone();
        let sent = self.apply(now, Step::default(), |tower, _| {
            tower.datagram(crate::To::Link(link), body, now)
        });
        if sent.is_ok()
            && let Some(link) = self.links.iter_mut().find(|record| record.id == link)
        {
            link.datagrams.push_back(copy);
        }
        let taken = self.apply(now, Step::default(), |tower, _| tower.take_datagram());
        if let Some(taken) = taken {
            // Those before it were dropped.
            let is_it = |it: &(LinkId, Vec<u8>)| it.0 == taken.link && it.1 == taken.body[..];
            let place = self.datagrams.iter().position(is_it);
            let place = place.unwrap_or_else(|| panic!("{taken:?} did not come in"));
            self.datagrams.drain(..=place);
        }
    }

    pub(super) fn forget(&mut self, address: &Address, now: Instant) {
        let was_known = self.view.peers.contains_key(address);
        let step = Step::of(Input::Forget(address.clone()));
        let result = self.apply(now, step, |tower, _| tower.forget(address, now));
        assert_eq!(result, was_known);
        assert!(!self.view.peers.contains_key(address), "the peer is not forgotten");
    }

    pub(super) fn decide(&mut self, offer: OfferId, verdict: &Verdict, now: Instant) {
        let was_open = self.offers.contains_key(&offer.0);
        let mut step = Step::of(Input::Decide(offer.0, verdict.clone()));
        step.drawn_ends = Some(self.drawn_ends(self.now.max(now)));
        let result = self.apply(now, step, |tower, step| {
            let result = tower.decide(offer, verdict.clone(), now);
            match (verdict, &result) {
                (Verdict::Replace(message), Ok(())) => step.replacement = Some(message.clone()),
                (_, Err(_)) => step.input = Input::Other,
                _ => {}
            }
            result
        });
        let is_gone = result == Err(crate::DecideError::Gone);
        assert_eq!(is_gone, !was_open, "{result:?}");
        self.swallowed += u64::from(result.is_ok() && *verdict == Verdict::Swallow);
    }

    pub(super) fn shutdown(&mut self, now: Instant) {
        self.apply(now, Step::default(), |tower, _| tower.shutdown(now));
        assert_ne!(self.tower.shutdown_progress(), ShutdownProgress::Running);
    }

    /// Passes an input to the tower, and checks what follows.
    fn apply<T>(
        &mut self,
        now: Instant,
        mut step: Step,
        input: impl FnOnce(&mut Tower, &mut Step) -> T,
    ) -> T {
        self.now = self.now.max(now);
        let result = input(&mut self.tower, &mut step);
        self.tower.assert_consistent();
        step.was_running = self.is_running;
        self.told.is_changed_late |= !self.is_running
            && matches!(step.input, Input::Ignore(_) | Input::Unignore(_) | Input::Forget(_));
        self.is_running = self.tower.shutdown_progress() == ShutdownProgress::Running;
        let new = View::of(&self.tower);
        let old = mem::take(&mut self.view);
        // At an unlimited rate, each input drops the messages at the head whose time is over.
        let is_over = |held: &HeldMessage| !new.held.contains_key(&held.id) && self.may_end(held);
        let stays = old.held.values().filter(|held| !is_over(held));
        let is_same =
            stays.eq(new.held.values()) && old.peers == new.peers && old.links == new.links;
        assert!(is_same || !step.is_stale, "an event of a link that has ended changes something");
        self.check_links(&mut step, &old, &new);
        self.check_peers(&step, &old, &new);
        self.check_messages(&mut step, &old, &new);
        self.check_bounds(&new);
        self.check_counts(&new);
        self.view = new;
        self.is_drained = false;
        self.told.begin_poll();
        result
    }

    // Outputs.

    pub(super) fn poll(&mut self) -> Option<Action> {
        let wakeup = self.tower.next_wakeup();
        let says_so = wakeup.is_some_and(|wakeup| wakeup.reason == WakeupReason::Actions);
        let Some(action) = self.tower.poll_action() else {
            let wakeup = self.tower.next_wakeup();
            let is_quiet = wakeup.is_none_or(|wakeup| wakeup.reason != WakeupReason::Actions);
            assert!(is_quiet, "nothing to poll: {wakeup:?}");
            self.check_drained();
            self.is_drained = true;
            return None;
        };
        assert!(says_so, "{action:?} waits, and the wake-up is {wakeup:?}");
        self.hash(format!("{action:?}").as_bytes());
        match &action {
            Action::Connect { link, address, .. } => {
                let info = self.view.links.get(link).expect("a link that has not ended");
                let record = find(&mut self.links, *link);
                assert!(!mem::replace(&mut record.is_known, true), "dialled twice");
                assert!(info.peer.as_ref().is_none_or(|peer| peer == address), "{info:?}");
                assert!(!self.view.is_ignored(Some(address)) || info.is_closing, "ignored");
            }
            Action::Send { link } => find(&mut self.links, *link).wants_send = true,
            Action::Close { link, how, reason } => {
                let record = find(&mut self.links, *link);
                assert!(record.closed_at.is_some(), "{reason:?} closes a link that is not closing");
                record.closes += 1;
                if record.closes == 1 && !self.is_running {
                    // The link has waited for answers.
                    record.closed_at = Some(self.now);
                }
                match record.closes {
                    1 => assert!(
                        record.reason.is_none_or(|expected| expected == *reason),
                        "{:?} is closed because of {reason}",
                        record.reason
                    ),
                    2 => assert_eq!(*how, CloseMode::Abort),
                    _ => panic!("{link:?} is closed a third time"),
                }
                record.wants_send = *how == CloseMode::Flush;
                record.is_aborted |= *how == CloseMode::Abort;
            }
            Action::Screen { offer, message, from } => {
                let offered = self.view.held.get(&offer.0).expect("nothing to decide");
                assert_eq!((self::offer(offered), &offered.message), (Some(*offer), message));
                let Offer { link, from: claimed, was_shown, .. } =
                    self.offers.get_mut(&offer.0).expect("an open offer");
                assert!(!mem::replace(was_shown, true), "shown twice");
                assert_eq!(from, claimed, "{link:?}");
            }
            Action::Notify(notice) => self.on_notice(notice),
        }
        Some(action)
    }

    /// Adds bytes to the hash of the trace (FNV-1a).
    fn hash(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.trace {
            for byte in bytes {
                *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    // Laws.

    fn check_links(&mut self, step: &mut Step, old: &View, new: &View) {
        let slots: BTreeSet<_> = new.links.keys().map(|link| link.index()).collect();
        assert_eq!(slots.len(), new.links.len(), "two links have one index");
        for (id, info) in &new.links {
            let Some(before) = old.links.get(id) else {
                assert!(self.link_ids.insert(*id), "{id:?} is used again");
                assert!(id.index() < self.config.max_links);
                // At an unlimited rate, each call may contact a peer.
                assert!(!info.is_inbound || step.input == Input::Accept, "{id:?} came up");
                self.links.push(Link::new(*id, info, &self.config, self.now));
                continue;
            };
            assert_eq!(info.is_inbound, before.is_inbound);
            assert!(info.is_closing || !before.is_closing, "{id:?} is used again");
            let was_ignored = old.is_ignored(before.peer.as_ref());
            let has_moved = before.peer.is_some() && before.peer != info.peer && !was_ignored;
            assert!(info.is_closing || !has_moved, "{id:?} belongs to another peer");
            if info.is_open && !before.is_open && info.peer.is_some() {
                let is_other =
                    |link: &&mut Link| link.id != *id && new.peer_of(link.id) == info.peer.as_ref();
                self.links.iter_mut().filter(is_other).for_each(|link| link.is_overruled = true);
            }
            let hello = find(&mut self.links, *id).hello;
            let (is_greeted, is_guest) = (hello.is_some(), hello.is_some_and(|it| it.is_guest));
            assert!(!is_guest || info.peer.is_none(), "{info:?} of a guest");
            assert!(info.is_closing || info.is_open == is_greeted, "{info:?}");
        }
        for id in old.links.keys() {
            assert_eq!(new.links.contains_key(id), step.input != Input::End(*id), "{id:?}");
        }
        for id in self.links.iter().map(|link| link.id).collect::<Vec<_>>() {
            let record = find(&mut self.links, id);
            let is_closing = new.is_closing(id);
            assert!(is_closing || record.reason.is_none(), "{id:?} is not closed");
            let was_open = record.closed_at.is_none();
            let before = old.links.get(&id).or(new.links.get(&id)).expect("a link");
            if is_closing && (was_open || !self.is_running) {
                let peer = before.peer.as_ref().or(new.peer_of(id));
                step.closed.extend(peer.cloned());
                if record.may_be_in_doubt() {
                    step.in_doubt.extend(peer.cloned());
                }
            }
            if is_closing && was_open {
                self.on_closing(id, before, new);
            }
        }
        if let Input::End(id) = step.input
            && old.links.contains_key(&id)
        {
            self.links.retain(|record| record.id != id);
            self.last_ended = Some(id);
        }
    }

    fn check_bounds(&self, new: &View) {
        let (tower, config) = (&self.tower, &self.config);
        let usage = tower.queue_usage();
        let bytes = new.held.values().map(|held| held.message.len()).sum();
        let count =
            |test: fn(&HeldMessage) -> bool| new.held.values().filter(|it| test(it)).count();
        let waiting = count(|held| held.state == MessageState::Waiting);
        assert_eq!((usage.messages, usage.bytes, usage.waiting), (new.held.len(), bytes, waiting));
        let first: Vec<_> = tower.peek().take(waiting).collect();
        assert!(
            first.iter().all(|held| held.state == MessageState::Waiting),
            "the order of `peek`"
        );
        assert!(usage.messages <= config.max_held_messages());
        assert!(usage.bytes + self.told.least_unpolled_bytes() <= config.max_held_bytes());
        let max_offers = match config.screening {
            Screening::Off => 0,
            Screening::On { max_offers, .. } => max_offers,
        };
        let offers = count(|held| offer(held).is_some());
        assert_eq!(offers, tower.pending_screenings());
        assert!(offers <= max_offers && new.peers.len() <= config.max_peers);
        assert!(new.links.len() <= config.max_links);
    }

    fn check_counts(&self, new: &View) {
        let stats = self.tower.stats();
        assert!(stats.swallowed >= self.swallowed && stats.stale_events >= self.stale_events);
        let held = new.held.values().filter(|held| offer(held).is_none()).count() as u64;
        let came = stats.enqueued + stats.received - stats.coalesced;
        assert_eq!(came, held + self.delivered + self.expired, "{stats:?}");
        assert_eq!(stats.expired, self.expired);
        let [least, most] = self.kept.map(|kept| self.delivered + kept);
        assert!((least..=most).contains(&stats.delivered), "{stats:?}");
    }

    /// Checks that nothing is overdue, after all timers up to now have fired.
    pub(super) fn check_overdue(&self, now: Instant) {
        let times = &self.config.timeouts;
        let is_late = |since: Instant, limit: Duration| since + limit < now;
        for link in &self.links {
            let info = &self.view.links[&link.id];
            let connected = link.connected_at.unwrap_or(now);
            if let Some(at) = link.closed_at {
                let has_waited = is_late(at, 2 * times.close);
                assert!(!has_waited || link.is_aborted, "{info:?} was not aborted");
            } else if link.hello.is_none() {
                let late = link.connected_at.is_none() && is_late(link.began, times.connect);
                assert!(!late && !is_late(connected, times.handshake), "{info:?} is half-open");
            } else if let Some(oldest) = link.oldest_unconfirmed() {
                assert!(!is_late(oldest, times.confirm), "{info:?} is not confirmed");
            } else if link.is_settled() && !link.wants_send {
                assert!(!is_late(link.used, 2 * times.idle), "{info:?} is idle");
            }
        }
        self.check_holds_overdue(now);
        let waiting = self.view.held.values().filter(|it| it.state == MessageState::Waiting);
        let mut deadlines = waiting.filter_map(|held| held.expires_at);
        let is_overdue = deadlines.any(|at| is_late(at, Duration::from_secs(1)));
        assert!(!is_overdue || !self.is_running, "the time of a message is over");
        if let Screening::On { timeout, .. } = self.config.screening {
            let mut offers = self.offers.values();
            assert!(offers.all(|offer| !is_late(offer.at, timeout)), "an offer is overdue");
        }
    }
}

fn find(links: &mut [Link], id: LinkId) -> &mut Link {
    links.iter_mut().find(|link| link.id == id).unwrap_or_else(|| panic!("{id:?} has ended"))
}
