//! Deaf towers: they accept connections and do not read.

use clacks_proto::{Instant, LinkId, Tower};

use super::{Behaviour, Setup, Window};

/// Reads nothing on a connection that another tower made, once the link is open.
#[derive(Debug)]
pub(super) struct Deaf {
    window: Window,
}

impl Deaf {
    pub(super) fn new(setup: &Setup) -> Self {
        Self { window: setup.window }
    }
}

impl Behaviour for Deaf {
    fn on_bytes(&mut self, tower: &Tower, link: LinkId, _: &[u8], now: Instant) -> bool {
        let is_deaf = |link: clacks_proto::LinkInfo| link.is_inbound && link.is_open;
        !(self.window.contains(now) && tower.link(link).is_some_and(is_deaf))
    }
}
