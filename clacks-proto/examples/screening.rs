//! A tower that carries only what it is tuned in to: it looks at each message before it is queued, and goes by how it begins.
//!
//! ```sh
//! cargo run --package clacks-proto --example screening -- weather:
//! ```
//!
//! The one with the messages is an ordinary tower. It keeps what the other one refuses, and would offer it to others if it knew any.

use clacks_proto::{
    Action, Address, Config, DefaultVerdict, Event, Instant, LinkId, Message, Screening, Seed,
    SendRate, StateMachine, Tower, Verdict,
};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const MESSAGES: [&str; 5] = [
    "weather: fog over the Octarine Grass Country",
    "prices: cabbages down, carts up",
    "weather: a light drizzle of frogs",
    "gnu: John Dearheart",
    "weather: clearing towards the Hub",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let prefix = std::env::args().nth(1).unwrap_or_else(|| "weather:".into());
    let mut config = Config::default();
    let sender = Tower::new(config.clone(), Address::new("127.0.0.1", 8001)?, &Seed::from_u64(1))?;
    config.screening = Screening::On {
        max_offers: 32,
        // When the application sleeps, messages are not lost: their senders keep them.
        timeout: Duration::from_secs(5),
        default: DefaultVerdict::Reject,
    };
    // Both can be looked at in the end before it passes anything on.
    config.send_rate = SendRate::Every(Duration::from_secs(3_600));
    let tuned = Tower::new(config, Address::new("127.0.0.1", 8002)?, &Seed::from_u64(2))?;

    let mut now = Instant::ORIGIN;
    let mut towers = [sender, tuned];
    for text in MESSAGES {
        towers[0].enqueue(Message::text(text), now)?;
    }
    let other = towers[1].address().clone();
    towers[0].expand(&other, now)?;

    let mut ends: [Option<LinkId>; 2] = [None, None];
    // Until each was offered once.
    while towers[0].stats().delivered + towers[0].stats().refused_by_peers < 5 {
        for n in [0, 1] {
            while let Some(action) = towers[n].poll_action() {
                match action {
                    Action::Screen { offer, .. } => {
                        let Some((_, message)) = towers[n].offer(offer) else { continue };
                        towers[n].decide(offer, judge(&message, &prefix), now)?;
                    }
                    Action::Connect { link, .. } => {
                        let there = towers[1 - n].accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now)?;
                        (ends[n], ends[1 - n]) = (Some(link), Some(there));
                        towers[n].handle(Event::Connected { link }, now);
                    }
                    _ => {}
                }
            }
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
    for (tower, name) in towers.iter().zip(["the sender keeps", "on its way here"]) {
        tower.peek().for_each(|held| println!("{name}: {:?}", held.message));
    }
    Ok(())
}

/// The application's say. Other verdicts are to swallow a message, and to put another one in its place.
fn judge(message: &Message, prefix: &str) -> Verdict {
    match message.as_text() {
        Some(text) if text.starts_with(prefix) => {
            println!("heard: {text}");
            Verdict::Accept
        }
        _ => Verdict::Reject,
    }
}
