//! Contacts: a message never rides on a dial.
//!
//! Each tick draws a peer by the odds. A peer that is not alive is contacted: it is dialled and
//! gets an announce. Then an alive peer is drawn. If it has an open link, it gets the message. If
//! not, it is contacted as well, and the message goes to another alive peer with an open link in
//! the same tick. So an address at which nothing answers holds up no message. A tower without
//! messages contacts its new peers alone.
//!
//! Peers often go and return together. When an alive peer is found lost, another alive peer is
//! contacted at once. When a lost or dead peer returns, another lost or dead peer is
//! contacted.

use super::Tower;
use super::eligible::EligibleList;
use super::peers::Peers;
use super::selector::{Eligible, Selector};
use crate::config::Allowance;
use crate::event::Status;
use crate::ids::PeerId;
use crate::link::Payload;

/// With this many open links that this tower dialled, messages of contacts go over these alone.
/// Over all open links, peers that keep links to all towers would get more than their share. A
/// smaller number spreads messages less evenly while few peers can be reached. The value is a
/// guess.
const MIN_DIALLED: u32 = 8;

impl Tower {
    /// Returns whether messages go over open links alone.
    #[inline]
    pub(super) fn contacts_peers(&self) -> bool {
        self.local.config.contact_rate > 0
    }

    /// Draws a recipient for the message at the head, and contacts the drawn peer if it is not the
    /// recipient. Returns `None` if no peer can get a message now.
    #[inline]
    pub(super) fn draw_recipient(&mut self) -> Option<PeerId> {
        if !self.contacts_peers() {
            return self.draw();
        }
        let eligible = self.drawable();
        match draw_contact(&mut self.selector, &self.peers, eligible)? {
            Drawn::Linked(index) => return self.peers.id(index),
            Drawn::Unlinked(index) => return self.contact_and_redraw(index),
            Drawn::NotAlive(index) => self.contact(self.peers.id(index)?),
        }
        let alive = Eligible { alive: self.drawable().alive, ..Eligible::default() };
        match draw_contact(&mut self.selector, &self.peers, alive) {
            Some(Drawn::Linked(index)) => self.peers.id(index),
            Some(Drawn::Unlinked(index) | Drawn::NotAlive(index)) => self.contact_and_redraw(index),
            // A shutdown without alive peers hands messages to new ones.
            None => self.draw_linked(),
        }
    }

    /// Contacts a drawn new peer. The ticks of a tower without messages do this, so that towers get
    /// to know each other in a quiet network.
    #[cold]
    pub(super) fn contact_new(&mut self) {
        let new = Eligible { new: self.drawable().new, ..Eligible::default() };
        if self.contacts_peers()
            && let Some(Drawn::NotAlive(index)) = draw_contact(&mut self.selector, &self.peers, new)
            && let Some(peer) = self.peers.id(index)
        {
            self.contact(peer);
        }
    }

    /// Contacts a drawn peer. Returns another one, which has an open link.
    fn contact_and_redraw(&mut self, drawn: u32) -> Option<PeerId> {
        self.contact(self.peers.id(drawn)?);
        self.draw_linked()
    }

    /// Draws a peer by the odds. In a shutdown only alive peers are drawn, as long as there are
    /// any.
    #[inline]
    pub(super) fn draw(&mut self) -> Option<PeerId> {
        let (status, position) = self.selector.draw(self.drawable())?;
        self.peers.id(self.peers.eligible_at(status, position)?)
    }

    /// Draws a recipient among the peers with open links.
    #[inline]
    pub(super) fn draw_linked(&mut self) -> Option<PeerId> {
        let list = self.peers.eligible_list(self.recipients())?;
        self.peers.id(draw_linked(&mut self.selector, list)?)
    }

    /// Returns how many peers may be drawn now.
    #[inline]
    pub(super) fn drawable(&self) -> Eligible {
        let eligible = self.peers.eligible(self.local.config.max_probes);
        if self.phase.is_running() {
            return eligible;
        }
        match self.recipients() {
            Status::Alive => Eligible { alive: eligible.alive, ..Eligible::default() },
            _ if self.contacts_peers() => Eligible { new: eligible.new, ..Eligible::default() },
            _ => eligible,
        }
    }

    /// Returns the status of the peers that get messages: alive. A shutdown of a tower without
    /// alive peers hands its messages to new ones.
    #[inline]
    pub(super) fn recipients(&self) -> Status {
        if self.phase.is_running() || self.peers.counts().alive > 0 {
            Status::Alive
        } else {
            Status::New
        }
    }

    /// Returns how many peers with open links may get messages.
    #[inline]
    pub(super) fn linked(&self) -> u32 {
        self.peers.eligible_list(self.recipients()).map_or(0, EligibleList::linked)
    }

    /// Announces this tower to a peer, and dials the peer if need be. A shutdown only dials. Does
    /// nothing if the peer is being dialled, or is alive and has an open link, or if there were too
    /// many contacts.
    #[inline(never)]
    pub(super) fn contact(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        let (has_link, is_open) = (peer.link.is_some(), peer.open.is_some());
        let is_pending = has_link && !is_open;
        let is_needless = is_open && (peer.is_alive() || !self.phase.is_running());
        if is_pending || is_needless || !self.take_contact() {
            return;
        }
        if self.phase.is_running() {
            self.hand_to(id, Payload::Announce);
            self.peers.note_contacted(id, self.now);
        } else {
            self.dial(id);
        }
    }

    /// Takes a contact from the allowance of [`Config::contact_rate`](crate::Config::contact_rate).
    fn take_contact(&mut self) -> bool {
        let burst = self.local.config.contact_rate;
        let every = core::time::Duration::from_secs(1).checked_div(burst).unwrap_or_default();
        self.contacts.take(Allowance { burst, every }, self.now)
    }

    /// Contacts a drawn alive peer without an open link for each alive peer that was found lost.
    /// While many peers go at once, the others are found sooner.
    #[inline]
    pub(super) fn replace_lost(&mut self) {
        while self.lost_to_replace > 0 {
            self.lost_to_replace -= 1;
            if self.contacts_peers() && self.phase.is_running() {
                self.contact_alive();
            }
        }
    }

    #[cold]
    fn contact_alive(&mut self) {
        let alive = Eligible { alive: self.drawable().alive, ..Eligible::default() };
        if let Some(Drawn::Unlinked(index)) = draw_contact(&mut self.selector, &self.peers, alive)
            && let Some(peer) = self.peers.id(index)
        {
            self.contact(peer);
        }
    }

    /// Contacts a drawn lost or dead peer for each of them that has become alive. When a split
    /// network heals, all peers of the other part return within minutes.
    #[inline]
    pub(super) fn follow_returned(&mut self) {
        while self.returned > 0 {
            self.returned -= 1;
            if self.contacts_peers() && self.phase.is_running() {
                self.contact_lost();
            }
        }
    }

    #[cold]
    fn contact_lost(&mut self) {
        let lost = Eligible { new: 0, alive: 0, ..self.drawable() };
        if let Some(Drawn::NotAlive(index)) = draw_contact(&mut self.selector, &self.peers, lost)
            && let Some(peer) = self.peers.id(index)
        {
            self.contact(peer);
        }
    }

    /// Spends the tick that found no peer with an open link, if there is one now.
    #[inline]
    pub(super) fn spend_owed_tick(&mut self) {
        if self.is_tick_owed && self.linked() > 0 {
            (self.is_tick_owed, self.retry_at) = (false, None);
            if self.phase.is_running() && !self.pacer.is_unlimited() {
                self.hand_over_linked();
            }
        }
    }
}

/// The index of a drawn peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// Of an alive peer with an open link.
    Linked(u32),
    /// Of an alive peer without one.
    Unlinked(u32),
    /// Of a peer that is not alive.
    NotAlive(u32),
}

/// Draws a peer by the odds.
#[inline]
pub(crate) fn draw_contact(
    selector: &mut Selector,
    peers: &Peers,
    eligible: Eligible,
) -> Option<Drawn> {
    let (status, position) = selector.draw(eligible)?;
    let list = peers.eligible_list(status)?;
    let index = list.get(position)?;
    Some(match status {
        Status::Alive if position < list.linked() => Drawn::Linked(index),
        Status::Alive => Drawn::Unlinked(index),
        _ => Drawn::NotAlive(index),
    })
}

/// Draws the index of a peer with an open link: one that this tower dialled, unless these are few.
#[inline]
pub(crate) fn draw_linked(selector: &mut Selector, list: &EligibleList) -> Option<u32> {
    let count = match list.dialled() {
        few if few < MIN_DIALLED => list.linked(),
        dialled => dialled,
    };
    list.get(selector.below(count)).filter(|_| count > 0)
}
