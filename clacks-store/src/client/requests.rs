//! Requests that are under way: numbers, time-outs, rates and windows.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use clacks_proto::{Address, DatagramError, Instant, LinkId, To, Tower};

use rand::Rng;

use super::Route;
use super::collector::Wanted;
use super::survey::TowerId;
use crate::chunk::Tag;
use crate::protocol::{Body, Datagram};
use crate::rate::{Bucket, Rate};

/// The time after which a request to a neighbour is given up.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which a request through a stem is given up.
const STEM_TIMEOUT: Duration = Duration::from_secs(15);
/// The failures in a row after which a first hop is given up (guess).
pub(crate) const MAX_FAILURES: u32 = 8;

/// The time for which a tower is left alone after a failure (guess).
const REDIAL: Duration = Duration::from_millis(500);

/// How often the pause is doubled while a tower says that pieces come too fast: to 16 s.
const MAX_DOUBLINGS: u32 = 5;

/// A little less than a store allows each link: see [`StoreConfig`](crate::StoreConfig).
const REQUEST_RATE: Rate = Rate { burst: 200, per_second: 120 };
/// A little less than a store allows each link.
pub(crate) const PUBLISH_RATE: Rate = Rate { burst: 4_000, per_second: 240 };

/// The number of a contact in [`Requests`]. Numbers are not used again.
pub(crate) type ContactId = u32;

/// The contacts above which those that are not needed are forgotten.
const MAX_CONTACTS: usize = 4_096;

/// What a request is for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// The towers that the end of the way knows.
    Peers,
    /// The towers that the first hop knows.
    Near,
    List {
        tower: TowerId,
    },
    Fetch {
        tower: TowerId,
        wanted: Vec<Wanted>,
    },
    Publish {
        group: u32,
        place: u32,
        contact: ContactId,
    },
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    TimedOut,
    /// A hop of the stem says so.
    Lost,
    LinkEnded,
    /// The other side has no store.
    NotTaken,
}

/// Why a request is not sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The link or the rate has no room. A wake-up is set.
    Later,
    Failed(Failure),
}

/// A tower that this client dials.
#[derive(Debug)]
struct Contact {
    address: Address,
    /// The link that took the last request.
    link: Option<LinkId>,
    /// The link has no room for datagrams.
    full: Option<LinkId>,
    requests: Bucket,
    publishes: Bucket,
    /// The failures since the last answer. See [`Requests::failures`].
    failures: u32,
    /// After a failure, nothing is sent before this time.
    not_before: Instant,
    /// The pauses since the last piece that was not too fast.
    pauses: u32,
}

impl Contact {
    /// Notes a failure, and leaves the tower alone for a while. Failures at the same time are one.
    fn fail(&mut self, now: Instant) {
        if self.not_before <= now {
            self.failures += 1;
            self.not_before = now + REDIAL;
        }
    }
}

#[derive(Debug)]
struct Pending {
    contact: ContactId,
    link: LinkId,
    sent: Instant,
    deadline: Instant,
    ask: Ask,
}

/// How a request gets to a tower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) route: Route,
    /// The tower that is dialled.
    pub(crate) contact: ContactId,
    /// The hops of the stem.
    pub(crate) hops: u8,
    /// The tower at which the stem ends, or `None` for its last hop.
    pub(crate) target: Option<&'a Address>,
}

/// The requests under way and the towers that are dialled.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    contacts: BTreeMap<ContactId, Contact>,
    next_contact: ContactId,
    by_address: BTreeMap<Address, ContactId>,
    pending: BTreeMap<u32, Pending>,
    deadlines: BTreeSet<(Instant, u32)>,
    /// The chunks that are taken or published.
    chunks: u32,
    /// When a request that had no room may be tried again.
    retry_at: Option<Instant>,
    /// The mean time to the first answer.
    round_trip: Option<Duration>,
}

impl Requests {
    /// Returns the contact with an address.
    pub(crate) fn contact(&mut self, address: &Address) -> ContactId {
        if let Some(contact) = self.by_address.get(address) {
            return *contact;
        }
        let id = self.next_contact;
        self.next_contact += 1;
        let contact = Contact {
            address: address.clone(),
            link: None,
            full: None,
            requests: Bucket::default(),
            publishes: Bucket::default(),
            failures: 0,
            not_before: Instant::ORIGIN,
            pauses: 0,
        };
        self.contacts.insert(id, contact);
        self.by_address.insert(address.clone(), id);
        id
    }

    /// Forgets contacts if there are many. Those in `kept` stay. No request may be under way.
    pub(crate) fn shrink(&mut self, tower: &mut Tower, kept: &[ContactId], now: Instant) {
        if self.contacts.len() < MAX_CONTACTS || !self.pending.is_empty() {
            return;
        }
        self.contacts.retain(|id, _| kept.contains(id));
        let contacts = &self.contacts;
        self.by_address.retain(|address, id| {
            let is_kept = contacts.contains_key(id);
            if !is_kept {
                tower.forget(address, now);
            }
            is_kept
        });
    }

    pub(crate) fn address(&self, contact: ContactId) -> Option<&Address> {
        self.contacts.get(&contact).map(|contact| &contact.address)
    }

    /// Returns how often in a row a link to a tower ended, or a request that needs no other tower
    /// had no answer.
    pub(crate) fn failures(&self, contact: ContactId) -> u32 {
        self.contacts.get(&contact).map_or(0, |contact| contact.failures)
    }

    pub(crate) fn forgive(&mut self, contact: ContactId) {
        if let Some(contact) = self.contacts.get_mut(&contact) {
            contact.failures = 0;
        }
    }

    /// Returns the number of chunks that are taken or published.
    pub(crate) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Returns the mean time to the first answer.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Returns when the next request times out or can be tried again.
    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.retry_at).min()
    }

    /// Forgets the times at which requests are tried again. They are set again by what has no room.
    pub(crate) fn begin_turn(&mut self) {
        self.retry_at = None;
    }

    /// Sets a time at which to try again.
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Returns whether a request can be sent now. If not, a wake-up is set.
    pub(crate) fn is_ready(&mut self, contact: ContactId, is_publish: bool, now: Instant) -> bool {
        let Some(state) = self.contacts.get(&contact) else { return true };
        if state.full.is_some() {
            return false;
        }
        let has_token_at = if is_publish {
            state.publishes.ready_at(1, PUBLISH_RATE)
        } else {
            state.requests.ready_at(1, REQUEST_RATE)
        };
        let ready_at = has_token_at.max(state.not_before);
        if ready_at > now {
            self.wake_at(ready_at);
        }
        ready_at <= now
    }

    /// Sends a request.
    pub(crate) fn send(
        &mut self,
        tower: &mut Tower,
        way: Way<'_>,
        ask: Ask,
        body: &Body<'_>,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<(), NotSent> {
        let is_publish = matches!(ask, Ask::Publish { .. });
        if !self.is_ready(way.contact, is_publish, now) {
            return Err(NotSent::Later);
        }
        let failed = Err(NotSent::Failed(Failure::LinkEnded));
        let Some(contact) = self.contacts.get_mut(&way.contact) else { return failed };
        let Ok(peer) = tower.expand(&contact.address, now) else {
            contact.fail(now);
            return failed;
        };
        // A count would tell each first hop how many requests others got.
        let mut number = rng.next_u32();
        while self.pending.contains_key(&number) {
            number = rng.next_u32();
        }
        let bytes = match way.route {
            Route::Direct => Datagram { number, body: body.clone() }.encode(),
            Route::Stem => {
                let inner = body.encode_inner();
                let (hops, target) = (way.hops, way.target.cloned());
                Datagram { number, body: Body::Relay { hops, target, inner: &inner } }.encode()
            }
        };
        let link = match tower.datagram(To::Peer(peer), bytes, now) {
            Ok(link) => link,
            Err(DatagramError::Full) => {
                // The link is the one that a further datagram would take.
                let address = contact.address.clone();
                let mut links = tower.links();
                let link = links.find(|link| link.peer.as_ref() == Some(&address));
                contact.full = link.map(|link| link.id);
                self.wake_at(now + Duration::from_secs(1));
                return Err(NotSent::Later);
            }
            Err(DatagramError::NoLink) => {
                // An idle link was asked to make room.
                self.wake_at(now + Duration::from_millis(100));
                return Err(NotSent::Later);
            }
            Err(DatagramError::NotTaken | DatagramError::Length { .. }) => {
                contact.fail(now);
                return Err(NotSent::Failed(Failure::NotTaken));
            }
            Err(_) => {
                contact.fail(now);
                return failed;
            }
        };
        contact.link = Some(link);
        if is_publish {
            contact.publishes.spend(1, PUBLISH_RATE, now);
        } else {
            contact.requests.spend(1, REQUEST_RATE, now);
        }
        self.chunks += weight(&ask);
        let deadline = now + timeout(way.route);
        self.deadlines.insert((deadline, number));
        let pending = Pending { contact: way.contact, link, sent: now, deadline, ask };
        self.pending.insert(number, pending);
        Ok(())
    }

    /// Returns the request that a datagram answers.
    pub(crate) fn asked(&self, link: LinkId, number: u32) -> Option<&Ask> {
        self.pending.get(&number).filter(|pending| pending.link == link).map(|pending| &pending.ask)
    }

    /// Ends a request that was answered.
    pub(crate) fn complete(&mut self, number: u32, now: Instant) -> Option<Ask> {
        self.note_answer(number, now);
        self.remove(number).map(|(_, ask)| ask)
    }

    /// Ends a request for which a hop has no answer. The first hop is there.
    pub(crate) fn lose(&mut self, number: u32, now: Instant) -> Option<Ask> {
        let (contact, ask) = self.remove(number)?;
        self.note_failure(contact, &ask, now);
        Some(ask)
    }

    /// Notes the answer to one tag of a fetch. Returns the tower and the piece. The request ends
    /// with its last tag.
    pub(crate) fn receive(
        &mut self,
        number: u32,
        tag: Tag,
        route: Route,
        now: Instant,
    ) -> Option<(TowerId, Wanted)> {
        self.note_answer(number, now);
        let pending = self.pending.get_mut(&number)?;
        let Ask::Fetch { tower, wanted } = &mut pending.ask else { return None };
        let place = wanted.iter().position(|other| other.tag == tag)?;
        let answered = wanted.swap_remove(place);
        let (tower, is_complete) = (*tower, wanted.is_empty());
        self.chunks -= 1;
        self.deadlines.remove(&(pending.deadline, number));
        if is_complete {
            self.pending.remove(&number);
        } else {
            pending.deadline = now + timeout(route);
            self.deadlines.insert((pending.deadline, number));
        }
        Some((tower, answered))
    }

    /// Returns the next request that timed out.
    pub(crate) fn next_timeout(&mut self, now: Instant) -> Option<Ask> {
        let (at, number) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        let (contact, ask) = self.remove(number)?;
        self.note_failure(contact, &ask, now);
        Some(ask)
    }

    /// Ends the requests on a link that ended, or that takes no datagrams.
    pub(crate) fn end_link(&mut self, link: LinkId, now: Instant) -> Vec<Ask> {
        self.on_room(link);
        let pending = self.pending.iter().filter(|(_, pending)| pending.link == link);
        let numbers: Vec<_> = pending.map(|(number, _)| *number).collect();
        let ended: Vec<_> = numbers.into_iter().filter_map(|it| self.remove(it)).collect();
        // One failure for all of them.
        let contact = ended.first().and_then(|(contact, _)| self.contacts.get_mut(contact));
        if let Some(contact) = contact {
            contact.fail(now);
        }
        ended.into_iter().map(|(_, ask)| ask).collect()
    }

    /// Notes that a link has room again.
    pub(crate) fn on_room(&mut self, link: LinkId) {
        let contact = self.contacts.values_mut().find(|contact| contact.full == Some(link));
        if let Some(contact) = contact {
            contact.full = None;
        }
    }

    /// An address turned out to be another one of a known tower. Requests go to that one from now
    /// on, because each dial of the first would end like this.
    pub(crate) fn on_forgotten(&mut self, tower: &Tower, address: &Address) {
        let contacts = self.contacts.values_mut().filter(|contact| contact.address == *address);
        for contact in contacts {
            let link = contact.link.and_then(|link| tower.link(link));
            if let Some(kept) = link.and_then(|link| link.peer) {
                contact.address = kept;
            }
        }
    }

    /// Tries full links again, if a notice of their room was dropped.
    pub(crate) fn retry_full(&mut self) {
        self.contacts.values_mut().for_each(|contact| contact.full = None);
    }

    /// Forgets all requests. Answers to them are ignored.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.deadlines.clear();
        self.chunks = 0;
        self.retry_at = None;
    }

    fn remove(&mut self, number: u32) -> Option<(ContactId, Ask)> {
        let pending = self.pending.remove(&number)?;
        self.deadlines.remove(&(pending.deadline, number));
        self.chunks -= weight(&pending.ask);
        Some((pending.contact, pending.ask))
    }

    fn note_answer(&mut self, number: u32, now: Instant) {
        let Some(pending) = self.pending.get(&number) else { return };
        let passed = now.duration_since(pending.sent);
        self.round_trip = Some(mean(self.round_trip, passed));
        if let Some(contact) = self.contacts.get_mut(&pending.contact) {
            contact.failures = 0;
        }
    }

    /// Notes a failure. Inventories and chunks of a tower that is gone don't speak against the
    /// first hop.
    fn note_failure(&mut self, contact: ContactId, ask: &Ask, now: Instant) {
        let counts = matches!(ask, Ask::Peers | Ask::Publish { .. });
        if let Some(contact) = self.contacts.get_mut(&contact).filter(|_| counts) {
            contact.fail(now);
        }
    }

    /// Sends nothing for a while to a tower that says that pieces come too fast. The next pause is
    /// longer.
    pub(crate) fn pause(&mut self, contact: ContactId, now: Instant) {
        let contact = self.contacts.get_mut(&contact);
        if let Some(contact) = contact.filter(|contact| contact.not_before <= now) {
            contact.not_before = now + REDIAL * (1 << contact.pauses);
            contact.pauses = (contact.pauses + 1).min(MAX_DOUBLINGS);
        }
    }

    /// Notes that a piece was not too fast.
    pub(crate) fn end_pauses(&mut self, contact: ContactId) {
        if let Some(contact) = self.contacts.get_mut(&contact) {
            contact.pauses = 0;
        }
    }
}

/// Returns the number of chunks that a request moves.
fn weight(ask: &Ask) -> u32 {
    match ask {
        Ask::Peers | Ask::Near | Ask::List { .. } => 0,
        Ask::Fetch { wanted, .. } => u32::try_from(wanted.len()).unwrap_or(u32::MAX),
        Ask::Publish { .. } => 1,
    }
}

fn timeout(route: Route) -> Duration {
    match route {
        Route::Direct => DIRECT_TIMEOUT,
        Route::Stem => STEM_TIMEOUT,
    }
}

/// Returns the mean of times, with an eighth for the last one.
pub(crate) fn mean(mean: Option<Duration>, last: Duration) -> Duration {
    mean.map_or(last, |mean| mean * 7 / 8 + last / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_moves_by_an_eighth() {
        let second = Duration::from_secs(1);
        assert_eq!(mean(None, second), second);
        assert_eq!(mean(Some(second), second * 9), second * 2);
    }
}
