//! A bounded queue of lines in front of a standard output.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smol::channel::{self, Receiver, Sender};
use tracing_subscriber::fmt::MakeWriter;

/// The number of bytes of queued lines from which on new lines are dropped (guess: some 10 000
/// events). A single line may exceed it.
const CAPACITY: usize = 4 * 1024 * 1024;

/// How long the thread waits after an error, such as that of a full disk, before it tries again.
/// The value is a guess.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// A standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Events and answers.
    Stdout,
    /// The log.
    Stderr,
}

impl Target {
    fn with_fd<R>(self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        match self {
            Self::Stdout => call(io::stdout().as_fd()),
            Self::Stderr => call(io::stderr().as_fd()),
        }
    }

    /// Writes bytes, as many as the output takes, and returns their number. Waits for an output
    /// that takes none, also if it is in non-blocking mode.
    fn write_some(self, bytes: &[u8]) -> nix::Result<usize> {
        loop {
            match self.with_fd(|fd| nix::unistd::write(fd, bytes)) {
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => self.wait_until_writable(),
                result => return result,
            }
        }
    }

    fn wait_until_writable(self) {
        let waited =
            self.with_fd(|fd| poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE));
        if waited.is_err() {
            // Interrupted, or out of memory. The next write finds out.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Writes all bytes to standard output. Other programs may have put the output into non-blocking
/// mode, in which the standard library fails as soon as a pipe is full.
pub(crate) fn write_to_stdout(mut rest: &[u8]) -> io::Result<()> {
    io::stdout().flush()?;
    while !rest.is_empty() {
        let count = Target::Stdout.write_some(rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Prints lines above the prompt of a terminal. May block.
pub(crate) type Printer = Box<dyn FnMut(String) -> io::Result<()> + Send>;

/// The log of this process.
pub(crate) static LOG: OnceLock<Writer> = OnceLock::new();

/// Writes lines to an output on a thread of its own. No method waits for the output, except
/// [`finish`](Self::finish), which has a limit.
///
/// - A line that finds the queue full is dropped. A line made by `missed` takes the place of
///   consecutive dropped lines.
/// - An output in non-blocking mode is waited for.
/// - After an error the rest of the line is tried again, so no line is cut.
/// - When the reader of a pipe is gone, the queue is closed and all lines are dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    closed: Receiver<()>,
}

struct Shared {
    target: Target,
    /// Prints the lines instead.
    printer: Mutex<Option<Printer>>,
    queue: Mutex<Queue>,
    /// A line was added, or the queue is closed.
    added: Condvar,
    /// The thread has written a line or has ended.
    written: Condvar,
    /// Returns the line that reports a number of dropped lines.
    missed: fn(u64) -> Vec<u8>,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The lines dropped since the last one that was queued.
    dropped: u64,
    is_writing: bool,
    is_finishing: bool,
    is_closed: bool,
    error: Option<ErrorKind>,
}

/// The lines that an output did not take before the end of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwritten {
    /// The number of lines.
    pub(crate) lines: u64,
    /// The error of the last attempt. `None` if the output is not read.
    pub(crate) error: Option<ErrorKind>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(target: Target, missed: fn(u64) -> Vec<u8>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            target,
            printer: Mutex::default(),
            queue: Mutex::default(),
            added: Condvar::new(),
            written: Condvar::new(),
            missed,
        });
        let (closes, closed) = channel::bounded(1);
        let thread = shared.clone();
        let name = if target == Target::Stdout { "stdout" } else { "stderr" };
        thread::Builder::new().name(name.into()).spawn(move || thread.run(&closes))?;
        Ok(Self { shared, closed })
    }

    /// Passes lines to a printer from now on.
    pub(crate) fn print_with(&self, printer: Printer) {
        *lock(&self.shared.printer) = Some(printer);
    }

    /// Adds a line, with its end.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let mut queue = self.shared.lock();
        if queue.is_closed {
            return;
        }
        if queue.bytes >= CAPACITY {
            queue.dropped += 1;
            return;
        }
        queue.push_missed(self.shared.missed);
        queue.push(line);
        drop(queue);
        self.shared.added.notify_one();
    }

    /// Returns the number of lines that were dropped since the last one that was queued.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Waits until the reader of the output is gone.
    pub(crate) async fn closed(&self) {
        // Fails when the thread has ended, which drops the sender.
        let _ = self.closed.recv().await;
    }

    /// Waits until all lines are written, but no longer than `limit`. Lines of a closed output do
    /// not count.
    pub(crate) fn finish(&self, limit: Duration) -> Result<(), Unwritten> {
        let deadline = Instant::now() + limit;
        let mut queue = self.shared.lock();
        queue.push_missed(self.shared.missed);
        queue.is_finishing = true;
        self.shared.added.notify_one();
        loop {
            let lines = queue.lines.len() as u64 + u64::from(queue.is_writing);
            if queue.is_closed || lines == 0 {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unwritten { lines, error: queue.error });
            }
            let waited = self.shared.written.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Queue {
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    fn push_missed(&mut self, missed: fn(u64) -> Vec<u8>) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            count => self.push(missed(count)),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Writes lines until the queue is closed. The thread ends with the process.
    fn run(&self, closes: &Sender<()>) {
        while let Some(line) = self.next_line() {
            if self.write(&line).is_err() {
                let mut queue = self.lock();
                (queue.is_closed, queue.is_writing) = (true, false);
                queue.lines.clear();
                drop(queue);
                self.written.notify_all();
                let _ = closes.try_send(());
                return;
            }
            let mut queue = self.lock();
            (queue.is_writing, queue.error) = (false, None);
            queue.bytes -= line.len();
            drop(queue);
            self.written.notify_all();
        }
    }

    fn next_line(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.is_writing = true;
                return Some(line);
            }
            queue = self.added.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes a line to its end, in as many attempts as it takes. Fails if the reader is gone.
    fn write(&self, mut rest: &[u8]) -> io::Result<()> {
        if let Some(printer) = &mut *lock(&self.printer) {
            return printer(String::from_utf8_lossy(rest).into_owned());
        }
        while !rest.is_empty() {
            match self.target.write_some(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error @ (nix::Error::EPIPE | nix::Error::EBADF)) => return Err(error.into()),
                Err(error) => self.on_error(&error.into()),
            }
        }
        Ok(())
    }

    /// Notes an error and waits before the next attempt. Logs the first of consecutive errors.
    fn on_error(&self, error: &io::Error) {
        let mut queue = self.lock();
        let is_first = queue.error.replace(error.kind()).is_none();
        drop(queue);
        if is_first && self.target == Target::Stdout {
            tracing::warn!("{}", not_written(error));
        }
        thread::sleep(RETRY_DELAY);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_written(error: &impl fmt::Display) -> String {
    format!(
        "Standard output cannot be written ({error}): free some space, or send it elsewhere. The \
         tower runs on."
    )
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, error } = self;
        let lines = if *lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
        match error {
            Some(error) => write!(
                f,
                "Standard output cannot be written ({error}) and {lines} of it are lost: free some \
                 space, or send it elsewhere."
            ),
            None => write!(
                f,
                "Standard output is not read and {lines} of it are lost: read it, or send it \
                 to a file."
            ),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("target", &self.shared.target).finish_non_exhaustive()
    }
}

/// Adds each write as one line. The formatter of the log writes a whole line at once.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
