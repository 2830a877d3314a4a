//! What an application says.

use super::{Key, Model, Phase, Place, Told};
use crate::ids::{OfferId, PeerId};
use crate::link::State;
use crate::{
    Address, DecideError, EnqueueError, ExpandError, Message, Nonce, Origin, Status, Verdict,
};

impl Model {
    pub(in super::super) fn enqueue(
        &mut self,
        message: &Message,
        result: Result<Nonce, EnqueueError>,
    ) {
        let (max, len) = (self.config.max_message, message.body().len());
        let expected = if self.phase != Phase::Running {
            Err(EnqueueError::ShuttingDown)
        } else if len > max {
            Err(EnqueueError::TooLarge { max })
        } else if !self.has_room(len, self.config.local_share) {
            Err(EnqueueError::Full)
        } else {
            Ok(())
        };
        assert_eq!(result.map(drop), expected);
        if let Ok(nonce) = result {
            assert!(self.is_unused(nonce), "{nonce:?} is the name of another message");
            let number = self.store(Some(nonce), message.kind(), message.body(), Place::Waiting);
            self.known[number].is_own = true;
            self.tell(Told::Queued(number, Origin::Local));
            self.stats.enqueued += 1;
            self.advance();
        }
    }

    /// Finds or adds a peer, as `expand` and `announce` do.
    fn introduce(&mut self, address: &Address) -> Result<Key, ExpandError> {
        if *address == self.own {
            Err(ExpandError::OwnAddress)
        } else if self.phase != Phase::Running {
            Err(ExpandError::ShuttingDown)
        } else if let Some(known) = self.find(address) {
            if self.is_ignored(known) { Err(ExpandError::Ignored) } else { Ok(known) }
        } else {
            self.add_peer(address).ok_or(ExpandError::TableFull)
        }
    }

    fn compare_peer(
        &self,
        expected: Result<Key, ExpandError>,
        result: Result<PeerId, ExpandError>,
    ) {
        assert_eq!(result, expected.map(|key| self.id_of(key)));
    }

    pub(in super::super) fn expand(
        &mut self,
        address: &Address,
        result: Result<PeerId, ExpandError>,
    ) {
        let expected = self.introduce(address);
        self.compare_peer(expected, result);
        if expected.is_ok() {
            self.advance();
        }
    }

    pub(in super::super) fn announce(
        &mut self,
        address: &Address,
        result: Result<PeerId, ExpandError>,
    ) {
        let expected = self.introduce(address);
        self.compare_peer(expected, result);
        let Ok(key) = expected else { return };
        self.peer_mut(key).unwrap().announce_due = true;
        match self.peer(key).unwrap().link {
            Some(id) if self.link(id).is_some_and(|link| link.state == State::Open) => {
                self.announce_if_due(id, key);
            }
            Some(_) => {}
            None => {
                self.dial(key);
            }
        }
        self.advance();
    }

    pub(in super::super) fn ignore(
        &mut self,
        address: &Address,
        result: Result<PeerId, ExpandError>,
    ) {
        let known = self.find(address);
        let expected = if *address == self.own {
            Err(ExpandError::OwnAddress)
        } else {
            known.or_else(|| self.add_peer(address)).ok_or(ExpandError::TableFull)
        };
        self.compare_peer(expected, result);
        if let Ok(key) = expected {
            self.ignore_peer(key);
            self.advance();
        }
    }

    pub(in super::super) fn heed(&mut self, address: &Address, result: bool) {
        let ignored = self.find(address).filter(|key| self.is_ignored(*key));
        assert_eq!(result, ignored.is_some());
        if let Some(key) = ignored {
            self.set_status(key, Status::New);
            self.advance();
        }
    }

    pub(in super::super) fn verdict(
        &mut self,
        offer: OfferId,
        verdict: &Verdict,
        result: Result<(), DecideError>,
    ) {
        let is_it = |number: &usize| self.known[*number].key == Some(offer.0);
        let offered = self.messages.iter().filter(|it| matches!(it.place, Place::Offered { .. }));
        let number = offered.map(|message| message.number).find(is_it);
        let max = self.config.max_message;
        let expected = match (number, verdict) {
            (None, _) => Err(DecideError::Gone),
            (Some(_), Verdict::Replace(message)) if message.body().len() > max => {
                Err(DecideError::TooLarge { max })
            }
            (Some(number), Verdict::Replace(message)) => {
                let more = message.body().len().saturating_sub(self.len(number));
                if self.has_room(more, 100) { Ok(()) } else { Err(DecideError::Full) }
            }
            _ => Ok(()),
        };
        assert_eq!(result, expected);
        if let Some(number) = number.filter(|_| result.is_ok()) {
            self.decide(number, verdict);
            self.advance();
        }
    }

    pub(in super::super) fn shutdown(&mut self) {
        if self.phase == Phase::Running {
            let until = self.now + self.config.timeouts.shutdown;
            (self.phase, self.retry_at) = (Phase::Draining { until }, None);
        }
        self.advance();
    }
}
