//! Two towers in memory that pass a message back and forth. There are no sockets, no clock and no
//! threads.
//!
//! ```sh
//! cargo run --package clacks-proto --example two_towers
//! ```
//!
//! The connection is a buffer in each direction. Time is a number that jumps to the next wake-up.

use clacks_proto::{Action, Address, Config, Event, Instant, Message, Notice, Seed};
use clacks_proto::{LinkId, StateMachine, Tower};
use std::net::{IpAddr, Ipv4Addr};

const NAMES: [&str; 2] = ["lipwig", "princess"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (here, there) = (Address::new("127.0.0.1", 8001)?, Address::new("127.0.0.1", 8002)?);
    let mut towers = [
        Tower::new(Config::default(), here, &Seed::from_u64(1))?,
        Tower::new(Config::default(), there.clone(), &Seed::from_u64(2))?,
    ];
    let (mut now, mut rounds) = (Instant::ORIGIN, 0);
    towers[0].enqueue(Message::text("Hello Discworld!"), now)?;
    towers[0].expand(&there, now)?;

    let mut ends: [Option<LinkId>; 2] = [None, None];
    while rounds < 6 {
        for n in [0, 1] {
            // Execute the actions of the tower.
            while let Some(action) = towers[n].poll_action() {
                match action {
                    Action::Connect { link, .. } => {
                        let other = towers[1 - n].accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now)?;
                        (ends[n], ends[1 - n]) = (Some(link), Some(other));
                        towers[n].handle(Event::Connected { link, at: None }, now);
                    }
                    Action::Notify(Notice::MessageReceived { message, .. }) => {
                        println!("{} has {message:?}", NAMES[n]);
                        rounds += 1;
                    }
                    _ => {}
                }
            }
            // Pass its bytes to the other tower.
            if let (Some(from), Some(to)) = (ends[n], ends[1 - n]) {
                let mut bytes = Vec::new();
                while towers[n].transmit(from, &mut bytes) > 0 {}
                towers[1 - n].handle(Event::BytesArrived { link: to, bytes: &bytes }, now);
            }
        }
        let wakeups = towers.iter().filter_map(StateMachine::next_wakeup);
        now = wakeups.map(|wakeup| wakeup.at).min().unwrap_or(now).max(now);
        towers.iter_mut().for_each(|tower| tower.handle(Event::TimerFired, now));
    }
    Ok(())
}
