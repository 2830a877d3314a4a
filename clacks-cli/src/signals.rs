//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! SIGHUP has two meanings. A terminal that is closed sends it to end its programs, and a person or
//! a service manager sends it to make a daemon read its configuration again.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::control::prompt::restore_modes;

/// The exit code of a command that Ctrl-C ended, as shells have it: 128 and the number of the
/// signal.
const INTERRUPTED: i32 = 130;

/// Signals that arrive within this time count as one (guess). `timeout` signals a process and then
/// its whole group. People do not press Ctrl-C twice as fast.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// Makes a write beyond the limit on the size of files return an error. Without a handler of the
/// signal, such a write ends the process.
pub(crate) fn report_full_files() {
    // The process runs without the handler if it can't be set.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// End.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The meaning of SIGHUP for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// It ends the command.
    Stops,
    /// It ends the command if its terminal was closed. Otherwise the configuration is read again.
    Reloads,
}

/// Passes the first request to stop and all requests to reload to `send`, which must not block. The
/// second request to stop ends the process at once, from a thread of its own, so that it works even
/// if other threads hang.
///
/// A SIGHUP that was ignored at the start stays ignored.
pub(crate) fn listen(hang_up: HangUp, send: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let had_terminal = has_terminal();
    let watch = move || {
        let mut first = None;
        for signal in signals.forever() {
            let is_closed = had_terminal && !has_terminal();
            if signal == SIGHUP && hang_up == HangUp::Reloads && !is_closed {
                send(Signal::Reload);
                continue;
            }
            match first {
                None => {
                    first = Some(Instant::now());
                    send(Signal::Stop);
                }
                Some(first) if Instant::now().duration_since(first) < SAME_REQUEST => {}
                Some(_) => {
                    restore_modes();
                    signal_hook::low_level::exit(INTERRUPTED)
                }
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}

/// Returns whether the process ignores a signal. `/proc` has the answer on Linux. On other systems
/// there is none without `unsafe`, so no signal counts as ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Returns the set of ignored signals in `/proc/self/status`.
fn ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Returns whether the process has a terminal that can be closed.
///
/// `nohup` redirects the output. Where ignored signals can't be seen, a program whose output is no
/// terminal counts as one that outlives its terminal.
fn has_terminal() -> bool {
    (cfg!(target_os = "linux") || io::stdout().is_terminal()) && File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read() {
        let status = "Name:\tclacks\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), Some(0x1001));
        assert_eq!(ignored(""), None);
        assert!(!is_ignored(SIGTERM));
    }
}
