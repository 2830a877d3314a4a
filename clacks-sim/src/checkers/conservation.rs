//! Conservation: each tower holds the messages that it should, and no message disappears.

use clacks_proto::wire::Attempt;
use clacks_proto::{MessageState, StateMachine, Tower};

use super::copies::{Copies, CopyState};
use super::totals::LossCause;
use super::violation::{Checker, Violations};
use crate::network::NetworkView;
use crate::observation::{MessageId, Observation, Observed, Origin, TowerId};

/// Follows each copy of each message from tower to tower.
///
/// After each event, a tower holds as many messages as before, plus those that it enqueued and
/// took, minus those that peers confirmed. A peer that confirms a message has taken it, or its
/// application has swallowed it. So a message ends only with its last copy: in a crash, at a tower
/// that leaves, at an application that swallows it, or at a role.
///
/// Messages under screening belong to their sender and are not counted at the receiver.
#[derive(Debug, Default)]
pub(super) struct Conservation {
    /// Messages that a tower has written into its links in the current event. A notice about the
    /// same message may still follow, so they are applied after the event.
    sent: Vec<HandOver>,
    /// Whether the tower keeps the message that is delivered next.
    is_kept: bool,
    /// How the tower that ended last did so.
    end: Option<LossCause>,
}

#[derive(Clone, Copy, Debug)]
struct HandOver {
    by: TowerId,
    to: TowerId,
    message: MessageId,
    attempt: Attempt,
}

impl Conservation {
    /// Applies the hand-overs of an event that has ended. A role need not be a tower, and then no
    /// event of the role ends with [`after`](Self::after).
    #[inline(always)]
    pub(super) fn before(
        &mut self,
        observation: &Observation,
        copies: &mut Copies,
        found: &mut Violations,
    ) {
        if self.sent.first().is_some_and(|sent| Some(sent.by) != observation.tower) {
            self.apply_sent(copies, found);
        }
    }

    #[inline(always)]
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        copies: &mut Copies,
        found: &mut Violations,
    ) {
        let Some(tower) = observation.tower else { return };
        let violation = match observation.what {
            Observed::Enqueued { message } => {
                let is_new = copies.register(message);
                copies.insert(tower, message);
                (!is_new).then_some((message, "enqueued a message that was enqueued before"))
            }
            Observed::HandedOver { to, message: Some(message), attempt, .. } => {
                self.sent.push(HandOver { by: tower, to, message, attempt });
                None
            }
            Observed::Received { from, sender, message: Some(message) } => {
                if let Some(sender) = sender.or(from) {
                    on_taken(sender, message, tower, copies, found);
                }
                None
            }
            Observed::Swallowed { sender: Some(sender), message } => {
                if copies.state(sender, message) == Some(CopyState::Sent(tower)) {
                    copies.set(sender, message, CopyState::Swallowed(tower));
                }
                None
            }
            Observed::Queued { message: Some(message), origin } => match origin {
                Origin::Peer => (!copies.insert(tower, message))
                    .then_some((message, "queued a message that it holds already")),
                Origin::Returned => copies
                    .insert(tower, message)
                    .then_some((message, "requeued a message that it does not hold")),
                Origin::Local => copies
                    .state(tower, message)
                    .is_none()
                    .then_some((message, "queued a message that was not enqueued")),
            },
            Observed::Delivered { message: Some(message), .. } => {
                let is_kept = std::mem::take(&mut self.is_kept);
                return on_delivered(tower, message, is_kept, copies, found);
            }
            Observed::CopyKept { .. } => {
                self.is_kept = true;
                None
            }
            Observed::Dropped { message } => {
                // Even a copy that a peer has taken may be the last one, if the peer returned it.
                copies.remove(tower, message, self.end);
                None
            }
            Observed::Expired { message } => {
                let is_waiting = copies.state(tower, message) == Some(CopyState::Waiting);
                copies.remove(tower, message, Some(LossCause::Expired));
                (!is_waiting).then_some((message, "dropped a message that does not wait"))
            }
            Observed::Crashed => {
                self.end = Some(LossCause::Crash);
                None
            }
            Observed::Left { undelivered } => {
                self.end = Some(LossCause::Left);
                compare(tower, undelivered, copies, found);
                None
            }
            Observed::Started { .. } => {
                compare(tower, 0, copies, found);
                None
            }
            Observed::Missed { count } => {
                found.report(Checker::Conservation, tower, None, || {
                    format!("tower {} dropped {count} notices", tower.0)
                });
                None
            }
            _ => None,
        };
        if let Some((message, what)) = violation {
            found.report(Checker::Conservation, tower, message, || {
                format!("tower {} {what}: message {}", tower.0, message.0)
            });
        }
    }

    /// Compares how many messages a tower holds after an event. O(1).
    #[inline]
    pub(super) fn after(
        &mut self,
        tower: TowerId,
        machine: &Tower,
        copies: &mut Copies,
        found: &mut Violations,
    ) {
        if !self.sent.is_empty() {
            self.apply_sent(copies, found);
        }
        let held = machine.queue_usage().messages - machine.pending_screenings();
        if held != copies.held(tower) {
            compare(tower, held, copies, found);
        }
    }

    /// Compares all messages that running towers hold. Must not be called during an event.
    pub(super) fn compare_all<M: StateMachine>(
        view: &NetworkView<'_, M>,
        copies: &Copies,
        found: &mut Violations,
    ) {
        for (tower, machine) in view.running() {
            let mut held = 0;
            for copy in machine.peek() {
                if matches!(copy.state, MessageState::Offered { .. }) {
                    continue;
                }
                held += 1;
                let message = view.message_numbers().number_of(copy.nonce);
                let state = message.and_then(|message| copies.state(tower, message));
                let is_right = match copy.state {
                    MessageState::Waiting => state == Some(CopyState::Waiting),
                    _ => state.is_some(),
                };
                if !is_right {
                    found.report(Checker::Conservation, tower, message, || {
                        let (tower, copy) = (tower.0, copy.state);
                        format!("tower {tower} holds a message ({copy:?}) that should be {state:?}")
                    });
                }
            }
            compare(tower, held, copies, found);
        }
    }

    fn apply_sent(&mut self, copies: &mut Copies, found: &mut Violations) {
        for HandOver { by, to, message, attempt } in self.sent.drain(..) {
            // A retry does not change what has become of the first attempt.
            let is_answered = attempt == Attempt::Retry
                && matches!(
                    copies.state(by, message),
                    Some(CopyState::Taken(peer) | CopyState::Swallowed(peer)) if peer == to
                );
            if !is_answered && copies.set(by, message, CopyState::Sent(to)).is_none() {
                found.report(Checker::Conservation, by, message, || {
                    format!("tower {} handed over message {}, not held", by.0, message.0)
                });
            }
        }
    }
}

/// A tower has taken a message: the sender's copy waits for the confirmation only.
#[inline(always)]
fn on_taken(
    sender: TowerId,
    message: MessageId,
    taker: TowerId,
    copies: &mut Copies,
    found: &Violations,
) {
    if copies.state(sender, message) == Some(CopyState::Sent(taker)) {
        copies.set(sender, message, CopyState::Taken(taker));
    } else if found.is_role(sender) {
        // A role that hands over a message that it does not send may have made the message up.
        copies.remove(sender, message, Some(LossCause::Role));
    }
}

/// A peer has confirmed a message, and the tower drops its copy unless another one came in.
#[inline(always)]
fn on_delivered(
    tower: TowerId,
    message: MessageId,
    is_kept: bool,
    copies: &mut Copies,
    found: &mut Violations,
) {
    let by_role = |peer| if found.is_role(peer) { LossCause::Role } else { LossCause::Swallowed };
    let loss = match copies.state(tower, message) {
        Some(CopyState::Taken(_)) => None,
        Some(CopyState::Swallowed(peer)) => Some(by_role(peer)),
        Some(CopyState::Sent(peer)) if found.is_role(peer) => Some(LossCause::Role),
        Some(CopyState::Sent(peer)) => {
            found.report(Checker::Conservation, peer, message, || {
                let (peer, message, tower) = (peer.0, message.0, tower.0);
                format!("tower {peer} confirmed message {message} of tower {tower}, not taken")
            });
            Some(LossCause::Unexplained)
        }
        Some(CopyState::Waiting) | None => {
            found.report(Checker::Conservation, tower, message, || {
                let (tower, message) = (tower.0, message.0);
                format!("tower {tower} delivered message {message}, not handed over")
            });
            Some(LossCause::Unexplained)
        }
    };
    if is_kept {
        copies.set(tower, message, CopyState::Waiting);
    } else if copies.remove(tower, message, loss) {
        found.report(Checker::Conservation, None, message, || {
            format!("message {} disappeared without a cause", message.0)
        });
    }
}

/// Compares how many messages a tower holds and should hold.
fn compare(tower: TowerId, held: usize, copies: &Copies, found: &mut Violations) {
    let expected = copies.held(tower);
    if held != expected {
        found.report(Checker::Conservation, tower, None, || {
            format!("tower {} holds {held} messages and should hold {expected}", tower.0)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::{Address, Config, Instant, Message, Seed};

    const MESSAGE: MessageId = MessageId(0);
    const A: TowerId = TowerId(0);
    const B: TowerId = TowerId(1);
    const ENQUEUED: Observed = Observed::Enqueued { message: MESSAGE };
    const DELIVERED: Observed = Observed::Delivered { to: None, message: Some(MESSAGE) };
    const DROPPED: Observed = Observed::Dropped { message: MESSAGE };
    const SENT: Observed = Observed::HandedOver {
        to: B,
        message: Some(MESSAGE),
        attempt: Attempt::First,
        arrives: Instant::ORIGIN,
    };
    const RECEIVED: Observed =
        Observed::Received { from: None, sender: Some(A), message: Some(MESSAGE) };
    const SWALLOWED: Observed = Observed::Swallowed { sender: Some(A), message: MESSAGE };

    fn queued(origin: Origin) -> Observed {
        Observed::Queued { message: Some(MESSAGE), origin }
    }

    /// Returns the violations, the number of messages alive, and the causes of the losses.
    fn run(roles: &[TowerId], seen: &[(TowerId, Observed)]) -> (Vec<String>, u64, Vec<LossCause>) {
        let mut found = Violations::new(roles, |_| true);
        let (mut conservation, mut copies) = (Conservation::default(), Copies::new(2));
        for (tower, what) in seen {
            let observation = Observation { at: Instant::ORIGIN, tower: Some(*tower), what: *what };
            conservation.before(&observation, &mut copies, &mut found);
            conservation.observe(&observation, &mut copies, &mut found);
        }
        let is_cause = |cause: &LossCause| copies.lost()[*cause as usize] > 0;
        let causes = LossCause::ALL.into_iter().filter(is_cause).collect();
        let texts = found.texts().into_iter().map(String::from).collect();
        (texts, copies.alive(), causes)
    }

    #[test]
    fn a_hop_keeps_the_message() {
        let hop =
            [(A, ENQUEUED), (A, SENT), (B, RECEIVED), (B, queued(Origin::Peer)), (A, DELIVERED)];
        assert_eq!(run(&[], &hop), (vec![], 1, vec![]));
    }

    #[test]
    fn a_peer_that_confirms_and_does_not_take_bites() {
        let (texts, alive, causes) =
            run(&[], &[(A, ENQUEUED), (A, SENT), (B, SWALLOWED), (A, DELIVERED)]);
        assert_eq!((texts.len(), alive, causes), (0, 0, vec![LossCause::Swallowed]));
        let lost = [(A, ENQUEUED), (A, SENT), (B, Observed::TimerFired), (A, DELIVERED)];
        let (texts, alive, causes) = run(&[], &lost);
        assert_eq!(texts, ["tower 1 confirmed message 0 of tower 0, not taken"]);
        assert_eq!((alive, causes), (0, vec![LossCause::Unexplained]));
        let (texts, alive, causes) = run(&[B], &lost);
        assert_eq!((texts.len(), alive, causes), (0, 0, vec![LossCause::Role]));
    }

    #[test]
    fn a_copy_that_came_in_before_the_confirmation_is_kept() {
        let (message, sender) = (Some(MESSAGE), Some(B));
        let back = Observed::HandedOver {
            to: A,
            message,
            attempt: Attempt::First,
            arrives: Instant::ORIGIN,
        };
        let exchange = [
            (A, ENQUEUED),
            (A, SENT),
            (B, RECEIVED),
            (B, queued(Origin::Peer)),
            (B, back),
            (A, Observed::Received { from: None, sender, message }),
            (B, DELIVERED),
        ];
        let kept = [&exchange[..], &[(A, Observed::CopyKept { message: MESSAGE }), (A, DELIVERED)]];
        assert_eq!(run(&[], &kept.concat()), (vec![], 1, vec![]));
        let (texts, alive, _) = run(&[], &[&exchange[..], &[(A, DELIVERED)]].concat());
        assert_eq!(texts, ["message 0 disappeared without a cause"]);
        assert_eq!(alive, 0);
    }

    #[test]
    fn a_message_dies_with_its_last_holder() {
        let crash = [(B, Observed::Crashed), (B, DROPPED)];
        let hop = [(A, ENQUEUED), (A, SENT), (B, RECEIVED), (B, queued(Origin::Peer))];
        assert_eq!(run(&[], &[&hop[..], &crash].concat()), (vec![], 1, vec![]));
        let confirmed = [&hop[..], &crash, &[(A, DELIVERED)]].concat();
        assert_eq!(run(&[], &confirmed), (vec![], 0, vec![LossCause::Crash]));
        let returned = [&hop[..], &crash, &[(A, queued(Origin::Returned))]].concat();
        assert_eq!(run(&[], &returned), (vec![], 1, vec![]));
        let left = [(A, ENQUEUED), (A, Observed::Left { undelivered: 1 }), (A, DROPPED)];
        assert_eq!(run(&[], &left), (vec![], 0, vec![LossCause::Left]));
    }

    #[test]
    fn a_message_that_expires_must_wait() {
        let expired = Observed::Expired { message: MESSAGE };
        let waiting = [(A, ENQUEUED), (A, expired)];
        assert_eq!(run(&[], &waiting), (vec![], 0, vec![LossCause::Expired]));
        let (texts, ..) =
            run(&[], &[(A, ENQUEUED), (A, SENT), (B, Observed::TimerFired), (A, expired)]);
        assert_eq!(texts, ["tower 0 dropped a message that does not wait: message 0"]);
    }

    #[test]
    fn notices_about_messages_that_a_tower_does_not_hold_bite() {
        for (seen, text) in [
            (
                queued(Origin::Returned),
                "tower 0 requeued a message that it does not hold: message 0",
            ),
            (queued(Origin::Local), "tower 0 queued a message that was not enqueued: message 0"),
            (DELIVERED, "tower 0 delivered message 0, not handed over"),
            (Observed::Missed { count: 3 }, "tower 0 dropped 3 notices"),
            (Observed::Left { undelivered: 1 }, "tower 0 holds 1 messages and should hold 0"),
        ] {
            assert_eq!(run(&[], &[(A, seen)]).0, [text]);
        }
        let twice = [(A, ENQUEUED), (A, ENQUEUED)];
        let text = "tower 0 enqueued a message that was enqueued before: message 0";
        assert_eq!(run(&[], &twice).0, [text]);
        let again = [(A, ENQUEUED), (A, queued(Origin::Peer))];
        let text = "tower 0 queued a message that it holds already: message 0";
        assert_eq!(run(&[], &again).0, [text]);
        let text = "tower 0 handed over message 0, not held";
        assert_eq!(run(&[], &[(A, SENT), (B, Observed::TimerFired)]).0, [text]);
    }

    #[test]
    fn a_message_that_a_role_made_is_alive_at_the_tower_that_took_it() {
        let hop = [(A, ENQUEUED), (A, SENT), (B, RECEIVED), (B, queued(Origin::Peer))];
        assert_eq!(run(&[A], &hop), (vec![], 1, vec![]));
    }

    #[test]
    fn a_tower_that_holds_another_number_of_messages_bites() {
        let address = Address::new("127.0.0.1", 8_001).unwrap();
        let mut tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        let (mut conservation, mut copies) = (Conservation::default(), Copies::new(2));
        let mut found = Violations::default();
        conservation.after(A, &tower, &mut copies, &mut found);
        assert_eq!(found.count(), 0);
        tower.enqueue(Message::text("unseen"), Instant::ORIGIN).unwrap();
        conservation.after(A, &tower, &mut copies, &mut found);
        assert_eq!(found.texts(), ["tower 0 holds 1 messages and should hold 0"]);
    }
}
