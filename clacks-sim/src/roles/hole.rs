//! Holes: towers that confirm messages and drop them.

use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Address, Instant, Tower, Verdict};

use super::{Behaviour, Setup};

/// How often a colluder adds the towers that collude with it, in case it has forgotten them.
const REFRESH: Duration = Duration::from_secs(60);

/// Confirms and drops a share of the messages. Needs screening.
#[derive(Debug)]
pub(super) struct Hole {
    setup: Setup,
    share: f64,
}

impl Hole {
    pub(super) fn new(setup: Setup, share: f64) -> Self {
        Self { setup, share }
    }
}

impl Behaviour for Hole {
    fn screen(&mut self, _: Option<&Address>, now: Instant) -> Option<Verdict> {
        let drops = self.setup.window.contains(now) && self.setup.draws.chance(self.share);
        Some(if drops { Verdict::Swallow } else { Verdict::ACCEPT })
    }
}

/// Passes messages on to other colluders only, and drops a share of those that a colluder passes
/// on. A tower that audits its peers sees each message leave. Needs screening, and a table of peers
/// with room for the colluders only.
#[derive(Debug)]
pub(super) struct Colluder {
    setup: Setup,
    share: f64,
    refresh_at: Instant,
}

impl Colluder {
    pub(super) fn new(setup: Setup, share: f64) -> Self {
        let refresh_at = Instant::ORIGIN;
        Self { setup, share, refresh_at }
    }

    fn is_colluder(&self, address: &Address) -> bool {
        let tower = self.setup.plan.addresses.tower_at(address);
        tower.is_some_and(|tower| self.setup.towers.contains(&tower))
    }
}

impl Behaviour for Colluder {
    fn screen(&mut self, from: Option<&Address>, now: Instant) -> Option<Verdict> {
        let drops = from.is_some_and(|from| self.is_colluder(from))
            && self.setup.window.contains(now)
            && self.setup.draws.chance(self.share);
        Some(if drops { Verdict::Swallow } else { Verdict::ACCEPT })
    }

    fn next_wakeup(&self) -> Option<Instant> {
        Some(self.refresh_at)
    }

    fn on_timer(&mut self, tower: &mut Tower, now: Instant) {
        if now < self.refresh_at {
            return;
        }
        self.refresh_at = now + REFRESH;
        let colluders = Arc::clone(&self.setup.towers);
        for colluder in colluders.iter().filter(|other| **other != self.setup.tower) {
            if let Some(address) = self.setup.address_of(*colluder) {
                // The table may be full, of peers that this tower will forget.
                let _added = tower.expand(&address, now);
            }
        }
    }
}
