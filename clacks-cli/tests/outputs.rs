//! Standard output and standard error that are slow, stopped, full or non-blocking: none delays the
//! signals, the shutdown, the network or the console.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test has no better answer to a surprise"
)]

mod common;

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Instant;

use common::{DEADLINE, Tower, clacks, lines_of};
use serde_json::Value;

const RUNTIMES: [&str; 2] = ["smol", "mio"];

/// A tower that never sends by itself, with outputs of the test's choice.
struct Muted {
    child: Child,
    console: ChildStdin,
}

impl Muted {
    fn start(options: &[&str], stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        let mut child = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"])
            .args(["--send-rate", "0.0001"])
            .args(options)
            .env("RUST_LOG", "trace")
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let console = child.stdin.take().unwrap();
        Self { child, console }
    }

    fn say(&mut self, lines: &str) {
        self.console.write_all(lines.as_bytes()).unwrap();
    }

    fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.ended()
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("the tower does not end");
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that is full: nothing more can be written to it until it is read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    use std::os::fd::AsFd;
    let (reader, writer) = std::io::pipe().unwrap();
    set_blocking(writer.as_fd(), false);
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    while (&writer).write(b"\n").is_ok() {}
    set_blocking(writer.as_fd(), true);
    (reader, writer)
}

fn set_blocking(fd: std::os::fd::BorrowedFd<'_>, is_blocking: bool) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = if is_blocking { OFlag::empty() } else { OFlag::O_NONBLOCK };
    fcntl(fd, FcntlArg::F_SETFL(flags)).unwrap();
}

/// Waits until the tower has received a message for each number.
fn wait_for_numbers(tower: &mut Tower, count: usize) {
    for number in 0..count {
        let body = format!("number {number}");
        let is_it = |event: &Value| event["message"]["body"] == body;
        if !tower.told().iter().any(is_it) {
            tower.wait_for("message_received", is_it);
        }
    }
}

/// Waits until a number of messages was enqueued.
fn wait_for_enqueued(socket: &str, count: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "the tower has not enqueued {count} messages");
        let stats = common::run(&["stats", "--json", "--control", socket]);
        let stats: Value = serde_json::from_slice(&stats.stdout).unwrap_or_default();
        if stats["enqueued"] == count {
            return;
        }
    }
}

fn numbers(count: usize) -> String {
    (0..count).map(|number| format!("enqueue number {number}\n")).collect()
}

#[test]
fn a_tower_whose_output_is_not_read_takes_commands_and_hands_its_queue_on() {
    for runtime in RUNTIMES {
        let mut other = Tower::start(&["--runtime", runtime]);
        let (reader, writer) = full_pipe();
        let options = ["--runtime", runtime, "--expand", &other.address];
        let mut tower = Muted::start(&options, writer, Stdio::null());
        // The answers alone are more than a pipe holds.
        tower.say(&"help\n".repeat(600));
        tower.say(&numbers(20));
        tower.say("quit\n");
        assert_eq!(tower.ended().code(), Some(1), "lines were lost");
        wait_for_numbers(&mut other, 20);
        drop(reader);
    }
}

#[test]
fn neither_an_output_nor_a_log_that_is_not_read_delays_a_tower() {
    for runtime in RUNTIMES {
        for is_log in [false, true] {
            let mut other = Tower::start(&["--runtime", runtime]);
            let (reader, writer) = full_pipe();
            let address = other.address.clone();
            let options = ["--runtime", runtime, "--announce", &address];
            let mut tower = match is_log {
                false => Muted::start(&options, writer, Stdio::null()),
                true => Muted::start(&options, Stdio::null(), writer),
            };
            // The network does not wait: the tower makes itself known.
            other.wait_for("tower_discovered", |_| true);
            tower.say(&numbers(20));
            // The last command is carried out, so all earlier ones are.
            tower.say(&format!("ignore {address}\nunignore {address}\nquit\n"));
            let status = tower.ended();
            assert_eq!(status.success(), is_log, "{status}");
            drop(reader);
        }
    }
}

#[test]
fn sigterm_hands_the_queue_on_while_the_output_is_not_read() {
    for runtime in RUNTIMES {
        let mut other = Tower::start(&["--runtime", runtime]);
        let (_reader, writer) = full_pipe();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tower.sock").to_str().unwrap().to_owned();
        let options =
            ["--runtime", runtime, "--expand", &other.address.clone(), "--control", &socket];
        let mut tower = Muted::start(&options, writer, Stdio::null());
        tower.say(&numbers(20));
        // The control socket answers, too.
        wait_for_enqueued(&socket, 20);
        tower.terminate();
        wait_for_numbers(&mut other, 20);
    }
}

#[test]
fn a_slow_reader_of_a_non_blocking_output_receives_every_line() {
    use std::os::fd::AsFd;
    let (reader, writer) = full_pipe();
    // The flag belongs to the pipe, so it is set for the tower, too.
    set_blocking(writer.as_fd(), false);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("tower.sock").to_str().unwrap().to_owned();
    let mut tower = Muted::start(&["--control", &socket], writer, Stdio::null());
    tower.say(&"help\n".repeat(300));
    tower.say("enqueue the last\n");
    // All answers are queued, and the tower has met the full pipe.
    wait_for_enqueued(&socket, 1);
    tower.say("quit\n");
    let mut reader = BufReader::with_capacity(512, reader);
    let mut answers = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 {
        // The pipe was full of empty lines.
        if !line.trim_end().is_empty() {
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            answers += u32::from(event["event"] == "help");
        }
        line.clear();
    }
    assert_eq!(answers, 300);
    assert_eq!(tower.ended().code(), Some(0));
}

#[test]
fn a_command_waits_for_a_slow_reader_of_a_non_blocking_output() {
    use std::os::fd::AsFd;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("tower.sock").to_str().unwrap().to_owned();
    // Far more than a pipe holds.
    let mut tower = Tower::start(&["--control", &socket, "--max-message", "2MiB"]);
    tower.say(&format!("enqueue {}", "x".repeat(1_000_000)));
    wait_for_enqueued(&socket, 1);
    for options in [["--json"].as_slice(), &[]] {
        let (reader, writer) = full_pipe();
        set_blocking(writer.as_fd(), false);
        let args = [&["peek", "--control", &socket], options].concat();
        // The pipe ends when no process holds its writer.
        let mut command = clacks(&args).stdout(writer).spawn().unwrap();
        let mut text = String::new();
        BufReader::with_capacity(512, reader).read_to_string(&mut text).unwrap();
        assert!(command.wait().unwrap().success());
        assert!(text.contains("x"), "the pipe was full of empty lines");
    }
}

#[test]
fn lines_that_were_dropped_are_counted() {
    let (mut reader, writer) = full_pipe();
    let mut tower = Muted::start(&["--max-message", "1MiB"], writer, Stdio::null());
    // Each answer to `peek` has the message.
    let (text, asked) = ("x".repeat(1_000_000), 40);
    tower.say(&format!("enqueue {text}\n"));
    tower.say(&"peek\n".repeat(asked));
    // A command that is not answered with a line, and that can be seen from outside.
    let mut other = Tower::start(&[]);
    tower.say(&format!("announce {}\n", other.address));
    other.wait_for("tower_discovered", |_| true);
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    });
    tower.say("quit\n");
    assert_eq!(tower.ended().code(), Some(0));
    let all = reading.join().unwrap();
    let events = all.lines().filter(|line| !line.is_empty());
    let events: Vec<Value> = events.map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    let missed: u64 = events.iter().filter_map(|event| event["count"].as_u64()).sum();
    assert!(missed > 0 && count("peek") < asked, "{} answers", count("peek"));
    assert!(missed + count("peek") as u64 >= asked as u64, "{missed} missed");
    assert_eq!(events.last().unwrap()["event"], "shut_down");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_no_tower() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for runtime in RUNTIMES {
        let mut other = Tower::start(&["--runtime", runtime]);
        let options = ["--runtime", runtime, "--announce", &other.address.clone()];
        let mut tower = Muted::start(&options, full(), Stdio::piped());
        let log = lines_of(BufReader::new(tower.child.stderr.take().unwrap()));
        let is_warning = |line: &String| line.contains("Standard output cannot be written");
        let warning = std::iter::from_fn(|| log.recv_timeout(DEADLINE).ok()).find(is_warning);
        assert!(warning.unwrap().contains("The tower runs on"));
        tower.say("enqueue number 0\nquit\n");
        assert_eq!(tower.ended().code(), Some(1));
        assert!(log.iter().any(|line| line.contains("of it are lost")));
        wait_for_numbers(&mut other, 1);
        // Neither does a log that can't be written.
        let mut tower = Muted::start(&["--runtime", runtime], Stdio::null(), full());
        tower.say("quit\n");
        assert_eq!(tower.ended().code(), Some(0));
    }
}
