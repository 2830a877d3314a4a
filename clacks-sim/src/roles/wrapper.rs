//! A node whose behaviour a role changes.

use std::net::IpAddr;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, Event, Instant, LinkId, Refusal, StateMachine, Tower, Verdict, Wakeup,
    WakeupReason,
};

/// How a role departs from the protocol. The defaults do not.
pub(crate) trait Behaviour: std::fmt::Debug + Send {
    /// Decides about a message that a peer hands over, if the tower screens messages. `None` leaves
    /// the decision to the node.
    fn screen(&mut self, from: Option<&Address>, now: Instant) -> Option<Verdict> {
        let _ = (from, now);
        None
    }

    /// Sees bytes before the node handles them. Returns whether the node gets them.
    fn on_bytes(&mut self, tower: &Tower, link: LinkId, bytes: &[u8], now: Instant) -> bool {
        let _ = (tower, link, bytes, now);
        true
    }

    /// Sees the end of a stream. Returns whether the node gets it.
    fn on_finished(&mut self, link: LinkId, now: Instant) -> bool {
        let _ = (link, now);
        true
    }

    /// Forgets a link that has ended.
    fn on_end(&mut self, link: LinkId) {
        let _ = link;
    }

    /// Changes the frames that the node sends, of which all are whole.
    fn rewrite(&mut self, link: LinkId, frames: &mut Vec<u8>, now: Instant) {
        let _ = (link, frames, now);
    }

    /// Returns an input that was held back and that the node gets now.
    fn poll_input(&mut self, now: Instant) -> Option<(LinkId, Input)> {
        let _ = now;
        None
    }

    /// Returns when the role wants to act.
    fn next_wakeup(&self) -> Option<Instant> {
        None
    }

    /// Acts at the start, and when the timer fires.
    fn on_timer(&mut self, tower: &mut Tower, now: Instant) {
        let _ = (tower, now);
    }
}

/// An input of a link that a behaviour holds back.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Finished,
}

/// A node whose behaviour a role changes.
#[derive(Debug)]
pub(crate) struct RoleNode<M> {
    node: M,
    behaviour: Box<dyn Behaviour>,
    now: Instant,
    buffer: Vec<u8>,
}

impl<M: StateMachine> RoleNode<M> {
    pub(crate) fn new(mut node: M, mut behaviour: Box<dyn Behaviour>, now: Instant) -> Self {
        behaviour.on_timer(node.tower_mut(), now);
        Self { node, behaviour, now, buffer: Vec::new() }
    }

    pub(crate) fn inner(&self) -> &M {
        &self.node
    }

    pub(crate) fn inner_mut(&mut self) -> &mut M {
        &mut self.node
    }
}

impl<M: StateMachine> StateMachine for RoleNode<M> {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.now = now;
        self.node.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.now = now;
        let Self { node, behaviour, .. } = self;
        let passes = match event {
            Event::BytesArrived { link, bytes } => {
                behaviour.on_bytes(node.tower(), link, bytes, now)
            }
            Event::Finished { link } => behaviour.on_finished(link, now),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => {
                behaviour.on_end(link);
                true
            }
            Event::TimerFired => {
                behaviour.on_timer(node.tower_mut(), now);
                while let Some((link, input)) = behaviour.poll_input(now) {
                    match &input {
                        Input::Bytes(bytes) => {
                            node.handle(Event::BytesArrived { link, bytes }, now);
                        }
                        Input::Finished => node.handle(Event::Finished { link }, now),
                    }
                }
                true
            }
            _ => true,
        };
        if passes {
            node.handle(event, now);
        }
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.buffer.clear();
        // Whole frames: the simulator's buffers have no bounds.
        while self.node.transmit(link, &mut self.buffer) > 0 {}
        if !self.buffer.is_empty() {
            self.behaviour.rewrite(link, &mut self.buffer, self.now);
        }
        out.put_slice(&self.buffer);
        self.buffer.len()
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            let action = self.node.poll_action()?;
            if let Action::Screen { offer, from, .. } = &action
                && let Some(verdict) = self.behaviour.screen(from.as_ref(), self.now)
            {
                // The link may have ended meanwhile. The sender keeps the message then.
                let _decided = self.node.tower_mut().decide(*offer, verdict, self.now);
            } else {
                return Some(action);
            }
        }
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        let own = self.behaviour.next_wakeup();
        let own = own.map(|at| Wakeup { at, reason: WakeupReason::Actions });
        let wakeups = [own, self.node.next_wakeup()];
        wakeups.into_iter().flatten().min_by_key(|wakeup| wakeup.at)
    }

    fn tower(&self) -> &Tower {
        self.node.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.node.tower_mut()
    }
}
