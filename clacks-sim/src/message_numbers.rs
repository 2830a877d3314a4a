//! The numbers, nonces and bodies of the messages of a run.

use clacks_proto::{Message, Nonce};
use hashbrown::HashTable;

use crate::observation::MessageId;

/// The nonces of all messages of a run, and the number of each nonce.
///
/// A nonce is random, so its lower bits are the hash. The order of the table does not matter,
/// because no code iterates over the table.
#[derive(Debug, Default)]
pub(crate) struct MessageNumbers {
    /// The numbers, hashed by nonce.
    numbers: HashTable<u32>,
    /// The nonce of each message. The index is the number of the message.
    nonces: Vec<Nonce>,
}

impl MessageNumbers {
    /// Returns the number of messages so far.
    pub(crate) fn len(&self) -> usize {
        self.nonces.len()
    }

    /// Returns the number of the next message.
    pub(crate) fn next(&self) -> MessageId {
        MessageId(u32::try_from(self.nonces.len()).unwrap_or(u32::MAX))
    }

    /// Adds the nonce of the next message, and returns the number of the message.
    pub(crate) fn add(&mut self, nonce: Nonce) -> MessageId {
        let number = self.next();
        self.nonces.push(nonce);
        let nonces = &self.nonces;
        self.numbers
            .insert_unique(hash_of(nonce), number.0, |number| hash_of(nonces[*number as usize]));
        number
    }

    /// Returns the number of the message with a nonce, or `None` for an unknown nonce.
    pub(crate) fn number_of(&self, nonce: Nonce) -> Option<MessageId> {
        let has_nonce = |number: &u32| self.nonces.get(*number as usize) == Some(&nonce);
        self.numbers.find(hash_of(nonce), has_nonce).map(|number| MessageId(*number))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
fn hash_of(nonce: Nonce) -> u64 {
    nonce.0 as u64
}

/// Returns a message whose body is its number, followed by bytes that are derived from the number.
/// So a checker can detect an altered body.
pub(crate) fn message(number: MessageId, size: usize) -> Message {
    let mut state = u64::from(number.0);
    let mut body = Vec::with_capacity(size + 8);
    body.extend_from_slice(&state.to_be_bytes());
    while body.len() < size {
        // A linear congruential generator with the constants of Knuth's MMIX.
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
    fn a_message_is_found_by_its_nonce() {
        let mut numbers = MessageNumbers::default();
        let nonces: Vec<_> = (1..1_000u128).map(|n| Nonce((n << 64) | (n % 7))).collect();
        for nonce in &nonces {
            numbers.add(*nonce);
        }
        assert_eq!(numbers.len(), 999);
        for (nonce, number) in nonces.iter().zip(0..) {
            assert_eq!(numbers.number_of(*nonce), Some(MessageId(number)));
        }
        assert_eq!(numbers.number_of(Nonce(3)), None);
    }

    #[test]
    fn bodies_have_the_given_size_and_depend_on_the_number() {
        for size in [8, 9, 16, 64, 1_000] {
            assert_eq!(message(MessageId(3), size).body().len(), size);
        }
        assert_ne!(message(MessageId(3), 64), message(MessageId(4), 64));
        assert_eq!(message(MessageId(3), 64), message(MessageId(3), 64));
    }
}
