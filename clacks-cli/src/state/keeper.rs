//! Saves the peers while a tower runs, and at its end.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use clacks_proto::PeerRecord;

use super::PeersFile;

/// The time between two looks at the peers (guess). A tower that is killed forgets at most the
/// changes of this time. A longer one wakes an idle machine less often.
const SAVE_EVERY: Duration = Duration::from_secs(3);

/// How long the end of a tower waits for a slow disk (guess).
const LAST_SAVE: Duration = Duration::from_secs(5);

/// Saves the peers of a tower on a thread of its own, so that a slow disk holds up nothing. The
/// file is written only if the peers have changed.
#[derive(Debug)]
pub(crate) struct PeerKeeper {
    /// Dropping the sender ends the thread.
    stop: Sender<()>,
    ended: Receiver<()>,
}

impl PeerKeeper {
    /// Starts the thread. `snapshot` returns the peers of the tower.
    pub(crate) fn start(
        file: PeersFile,
        snapshot: impl Fn() -> Vec<PeerRecord> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        thread::Builder::new().name("peers".into()).spawn(move || {
            let mut saver = Saver { file, saved: None, has_failed: false };
            while stopped.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout) {
                saver.save(snapshot());
            }
            saver.save(snapshot());
            drop(end);
        })?;
        Ok(Self { stop, ended })
    }

    /// Saves the peers for the last time. Waits for that, but not for ever.
    pub(crate) fn finish(self) {
        drop(self.stop);
        if self.ended.recv_timeout(LAST_SAVE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the known towers are not saved: the disk does not answer");
        }
    }
}

struct Saver {
    file: PeersFile,
    saved: Option<Vec<PeerRecord>>,
    has_failed: bool,
}

impl Saver {
    fn save(&mut self, peers: Vec<PeerRecord>) {
        if self.saved.as_ref() == Some(&peers) {
            return;
        }
        match self.file.save(&peers) {
            Ok(()) => {
                if self.has_failed {
                    tracing::info!("the known towers are saved again");
                }
                (self.saved, self.has_failed) = (Some(peers), false);
            }
            // Reported once. The next look at the peers tries again.
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                tracing::warn!(
                    "the known towers cannot be saved in {} ({error}): free some space, or make \
                     the folder writable",
                    self.file.path().display()
                );
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kept;
    use super::*;
    use clacks_proto::Status;

    #[test]
    fn the_last_peers_are_saved_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeersFile::new(dir.path(), "clacks");
        let peers = vec![PeerRecord::new("127.0.0.1:1".parse().unwrap(), Status::Lost)];
        let snapshot = peers.clone();
        PeerKeeper::start(file.clone(), move || snapshot.clone()).unwrap().finish();
        assert!(matches!(file.load().unwrap(), Kept::Peers(saved) if saved == peers));
    }

    #[test]
    fn equal_peers_are_not_written_again_and_a_failure_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeersFile::new(&dir.path().join("missing"), "clacks");
        let mut saver = Saver { file, saved: None, has_failed: false };
        saver.save(Vec::new());
        assert!(saver.has_failed);
        std::fs::create_dir(dir.path().join("missing")).unwrap();
        saver.save(Vec::new());
        assert!(!saver.has_failed);
        std::fs::remove_file(saver.file.path()).unwrap();
        saver.save(Vec::new());
        assert!(!saver.file.path().exists(), "written although nothing has changed");
    }
}
