//! Looking up names, beside the reactor: the operating system's resolver blocks, and can't be interrupted.

use clacks_proto::{IoCause, LinkId, Name};
use std::collections::VecDeque;
use std::mem;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::desk::{Desk, lock};

/// How many names a tower looks up at a time. A resolver may hold a thread for a minute, and one
/// name that nobody knows must not keep the others waiting. A guess.
const MAX_THREADS: usize = 16;

/// Looks up names on helper threads, which live for as long as there are names.
pub(crate) struct Names {
    office: Arc<Office>,
}

struct Office {
    files: Mutex<Files>,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Files {
    /// At most one for each link.
    questions: VecDeque<Question>,
    answers: Vec<Answer>,
    threads: usize,
}

struct Question {
    link: LinkId,
    name: Name,
    port: u16,
}

/// What was found for a link.
pub(crate) struct Answer {
    pub(crate) link: LinkId,
    pub(crate) found: Result<Vec<SocketAddr>, IoCause>,
}

impl Names {
    /// Rings at the desk whenever there is an answer.
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { office: Arc::new(Office { files: Mutex::default(), desk }) }
    }

    pub(crate) fn look_up(&self, link: LinkId, name: Name, port: u16) {
        let mut files = lock(&self.office.files);
        files.questions.push_back(Question { link, name, port });
        if files.threads == MAX_THREADS {
            return;
        }
        files.threads += 1;
        drop(files);
        let office = self.office.clone();
        let started =
            thread::Builder::new().name("clacks-names".into()).spawn(move || office.work());
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to look up names");
            self.office.give_up();
        }
    }

    /// Nobody is interested any more. What is being looked up at this moment ends when it ends.
    pub(crate) fn forget(&self, link: LinkId) {
        lock(&self.office.files).questions.retain(|question| question.link != link);
    }

    pub(crate) fn take_answers(&self) -> Vec<Answer> {
        mem::take(&mut lock(&self.office.files).answers)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        lock(&self.office.files).questions.clear();
    }
}

impl Office {
    fn work(&self) {
        while let Some(Question { link, name, port }) = self.next() {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            let found = found.map_err(|_| IoCause::Resolve);
            lock(&self.files).answers.push(Answer { link, found });
            self.desk.ring();
        }
    }

    /// The next question. Without one, the thread that asked is no longer counted: it ends.
    fn next(&self) -> Option<Question> {
        let mut files = lock(&self.files);
        let question = files.questions.pop_front();
        files.threads -= usize::from(question.is_none());
        question
    }

    /// A thread could not be started. If there is no other one, nobody will answer.
    fn give_up(&self) {
        let mut files = lock(&self.files);
        files.threads -= 1;
        if files.threads == 0 {
            let unanswered = mem::take(&mut files.questions);
            files.answers.extend(
                unanswered
                    .into_iter()
                    .map(|question| Answer { link: question.link, found: Err(IoCause::Exhausted) }),
            );
            drop(files);
            self.desk.ring();
        }
    }
}
