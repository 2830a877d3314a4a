//! How fast two towers of the JavaScript package are by themselves. A measurement, and no test: it
//! asks nothing of them.
//!
//! ```sh
//! cargo test -p clacks-cli --test interop -- --ignored --nocapture javascript_towers_by_themselves
//! ```

use std::time::{Duration, Instant};

use serde_json::json;

use crate::javascript::{Keys, Tower, package};

/// So many in each queue to begin with: neither tower ever has nothing to send.
const MESSAGES: usize = 500;
const TIME: Duration = Duration::from_secs(5);

#[test]
#[ignore = "a measurement: it says how fast they are"]
fn javascript_towers_by_themselves() {
    let Some(package) = package() else { return };
    for size in [64, 1024] {
        let keys = Keys::new();
        // As fast as their timer goes, which is a millisecond for any rate from a thousand on.
        let mut towers = [(); 2].map(|()| Tower::start(package, &keys, 10_000.0));
        let [one, two] = &mut towers;
        one.announce(&two.address);
        for tower in &mut towers {
            for _ in 0..MESSAGES {
                tower.enqueue(&json!("x".repeat(size)));
            }
        }
        let mut received = || towers.each_mut().map(|tower| tower.state().received);
        std::thread::sleep(Duration::from_secs(2));
        let (before, began) = (received(), Instant::now());
        std::thread::sleep(TIME);
        let (after, elapsed) = (received(), began.elapsed());
        let rates = [0, 1].map(|n| (after[n] - before[n]) as f64 / elapsed.as_secs_f64());
        println!(
            "messages of {size} bytes: {:.0} and {:.0} a second came to each",
            rates[0], rates[1]
        );
    }
}
