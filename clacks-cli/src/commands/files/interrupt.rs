//! Ctrl-C, SIGTERM and SIGHUP, in a job and while the output is written.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, poll};

use crate::error::Failure;
use crate::signals::{self, HangUp};

/// How long a wait for a file lasts before the flag is looked at again, in milliseconds.
const INTERVAL: u8 = 100;

/// Whether the command was asked to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Notes the first signal from now on. The second one ends the process.
    pub(super) fn listen() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let flag = interrupt.0.clone();
        signals::listen(HangUp::Stops, move |_| flag.store(true, Ordering::SeqCst)).map_err(
            |error| Failure::failed(format_args!("Signals cannot be received ({error}).")),
        )?;
        Ok(interrupt)
    }

    /// Returns whether the command was asked to stop.
    pub(super) fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Fails if the command was asked to stop.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_requested() { Err(io::Error::other("the command was stopped")) } else { Ok(()) }
    }

    /// Waits until a file can be read or written. Fails if the command was asked to stop.
    pub(super) fn wait_for(&self, fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
        loop {
            self.check()?;
            match poll(&mut [PollFd::new(fd, events)], INTERVAL) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A pipe or a device. A write fails if the command is asked to stop while the output takes no
/// bytes.
pub(super) struct Stream<'a> {
    output: &'a File,
    interrupt: &'a Interrupt,
}

impl<'a> Stream<'a> {
    pub(super) fn new(output: &'a File, interrupt: &'a Interrupt) -> Self {
        Self { output, interrupt }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe that is ready takes this many bytes without blocking.
        let bytes = bytes.get(..PIPE_BUF).unwrap_or(bytes);
        loop {
            self.interrupt.wait_for(self.output.as_fd(), PollFlags::POLLOUT)?;
            match self.output.write(bytes) {
                // Another program has put the output into non-blocking mode, and was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
