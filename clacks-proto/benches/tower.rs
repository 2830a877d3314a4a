//! A message through a tower in memory, without TLS. The tower receives the message, queues it,
//! draws a recipient, sends it, and receives the confirmation. It has eight peers, and only the
//! windows limit its rate.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --bench tower
//! cargo bench --manifest-path benches/Cargo.toml --bench tower -- --quick
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark has a clock, and panics on errors"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/relay.rs"]
mod relay;

use std::hint::black_box;

use bytes::Bytes;
use common::{Comparison, Target};
use relay::{Relay, batch_len};

const PEERS: usize = 8;

fn main() {
    let mut criterion = common::criterion();
    for (size, millions) in [(64, 4.0), (1024, 2.5), (16_384, 0.0)] {
        let body = vec![b'x'; size];
        let mut relay = Relay::new(PEERS, size);
        let before = (relay.delivered, relay.tower.stats().received);
        let target = (millions > 0.0).then_some(Target::Millions(millions));

        let mut comparison = Comparison::new(format!("tower/relay/{size}")).bytes(size);
        comparison.row("allocate, copy and free a body (floor)", None, || {
            black_box(Bytes::copy_from_slice(black_box(&body)));
        });
        let batch = batch_len(size) as u64;
        comparison.batch("a message through a tower", batch, target, || relay.turn());
        comparison.run(&mut criterion);

        let (delivered, received) = (relay.delivered, relay.tower.stats().received);
        assert_eq!(
            delivered - before.0,
            received - before.1,
            "a received message was not delivered"
        );
    }
    criterion.final_summary();
}
