//! The TLS state of each link.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::session::TlsSession;
use crate::ids::LinkId;

/// What is between a link of the tower and its connection.
#[derive(Debug)]
pub(super) enum Layer {
    /// Nothing yet. A session is created when the connection is established.
    Dialling,
    /// A session. Boxed, because most slots of a large table are empty.
    Open(Box<TlsSession>),
    /// Nothing. The link is aborted.
    Cut,
}

/// The layers by the index of their link. An index is reused, so the whole id is compared.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Option<(LinkId, Layer)>>);

impl Links {
    pub(super) fn insert(&mut self, link: LinkId, layer: Layer) {
        let index = link.index();
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some((link, layer));
        }
    }

    pub(super) fn remove(&mut self, link: LinkId) {
        if let Some(slot) = self.0.get_mut(link.index()) {
            slot.take_if(|(occupant, _)| *occupant == link);
        }
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut Layer> {
        match self.0.get_mut(link.index()) {
            Some(Some((occupant, layer))) if *occupant == link => Some(layer),
            _ => None,
        }
    }

    /// Returns the sessions of all links.
    pub(super) fn sessions(&mut self) -> impl Iterator<Item = (LinkId, &mut TlsSession)> {
        self.0.iter_mut().flatten().filter_map(|(link, layer)| match layer {
            Layer::Open(session) => Some((*link, &mut **session)),
            _ => None,
        })
    }

    pub(super) fn session(&mut self, link: LinkId) -> Option<&mut TlsSession> {
        match self.get_mut(link) {
            Some(Layer::Open(session)) => Some(session),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    #[test]
    fn an_ended_link_does_not_reach_the_link_that_reuses_its_index() {
        let (old, new) = (
            LinkId { index: 3, epoch: Epoch::FIRST.next() },
            LinkId { index: 3, epoch: Epoch::FIRST.next().next() },
        );
        let mut links = Links::default();
        assert!(links.get_mut(old).is_none());
        links.insert(old, Layer::Cut);
        assert!(links.get_mut(old).is_some());
        links.insert(new, Layer::Cut);
        assert!(links.get_mut(old).is_none());
        links.remove(old);
        assert!(links.get_mut(new).is_some(), "the old link removed the new one");
        links.remove(new);
        assert!(links.get_mut(new).is_none());
    }
}
