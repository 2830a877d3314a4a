//! Ctrl-C, SIGTERM, and the SIGHUP of a terminal that is closed.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::Sender;

/// The exit code of a command that Ctrl-C ended, by the custom of shells: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Signals that come this close together are one wish: `timeout` signals a process and then its whole group. Nobody presses
/// Ctrl-C twice as fast (a guess).
const ONE_WISH: Duration = Duration::from_millis(250);

/// Passes the first of these signals on. The next one ends the process at once, from a thread of its own, so that nothing
/// that hangs elsewhere can stop it.
pub(crate) fn listen(stops: Sender<()>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let watch = move || {
        let mut first = None;
        for _ in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    // A tower that has already ended has no use for it.
                    let _ = stops.try_send(());
                }
                Some(first) if Instant::now().duration_since(first) < ONE_WISH => {}
                Some(_) => signal_hook::low_level::exit(INTERRUPTED),
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}
