//! The run's messages: which nonce each has, and what its body is.

use clacks_proto::{Message, Nonce};
use hashbrown::HashTable;

use crate::observation::MessageId;

/// The nonces of a run's messages. A nonce is random, so its own bits serve as its hash. Nothing iterates over the table.
#[derive(Debug, Default)]
pub(crate) struct MessageNumbers {
    numbers: HashTable<u32>,
    nonces: Vec<Nonce>,
}

impl MessageNumbers {
    /// How many messages there have been.
    pub(crate) fn len(&self) -> usize {
        self.nonces.len()
    }

    /// The number that the next message gets.
    pub(crate) fn next(&self) -> MessageId {
        MessageId(u32::try_from(self.nonces.len()).unwrap_or(u32::MAX))
    }

    /// Notes the nonce of the next message.
    pub(crate) fn add(&mut self, nonce: Nonce) -> MessageId {
        let number = self.next();
        self.nonces.push(nonce);
        let nonces = &self.nonces;
        self.numbers
            .insert_unique(hash_of(nonce), number.0, |number| hash_of(nonces[*number as usize]));
        number
    }

    /// Which message has a nonce.
    pub(crate) fn number_of(&self, nonce: Nonce) -> Option<MessageId> {
        let has_it = |number: &u32| self.nonces.get(*number as usize) == Some(&nonce);
        self.numbers.find(hash_of(nonce), has_it).map(|number| MessageId(*number))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
fn hash_of(nonce: Nonce) -> u64 {
    nonce.0 as u64
}

/// The body of a message: its number, and then bytes that follow from that, so that an altered one can be told.
pub(crate) fn message(number: MessageId, size: usize) -> Message {
    let mut state = u64::from(number.0);
    let mut body = Vec::with_capacity(size + 8);
    body.extend_from_slice(&state.to_be_bytes());
    while body.len() < size {
        // Knuth's MMIX constants; any sequence would do.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.extend_from_slice(&state.to_be_bytes());
    }
    body.truncate(size.max(8));
    Message::bytes(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_its_nonce_alone() {
        let mut names = MessageNumbers::default();
        let nonces: Vec<_> = (1..1_000u128).map(|n| Nonce((n << 64) | (n % 7))).collect();
        for nonce in &nonces {
            names.add(*nonce);
        }
        assert_eq!(names.len(), 999);
        for (nonce, number) in nonces.iter().zip(0..) {
            assert_eq!(names.number_of(*nonce), Some(MessageId(number)));
        }
        assert_eq!(names.number_of(Nonce(3)), None);
    }

    #[test]
    fn bodies_have_the_size_asked_for_and_differ() {
        for size in [8, 9, 16, 64, 1_000] {
            assert_eq!(message(MessageId(3), size).body().len(), size);
        }
        assert_ne!(message(MessageId(3), 64), message(MessageId(4), 64));
        assert_eq!(message(MessageId(3), 64), message(MessageId(3), 64));
    }
}
