//! A tower in a terminal: a prompt that events do not run into.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test has no better answer to a surprise"
)]

mod common;

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use common::{DEADLINE, clacks, interrupt_until_it_ends, lines_of, run, stderr};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use tempfile::TempDir;

/// A tower whose standard input, output and error are a terminal of 100 columns.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was written before the prompt.
    start: String,
    /// All that was written so far.
    seen: String,
    /// The side of the tower. The test keeps it open, to look at the modes.
    tower_side: OwnedFd,
    socket: String,
    _dir: TempDir,
}

impl Terminal {
    fn start(options: &[&str]) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tower.sock").to_str().unwrap().to_owned();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = clacks(&["tower", "--listen", "127.0.0.1:0", "--clear", "--control", &socket])
            .args(options)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let keyboard = File::from(pty.master);
        let mut reader = keyboard.try_clone().unwrap();
        let (chunks, screen) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(count) = reader.read(&mut chunk) {
                if chunks.send(chunk[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (seen, tower_side) = (String::new(), pty.slave);
        let start = String::new();
        let mut terminal =
            Self { child, keyboard, screen, start, seen, tower_side, socket, _dir: dir };
        terminal.start = terminal.wait_for("0 of 0 towers alive, 0 held > ");
        terminal
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a text was written after all that was waited for before. Returns what was
    /// written up to its end.
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(start) = self.seen.find(text) {
                let rest = self.seen.split_off(start + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(chunk) => self.seen.push_str(&String::from_utf8_lossy(&chunk)),
                Err(_) => panic!("no {text:?} in {:?}", self.seen),
            }
        }
    }

    fn ask(&self, words: &[&str]) -> String {
        let output = run(&[words, &["--json", "--control", &self.socket]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for the end, and returns the exit code.
    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the tower does not end: {:?}", self.seen);
    }

    /// Returns whether the terminal edits lines by itself, as shells expect it.
    fn is_restored(&self) -> bool {
        let modes = tcgetattr(self.tower_side.as_fd()).unwrap();
        modes.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn listen_once_says_on_a_terminal_that_no_message_can_come() {
    let terminal = Terminal::start(&[]);
    let pty = openpty(None, None).unwrap();
    let mut listening = clacks(&["listen", "--once", "--control", &terminal.socket])
        .stdout(Stdio::null())
        .stderr(Stdio::from(pty.slave))
        .spawn()
        .unwrap();
    let lines = lines_of(BufReader::new(File::from(pty.master)));
    let first = lines.recv_timeout(DEADLINE);
    listening.kill().unwrap();
    listening.wait().unwrap();
    assert!(first.as_ref().is_ok_and(|it| it.contains("No other tower is alive")), "{first:?}");
}

#[test]
fn the_address_of_the_dashboard_has_its_token_on_a_terminal() {
    let mut terminal = Terminal::start(&["--http", "127.0.0.1:0"]);
    // The line comes before the prompt or above it.
    let mut seen = terminal.start.clone();
    while !seen.contains("/#token=") {
        seen += &terminal.wait_for(" held > ");
    }
    let (_, token) = seen.split_once("/#token=").unwrap();
    let digits = token.chars().take_while(char::is_ascii_hexdigit).count();
    assert_eq!(digits, 64, "{seen}");
}

#[test]
fn events_do_not_run_into_the_line_that_is_typed() {
    let mut terminal = Terminal::start(&["-v"]);
    // While nothing is typed, an event is written as a line above the prompt.
    terminal.ask(&["send", "from elsewhere"]);
    terminal.wait_for("queued      a message\r\n");
    terminal.wait_for(" > ");
    terminal.press("enqueue half");
    terminal.wait_for("enqueue half");
    // While a line is typed, events wait.
    terminal.ask(&["ignore", "127.0.0.1:1"]);
    terminal.press(" ");
    terminal.press("of");
    assert_eq!(terminal.wait_for("of"), " of");
    terminal.press(" a line\r");
    terminal.wait_for("ignored     127.0.0.1:1");
    terminal.wait_for("queued      a message\r\n");
    assert!(terminal.ask(&["peek"]).contains("\"half of a line\""));
    // The history has it.
    terminal.wait_for(" held > ");
    terminal.press("\u{1b}[A");
    terminal.wait_for("enqueue half of a line");
    terminal.press(" again\r");
    terminal.wait_for("queued      a message\r\n");
    assert!(terminal.ask(&["peek"]).contains("\"half of a line again\""));
}

#[test]
fn a_terminal_is_quiet_and_the_prompt_has_the_state() {
    let mut terminal = Terminal::start(&[]);
    terminal.ask(&["send", "one"]);
    terminal.press("expand 127.0.0.1:1\r");
    // The answer is written, and the event of the message before it is not.
    let text = terminal.wait_for("done        expand 127.0.0.1:1\r\n");
    assert!(!text.contains("queued"), "{text}");
    terminal.press("\r");
    terminal.wait_for("of 1 towers alive, 1 held");
}

#[test]
fn the_terminal_is_restored_however_the_tower_ends() {
    // By another command, in the middle of a line.
    let mut terminal = Terminal::start(&[]);
    terminal.press("enqueue half");
    terminal.wait_for("enqueue half");
    assert!(!terminal.is_restored(), "lines are edited by the tower");
    terminal.ask(&["stop"]);
    assert_eq!(terminal.ended(), Some(0));
    assert!(terminal.is_restored());

    // By Ctrl-C.
    let mut terminal = Terminal::start(&[]);
    terminal.press("\u{3}");
    terminal.wait_for("gone");
    assert_eq!(terminal.ended(), Some(0));
    assert!(terminal.is_restored());

    // By the second Ctrl-C, while its only peer takes a connection and is silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = silent.local_addr().unwrap().to_string();
    let mut terminal = Terminal::start(&[]);
    terminal.press(&format!("enqueue stuck\rexpand {peer}\r"));
    terminal.wait_for("done");
    let _held = silent.accept().unwrap();
    terminal.press("\u{3}");
    terminal.wait_for("leaving");
    // The terminal is not the controlling one of the tower, so the signal comes from the test.
    let code = interrupt_until_it_ends(&mut terminal.child).code();
    assert_eq!(code, Some(130));
    assert!(terminal.is_restored());
}
