//! Links on which bytes are altered, lost and doubled, wherever it hurts.

use std::time::Duration;

use clacks_proto::{Message, StateMachine};
use proptest::prelude::*;

use crate::pair::{ALICE, BOB, Pair, paused_config};

/// What happens to the bytes of one side from one offset on.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(u8),
    Lose(usize),
    Double(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (1..=u8::MAX).prop_map(Damage::Flip),
        (1..40usize).prop_map(Damage::Lose),
        (1..40usize).prop_map(Damage::Double),
    ]
}

fn apply(damage: Damage, at: usize, bytes: &mut Vec<u8>) {
    match damage {
        Damage::Flip(bits) => bytes[at] ^= bits,
        Damage::Lose(len) => drop(bytes.drain(at..bytes.len().min(at + len))),
        Damage::Double(len) => {
            let piece = bytes[at..bytes.len().min(at + len)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_a_link_messages_arrive_once_and_unaltered(
        victim in ALICE..=BOB,
        // A handshake and eleven messages take some 3000 bytes of Alice, and 2500 of Bob.
        offset in 0..3000usize,
        damage in damage(),
        chunk in 1..2000usize,
    ) {
        let mut pair = Pair::open();
        pair.chunk_size = chunk;
        let mut seen = 0;
        pair.tamper = Some(Box::new(move |side, bytes| {
            if side == victim {
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
        // A link that waits for lost bytes is given up, and the peer tried again.
        pair.advance(paused_config().timeouts.confirm * 4 + Duration::from_secs(60));

        prop_assert_eq!(pair.queued(ALICE), 0);
        let mut held: Vec<String> = pair.towers[BOB]
            .tower()
            .peek()
            .map(|held| held.message.as_text().unwrap_or("altered").to_owned())
            .collect();
        held.sort();
        prop_assert_eq!(held, bodies);
        let is_closed = pair.connections.iter().all(|c| c.endpoints[0].is_open == c.endpoints[1].is_open);
        prop_assert!(is_closed, "half a connection is left");
    }
}
