//! Ctrl-C and SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::Sender;

/// The exit code of a command that Ctrl-C ended, by the custom of shells: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Passes the first Ctrl-C or SIGTERM on. The second one ends the process at once, whatever it is doing.
pub(crate) fn listen(stops: Sender<()>) -> io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // These act inside the signal handler, so that nothing that hangs can stop the second signal.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let pass_on = move || {
        if signals.forever().next().is_some() {
            // A tower that has already ended has no use for it.
            let _ = stops.send_blocking(());
        }
    };
    thread::Builder::new().name("signals".into()).spawn(pass_on).map(drop)
}
