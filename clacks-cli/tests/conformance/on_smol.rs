//! Towers on smol.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use clacks_proto::{
    Address, ExpandError, Held, Message, Nonce, Peer, RefusedMessage, Report, StateMachine, Stats,
};
use clacks_smol::{Driver, Handle, Notices};
use smol::{Task, Timer, block_on, future};

use crate::runtime::{Machine, Running, Runtime, Screen};

pub(crate) struct Smol;

struct OnSmol {
    handle: Handle,
    notices: Notices,
    /// Until it has ended.
    task: Option<Task<io::Result<()>>>,
}

impl Runtime for Smol {
    fn start(
        &self,
        machine: Machine,
        listener: TcpListener,
        screen: Option<Screen>,
    ) -> Box<dyn Running> {
        match machine {
            Machine::Clear(tower) => start(*tower, listener, screen),
            Machine::Secure(tower) => start(*tower, listener, screen),
        }
    }
}

fn start<M: StateMachine + Send + 'static>(
    machine: M,
    listener: TcpListener,
    screen: Option<Screen>,
) -> Box<dyn Running> {
    let (handle, mut driver) = Driver::new(machine, listener).unwrap();
    if let Some(screen) = screen {
        driver = driver.screen_with(screen);
    }
    let notices = handle.notices();
    Box::new(OnSmol { handle, notices, task: Some(smol::spawn(driver.run())) })
}

impl Running for OnSmol {
    fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        block_on(self.handle.enqueue(message))
    }

    fn peek(&self) -> Vec<Held> {
        block_on(self.handle.peek())
    }

    fn survey(&self) -> Vec<Peer> {
        block_on(self.handle.survey())
    }

    fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        block_on(self.handle.expand(address))
    }

    fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        block_on(self.handle.announce(address))
    }

    fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        block_on(self.handle.ignore(address))
    }

    fn heed(&self, address: &Address) -> bool {
        block_on(self.handle.heed(address))
    }

    fn stats(&self) -> Stats {
        block_on(self.handle.stats())
    }

    fn held(&self) -> (usize, usize) {
        block_on(self.handle.held())
    }

    fn next_report(&mut self, within: Duration) -> Option<Report> {
        block_on(future::or(self.notices.next(), async {
            Timer::after(within).await;
            None
        }))
    }

    fn shut_down(&mut self) -> usize {
        let left = block_on(self.handle.shutdown());
        if let Some(task) = self.task.take() {
            block_on(task).unwrap();
        }
        left
    }

    fn kill(self: Box<Self>) {
        if let Some(task) = self.task {
            block_on(task.cancel());
        }
    }
}
