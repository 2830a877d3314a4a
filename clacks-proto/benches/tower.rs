//! A message on its way through a tower in memory, without TLS: its bytes come in, it is queued, a
//! recipient is drawn, its bytes go out, and the recipient confirms it. The tower has eight peers
//! and knows no limit but the windows.
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
    reason = "a benchmark has a clock, and no better answer to a surprise than to stop"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/relay.rs"]
mod relay;

use std::hint::black_box;

use bytes::Bytes;
use common::{Comparison, Wanted};
use relay::{Relay, batch_of};

const PEERS: usize = 8;

fn main() {
    let mut criterion = common::criterion();
    for (size, millions) in [(64, 4.0), (1024, 2.5), (16_384, 0.0)] {
        let body = vec![b'x'; size];
        let mut relay = Relay::new(PEERS, size);
        let before = (relay.delivered, relay.tower.stats().received);
        let wanted = (millions > 0.0).then_some(Wanted::Millions(millions));

        let mut comparison = Comparison::new(format!("tower/relay/{size}")).bytes(size);
        comparison.row("allocate, copy and free a body (floor)", None, || {
            black_box(Bytes::copy_from_slice(black_box(&body)));
        });
        let batch = batch_of(size) as u64;
        comparison.batch("a message through a tower", batch, wanted, || relay.turn());
        comparison.run(&mut criterion);

        let (delivered, received) = (relay.delivered, relay.tower.stats().received);
        assert_eq!(delivered - before.0, received - before.1, "what comes in goes out");
    }
    criterion.final_summary();
}
