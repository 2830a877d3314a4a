//! Towers of the JavaScript package, each in a node of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clacks_proto::Address;
use clacks_proto::tls::Identity;
use serde_json::{Value, json};

use crate::network::{DEADLINE, listen};

/// The package, and the only version that there is.
const PACKAGE: &str = "clacks-p2p@0.3.3";

/// Where the package is. `None` where there is none to be had, after saying why; with
/// `CLACKS_NODE=required` that is a failure.
pub(crate) fn package() -> Option<&'static Path> {
    static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let place = PLACE.get_or_init(|| match find_package() {
        Ok(place) => Some(place),
        Err(why) if std::env::var("CLACKS_NODE").is_ok_and(|wish| wish == "required") => {
            panic!("{why}")
        }
        Err(why) => {
            // Not with a macro: what those print is kept back when a test succeeds.
            let words = format!("SKIPPED: no towers of the JavaScript package to meet: {why}\n");
            std::io::stderr().write_all(words.as_bytes()).unwrap();
            None
        }
    });
    place.as_deref()
}

fn find_package() -> Result<PathBuf, String> {
    let node = Command::new("node").arg("--version").output();
    node.map_err(|error| format!("node can't be run ({error})"))?;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("javascript");
    let place = home.join("node_modules/clacks-p2p");
    if place.join("index.js").exists() {
        return Ok(place);
    }
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let npm = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"])
        .arg(&home)
        .arg(PACKAGE)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm can't be run ({error})"))?;
    if place.join("index.js").exists() {
        Ok(place)
    } else {
        Err(format!("npm did not install it: {}", String::from_utf8_lossy(&npm.stderr)))
    }
}

/// Files with a key and its certificate.
pub(crate) struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let identity = Identity::generate().unwrap();
        Self::from_pem(identity.key_pem(), identity.cert_pem())
    }

    pub(crate) fn from_pem(key: &str, cert: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        std::fs::write(dir.path().join("cert.pem"), cert).unwrap();
        Self { dir }
    }
}

/// A tower of the JavaScript package that runs. Killed when dropped.
pub(crate) struct Tower {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    said: Vec<String>,
    pub(crate) port: u16,
    pub(crate) address: Address,
}

/// What such a tower knows and holds.
#[derive(Debug)]
pub(crate) struct State {
    /// By port.
    pub(crate) peers: BTreeMap<u16, String>,
    pub(crate) received: u64,
    pub(crate) queue: Vec<Value>,
}

impl Tower {
    /// Starts one on a port that was free a moment ago; on another one when it is not any more.
    pub(crate) fn start(package: &Path, keys: &Keys, send_rate: f64) -> Self {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let port = listen().local_addr().unwrap().port();
            if let Some(tower) = Self::start_at(package, keys, port, send_rate) {
                return tower;
            }
            assert!(Instant::now() < deadline, "no tower starts");
        }
    }

    /// Starts one where one was before.
    pub(crate) fn start_again(package: &Path, keys: &Keys, port: u16, send_rate: f64) -> Self {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(tower) = Self::start_at(package, keys, port, send_rate) {
                return tower;
            }
            assert!(Instant::now() < deadline, "{port} can't be had again");
        }
    }

    fn start_at(package: &Path, keys: &Keys, port: u16, send_rate: f64) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/tower.js");
        let mut child = Command::new("node")
            .arg(script)
            .arg(package)
            .args([keys.dir.path().join("key.pem"), keys.dir.path().join("cert.pem")])
            .args([port.to_string(), send_rate.to_string()])
            .env("NODE_TLS_REJECT_UNAUTHORIZED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let outputs: [Box<dyn BufRead + Send>; 2] = [
            Box::new(BufReader::new(child.stdout.take().unwrap())),
            Box::new(BufReader::new(child.stderr.take().unwrap())),
        ];
        for output in outputs {
            let sender = sender.clone();
            thread::spawn(move || {
                output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        let commands = child.stdin.take().unwrap();
        let address = Address::new("127.0.0.1", port).unwrap();
        let mut tower = Self { child, commands, lines, said: Vec::new(), port, address };
        // The child connects to its port before it reports `ready`. If another process listens on
        // the port, the child reports `ready` too, but exits.
        let is_ready = tower.next_event(|event| event["event"] == "ready").is_some();
        let is_running = tower.child.try_wait().unwrap().is_none();
        (is_ready && is_running).then_some(tower)
    }

    fn tell(&mut self, command: &Value) {
        writeln!(self.commands, "{command}")
            .unwrap_or_else(|error| self.give_up(&error.to_string()));
    }

    pub(crate) fn enqueue(&mut self, message: &Value) {
        self.tell(&json!({"verb": "enqueue", "message": message}));
    }

    pub(crate) fn announce(&mut self, to: &Address) {
        self.tell(&json!({"verb": "announce", "port": to.port()}));
    }

    pub(crate) fn ignore(&mut self, whom: &Address) {
        self.tell(&json!({"verb": "ignore", "port": whom.port()}));
        // Its answer comes after it has ignored that tower.
        self.state();
    }

    pub(crate) fn state(&mut self) -> State {
        self.tell(&json!({"verb": "state"}));
        let state = self.next_event(|event| event["event"] == "state");
        let Some(state) = state else { self.give_up("its state") };
        let peers =
            state["peers"].as_object().unwrap().iter().map(|(port, status)| {
                (port.parse().unwrap_or(0), status.as_str().unwrap().to_owned())
            });
        State {
            peers: peers.collect(),
            received: state["received"].as_u64().unwrap(),
            queue: state["queue"].as_array().unwrap().clone(),
        }
    }

    /// Waits until something holds of its state.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&State) -> bool) -> State {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let state = self.state();
            if holds(&state) {
                return state;
            }
            if Instant::now() > deadline {
                self.give_up(&format!("{what}: {state:?}"));
            }
            // Whatever it says may be what is waited for.
            match self.lines.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.give_up(what),
            }
        }
    }

    /// Waits until it thinks that of another tower.
    pub(crate) fn thinks(&mut self, status: &str, of: &Address) {
        let port = of.port().get();
        self.until(&format!("{of} {status}"), |state| {
            state.peers.get(&port).is_some_and(|found| found == status)
        });
    }

    /// The next event of that kind; other lines are passed over. `None` when it has ended.
    fn next_event(&mut self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let event: Option<Value> = serde_json::from_str(&line).ok();
                    if let Some(event) = event.filter(&is_it) {
                        return Some(event);
                    }
                    self.said.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.give_up("an event"),
            }
        }
    }

    pub(crate) fn kill(mut self) -> u16 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port
    }

    fn give_up(&self, what: &str) -> ! {
        let last = self.said.len().saturating_sub(60);
        panic!(
            "the JavaScript tower at {} never came to {what}: {:#?}",
            self.port,
            &self.said[last..]
        );
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
