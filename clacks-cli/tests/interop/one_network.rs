//! Both kinds of towers find each other, let messages circulate, and heal.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clacks_proto::tls::Identity;
use clacks_proto::{Address, Config, Dialect, Dialects, Kind, Message, SendRate, Status};
use serde_json::{Value, json};

use crate::javascript::{Keys, Tower, package};
use crate::network::{Network, RunningTower, Runtimes, TowerOptions, listen_again, quick, quiet};

/// Messages a second that each tower hands on.
const SEND_RATE: u32 = 50;
/// The numbered messages.
const MESSAGES: usize = 1000;

pub(crate) fn both(mut config: Config) -> Config {
    config.dialects = Dialects::NativeAndHttp;
    config
}

pub(crate) fn three_of_theirs_and_one_of_ours(runtimes: Runtimes) {
    if let Some(package) = package() {
        one_network(package, runtimes, 3, 1);
    }
}

pub(crate) fn one_of_theirs_and_three_of_ours(runtimes: Runtimes) {
    if let Some(package) = package() {
        one_network(package, runtimes, 1, 3);
    }
}

/// Returns for how many seconds messages circulate: `CLACKS_NODE_SECONDS`, or 3.
fn seconds() -> u64 {
    std::env::var("CLACKS_NODE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

struct Both {
    ours: Vec<(RunningTower, Identity)>,
    theirs: Vec<Tower>,
}

impl Both {
    fn addresses(&self) -> Vec<Address> {
        let ours = self.ours.iter().map(|(tower, _)| tower.address.clone());
        ours.chain(self.theirs.iter().map(|tower| tower.address.clone())).collect()
    }

    /// Waits until each knows each to be alive.
    fn all_meet(&mut self) {
        let all = self.addresses();
        for (tower, _) in &mut self.ours {
            let own = tower.address.clone();
            for other in all.iter().filter(|other| **other != own) {
                tower.wait_for_status(Status::Alive, other);
            }
        }
        for tower in &mut self.theirs {
            let own = tower.address.clone();
            for other in all.iter().filter(|other| **other != own) {
                tower.thinks("alive", other);
            }
        }
    }

    /// Waits until each has got that many messages more.
    fn all_receive(&mut self, count: u64) {
        let before: Vec<u64> = self.ours.iter().map(|(tower, _)| tower.stats().received).collect();
        for tower in &mut self.theirs {
            let goal = tower.state().received + count;
            tower.until(&format!("{goal} messages"), |state| state.received >= goal);
        }
        for ((tower, _), before) in self.ours.iter_mut().zip(before) {
            tower.wait_until(&format!("{count} messages"), |tower| {
                tower.stats().received >= before + count
            });
        }
    }
}

fn options(identity: &Identity) -> TowerOptions {
    let mut config = both(quick());
    config.send_rate = SendRate::per_second(SEND_RATE);
    let mut options = TowerOptions::from(config);
    options.identity = identity.clone();
    options
}

fn one_network(package: &Path, runtimes: Runtimes, theirs: usize, ours: usize) {
    let keys = Keys::new();
    let rate = f64::from(SEND_RATE);
    let mut network = Network::new(runtimes);
    let mut both = Both { ours: Vec::new(), theirs: Vec::new() };
    both.theirs.extend((0..theirs).map(|_| Tower::start(package, &keys, rate)));
    for _ in 0..ours {
        let identity = Identity::generate().unwrap();
        both.ours.push((network.start(options(&identity)), identity));
    }

    // All announce themselves to one of theirs; the rest is gossip.
    let first = both.theirs[0].address.clone();
    both.theirs.iter_mut().skip(1).for_each(|tower| tower.announce(&first));
    both.ours.iter().for_each(|(tower, _)| tower.announce(&first).unwrap());
    for n in 0..40 {
        both.theirs[0].enqueue(&json!(format!("talk {n}")));
    }
    both.all_meet();
    for (tower, _) in &both.ours {
        for peer in tower.survey() {
            let is_theirs = both.theirs.iter().any(|tower| tower.address == peer.address);
            let dialect = if is_theirs { Dialect::Http } else { Dialect::Native };
            assert_eq!(peer.dialect, Some(dialect), "{peer:?}");
        }
    }
    for _ in 0..seconds() {
        both.all_receive(u64::from(SEND_RATE));
    }

    // Ours dies and comes back.
    let (tower, identity) = both.ours.pop().unwrap();
    let (address, socket) = (tower.address.clone(), tower.socket);
    tower.kill();
    both.theirs.iter_mut().for_each(|tower| tower.thinks("lost", &address));
    let mut again = options(&identity);
    again.listener = Some(listen_again(socket));
    let tower = network.start(again);
    tower.announce(&first).unwrap();
    both.ours.push((tower, identity));
    both.all_meet();

    // A JavaScript tower is killed and restarted. It loses the messages that it holds, so more are
    // enqueued.
    for (tower, _) in &both.ours {
        (0..20).for_each(|n| tower.enqueue_text(&format!("more talk {n}")));
    }
    let dead = both.theirs.pop().unwrap();
    let address = dead.address.clone();
    let port = dead.kill();
    both.ours.iter_mut().for_each(|(tower, _)| tower.wait_for_status(Status::Lost, &address));
    both.theirs.push(Tower::start_again(package, &keys, port, rate));
    both.all_meet();

    // Everything arrives: one more of ours takes all that there is, and hands nothing on.
    for number in 0..MESSAGES {
        let place = number % (ours + theirs);
        match both.theirs.get_mut(place) {
            Some(tower) => tower.enqueue(&value(number)),
            None => {
                both.ours[place - theirs].0.enqueue(message(number)).unwrap();
            }
        }
    }
    // Slower than before: theirs refuse each other what is not ASCII, and then take each other for
    // lost.
    both.all_receive(u64::from(SEND_RATE));
    let mut sink = network.start(self::both(quiet()));
    let all = both.addresses();
    all.iter().for_each(|other| sink.announce(other).unwrap());
    let mut wanted: BTreeMap<String, usize> =
        (0..MESSAGES).map(|number| (format!("{:?}", message(number)), number)).collect();
    sink.wait_until("every message", |sink| {
        for held in sink.peek() {
            wanted.remove(&format!("{:?}", canonical(held.message)));
        }
        wanted.is_empty()
    });
}

/// The message with a number, of one kind or another.
fn value(number: usize) -> Value {
    match number % 5 {
        0 => json!(format!("text {number}")),
        1 => json!({"number": number, "list": [1.5, null, true, "\u{0}\"\\/é"], "deep": [[[{}]]]}),
        2 => json!(number + 1),
        3 => json!({"clacks:base64": STANDARD.encode(bytes(number))}),
        _ => json!(format!("Grüße, € und 😀: {number}")),
    }
}

/// Bytes that are no text.
fn bytes(number: usize) -> [u8; 9] {
    let mut bytes = [0xFF; 9];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

/// The same as it is at one of ours.
fn message(number: usize) -> Message {
    match value(number) {
        _ if number % 5 == 3 => Message::bytes(&bytes(number)),
        Value::String(text) => Message::text(&text),
        other => Message::json(&other.to_string()),
    }
}

/// A message with its JSON as this test writes it: who carries it may write it otherwise.
fn canonical(message: Message) -> Message {
    match (message.kind(), message.as_text()) {
        (Kind::Json, Some(text)) => {
            let value: Value = serde_json::from_str(text).unwrap();
            Message::json(&value.to_string())
        }
        _ => message,
    }
}
