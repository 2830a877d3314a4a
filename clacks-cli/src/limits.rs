//! The limits of the operating system on descriptors and threads.

use std::io;
use std::sync::mpsc;
use std::thread;

use crate::error::Failure;

/// The free descriptors that one tower needs for its runtime, its signals, its listener and a few
/// links. The libraries of the runtime panic if they get none. Measured: a tower without links
/// opens 14.
pub(crate) const TOWER_DESCRIPTORS: usize = 24;

/// The threads that a tower starts: 9 (measured), and some for look-ups of names.
const THREADS: usize = 12;

/// Checks that this process can open `descriptors` more descriptors and start a few threads.
///
/// The check opens and closes them, because no limit alone says how many are left.
pub(crate) fn check(descriptors: usize) -> Result<(), Failure> {
    // A pipe has two.
    let pipes = (0..descriptors.div_ceil(2)).map(|_| io::pipe()).collect::<io::Result<Vec<_>>>();
    drop(pipes.map_err(|error| {
        Failure::failed(format_args!(
            "This command needs {descriptors} free file descriptors and does not get them \
             ({error}): raise the limit, for example with `ulimit -n 1024`."
        ))
    })?);
    start_threads().map_err(|error| {
        Failure::failed(format_args!(
            "This command needs {THREADS} threads and does not get them ({error}): raise the \
             limit, for example with `ulimit -u 1024`, or stop other programs."
        ))
    })
}

/// Starts threads that live at the same time, and waits for their end.
fn start_threads() -> io::Result<()> {
    let (mut ends, mut threads) = (Vec::new(), Vec::new());
    let started = (0..THREADS).try_for_each(|_| {
        let (end, ended) = mpsc::channel::<()>();
        let wait = move || _ = ended.recv();
        threads.push(thread::Builder::new().name("limits".into()).spawn(wait)?);
        ends.push(end);
        Ok(())
    });
    drop(ends);
    for thread in threads {
        // The thread can't panic.
        let _ = thread.join();
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_limits_passes() {
        assert!(check(TOWER_DESCRIPTORS).is_ok());
    }
}
