//! A tower under a supervisor for an hour: its outputs are not read, it is reloaded each minute,
//! and it is killed and started again. Ignored by default:
//!
//!   CLACKS_SOAK_MINUTES=60 cargo test -p clacks-cli --test soak -- --ignored --nocapture
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Tower};
use serde_json::{Value, json};
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);
/// How long an answer may take before the tower counts as stuck.
const STUCK: Duration = Duration::from_secs(30);
/// The time from the start of a process in which its peers must be known.
const KNOWN: Duration = Duration::from_secs(1);
/// The minutes between two kills, in the first half of the run.
const KILL_EVERY: u32 = 5;
/// By how much the memory of the last process may grow.
const GROWTH_KIB: u64 = 2_048;

#[test]
#[ignore = "takes an hour"]
fn smol() {
    soak("smol");
}

#[test]
#[ignore = "takes an hour"]
fn mio() {
    soak("mio");
}

fn soak(runtime: &str) {
    let minutes = std::env::var("CLACKS_SOAK_MINUTES").map_or(60, |it| it.parse().unwrap());
    let peers = [(); 2].map(|()| Tower::start(&["--quiet", "--send-rate", "20"]));
    let [first, second] = [0, 1].map(|index: usize| peers[index].address.clone());
    let mut tower = Supervised::new(runtime);
    let mut faults = Vec::new();
    tower.start(&["--announce", &first, "--announce", &second]);
    tower.wait_for_peers("alive", [&first, &second]);
    tower.wait_until_kept([&first, &second]);
    println!(
        "{runtime}  minute  RSS KiB  threads  files  held  status ms  reload ms  delivery ms  \
         known ms  alive ms"
    );
    let start = Instant::now();
    let (mut memory, mut slowest) = (Vec::new(), Duration::ZERO);
    for minute in 0..minutes {
        if let Some(end) = tower.child().try_wait().unwrap() {
            faults.push(format!("minute {minute}: the tower ended ({end})"));
            tower.start(&[]);
        }
        // The second half is one process, whose memory is compared.
        let is_killed = minute > 0 && minute <= minutes / 2 && minute % KILL_EVERY == 0;
        let (mut known, mut alive) = (String::new(), String::new());
        if is_killed {
            tower.kill();
            memory.clear();
            let started = Instant::now();
            tower.start(&[]);
            tower.wait_for_peers("", [&first, &second]);
            let took = started.elapsed();
            if took > KNOWN {
                faults.push(format!("minute {minute}: the peers were known after {took:?}"));
            }
            known = millis(took);
            tower.wait_for_peers("alive", [&first, &second]);
            alive = millis(started.elapsed());
        }
        let reload = tower.reload(minute);
        let delivery = tower.deliver(minute);
        let (status, held) = tower.status();
        slowest = slowest.max(status).max(reload).max(delivery);
        let usage = Usage::of(tower.child().id());
        memory.push(usage.resident_kib);
        println!(
            "{runtime:<6}{minute:>8}{:>9}{:>9}{:>7}{held:>6}{:>11}{:>11}{:>13}{known:>10}{alive:>10}",
            usage.resident_kib,
            usage.threads,
            usage.files,
            millis(status),
            millis(reload),
            millis(delivery),
        );
        let next = start + MINUTE * (minute + 1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let third = (memory.len() / 3).max(1);
    let early = memory[..third].iter().max().unwrap();
    let late = memory[memory.len() - third..].iter().max().unwrap();
    if *late > early + GROWTH_KIB {
        faults.push(format!("the memory grew from {early} KiB to {late} KiB"));
    }
    let end = tower.terminate();
    println!(
        "{runtime}: RSS at most {early} KiB in the first and {late} KiB in the last third of the \
         last process, slowest answer {} ms, end after {} ms",
        millis(slowest),
        millis(end)
    );
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A tower whose standard output and log are pipes that no process reads.
struct Supervised {
    folder: TempDir,
    runtime: String,
    child: Option<Child>,
    /// The address of the first start. All later ones take it again.
    listen: String,
    /// Connections that asked for all events and read none.
    silent: Vec<UnixStream>,
}

impl Supervised {
    fn new(runtime: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A build in the meantime would replace the binary.
        fs::copy(env!("CARGO_BIN_EXE_clacks"), folder.path().join("clacks")).unwrap();
        fs::write(folder.path().join("tower.toml"), "").unwrap();
        Self {
            folder,
            runtime: runtime.into(),
            child: None,
            listen: "127.0.0.1:0".into(),
            silent: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Starts the tower, and returns as soon as its control socket answers.
    fn start(&mut self, options: &[&str]) {
        let mut command = Command::new("env");
        // The tests may run with `nohup`.
        command.arg("--default-signal=HUP").arg(self.path("clacks"));
        command.args(["tower", "--json", "--send-rate", "20", "--heartbeat", "1s"]);
        command.args(["--listen", &self.listen, "--runtime", &self.runtime]).args(options);
        for (option, file) in
            [("--state", "state"), ("--control", "sockets/tower"), ("--config", "tower.toml")]
        {
            command.arg(option).arg(self.path(file));
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("RUST_LOG", "trace");
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.child = Some(pipes.spawn().unwrap());
        let greeting = self.client().greeting;
        self.listen = greeting["address"].as_str().unwrap().to_owned();
        let mut silent = UnixStream::connect(self.path("sockets/tower")).unwrap();
        writeln!(silent, "{}", json!({"verb": "watch", "after": 0})).unwrap();
        self.silent.push(silent);
    }

    fn client(&mut self) -> Client {
        let (path, deadline) = (self.path("sockets/tower"), Instant::now() + DEADLINE);
        loop {
            if let Some(client) = Client::connect(&path) {
                return client;
            }
            assert!(Instant::now() < deadline, "no control socket");
            if let Some(end) = self.child().try_wait().unwrap() {
                panic!("the tower ended: {end}");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until peers are known and have a status. An empty status is any.
    fn wait_for_peers(&mut self, status: &str, peers: [&str; 2]) {
        let (mut client, deadline) = (self.client(), Instant::now() + DEADLINE);
        loop {
            let survey = client.ask(&json!({"verb": "survey"}));
            let mut known = survey["towers"].as_array().unwrap().iter();
            let count = peers.iter().filter(|peer| {
                known.clone().any(|it| {
                    it["address"] == **peer && (status.is_empty() || it["status"] == status)
                })
            });
            if count.count() == peers.len() {
                return;
            }
            assert!(Instant::now() < deadline, "{peers:?} are not {status}: {:?}", known.next());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn wait_until_kept(&self, peers: [&str; 2]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let file = fs::read_to_string(self.path("state/peers.json")).unwrap_or_default();
            if peers.iter().all(|peer| file.contains(peer)) {
                return;
            }
            assert!(Instant::now() < deadline, "{file}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reloads another configuration, and returns the time until the tower has applied it.
    fn reload(&mut self, minute: u32) -> Duration {
        let mut events = self.client();
        let after = events.ask(&json!({"verb": "status"}))["seq"].clone();
        events.say(&json!({"verb": "watch", "after": after}));
        let text = format!("ignore = [\"127.0.0.1:{}\"]\n", 1 + minute % 2);
        fs::write(self.path("tower.toml"), text).unwrap();
        let start = Instant::now();
        self.signal("-HUP");
        while events.next()["event"] != "reloaded" {}
        start.elapsed()
    }

    /// Sends a message, and returns the time until a peer has it.
    fn deliver(&mut self, minute: u32) -> Duration {
        let message = json!({"kind": "text", "body": format!("minute {minute}")});
        let start = Instant::now();
        let answer = self.client().ask(
            &json!({"verb": "enqueue", "message": message, "lifetime_ms": 300_000, "wait": true}),
        );
        assert_eq!(answer["event"], "delivered", "{answer}");
        start.elapsed()
    }

    /// Returns the time of an answer to `status`, and the number of messages held.
    fn status(&mut self) -> (Duration, u64) {
        let start = Instant::now();
        let status = self.client().ask(&json!({"verb": "status"}));
        (start.elapsed(), status["queue"]["messages"].as_u64().unwrap())
    }

    fn signal(&mut self, signal: &str) {
        let id = self.child().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn kill(&mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
        self.silent.clear();
    }

    /// Returns the time until the tower has ended by itself.
    fn terminate(&mut self) -> Duration {
        let start = Instant::now();
        self.signal("-TERM");
        while self.child().try_wait().unwrap().is_none() {
            assert!(start.elapsed() < DEADLINE, "SIGTERM does not end the tower");
            thread::sleep(Duration::from_millis(10));
        }
        start.elapsed()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A connection to the control socket.
struct Client {
    stream: BufReader<UnixStream>,
    greeting: Value,
}

impl Client {
    fn connect(path: &Path) -> Option<Self> {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(STUCK)).unwrap();
        let mut client = Self { stream: BufReader::new(stream), greeting: Value::Null };
        client.greeting = client.next();
        Some(client)
    }

    fn say(&mut self, request: &Value) {
        writeln!(self.stream.get_mut(), "{request}").unwrap();
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.say(request);
        self.next()
    }

    /// Returns the next line. Fails if none comes in time.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap_or_else(|error| panic!("stuck: {error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// What a process uses.
struct Usage {
    resident_kib: u64,
    threads: u64,
    files: usize,
}

impl Usage {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self {
            resident_kib: field("VmRSS:"),
            threads: field("Threads:"),
            files: fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
        }
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}
