//! The ledger: right histories on which it is silent, and one lie of each kind, which it must find.

mod audits;
mod hops;
mod lies;
mod lives;
mod meetings;

use clacks_proto::wire::Attempt;
use clacks_proto::{CloseReason, Instant, IoCause};

use super::{Body, Holding, Ledger, Place};
use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};
use crate::truth::totals::{DuplicationCause, LossCause, Totals};
use crate::truth::violation::{Checker, Violations};

const MESSAGE: Option<MessageId> = Some(MessageId(0));
const CLOSED: Observed =
    Observed::LinkClosed { peer: None, reason: CloseReason::Io(IoCause::Reset) };
const CORRUPTED: Observed = Observed::Fault(Fault::Corrupted);

/// A ledger and what happens in it: towers are told by their numbers, and it is always the same message.
struct History {
    ledger: Ledger,
    found: Violations,
    second: u64,
}

impl History {
    /// Four towers, and the first one has the message.
    fn begin() -> Self {
        Self::new(4)
    }

    fn new(towers: u32) -> Self {
        let (ledger, found) = (Ledger::new(towers, 32, 100, 60), Violations::default());
        let mut history = Self { ledger, found, second: 0 };
        (0..towers).for_each(|tower| history.see(tower, Observed::Started { life: 0 }));
        history.see(0, Observed::Enqueued { message: MessageId(0) });
        history.see(0, Observed::Queued { message: MESSAGE, origin: Origin::Local });
        history
    }

    fn at(&self) -> Instant {
        Instant::from_nanos(self.second * 1_000_000_000)
    }

    fn see(&mut self, tower: u32, what: Observed) {
        let observation = Observation { at: self.at(), tower: Some(TowerId(tower)), what };
        self.ledger.see(&observation, &mut self.found);
    }

    /// All that belongs together happens in one second.
    fn pass(&mut self, seconds: u64) {
        self.second += seconds;
    }

    fn send(&mut self, tower: u32, to: u32, attempt: Attempt) {
        self.pass(1);
        let arrives = self.at();
        self.see(
            tower,
            Observed::HandedOver { to: TowerId(to), message: MESSAGE, attempt, arrives },
        );
    }

    fn take(&mut self, tower: u32, from: u32) {
        self.take_as_from(tower, Some(from), from);
    }

    /// A tower takes a message and thinks it came from another one, or from nobody it knows.
    fn take_as_from(&mut self, tower: u32, from: Option<u32>, sender: u32) {
        self.pass(1);
        let (from, sender) = (from.map(TowerId), Some(TowerId(sender)));
        self.see(tower, Observed::Received { from, sender, message: MESSAGE });
    }

    fn queue(&mut self, tower: u32) {
        self.see(tower, Observed::Queued { message: MESSAGE, origin: Origin::Peer });
    }

    fn get_back(&mut self, tower: u32) {
        self.pass(1);
        self.see(tower, Observed::Queued { message: MESSAGE, origin: Origin::Returned });
    }

    fn confirm(&mut self, tower: u32, to: u32) {
        self.pass(1);
        self.see(tower, Observed::Delivered { to: Some(TowerId(to)), message: MESSAGE });
    }

    /// A hop as it should be.
    fn hop(&mut self, from: u32, to: u32) {
        self.send(from, to, Attempt::First);
        self.take(to, from);
        self.queue(to);
        self.confirm(from, to);
    }

    /// A hop of which the sender never hears that it succeeded: both have the message afterwards.
    fn split(&mut self, from: u32, to: u32) {
        self.send(from, to, Attempt::First);
        self.take(to, from);
        self.queue(to);
        self.get_back(from);
        self.see(from, CLOSED);
    }

    fn audit(&mut self, tower: u32, places: &[Place]) {
        let holding =
            |place: &Place| Holding { message: MESSAGE, place: *place, body: Body::Intact };
        let memory = places.iter().map(holding);
        self.ledger.audit(self.at(), TowerId(tower), memory, &mut self.found);
    }

    fn texts(&self) -> Vec<&str> {
        assert!(self.found.kept().iter().all(|one| one.checker == Checker::Conservation));
        self.found.kept().iter().map(|one| one.text.as_str()).collect()
    }

    /// It is over, and was as it should be.
    fn end(mut self) -> Totals {
        self.pass(1);
        self.see(3, Observed::TimerFired);
        self.ledger.finish(&mut self.found);
        assert_eq!(self.texts(), [""; 0]);
        self.balanced()
    }

    /// It is over, and this and nothing else was wrong.
    fn end_with(mut self, text: &str) -> Totals {
        self.pass(1);
        self.see(3, Observed::TimerFired);
        self.ledger.finish(&mut self.found);
        assert_eq!(self.texts(), [text]);
        self.balanced()
    }

    fn balanced(&self) -> Totals {
        let totals = *self.ledger.totals();
        assert!(totals.balance(), "{totals:?}");
        assert_eq!((totals.in_doubt, totals.unknown), (0, 0), "{totals:?}");
        totals
    }
}

fn in_flight(to: u32) -> Place {
    Place::InFlight(Some(TowerId(to)))
}
