//! The file that `--trace` writes, with a limit on its size.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::BinaryBytes;

/// A file of lines that is cut after the last whole line within its limit.
pub(super) struct TraceFile {
    file: File,
    limit: u64,
    size: TraceSize,
}

/// The size of a trace. Clones share it.
#[derive(Clone, Default)]
pub(super) struct TraceSize {
    bytes: Arc<AtomicU64>,
    is_cut: Arc<AtomicBool>,
}

impl TraceFile {
    pub(super) fn new(file: File, limit: u64) -> Self {
        Self { file, limit, size: TraceSize::default() }
    }

    pub(super) fn size(&self) -> TraceSize {
        self.size.clone()
    }
}

impl TraceSize {
    /// Returns the number of bytes written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether the limit was reached.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Returns a sentence about the size at the end of the run, from the size so far.
    pub(super) fn estimate(&self, at: Duration, end: Duration, limit: u64) -> String {
        let expected = self.bytes() as f64 * end.as_secs_f64() / at.as_secs_f64().max(1e-9);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let expected = expected as u64;
        let limit = if expected > limit {
            format!(" It is cut at {} (--trace-limit).", BinaryBytes(limit))
        } else {
            String::new()
        };
        format!("The trace needs about {} for the whole run.{limit}", BinaryBytes(expected))
    }
}

impl Write for TraceFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let cut = || io::Error::new(io::ErrorKind::FileTooLarge, "the trace has reached its limit");
        if self.size.is_cut() {
            return Err(cut());
        }
        let room = usize::try_from(self.limit - self.size.bytes()).unwrap_or(usize::MAX);
        let Some(fitting) = bytes.get(..room).filter(|_| room < bytes.len()) else {
            let written = self.file.write(bytes)?;
            self.size.bytes.fetch_add(written as u64, Ordering::Relaxed);
            return Ok(written);
        };
        let lines = fitting.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.file.write_all(&bytes[..lines])?;
        self.size.bytes.fetch_add(lines as u64, Ordering::Relaxed);
        self.size.is_cut.store(true, Ordering::Relaxed);
        Err(cut())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(limit: u64, chunks: &[&str]) -> (String, TraceSize) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut trace = TraceFile::new(file.reopen().unwrap(), limit);
        for chunk in chunks {
            let _ = trace.write_all(chunk.as_bytes());
        }
        (fs::read_to_string(file.path()).unwrap(), trace.size())
    }

    #[test]
    fn a_trace_within_its_limit_is_written_whole() {
        let (text, size) = written(8, &["one\n", "two\n"]);
        assert_eq!((text.as_str(), size.bytes(), size.is_cut()), ("one\ntwo\n", 8, false));
    }

    #[test]
    fn a_trace_over_its_limit_ends_with_a_whole_line() {
        let (text, size) = written(14, &["one\n", "two\nthree\nfour\n", "x\n"]);
        assert_eq!((text.as_str(), size.is_cut()), ("one\ntwo\nthree\n", true));
        assert_eq!(size.bytes(), 14);
    }

    #[test]
    fn the_estimate_says_how_large_the_trace_becomes_and_when_it_is_cut() {
        let size = written(1 << 30, &[&"x\n".repeat(1 << 19)]).1;
        let [minute, hour] = [60, 3_600].map(Duration::from_secs);
        assert_eq!(
            size.estimate(minute, hour, 1 << 20),
            "The trace needs about 60.00 MiB for the whole run. It is cut at 1.00 MiB \
             (--trace-limit)."
        );
        assert!(!size.estimate(minute, hour, 1 << 30).contains("cut"));
    }
}
