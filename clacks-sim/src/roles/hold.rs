//! An application that lets messages rest.

use std::time::Duration;

use clacks_proto::{Address, Instant, Verdict};

use super::Behaviour;

/// Accepts all messages with a hold. Needs screening.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) hold: Duration,
}

impl Behaviour for Holding {
    fn screen(&mut self, _: Option<&Address>, _: Instant) -> Option<Verdict> {
        Some(Verdict::Accept { hold: self.hold })
    }
}
