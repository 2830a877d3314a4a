//! A tower that accepts only messages that begin with a prefix. It screens each message before it
//! is queued.
//!
//! ```sh
//! cargo run --package clacks-proto --example screening -- weather:
//! ```
//!
//! The sender is an ordinary tower. It keeps the messages that the other tower refuses. It would
//! offer them to other peers if it had any.

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
        // The message is rejected if the application does not decide in time. The sender then keeps
        // it.
        timeout: Duration::from_secs(5),
        default: DefaultVerdict::Reject,
    };
    // The tower sends so slowly that it still has the messages at the end.
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
    // Run until each message was offered once.
    while towers[0].stats().delivered + towers[0].stats().refused_by_peers < 5 {
        for n in [0, 1] {
            while let Some(action) = towers[n].poll_action() {
                match action {
                    Action::Screen { offer, message, .. } => {
                        towers[n].decide(offer, judge(&message, &prefix), now)?;
                    }
                    Action::Connect { link, .. } => {
                        let there = towers[1 - n].accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now)?;
                        (ends[n], ends[1 - n]) = (Some(link), Some(there));
                        towers[n].handle(Event::Connected { link, at: None }, now);
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

/// Returns the verdict on a message. Other verdicts are [`Verdict::Swallow`] and
/// [`Verdict::Replace`].
fn judge(message: &Message, prefix: &str) -> Verdict {
    match message.as_text() {
        Some(text) if text.starts_with(prefix) => {
            println!("heard: {text}");
            Verdict::ACCEPT
        }
        _ => Verdict::Reject,
    }
}
