//! Slowloris: an endpoint that opens connections and sends nothing, or only a hello.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use clacks_proto::wire::Frame;
use clacks_proto::{Instant, LinkId};
use rand::Rng;

use super::raw::{Io, hello};
use super::{Endpoint, Setup};
use crate::observation::TowerId;

/// How long after the end of a connection it is renewed (guess).
const RENEWAL: Duration = Duration::from_secs(1);

/// Keeps connections to each tower, and sends at most the hello of a guest on them.
#[derive(Debug)]
pub(super) struct Slowloris {
    setup: Setup,
    sends_hello: bool,
    /// The dials to come, in the order of time.
    due: VecDeque<(Instant, TowerId)>,
    /// By the index of the links.
    open: BTreeMap<usize, TowerId>,
}

impl Slowloris {
    pub(super) fn new(setup: Setup, connections: u32, sends_hello: bool) -> Self {
        let targets = setup.targets().iter();
        let dials = targets.flat_map(|target| (0..connections).map(|_| *target));
        let due = dials.map(|target| (setup.window.from, target)).collect();
        Self { setup, sends_hello, due, open: BTreeMap::new() }
    }
}

impl Endpoint for Slowloris {
    fn next_wakeup(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due).filter(|due| *due < self.setup.window.until)
    }

    fn on_timer(&mut self, io: &mut Io) {
        while self.next_wakeup().is_some_and(|due| due <= io.now())
            && let Some((_, target)) = self.due.pop_front()
        {
            if let Some(address) = self.setup.address_of(target) {
                let own = self.setup.plan.addresses.ip_of(self.setup.tower);
                self.open.insert(io.dial(address, own).index(), target);
            }
        }
    }

    fn on_open(&mut self, link: LinkId, io: &mut Io) {
        if self.sends_hello {
            let incarnation = self.setup.draws.next_u64();
            io.send(link, &Frame::Hello(hello(&self.setup.config, incarnation, None)));
        }
    }

    fn on_end(&mut self, link: LinkId, io: &mut Io) {
        if let Some(target) = self.open.remove(&link.index()) {
            self.due.push_back((io.now() + RENEWAL, target));
        }
    }
}
