//! A file in a network of both kinds of towers. Towers of the JavaScript package carry its pieces
//! and answer no questions about them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clacks_proto::tls::SecureTower;
use clacks_proto::{Address, Seed, SendRate, Status};
use clacks_store::{CHUNK, Chunk, ReadLink, Store, StoreConfig, enable_store};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{self, stderr, stdout};
use crate::javascript::{Keys, Tower, package};
use crate::network::{DEADLINE, Network, RunningTower, Runtimes, TowerOptions, quick};
use crate::one_network::both;

type StoreTower = RunningTower<Store<SecureTower>>;

/// Messages a second that each tower hands on.
const SEND_RATE: u32 = 20;

/// How long a piece rests at the stores through which it moves fast. By default it is 10 minutes.
const SHORT_HOLD: Duration = Duration::from_secs(2);

const OURS: usize = 7;
const THEIRS: usize = 3;

/// The times that a piece moves on average before the file is read again.
const HOPS: u64 = 10;

/// A network with a file, and the folder of the person who put it.
struct Mixed {
    ours: Vec<StoreTower>,
    theirs: Vec<Tower>,
    folder: TempDir,
    content: Vec<u8>,
}

impl Mixed {
    fn start(package: &Path, network: &mut Network) -> Self {
        let keys = Keys::new();
        let start = |_| Tower::start(package, &keys, f64::from(SEND_RATE));
        let mut theirs: Vec<_> = (0..THEIRS).map(start).collect();
        let all: Vec<_> = theirs.iter().map(|tower| tower.address.clone()).collect();
        for (number, to) in all.iter().enumerate() {
            theirs.iter_mut().take(number).for_each(|tower| tower.announce(to));
        }
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> =
            (0..1 << 20).map(|n: u32| (n.wrapping_mul(n) >> 7).to_le_bytes()[0]).collect();
        std::fs::write(folder.path().join("photo.jpg"), &content).unwrap();
        let ours = Vec::new();
        let mut mixed = Self { ours, theirs, folder, content };
        mixed.ours = mixed.start_stores(network, StoreConfig::default().hold);
        mixed
    }

    /// Starts stores, and waits until each one knows all towers.
    fn start_stores(&self, network: &mut Network, hold: Duration) -> Vec<StoreTower> {
        let mut stores: Vec<_> = (0..OURS).map(|_| start_store(network, hold)).collect();
        let new: Vec<_> = stores.iter().map(|tower| tower.address.clone()).collect();
        let theirs = self.theirs.iter().map(|tower| tower.address.clone());
        let others: Vec<_> =
            theirs.chain(self.ours.iter().map(|tower| tower.address.clone())).collect();
        // Towers of the package tell each other of towers only with messages, and there are none.
        for (number, tower) in stores.iter().enumerate() {
            let all = others.iter().chain(&new[..number]);
            all.for_each(|to| tower.announce(to).unwrap());
        }
        for tower in &mut stores {
            let own = tower.address.clone();
            for other in others.iter().chain(&new).filter(|other| **other != own) {
                tower.wait_for_status(Status::Alive, other);
            }
        }
        stores
    }

    /// Replaces the stores by others, which get the pieces from them.
    fn replace_stores(&mut self, network: &mut Network, hold: Duration) {
        let new = self.start_stores(network, hold);
        for mut tower in std::mem::replace(&mut self.ours, new) {
            tower.shut_down();
        }
    }

    fn run(&self, tower: &Address, args: &[&str]) -> Output {
        self.command(args).env("CLACKS_TOWER", tower.to_string()).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = common::clacks(args);
        command.current_dir(self.folder.path()).env("XDG_RUNTIME_DIR", self.folder.path());
        command.env("XDG_STATE_HOME", self.folder.path());
        command
    }

    fn put(&self) -> String {
        let output = self.run(&self.ours[0].address, &["put", "photo.jpg"]);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    /// Gets the file at one of ours, and compares it. Towers may answer too late under load.
    fn get(&self, link: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = self.run(&self.ours[OURS - 1].address, &["get", link, "-f", "-o", "copy"]);
            if output.status.success() {
                break;
            }
            assert!(Instant::now() < deadline, "{}", stderr(&output));
        }
        self.compare();
    }

    fn compare(&self) {
        let copy = std::fs::read(self.folder.path().join("copy")).unwrap();
        assert!(copy == self.content, "the content differs");
    }

    /// Returns the bodies of the messages that towers of the package hold.
    fn held_by_theirs(&mut self) -> Vec<Vec<u8>> {
        self.theirs.iter_mut().flat_map(|tower| bodies(&tower.state().queue)).collect()
    }

    fn held_by_ours(&self) -> BTreeSet<Vec<u8>> {
        self.ours.iter().flat_map(held).collect()
    }

    fn received(&mut self) -> u64 {
        let theirs: u64 = self.theirs.iter_mut().map(|tower| tower.state().received).sum();
        theirs + self.ours.iter().map(|tower| tower.stats().received).sum::<u64>()
    }
}

fn start_store(network: &mut Network, hold: Duration) -> StoreTower {
    let mut config = both(quick());
    config.send_rate = SendRate::per_second(SEND_RATE);
    enable_store(&mut config);
    let mut settings = StoreConfig::default();
    settings.hold = hold;
    settings.list_every = Duration::ZERO;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    network.start_secure_machine(TowerOptions::from(config), |tower| {
        Store::new(tower, settings, &Seed(seed), unix).unwrap()
    })
}

fn held(tower: &StoreTower) -> Vec<Vec<u8>> {
    tower.peek().into_iter().map(|held| held.message.body().to_vec()).collect()
}

/// Returns the bodies of messages of bytes, as the package holds them.
fn bodies(queue: &[Value]) -> Vec<Vec<u8>> {
    let body = |message: &Value| STANDARD.decode(message["clacks:base64"].as_str()?).ok();
    queue.iter().filter_map(body).collect()
}

/// Checks that a body is a chunk of the file to the last byte: its name is the hash of all others.
fn assert_is_piece(body: &[u8], link: &ReadLink) {
    assert_eq!(body.len(), CHUNK);
    let chunk = Chunk::parse(body).expect("the id is that of the bytes");
    assert!(chunk.open(&link.keep().chunk_keys()).is_some(), "it is a piece of the file");
}

pub(crate) fn a_file_lives_among_both_kinds_of_towers(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let mut network = Network::new(runtimes);
    let mut mixed = Mixed::start(package, &mut network);
    let link = mixed.put();
    let keys: ReadLink = link.parse().unwrap();

    mixed.get(&link);

    // From now on the pieces move fast. A put would not see them all then.
    mixed.replace_stores(&mut network, SHORT_HOLD);

    // Each tower of the package carries pieces.
    for tower in &mut mixed.theirs {
        let state = tower.until("a piece", |state| !bodies(&state.queue).is_empty());
        for body in bodies(&state.queue) {
            assert_is_piece(&body, &keys);
        }
    }

    // Pieces come back from them unharmed.
    let deadline = Instant::now() + DEADLINE;
    let mut away = BTreeSet::new();
    loop {
        assert!(Instant::now() < deadline, "no piece comes back");
        let ours = mixed.held_by_ours();
        if away.iter().any(|body| ours.contains(body)) {
            break;
        }
        let theirs = mixed.held_by_theirs();
        let ours = mixed.held_by_ours();
        away.extend(theirs.into_iter().filter(|body| !ours.contains(body)));
    }

    // The file is still there when each piece has moved on some times.
    let pieces = u64::from(keys.file().geometry.chunks());
    let goal = mixed.received() + HOPS * pieces;
    let deadline = Instant::now() + DEADLINE;
    while mixed.received() < goal {
        assert!(Instant::now() < deadline, "the pieces do not move");
        std::thread::sleep(Duration::from_millis(100));
    }
    mixed.get(&link);

    // Ours leave, so that only towers of the package hold pieces. A tower that joins them gets the
    // file by listening.
    for tower in &mut mixed.ours {
        tower.shut_down();
    }
    assert!(mixed.held_by_theirs().len() >= 93);
    let socket = mixed.folder.path().join("socket");
    let control = format!("--control={}", socket.display());
    let announce = format!("--announce={}", mixed.theirs[0].address);
    let rate = format!("--send-rate={SEND_RATE}");
    let tower = common::Tower::start(&["--no-store", &rate, &control, &announce]);
    let listen = ["get", "--listen", "--patient", &control, &link, "-f", "-o", "copy"];
    let output = common::run_to_deadline(mixed.command(&listen));
    assert!(output.status.success(), "{}", stderr(&output));
    mixed.compare();
    drop(tower);
}
