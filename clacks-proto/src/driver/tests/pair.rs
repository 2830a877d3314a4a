//! Two towers with connections in memory.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};

use super::super::{Connection, Handle, Readiness, Shared, Turn};
use super::{share, tower};
use crate::config::{Config, SendRate};
use crate::event::{Action, Event};
use crate::ids::LinkId;
use crate::tower::Tower;

/// Two towers with connections in memory.
pub(super) struct Pair {
    sides: [Side; 2],
}

struct Side {
    shared: Arc<Shared<Tower>>,
    handle: Handle<Tower>,
    link: Option<(LinkId, Connection, Pipe)>,
}

/// One end of a connection.
#[derive(Clone)]
struct Pipe {
    input: Arc<RefCell<VecDeque<u8>>>,
    output: Arc<RefCell<VecDeque<u8>>>,
}

impl Read for &Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.borrow_mut().read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for &Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pair {
    /// Returns two towers. The first one has this configuration. The second one sends no messages.
    pub(super) fn new(config: Config) -> Self {
        let mut quiet = config.clone();
        quiet.send_rate = SendRate::Every(Duration::from_secs(3_600));
        let side = |config, port| {
            let (shared, handle) = share(tower(config, port));
            Side { shared, handle, link: None }
        };
        Self { sides: [side(config, 8001), side(quiet, 8002)] }
    }

    pub(super) fn handles(&self) -> [Handle<Tower>; 2] {
        [self.sides[0].handle.clone(), self.sides[1].handle.clone()]
    }

    /// Executes actions and moves bytes until there is nothing left to do. No timer fires.
    pub(super) fn run(&mut self) {
        while self.poll_actions(0) | self.poll_actions(1) | self.move_bytes(0) | self.move_bytes(1)
        {
        }
    }

    /// Like [`run`](Self::run), but does not poll the actions of the first tower.
    pub(super) fn run_without_polling_the_first(&mut self) {
        while self.poll_actions(1) | self.move_bytes(0) | self.move_bytes(1) {}
    }

    pub(super) fn end(&self) {
        self.sides.iter().for_each(|side| side.shared.end());
    }

    fn poll_actions(&mut self, n: usize) -> bool {
        let mut has_acted = false;
        while let Some(action) = self.sides[n].shared.poll_action() {
            has_acted = true;
            match action {
                Action::Connect { link, .. } => self.connect(n, link),
                Action::Send { link } => {
                    if let Some((id, connection, _)) = &mut self.sides[n].link
                        && *id == link
                    {
                        connection.send();
                    }
                }
                Action::Close { .. } => {
                    // Move the remaining bytes, and then close both ends.
                    self.move_bytes(n);
                    self.move_bytes(1 - n);
                    for side in &mut self.sides {
                        if let Some((link, ..)) = side.link.take() {
                            side.shared.handle(Event::Closed { link });
                        }
                    }
                }
                _ => {}
            }
        }
        has_acted
    }

    fn connect(&mut self, n: usize, link: LinkId) {
        let accepted = self.sides[1 - n].shared.accept(Ipv4Addr::LOCALHOST.into()).unwrap();
        let (input, output) = (Arc::default(), Arc::default());
        let here = Pipe { input, output };
        let there = Pipe { input: here.output.clone(), output: here.input.clone() };
        let open = |link, pipe| Some((link, Connection::new(link, Readiness::Edge), pipe));
        self.sides[n].link = open(link, here);
        self.sides[1 - n].link = open(accepted, there);
        self.sides[n].shared.handle(Event::Connected { link, at: None });
    }

    /// Returns whether bytes were moved.
    fn move_bytes(&mut self, n: usize) -> bool {
        let Side { shared, link: Some((_, connection, pipe)), .. } = &mut self.sides[n] else {
            return false;
        };
        let before = (pipe.input.borrow().len(), pipe.output.borrow().len());
        connection.on_readable();
        connection.send();
        let turn = connection.turn(shared, pipe);
        assert!(matches!(turn, Turn::Idle | Turn::Busy), "{turn:?}");
        before != (pipe.input.borrow().len(), pipe.output.borrow().len())
    }
}
