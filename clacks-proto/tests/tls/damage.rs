//! Links on which bytes are altered, lost, or duplicated.

use std::time::Duration;

use clacks_proto::{Message, StateMachine};
use proptest::prelude::*;

use crate::pair::{ALICE, BOB, Pair, paused_config};

/// A fault in the bytes of one side, at one offset.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(u8),
    Lose(usize),
    Duplicate(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (1..=u8::MAX).prop_map(Damage::Flip),
        (1..40usize).prop_map(Damage::Lose),
        (1..40usize).prop_map(Damage::Duplicate),
    ]
}

fn apply(damage: Damage, at: usize, bytes: &mut Vec<u8>) {
    match damage {
        Damage::Flip(bits) => bytes[at] ^= bits,
        Damage::Lose(len) => drop(bytes.drain(at..bytes.len().min(at + len))),
        Damage::Duplicate(len) => {
            let piece = bytes[at..bytes.len().min(at + len)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    #[test]
    fn messages_arrive_once_and_unaltered_despite_a_damaged_link(
        damaged_side in ALICE..=BOB,
        // Alice sends about 3000 bytes in a handshake and eleven messages, and Bob about 2500.
        offset in 0..3000usize,
        damage in damage(),
        chunk in 1..2000usize,
    ) {
        let mut pair = Pair::open();
        pair.chunk_size = chunk;
        let mut seen = 0;
        pair.tamper = Some(Box::new(move |side, bytes| {
            if side == damaged_side {
                let len = bytes.len();
                if (seen..seen + len).contains(&offset) {
                    apply(damage, offset - seen, bytes);
                }
                seen += len;
            }
        }));
        pair.expand(ALICE);
        let bodies: Vec<String> = (0..11).map(|number| format!("number {number:02}")).collect();
        for body in &bodies {
            pair.enqueue(ALICE, &Message::text(body));
            pair.drive();
        }
        // A link that waits for lost bytes times out, and the tower dials the peer again.
        pair.advance(paused_config().timeouts.confirm * 4 + Duration::from_secs(60));

        prop_assert_eq!(pair.queued(ALICE), 0);
        let mut held: Vec<String> = pair.towers[BOB]
            .tower()
            .peek()
            .map(|held| held.message.as_text().unwrap_or("altered").to_owned())
            .collect();
        held.sort();
        prop_assert_eq!(held, bodies);
        let mut connections = pair.connections.iter();
        let agree = connections.all(|c| c.endpoints[0].is_open == c.endpoints[1].is_open);
        prop_assert!(agree, "each connection is closed at both ends or at none");
    }
}
