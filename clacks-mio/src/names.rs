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

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::{Address, Config, Instant, Seed, StateMachine, Tower};
    use mio::{Poll, Token, Waker};
    use std::net::{IpAddr, Ipv4Addr};

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn names(poll: &Poll) -> Names {
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        Names::new(Arc::new(Desk::new((LOCALHOST, 8001).into(), waker)))
    }

    fn links(count: usize) -> Vec<LinkId> {
        let address = Address::new("127.0.0.1", 8001).unwrap();
        let mut tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        (0..count).map(|_| tower.accept(LOCALHOST, Instant::ORIGIN).unwrap()).collect()
    }

    fn localhost() -> Name {
        match Address::new("localhost", 1).unwrap().host() {
            clacks_proto::Host::Name(name) => name.clone(),
            clacks_proto::Host::Ip(_) => panic!("not a name"),
        }
    }

    #[test]
    fn an_answer_rings() {
        let mut poll = Poll::new().unwrap();
        let names = names(&poll);
        let link = links(1)[0];
        names.look_up(link, localhost(), 7);
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, None).unwrap();
        let answers = names.take_answers();
        let found = answers[0].found.as_ref().unwrap();
        assert!(answers[0].link == link && !found.is_empty());
        assert!(found.iter().all(|socket| socket.port() == 7));
    }

    #[test]
    fn a_name_that_nobody_wants_any_more_is_not_looked_up() {
        let poll = Poll::new().unwrap();
        let names = names(&poll);
        let links = links(2);
        // As if all threads were busy.
        lock(&names.office.files).threads = MAX_THREADS;
        links.iter().for_each(|link| names.look_up(*link, localhost(), 1));
        names.forget(links[0]);
        assert_eq!(names.office.next().unwrap().link, links[1]);
        assert!(names.office.next().is_none());
    }

    #[test]
    fn without_a_thread_the_answer_is_no() {
        let poll = Poll::new().unwrap();
        let names = names(&poll);
        let links = links(2);
        lock(&names.office.files).threads = MAX_THREADS;
        links.iter().for_each(|link| names.look_up(*link, localhost(), 1));
        // Another thread may still get to them; when the last one is gone, nobody will.
        lock(&names.office.files).threads = 2;
        names.office.give_up();
        assert!(names.take_answers().is_empty());
        names.office.give_up();
        let answers = names.take_answers();
        assert_eq!(answers.len(), 2);
        assert!(answers.iter().all(|answer| answer.found == Err(IoCause::Exhausted)));
    }
}
