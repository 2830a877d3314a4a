//! A tower with a store whose behaviour a role changes.

use std::net::IpAddr;

use bytes::BufMut;
use clacks_proto::wire::{Decoder, Frame, MAX_BODY};
use clacks_proto::{
    Action, Address, Event, Instant, LinkId, Refusal, StateMachine, To, Tower, Wakeup, WakeupReason,
};
use clacks_store::Store;
use clacks_store::protocol::{Body, Datagram, MAX_LEN};

/// How a role departs from the protocol of stores. The defaults do not.
pub(crate) trait StoreBehaviour: std::fmt::Debug + Send {
    /// Sees a datagram before the store handles it. Returns the answer if the store must not see
    /// the datagram.
    fn answer(
        &mut self,
        own: &Address,
        link: LinkId,
        datagram: &Datagram<'_>,
        now: Instant,
    ) -> Option<Body<'static>> {
        let _ = (own, link, datagram, now);
        None
    }

    /// Changes a datagram that the store sends. Returns the new one, or `None` if it stays.
    fn rewrite(&mut self, link: LinkId, datagram: &Datagram<'_>) -> Option<Vec<u8>> {
        let _ = (link, datagram);
        None
    }

    /// Forgets a link that has ended.
    fn on_end(&mut self, link: LinkId) {
        let _ = link;
    }

    /// Returns when the role wants to act.
    fn next_wakeup(&self) -> Option<Instant> {
        None
    }

    /// Acts when the timer fires.
    fn on_timer(&mut self, tower: &mut Tower, now: Instant) {
        let _ = (tower, now);
    }
}

/// A tower with a store whose behaviour a role changes.
#[derive(Debug)]
pub(crate) struct RoleStore {
    store: Store<Tower>,
    behaviour: Box<dyn StoreBehaviour>,
    /// By the index of the links.
    decoders: Vec<Decoder>,
    buffer: Vec<u8>,
}

fn decoder() -> Decoder {
    Decoder::new(MAX_BODY).accept_datagrams(u32::try_from(MAX_LEN).unwrap_or(u32::MAX))
}

impl RoleStore {
    pub(crate) fn new(store: Store<Tower>, behaviour: Box<dyn StoreBehaviour>) -> Self {
        Self { store, behaviour, decoders: Vec::new(), buffer: Vec::new() }
    }

    /// Passes bytes to the store, without the datagrams that the role answers.
    fn on_bytes(&mut self, link: LinkId, mut bytes: &[u8], now: Instant) {
        if self.decoders.len() <= link.index() {
            self.decoders.resize_with(link.index() + 1, decoder);
        }
        let Self { store, behaviour, decoders, buffer } = self;
        let decoder = &mut decoders[link.index()];
        let mut answers = Vec::new();
        buffer.clear();
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(frame)) => {
                    let decoded = match frame {
                        Frame::Datagram(datagram) => Datagram::decode(datagram).ok(),
                        _ => None,
                    };
                    let own = store.tower().address();
                    let answer = decoded.and_then(|datagram| {
                        let body = behaviour.answer(own, link, &datagram, now)?;
                        Some(Datagram { number: datagram.number, body }.encode())
                    });
                    match answer {
                        Some(answer) => answers.push(answer),
                        None => frame.encode(buffer),
                    }
                }
                Ok(None) => break,
                // The store finds the error, too.
                Err(_) => {
                    buffer.extend_from_slice(bytes);
                    break;
                }
            }
        }
        if !buffer.is_empty() {
            store.handle(Event::BytesArrived { link, bytes: buffer }, now);
        }
        for answer in answers {
            // A full link takes no answer. The client asks again.
            let _sent = store.tower_mut().datagram(To::Link(link), answer, now);
        }
    }
}

impl StateMachine for RoleStore {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.store.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::BytesArrived { link, bytes } => return self.on_bytes(link, bytes, now),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => {
                self.behaviour.on_end(link);
                if let Some(decoder_of_link) = self.decoders.get_mut(link.index()) {
                    *decoder_of_link = decoder();
                }
            }
            Event::TimerFired => self.behaviour.on_timer(self.store.tower_mut(), now),
            _ => {}
        }
        self.store.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.buffer.clear();
        // Whole frames: the simulator's buffers have no bounds.
        while self.store.transmit(link, &mut self.buffer) > 0 {}
        let (mut decoder, mut rest) = (decoder(), &self.buffer[..]);
        let mut written = 0;
        while let Ok(Some(frame)) = decoder.decode(&mut rest) {
            let changed = match frame {
                Frame::Datagram(bytes) => Datagram::decode(bytes)
                    .ok()
                    .and_then(|datagram| self.behaviour.rewrite(link, &datagram)),
                _ => None,
            };
            let frame = changed.as_deref().map_or(frame, Frame::Datagram);
            frame.encode(out);
            written += frame.encoded_len();
        }
        written
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.store.poll_action()
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        let own = self.behaviour.next_wakeup();
        let own = own.map(|at| Wakeup { at, reason: WakeupReason::Application });
        let wakeups = [own, self.store.next_wakeup()];
        wakeups.into_iter().flatten().min_by_key(|wakeup| wakeup.at)
    }

    fn tower(&self) -> &Tower {
        self.store.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.store.tower_mut()
    }
}
