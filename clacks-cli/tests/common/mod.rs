//! Drives the real command.
// Each test binary compiles this anew and uses a part of it; a test has no better answer to a
// surprise than a panic.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The command, with nothing of the caller's environment that could change what it says.
pub fn clacks(args: &[&str]) -> Command {
    let mut command = command();
    command.args(args).stdin(Stdio::null());
    // Control sockets stay away from those of the user.
    command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|it| it.starts_with("CLACKS_") || CALLER.contains(&it)) {
            command.env_remove(variable);
        }
    }
    command
}

/// Returns the command. If the tests run with `nohup`, a tower would ignore SIGHUP as they do.
fn command() -> Command {
    const COMMAND: &str = env!("CARGO_BIN_EXE_clacks");
    if !ignores_hang_up() {
        return Command::new(COMMAND);
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", COMMAND]);
    command
}

/// Returns whether SIGHUP is ignored in this process, as far as the system shows it.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Variables of the caller that could change the output or the behaviour of a tower. Without a
/// home, a tower reads and writes no state unless a test names a folder.
const CALLER: [&str; 11] = [
    "HOME",
    "RUST_LOG",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "NOTIFY_SOCKET",
];

/// Runs the command to its end.
pub fn run(args: &[&str]) -> Output {
    clacks(args).output().unwrap()
}

/// Runs a command that may wait for ever. It is killed at the deadline.
pub fn run_to_deadline(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    let (sender, output) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    output.recv_timeout(DEADLINE).map(Result::unwrap).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &id]).status();
        panic!("it did not end: {:?}", output.recv_timeout(DEADLINE));
    })
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A `clacks tower --json` that runs. Killed when dropped.
pub struct Tower {
    child: Child,
    console: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Every event so far, for the message of a failure.
    told: Vec<Value>,
    pub address: String,
    pub fingerprint: Value,
}

impl Tower {
    /// Starts one on a free port.
    pub fn start(args: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", args)
    }

    /// Starts one.
    pub fn start_at(listen: &str, args: &[&str]) -> Self {
        let mut tower = Self::spawn(listen, args);
        let listening = tower.wait_for("listening", |_| true);
        tower.listens(&listening);
        tower
    }

    /// Starts one where another one listened that was killed. Another process may have the port for
    /// a moment.
    pub fn start_again(listen: &str, args: &[&str]) -> Self {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut tower = Self::spawn(listen, args);
            let first = tower.next_event("listening", deadline);
            if first["event"] == "listening" {
                tower.listens(&first);
                return tower;
            }
            let message = first["message"].as_str().unwrap_or_default();
            assert!(message.contains("is in use"), "{first}");
        }
    }

    fn spawn(listen: &str, args: &[&str]) -> Self {
        let mut command = clacks(&["tower", "--json", "--listen", listen]);
        command.args(args);
        Self::spawn_command(command)
    }

    /// Starts a command that becomes a `clacks tower --json`. Waits for nothing.
    pub fn spawn_command(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
        let console = child.stdin.take();
        Self {
            child,
            console,
            lines,
            told: Vec::new(),
            address: String::new(),
            fingerprint: Value::Null,
        }
    }

    fn listens(&mut self, event: &Value) {
        self.address = event["address"].as_str().unwrap().to_owned();
        self.fingerprint = event["fingerprint"].clone();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) {
        self.say_bytes(line.as_bytes());
    }

    /// Types a line of any bytes.
    pub fn say_bytes(&mut self, line: &[u8]) {
        let console = self.console.as_mut().unwrap();
        console.write_all(line).unwrap();
        console.write_all(b"\n").unwrap();
        console.flush().unwrap();
    }

    /// Ends the input.
    pub fn close_console(&mut self) {
        self.console = None;
    }

    /// Types a line, and waits for an event of that name.
    pub fn ask(&mut self, question: &str) -> Value {
        self.say(question);
        self.wait_for(question, |_| true)
    }

    /// Waits for the next event with this name that is as it should be; earlier ones are passed
    /// over.
    pub fn wait_for(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let event = self.next_event(name, deadline);
            if event["event"] == name && is_it(&event) {
                return event;
            }
        }
    }

    /// The next event; `wanted` is the one that the caller waits for.
    fn next_event(&mut self, wanted: &str, deadline: Instant) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                let event: Value =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                self.told.push(event.clone());
                event
            }
            Err(RecvTimeoutError::Timeout) => panic!("no {wanted} in {:#?}", self.told),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the tower ended before {wanted}: {:#?}", self.told)
            }
        }
    }

    /// Asks for the survey again and again until the tower at `address` has `status`.
    pub fn wait_for_status(&mut self, address: &str, status: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let survey = self.ask("survey");
            let towers = survey["towers"].as_array().unwrap();
            let is_it = |tower: &&Value| tower["address"] == address && tower["status"] == status;
            if let Some(tower) = towers.iter().find(is_it) {
                return tower.clone();
            }
        }
        panic!("{address} never was {status}: {:#?}", self.told);
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the tower to end of itself.
    pub fn ended(&mut self) -> ExitStatus {
        // The end of its output comes first, and has a deadline.
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.told.push(serde_json::from_str(&line).unwrap()),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it never ended: {:#?}", self.told),
            }
        }
    }

    /// Presses Ctrl-C until it ends, as people do.
    pub fn interrupt_until_it_ends(&mut self) -> ExitStatus {
        interrupt_until_it_ends(&mut self.child);
        self.ended()
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Every event so far.
    pub fn told(&self) -> &[Value] {
        &self.told
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends SIGINT again and again until the process has ended. How many it takes is left open:
/// signals that arrive together count as one.
pub fn interrupt_until_it_ends(child: &mut Child) -> ExitStatus {
    let id = child.id().to_string();
    loop {
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
    }
}

/// A port at which no program listens. No other process gets it as long as the value lives, because
/// an old connection still has it.
pub struct ClosedPort {
    pub address: String,
    _ends: (TcpStream, TcpStream),
}

impl ClosedPort {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ends = (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
        Self { address: address.to_string(), _ends: ends }
    }
}

/// The lines of a reader as they come.
pub fn lines_of(reader: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in reader.lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
