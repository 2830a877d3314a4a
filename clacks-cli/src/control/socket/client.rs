//! A client of the control socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clacks_proto::{Address, Fingerprint};

use super::folder::{LiveSockets, live_sockets};
use crate::control::Request;
use crate::control::protocol::{Greeting, VERSION};
use crate::error::Failure;
use crate::output::{Entry, Output};

/// How long the tower may take for an answer. The value is a guess.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How long a tower may take that is looked for (guess). One that is stopped must not hold up
/// commands that can use another one.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// A connection to a running tower.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

/// A tower that runs here.
#[derive(Clone, Debug)]
pub(crate) struct RunningTower {
    /// The address at which this machine reaches it.
    pub(crate) dialled: Address,
    pub(crate) network: String,
    /// The fingerprint of its key, or `None` without TLS.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A line from the tower.
#[derive(Debug)]
pub(crate) struct Received {
    /// The line as it was sent.
    pub(crate) line: String,
    /// Its content. `None` if a newer version of the command wrote it.
    pub(crate) entry: Option<Entry>,
}

impl Received {
    /// Returns the content if it is known.
    pub(crate) fn output(&self) -> Option<&Output> {
        self.entry.as_ref().map(|entry| &entry.output)
    }
}

impl Client {
    /// Connects to the tower with the control socket `path`, or to the only one that runs.
    pub(crate) fn connect(path: Option<&Path>) -> Result<Self, Failure> {
        match path {
            Some(path) => Self::connect_within(path, ANSWER_LIMIT),
            None => Self::connect_within(&only_socket()?, ANSWER_LIMIT),
        }
    }

    fn connect_within(path: &Path, limit: Duration) -> Result<Self, Failure> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::NoTower(format!(
                "No tower has the control socket {}: check --control, or start a tower.",
                path.display()
            )),
            ErrorKind::PermissionDenied => Failure::failed(format_args!(
                "The control socket {} is for another user: run this as the user of the tower, or \
                 start the tower with --control-group.",
                path.display()
            )),
            _ => Failure::failed(format_args!(
                "The control socket {} cannot be used: {error}.",
                path.display()
            )),
        })?;
        let mut client = Self { stream: BufReader::new(stream) };
        client.limit(Some(limit))?;
        let line = client.line()?.ok_or_else(|| lost(&ErrorKind::UnexpectedEof.into()))?;
        match serde_json::from_str(&line) {
            Ok(Greeting { clacks_control: VERSION, .. }) => Ok(client),
            Ok(Greeting { version, .. }) => Err(Failure::failed(format_args!(
                "The tower runs version {version} of clacks, which has other requests: use that \
                 version, or restart the tower with this one."
            ))),
            // A tower with too many clients sends an error instead.
            Err(_) => match parse(&line).map(|entry| entry.output) {
                Some(Output::Error { message }) => Err(Failure::Failed(message)),
                _ => Err(Failure::failed(
                    "The program at the control socket is no tower: check --control.",
                )),
            },
        }
    }

    /// Sends a request. The answer follows.
    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| lost(&error))
    }

    /// Sends a request and returns the answer. Fails if the answer is an error.
    pub(crate) fn request(&mut self, request: &Request) -> Result<Received, Failure> {
        self.send(request)?;
        self.next()?.ok_or_else(|| lost(&ErrorKind::UnexpectedEof.into()))
    }

    /// Returns the next answer or event. Returns `None` when the tower has ended. Fails if it is an
    /// error.
    pub(crate) fn next(&mut self) -> Result<Option<Received>, Failure> {
        let Some(line) = self.line()? else { return Ok(None) };
        let entry = parse(&line);
        match entry {
            Some(Entry { output: Output::Error { message }, .. }) => Err(Failure::Failed(message)),
            entry => Ok(Some(Received { line, entry })),
        }
    }

    /// Waits for answers and events as long as it takes.
    pub(crate) fn wait_for_ever(&mut self) -> Result<(), Failure> {
        self.limit(None)
    }

    fn limit(&mut self, limit: Option<Duration>) -> Result<(), Failure> {
        self.stream.get_ref().set_read_timeout(limit).map_err(|error| lost(&error))
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => {
                line.truncate(line.trim_end().len());
                Ok(Some(line))
            }
            Err(error) => Err(lost(&error)),
        }
    }
}

fn parse(line: &str) -> Option<Entry> {
    serde_json::from_str(line).ok()
}

fn lost(error: &io::Error) -> Failure {
    Failure::failed(match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "The tower does not answer: look whether it is stopped.".to_owned()
        }
        ErrorKind::UnexpectedEof => "The tower has ended.".to_owned(),
        _ => format!("The connection to the tower broke ({error}): look whether it runs."),
    })
}

/// Returns the towers that run here and answer.
pub(crate) fn running_towers() -> Vec<RunningTower> {
    live_sockets().sockets.iter().filter_map(|path| running_tower(path)).collect()
}

fn running_tower(path: &Path) -> Option<RunningTower> {
    let mut client = Client::connect_within(path, STATUS_LIMIT).ok()?;
    let answer = client.request(&Request::Status).ok()?;
    let Some(Output::Status(status)) = answer.output() else { return None };
    // The default socket is named after the address at which the tower listens. Another machine may
    // be needed to reach the address that it advertises.
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let listens_at = name.parse::<SocketAddr>().ok().map(|mut at| {
        if at.ip().is_unspecified() {
            at.set_ip(match at {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        at
    });
    let dialled = listens_at.and_then(|at| Address::try_from(at).ok());
    Some(RunningTower {
        dialled: dialled.unwrap_or_else(|| status.address.clone()),
        network: status.network.clone(),
        fingerprint: status.fingerprint,
    })
}

/// Returns the control socket of the only tower that runs.
fn only_socket() -> Result<PathBuf, Failure> {
    choose(live_sockets())
}

fn choose(live: LiveSockets) -> Result<PathBuf, Failure> {
    let LiveSockets { mut sockets, refused } = live;
    match sockets.len() {
        0 if !refused.is_empty() => {
            let paths: Vec<_> = refused.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::NoTower(format!(
                "No tower of yours runs here, and {} is for another user: use sudo, or start that \
                 tower with --control-group.",
                paths.join(" and ")
            )))
        }
        0 => Err(Failure::NoTower(
            "No tower runs here: start one with `clacks tower --listen HOST:PORT`, or give its \
             control socket with --control PATH."
                .into(),
        )),
        1 => Ok(sockets.remove(0)),
        _ => {
            let paths: Vec<_> = sockets.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::NoTower(format!(
                "Several towers run here: choose one with --control {}.",
                paths.join(" or --control ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(sockets: &[&str], refused: &[&str]) -> String {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let live = LiveSockets { sockets: paths(sockets), refused: paths(refused) };
        match choose(live) {
            Ok(path) => path.display().to_string(),
            Err(failure) => failure.sentence().unwrap().to_owned(),
        }
    }

    #[test]
    fn the_only_tower_is_chosen_and_a_tower_of_another_user_is_named() {
        assert_eq!(sentence(&["/a.sock"], &["/run/clacks"]), "/a.sock");
        assert!(sentence(&["/a.sock", "/b.sock"], &[]).contains("--control /a.sock or --control"));
        assert!(sentence(&[], &[]).contains("No tower runs here: start one"));
        let other = sentence(&[], &["/run/clacks"]);
        assert!(other.contains("/run/clacks is for another user: use sudo"), "{other}");
    }
}
