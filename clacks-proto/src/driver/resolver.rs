//! Look-ups of names, independent of the runtime.
//!
//! The resolver of the operating system blocks and can't be interrupted. Each look-up has a thread.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU16;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Mutex;
use std::thread;

use super::lock;
use crate::address::Name;
use crate::error::IoCause;
use crate::event::Standing;

/// The maximum number of look-ups that are waited for at a time. The value is a guess. A look-up
/// may block its thread for a minute, and an unknown name must not delay other look-ups.
pub const MAX_LOOKUPS: usize = 16;

/// The maximum number of these whose names strangers chose. The value is a guess. The others are
/// kept for known peers.
pub const MAX_STRANGE_LOOKUPS: usize = 12;

/// The maximum number of look-ups of each [`Standing`] that go on although their dial was given up.
/// Further ones count as waited for. The value is a guess.
const MAX_ABANDONED: usize = 16;

/// Looks up names on threads, a limited number at a time. Names of known peers come first, and have
/// places that strangers can't take.
///
/// A look-up that is dropped before it begins never begins. One that is dropped later goes on, and
/// gives its place to the next one. Clones share the limits.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    resolve: Box<Resolve>,
    state: Mutex<State>,
}

type Resolve = dyn Fn(&Name, NonZeroU16) -> Result<Vec<SocketAddr>, IoCause> + Send + Sync;
type Addresses = Result<Vec<SocketAddr>, IoCause>;

#[derive(Default)]
struct State {
    next_id: u64,
    known: Class,
    strange: Class,
}

/// The look-ups of one standing.
#[derive(Default)]
struct Class {
    /// At most one for each dial.
    waiting: VecDeque<Job>,
    /// Look-ups that are waited for and have begun.
    running: Vec<u64>,
    /// The number of look-ups that have begun and were given up.
    abandoned: usize,
}

struct Job {
    id: u64,
    name: Name,
    port: NonZeroU16,
    except: Vec<IpAddr>,
    answer: Box<dyn FnOnce(Addresses) + Send>,
}

/// A look-up. Dropping it gives it up.
#[must_use = "dropping it gives up the look-up"]
pub struct Lookup {
    resolver: Resolver,
    standing: Standing,
    id: u64,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(resolve)
    }
}

impl Resolver {
    /// Returns a resolver that calls a function of the application on its threads. The default one
    /// calls that of the operating system.
    pub fn new(
        resolve: impl Fn(&Name, NonZeroU16) -> Result<Vec<SocketAddr>, IoCause> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared { resolve: Box::new(resolve), state: Mutex::default() }))
    }

    /// Looks up the addresses of a name, except some, and calls `answer` with them. The call is
    /// made on another thread, or on this one if no thread can be started. `answer` is called at
    /// most once, and may be called after the look-up was given up.
    pub fn look_up(
        &self,
        name: Name,
        port: NonZeroU16,
        except: Vec<IpAddr>,
        standing: Standing,
        answer: impl FnOnce(Result<Vec<SocketAddr>, IoCause>) + Send + 'static,
    ) -> Lookup {
        let id = {
            let mut state = lock(&self.0.state);
            let id = state.next_id;
            state.next_id += 1;
            let answer = Box::new(answer);
            state.class(standing).waiting.push_back(Job { id, name, port, except, answer });
            id
        };
        self.start_waiting();
        Lookup { resolver: self.clone(), standing, id }
    }

    /// Starts the look-ups for which there is a place.
    fn start_waiting(&self) {
        loop {
            // The lock is not held while a thread is started, because that may answer.
            let Some((standing, job)) = lock(&self.0.state).next() else { return };
            self.start(standing, job);
        }
    }

    fn start(&self, standing: Standing, job: Job) {
        let (id, shared) = (job.id, self.clone());
        let job = Arc::new(Mutex::new(Some(job)));
        let on_thread = job.clone();
        let look_up = move || {
            let Some(job) = lock(&on_thread).take() else { return };
            let found = (shared.0.resolve)(&job.name, job.port);
            shared.finish(standing, job, found);
        };
        let started = thread::Builder::new().name("clacks-resolver".into()).spawn(look_up);
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to look up a name");
            let job = lock(&job).take();
            if let Some(job) = job {
                debug_assert_eq!(job.id, id);
                self.finish(standing, job, Err(IoCause::Exhausted));
            }
        }
    }

    fn finish(&self, standing: Standing, job: Job, found: Addresses) {
        lock(&self.0.state).class(standing).finish(job.id);
        let except = job.except;
        let found = found.map(|mut addresses| {
            addresses.retain(|address| !except.contains(&address.ip()));
            addresses
        });
        (job.answer)(found);
        self.start_waiting();
    }
}

impl State {
    fn class(&mut self, standing: Standing) -> &mut Class {
        match standing {
            Standing::Known => &mut self.known,
            Standing::Stranger => &mut self.strange,
        }
    }

    /// Returns the next look-up for which there is a place, and counts it as running.
    fn next(&mut self) -> Option<(Standing, Job)> {
        let strange = self.strange.places();
        let is_full = self.known.places() + strange >= MAX_LOOKUPS;
        let standing = if is_full {
            return None;
        } else if !self.known.waiting.is_empty() {
            Standing::Known
        } else if strange < MAX_STRANGE_LOOKUPS {
            Standing::Stranger
        } else {
            return None;
        };
        let class = self.class(standing);
        let job = class.waiting.pop_front()?;
        class.running.push(job.id);
        Some((standing, job))
    }
}

impl Class {
    /// Returns the number of places that are taken.
    fn places(&self) -> usize {
        self.running.len() + self.abandoned.saturating_sub(MAX_ABANDONED)
    }

    fn finish(&mut self, id: u64) {
        match self.running.iter().position(|running| *running == id) {
            Some(position) => _ = self.running.swap_remove(position),
            None => self.abandoned = self.abandoned.saturating_sub(1),
        }
    }

    /// Gives up a look-up. Does nothing if it has ended.
    fn abandon(&mut self, id: u64) {
        if let Some(position) = self.running.iter().position(|running| *running == id) {
            self.running.swap_remove(position);
            self.abandoned += 1;
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let waiting = {
            let mut state = lock(&self.resolver.0.state);
            let class = state.class(self.standing);
            class.abandon(self.id);
            let position = class.waiting.iter().position(|job| job.id == self.id);
            position.and_then(|position| class.waiting.remove(position))
        };
        // Its answer is dropped without the lock.
        drop(waiting);
        self.resolver.start_waiting();
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

fn resolve(name: &Name, port: NonZeroU16) -> Result<Vec<SocketAddr>, IoCause> {
    match (name.as_str(), port.get()).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) if is_exhausted(&error) => Err(IoCause::Exhausted),
        Err(_) => Err(IoCause::Resolve),
    }
}

/// Returns whether a look-up failed because this machine has no memory or descriptors.
fn is_exhausted(error: &io::Error) -> bool {
    // A lack of memory (`EAI_MEMORY`) can only be recognised by the text of the C library. If there
    // is no free descriptor, some resolvers report that the name is unknown.
    IoCause::from(error) == IoCause::Exhausted
        || error.to_string().to_lowercase().contains("memory")
        || !has_descriptors()
}

/// Returns whether this process can open a socket.
fn has_descriptors() -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    !socket.is_err_and(|error| IoCause::from(&error) == IoCause::Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::sync::Condvar;
    use std::sync::mpsc::{self, Receiver, Sender};

    const PORT: NonZeroU16 = NonZeroU16::MIN;

    /// Waits for the next value. Only failures reach the limit.
    fn wait<T>(values: &Receiver<T>) -> T {
        values.recv_timeout(Duration::from_secs(120)).expect("in time")
    }

    /// A resolver whose look-ups end when the test says so.
    struct Fixture {
        resolver: Resolver,
        /// The names whose look-up has begun.
        begun: Receiver<Name>,
        /// The names whose look-up may end.
        released: Arc<(Mutex<Vec<Name>>, Condvar)>,
        answers: Receiver<Name>,
        answered: Sender<Name>,
    }

    impl Fixture {
        fn new() -> Self {
            let (begin, begun) = mpsc::channel();
            let begin = Mutex::new(begin);
            let (answered, answers) = mpsc::channel();
            let released: Arc<(Mutex<Vec<Name>>, Condvar)> = Arc::default();
            let gate = released.clone();
            let resolver = Resolver::new(move |name, port| {
                let _ = lock(&begin).send(name.clone());
                let held = lock(&gate.0);
                drop(gate.1.wait_while(held, |released| !released.contains(name)).unwrap());
                Ok(Vec::from([(Ipv4Addr::LOCALHOST, port.get()).into()]))
            });
            Self { resolver, begun, released, answers, answered }
        }

        fn look_up(&self, name: &Name, standing: Standing) -> Lookup {
            let (answered, copy) = (self.answered.clone(), name.clone());
            let answer = move |_| _ = answered.send(copy);
            self.resolver.look_up(name.clone(), PORT, Vec::new(), standing, answer)
        }

        fn release(&self, name: &Name) {
            lock(&self.released.0).push(name.clone());
            self.released.1.notify_all();
        }

        /// Waits for the begin of look-ups.
        fn begun(&self, count: usize) -> Vec<Name> {
            (0..count).map(|_| wait(&self.begun)).collect()
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            for name in names("stranger", 200).iter().chain(&names("known", 200)) {
                self.release(name);
            }
        }
    }

    fn names(kind: &str, count: usize) -> Vec<Name> {
        (0..count).map(|n| Name::new(&alloc::format!("{kind}{n}.example")).unwrap()).collect()
    }

    #[test]
    fn a_known_name_does_not_wait_behind_names_of_strangers() {
        let fixture = Fixture::new();
        let strange = names("stranger", 40);
        let _lookups: Vec<_> =
            strange.iter().map(|it| fixture.look_up(it, Standing::Stranger)).collect();
        assert_eq!(fixture.begun(MAX_STRANGE_LOOKUPS).len(), MAX_STRANGE_LOOKUPS);
        let known = names("known", 1);
        let _lookup = fixture.look_up(&known[0], Standing::Known);
        assert_eq!(fixture.begun(1), known);
        fixture.release(&known[0]);
        assert_eq!(wait(&fixture.answers), known[0]);
        assert!(fixture.begun.try_recv().is_err(), "a stranger got the place of a known name");
    }

    #[test]
    fn known_names_are_looked_up_before_those_of_strangers() {
        let fixture = Fixture::new();
        let known = names("known", MAX_LOOKUPS + 1);
        let strange = names("stranger", 1);
        let _running: Vec<_> =
            known[..MAX_LOOKUPS].iter().map(|it| fixture.look_up(it, Standing::Known)).collect();
        fixture.begun(MAX_LOOKUPS);
        let _stranger = fixture.look_up(&strange[0], Standing::Stranger);
        let _known = fixture.look_up(&known[MAX_LOOKUPS], Standing::Known);
        fixture.release(&known[0]);
        assert_eq!(fixture.begun(1), known[MAX_LOOKUPS..]);
        fixture.release(&known[1]);
        assert_eq!(fixture.begun(1), strange);
    }

    #[test]
    fn a_look_up_that_is_given_up_gives_its_place_back() {
        let fixture = Fixture::new();
        let strange = names("stranger", MAX_STRANGE_LOOKUPS + 2);
        let mut lookups: Vec<_> =
            strange.iter().map(|it| fixture.look_up(it, Standing::Stranger)).collect();
        fixture.begun(MAX_STRANGE_LOOKUPS);
        // One that has not begun never begins.
        drop(lookups.remove(MAX_STRANGE_LOOKUPS));
        drop(lookups.remove(0));
        assert_eq!(fixture.begun(1), strange[MAX_STRANGE_LOOKUPS + 1..]);
    }

    #[test]
    fn the_threads_of_look_ups_are_bounded() {
        let fixture = Fixture::new();
        let most = MAX_STRANGE_LOOKUPS + MAX_ABANDONED;
        let strange = names("stranger", 2 * most);
        for name in &strange {
            drop(fixture.look_up(name, Standing::Stranger));
        }
        // Each one began and was given up, until no place was left.
        assert_eq!(fixture.begun(most).len(), most);
        assert!(fixture.begun.try_recv().is_err());
        let known = names("known", 1);
        let _known = fixture.look_up(&known[0], Standing::Known);
        assert_eq!(fixture.begun(1), known);
        fixture.release(&strange[0]);
        wait(&fixture.answers);
        let _lookup = fixture.look_up(&strange[1], Standing::Stranger);
        assert_eq!(fixture.begun(1), strange[1..2]);
    }

    #[test]
    fn excepted_addresses_are_left_out() {
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let resolver =
            Resolver::new(move |_, port| Ok([one, two].map(|ip| (ip, port.get()).into()).into()));
        let (sender, answer) = mpsc::channel();
        let name = Name::new("tower.example").unwrap();
        let answer_with = move |found| sender.send(found).unwrap();
        let _lookup = resolver.look_up(name, PORT, Vec::from([one]), Standing::Known, answer_with);
        assert_eq!(wait(&answer), Ok(Vec::from([SocketAddr::new(two, 1)])));
    }

    #[test]
    fn names_are_looked_up_by_the_operating_system() {
        let resolve = |name| {
            let (sender, answer) = mpsc::channel();
            let name = Name::new(name).unwrap();
            let answer_with = move |found| sender.send(found).unwrap();
            let lookup = Resolver::default();
            let _lookup = lookup.look_up(name, PORT, Vec::new(), Standing::Known, answer_with);
            wait(&answer)
        };
        let found: Addresses = resolve("localhost");
        let found = found.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.port() == PORT.get()));
        assert_eq!(resolve("no-such-tower.invalid"), Err(IoCause::Resolve));
    }
}
