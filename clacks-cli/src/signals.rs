//! Ctrl-C, SIGTERM, and the SIGHUP of a terminal that is closed.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::Sender;

use crate::control::prompt::restore_modes;

/// The exit code of a command that Ctrl-C ended, as shells have it: 128 and the number of the
/// signal.
const INTERRUPTED: i32 = 130;

/// Signals that arrive within this time count as one (guess). `timeout` signals a process and then
/// its whole group. People do not press Ctrl-C twice as fast.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// Sends the first of these signals to `stops`. The second one ends the process at once, from a
/// thread of its own, so that it works even if other threads hang.
pub(crate) fn listen(stops: Sender<()>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let watch = move || {
        let mut first = None;
        for _ in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    // Fails if the tower has already ended.
                    let _ = stops.try_send(());
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
