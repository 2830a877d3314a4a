//! What waits for an explanation: whoever did it tells the reason next, or later in the same instant.

use clacks_proto::Instant;
use clacks_proto::wire::Attempt;

use super::Ledger;
use crate::observation::{MessageId, Observation, Observed, TowerId};
use crate::truth::totals::DuplicationCause;
use crate::truth::violation::{Scene, Violations};

/// A message that a tower has taken: what it says next tells whether it had one already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    pub(super) at: Instant,
    pub(super) by: TowerId,
    pub(super) message: MessageId,
    /// From whom, as far as the taker knows.
    pub(super) from: Option<TowerId>,
    /// Who sent it, whatever the taker knows.
    pub(super) sender: Option<TowerId>,
}

/// A message among the bytes of a tower. It may yet tell how it came to that: that the message came back from another peer, for example.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) by: TowerId,
    pub(super) to: TowerId,
    pub(super) message: MessageId,
    pub(super) attempt: Attempt,
}

/// A message that came back to the tower that had handed it over, though the receiver had taken it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Return {
    pub(super) at: Instant,
    pub(super) tower: TowerId,
    pub(super) message: MessageId,
    /// To whom it had been handed over.
    pub(super) to: TowerId,
}

impl Ledger {
    /// Nothing more happens in this instant: what waits for an explanation gets none.
    pub(super) fn close_instant(&mut self, found: &mut Violations) {
        self.conclude_taking(found);
        self.settle_sent(found);
        self.excuse(None, found);
    }

    /// Whoever took a message last has nothing more to say about it.
    pub(super) fn conclude_taking(&mut self, found: &mut Violations) {
        if let Some(taking) = self.taking.take() {
            self.conclude(taking, false, found);
        }
    }

    /// A tower has told all that explains the bytes that it has sent.
    pub(super) fn settle_sent(&mut self, found: &mut Violations) {
        let mut sent = std::mem::take(&mut self.sent);
        for one in sent.drain(..) {
            if self.on_handed_over(one) {
                continue;
            }
            let Sent { at, by, to, message, .. } = one;
            self.report(found, Scene::of(at, by).with(message), || {
                let (by, to, message) = (by.0, to.0, message.0);
                format!("tower {by} has sent message {message} to tower {to}, and had none to send")
            });
            self.add_stray(message, by, to);
        }
        // The buffer is used again.
        self.sent = sent;
    }

    /// A message comes back though it was taken only when its link ends, which is told in the same instant; or when what was taken were bytes of it that its
    /// sender had given up before, as those that have waited for a verdict since.
    pub(super) fn excuse(&mut self, observation: Option<&Observation>, found: &mut Violations) {
        if let Some(Observation { at, tower: Some(tower), what: Observed::LinkClosed { .. } }) =
            observation
        {
            self.unexcused.retain(|back| !(back.at == *at && back.tower == *tower));
        }
        let unexcused = std::mem::take(&mut self.unexcused);
        for back in unexcused {
            let Return { at, tower, message, to } = back;
            if observation.is_some_and(|next| next.at == at) {
                self.unexcused.push(back);
                continue;
            }
            self.totals.duplicated[DuplicationCause::ConfirmationLost.place()] -= 1;
            if self.take_stray(message, tower, to, at) {
                self.duplicate(message, DuplicationCause::TakenLate);
                continue;
            }
            self.duplicate(message, DuplicationCause::Unexplained);
            self.report(found, Scene::of(at, tower).with(message), || {
                let (tower, message) = (tower.0, message.0);
                format!("tower {tower} has got message {message} back on a link that stands, though it was taken")
            });
        }
    }
}
