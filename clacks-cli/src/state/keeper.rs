//! Saves the peers while a tower runs, and at its end.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clacks_proto::PeerRecord;

use super::PeersFile;
use crate::control::Check;

/// The time between two looks at the peers (guess). A tower that is killed forgets at most the
/// changes of this time. A longer one wakes an idle machine less often.
const SAVE_EVERY: Duration = Duration::from_secs(3);

/// How long the end of a tower waits for a slow disk (guess).
const LAST_SAVE: Duration = Duration::from_secs(5);

/// What a person can do about peers that cannot be saved.
const REMEDY: &str = "Free some space, or make the folder writable. Until then a restart forgets \
                      the peers that were met since.";

/// Saves the peers of a tower on a thread of its own, so that a slow disk holds up nothing. The
/// file is written only if the peers have changed.
#[derive(Debug)]
pub(crate) struct PeerKeeper {
    /// Dropping the sender ends the thread.
    stop: Sender<()>,
    ended: Receiver<()>,
    failure: Arc<Mutex<Option<String>>>,
}

impl PeerKeeper {
    /// Starts the thread. `snapshot` returns the peers of the tower.
    pub(crate) fn start(
        file: PeersFile,
        snapshot: impl Fn() -> Vec<PeerRecord> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let failure = Arc::default();
        let at_failure = Arc::clone(&failure);
        thread::Builder::new().name("peers".into()).spawn(move || {
            let mut saver = Saver { file, saved: None, failure: at_failure };
            while stopped.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout) {
                saver.save(snapshot());
            }
            saver.save(snapshot());
            drop(end);
        })?;
        Ok(Self { stop, ended, failure })
    }

    /// Returns a check whether the last attempt has failed.
    pub(crate) fn check(&self) -> Check {
        let failure = self.failure.clone();
        Box::new(move || {
            let failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.clone().map(|what| (what, REMEDY))
        })
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
    /// What failed at the last attempt.
    failure: Arc<Mutex<Option<String>>>,
}

impl Saver {
    fn save(&mut self, peers: Vec<PeerRecord>) {
        if self.saved.as_ref() == Some(&peers) {
            return;
        }
        let saved = self.file.save(&peers);
        let failure = saved.as_ref().err().map(|error| {
            let path = self.file.path();
            format!("the known towers cannot be saved in {} ({error})", path.display())
        });
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::replace(&mut *last, failure);
        // A failure is logged once. The next look at the peers tries again.
        match (earlier, &*last) {
            (None, Some(failure)) => tracing::warn!("{failure}. {REMEDY}"),
            (Some(_), None) => tracing::info!("the known towers are saved again"),
            _ => {}
        }
        if saved.is_ok() {
            self.saved = Some(peers);
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
        let mut saver = Saver { file, saved: None, failure: Arc::default() };
        let failure = saver.failure.clone();
        saver.save(Vec::new());
        assert!(failure.lock().unwrap().as_ref().unwrap().contains("cannot be saved in"));
        std::fs::create_dir(dir.path().join("missing")).unwrap();
        saver.save(Vec::new());
        assert_eq!(*failure.lock().unwrap(), None);
        std::fs::remove_file(saver.file.path()).unwrap();
        saver.save(Vec::new());
        assert!(!saver.file.path().exists(), "written although nothing has changed");
    }
}
