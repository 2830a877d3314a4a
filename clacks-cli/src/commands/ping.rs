//! `clacks ping`: checks whether a tower answers at an address.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use clacks_proto::{
    Action, Address, CloseReason, Config, Dialect, Dialects, Event, Fingerprint, Host, IoCause,
    LinkId, LinkInfo, StateMachine, Tower,
};
use serde_json::json;

use crate::args::{PingArgs, TrustArgs};
use crate::control::remedy;
use crate::error::Failure;
use crate::identity;
use crate::network::membership;
use crate::output::text::{GOOD, STRONG};
use crate::setup;

/// How long each of the addresses of a name may take to accept a connection, and the tower to
/// complete the handshake.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// The address of the own tower. No other tower receives it, because the tower is a guest.
const OWN_ADDRESS: &str = "ping.invalid:1";

/// Dials the tower and writes what answers.
pub(crate) fn run(args: &PingArgs) -> Result<(), Failure> {
    let tower = &args.tower;
    let (trust, _) = membership::of_guest(&args.trust)?;
    let machine = guest(&trust)?;
    let start = Instant::now();
    let addresses = resolve(tower).map_err(|reason| not_reached(tower, reason))?;
    let resolved = start.elapsed();
    let (stream, connected) = connect(&addresses).map_err(|reason| not_reached(tower, reason))?;
    let remote = stream
        .peer_addr()
        .map_err(|error| not_reached(tower, CloseReason::Io(IoCause::from(&error))))?;
    let answer = match machine {
        setup::Machine::Clear(machine) => Dialogue::new(*machine, stream).run(tower),
        setup::Machine::Secure(machine) => Dialogue::new(*machine, stream).run(tower),
    };
    let answer = answer.map_err(|reason| match reason {
        CloseReason::Tls(_) if trust.roots.is_none() && !trust.clear => refused(tower, reason),
        _ => not_reached(tower, reason),
    })?;
    Found { tower, remote, resolved, connected, answer }.write(args.json)
}

/// Returns a state machine that no other tower learns of.
fn guest(trust: &TrustArgs) -> Result<setup::Machine, Failure> {
    let mut config = Config::default();
    config.network.clone_from(&trust.network);
    config.dialects = if trust.no_http { Dialects::Native } else { Dialects::NativeAndHttp };
    config.is_guest = true;
    let cannot = |error: &dyn std::fmt::Display| Failure::failed(format_args!("{error}."));
    let own = OWN_ADDRESS.parse().map_err(|error| cannot(&error))?;
    let seed = setup::fresh_seed()?;
    let tower = Tower::new(config, own, &seed).map_err(|error| cannot(&error))?;
    let Some((identity, policy)) = setup::secrets(trust)? else {
        return Ok(setup::Machine::Clear(Box::new(tower)));
    };
    let identity = match (identity, &trust.state) {
        (Some(identity), _) => identity,
        (None, Some(dir)) => identity::load(&identity::Files::within(dir))?,
        (None, None) => identity::generate()?,
    };
    Ok(setup::Machine::Secure(Box::new(setup::secure(tower, &identity, policy)?)))
}

fn resolve(tower: &Address) -> Result<Vec<SocketAddr>, CloseReason> {
    let unknown = CloseReason::Io(IoCause::Resolve);
    let port = tower.port().get();
    let addresses: Vec<_> = match tower.host() {
        Host::Ip(ip) => vec![SocketAddr::from((ip, port))],
        Host::Name(name) => (name.as_str(), port).to_socket_addrs().map_err(|_| unknown)?.collect(),
    };
    if addresses.is_empty() { Err(unknown) } else { Ok(addresses) }
}

/// Returns a connection to the first address that accepts one, and how long it took.
fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, Duration), CloseReason> {
    let mut reason = CloseReason::Io(IoCause::Resolve);
    for address in addresses {
        let start = Instant::now();
        match TcpStream::connect_timeout(address, LIMIT) {
            Ok(stream) => return Ok((stream, start.elapsed())),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                reason = CloseReason::ConnectTimeout;
            }
            Err(error) => reason = CloseReason::Io(IoCause::from(&error)),
        }
    }
    Err(reason)
}

fn not_reached(tower: &Address, reason: CloseReason) -> Failure {
    Failure::failed(format_args!("No tower answers at {tower}: {reason}. {}", remedy(reason)))
}

/// Returns why a tower does not accept a stranger. Members of a private network may have forgotten
/// to name it.
fn refused(tower: &Address, reason: CloseReason) -> Failure {
    let advice = membership::advice().unwrap_or_else(|| remedy(reason).to_owned());
    Failure::failed(format_args!("No tower answers at {tower}: {reason}. {advice}"))
}

/// The other side of the connection.
#[derive(Clone, Copy, Debug)]
struct Answer {
    dialect: Dialect,
    identity: Option<Fingerprint>,
    handshake: Duration,
}

/// A state machine with one connection.
struct Dialogue<M> {
    machine: M,
    stream: TcpStream,
    start: Instant,
    link: Option<LinkId>,
    closed: Option<CloseReason>,
    /// The handshake is complete, and the goodbye may be sent.
    is_leaving: bool,
}

impl<M: StateMachine> Dialogue<M> {
    fn new(machine: M, stream: TcpStream) -> Self {
        let start = Instant::now();
        Self { machine, stream, start, link: None, closed: None, is_leaving: false }
    }

    /// Makes the handshake and ends the connection with a goodbye.
    fn run(mut self, tower: &Address) -> Result<Answer, CloseReason> {
        let now = self.now();
        if self.machine.tower_mut().announce(tower, now).is_err() {
            return Err(CloseReason::OwnAddress);
        }
        let answer = loop {
            self.act();
            if let Some(LinkInfo { dialect, identity, .. }) = self.open_link() {
                break Answer { dialect, identity, handshake: self.start.elapsed() };
            }
            if let Some(reason) = self.closed {
                return Err(reason);
            }
            let left = LIMIT.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                return Err(CloseReason::HandshakeTimeout);
            }
            self.read(left);
        };
        if answer.dialect == Dialect::Http {
            // There is no goodbye in HTTP.
            return Ok(answer);
        }
        self.is_leaving = true;
        let now = self.now();
        self.machine.tower_mut().shutdown(now);
        let end = self.start.elapsed() + GOODBYE_LIMIT;
        self.act();
        while self.closed.is_none() && self.start.elapsed() < end {
            self.read(end.saturating_sub(self.start.elapsed()));
            self.act();
        }
        Ok(answer)
    }

    fn now(&self) -> clacks_proto::Instant {
        clacks_proto::Instant::ORIGIN + self.start.elapsed()
    }

    fn open_link(&self) -> Option<LinkInfo> {
        self.machine.tower().links().find(|link| link.is_open && Some(link.id) == self.link)
    }

    fn handle(&mut self, event: Event<'_>) {
        let now = self.now();
        self.machine.handle(event, now);
    }

    /// Executes the actions of the machine.
    fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { link, .. } if self.link.is_none() => {
                    self.link = Some(link);
                    self.handle(Event::Connected { link, at: None });
                }
                // The announcement stays here: over HTTP the other tower would learn of this one.
                Action::Send { .. } if self.open_link().is_some() && !self.is_leaving => {}
                Action::Send { link } if self.link == Some(link) => self.write(link),
                Action::Close { link, reason, .. } if self.link == Some(link) => {
                    self.write(link);
                    self.closed = Some(reason);
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, link: LinkId) {
        let mut bytes = Vec::new();
        while self.machine.transmit(link, &mut bytes) > 0 {}
        let limit = self.stream.set_write_timeout(Some(LIMIT));
        if let Err(error) = limit.and_then(|()| self.stream.write_all(&bytes)) {
            self.lost(&error);
        }
    }

    /// Reads once, for no longer than `limit`, and passes the result to the machine.
    fn read(&mut self, limit: Duration) {
        let Some(link) = self.link else {
            return self.handle(Event::TimerFired);
        };
        let mut chunk = [0; 16 * 1024];
        let limit = limit.min(Duration::from_millis(100)).max(Duration::from_millis(1));
        let read = self.stream.set_read_timeout(Some(limit));
        match read.and_then(|()| self.stream.read(&mut chunk)) {
            Ok(0) => {
                self.handle(Event::Finished { link });
                self.closed = self.closed.or(Some(CloseReason::Truncated));
                // The machine may have another reason.
                self.act();
            }
            Ok(count) => self.handle(Event::BytesArrived { link, bytes: &chunk[..count] }),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                self.handle(Event::TimerFired);
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&mut self, error: &io::Error) {
        self.closed = self.closed.or(Some(CloseReason::Io(IoCause::from(error))));
    }
}

/// The result of a ping.
struct Found<'a> {
    tower: &'a Address,
    remote: SocketAddr,
    resolved: Duration,
    connected: Duration,
    answer: Answer,
}

impl Found<'_> {
    fn write(&self, json: bool) -> Result<(), Failure> {
        let Self { tower, remote, resolved, connected, answer } = self;
        let Answer { dialect, identity, handshake } = *answer;
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let mut out = anstream::stdout();
        if json {
            let result = json!({
                "event": "pong",
                "tower": tower,
                "remote": remote,
                "dialect": dialect,
                "fingerprint": identity,
                "resolve_ms": millis(*resolved),
                "round_trip_ms": millis(*connected),
                "handshake_ms": millis(handshake),
            });
            writeln!(out, "{result}")?;
            return Ok(());
        }
        let speaks = match dialect {
            Dialect::Http => "HTTP: a tower of the JavaScript package, or any web server",
            _ => "the native dialect",
        };
        writeln!(out, "{GOOD}answers{GOOD:#}     {STRONG}{tower}{STRONG:#} at {remote}")?;
        writeln!(out, "speaks      {speaks}")?;
        match identity {
            Some(identity) => writeln!(out, "identity    {identity}")?,
            None => writeln!(out, "identity    none: clear text")?,
        }
        writeln!(out, "name        looked up in {:.1} ms", millis(*resolved))?;
        writeln!(out, "round trip  {:.1} ms", millis(*connected))?;
        writeln!(out, "handshake   {:.1} ms", millis(handshake))?;
        Ok(())
    }
}
