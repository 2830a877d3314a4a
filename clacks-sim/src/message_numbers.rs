//! The numbers, nonces and bodies of the messages of a run.

use std::hash::{BuildHasherDefault, Hasher};

use clacks_proto::{Message, Nonce};
use hashbrown::HashMap;

use crate::observation::MessageId;

/// The number of the message with each nonce of a run. No code iterates over the map.
#[derive(Debug, Default)]
pub(crate) struct MessageNumbers {
    numbers: HashMap<Nonce, MessageId, BuildHasherDefault<NonceHasher>>,
}

/// Takes the lower bits of a nonce as its hash. A nonce is random.
#[derive(Debug, Default)]
struct NonceHasher(u64);

impl Hasher for NonceHasher {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.is_empty(), "a nonce is one number");
    }

    #[allow(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
    fn write_u128(&mut self, nonce: u128) {
        self.0 = nonce as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl MessageNumbers {
    /// Returns the number of messages so far.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the number of the next message.
    pub(crate) fn next(&self) -> MessageId {
        MessageId(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX))
    }

    /// Adds the nonce of the next message, and returns the number of the message.
    pub(crate) fn add(&mut self, nonce: Nonce) -> MessageId {
        let number = self.next();
        self.numbers.insert(nonce, number);
        number
    }

    /// Returns the number of the message with a nonce, or `None` for an unknown nonce.
    pub(crate) fn number_of(&self, nonce: Nonce) -> Option<MessageId> {
        self.numbers.get(&nonce).copied()
    }
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
