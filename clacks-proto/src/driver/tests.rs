//! Tests of the components for drivers, without sockets.

mod accept;
mod connection;
mod dial;
mod handle;
mod notices;
mod pair;
mod wait;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::Future;
use core::net::Ipv4Addr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::task::Wake;
use std::thread;

use bytes::BufMut;

use super::*;
use crate::error::Refusal;
use crate::event::Wakeup;
use crate::rng::Seed;
use crate::tower::Tower;

fn address(port: u16) -> Address {
    Address::new("127.0.0.1", port).unwrap()
}

fn tower(config: Config, port: u16) -> Tower {
    Tower::new(config, address(port), &Seed::from_u64(port.into())).unwrap()
}

fn share<M: StateMachine + Send + 'static>(machine: M) -> (Arc<Shared<M>>, Handle<M>) {
    let local_addr = (Ipv4Addr::LOCALHOST, 8001).into();
    let shared = Shared::new(machine, local_addr, || ());
    (shared.clone(), Handle::new(shared))
}

/// Returns a notice with a number.
fn notice(number: usize) -> Notice {
    Notice::ShutDown { left: number }
}

/// A tower whose actions and output are set by a test.
struct Scripted {
    tower: Tower,
    notices: VecDeque<Notice>,
    /// The bytes that `transmit` returns.
    output: Vec<u8>,
    transmits: usize,
    /// The events of links.
    events: Vec<LinkEvent>,
}

#[derive(Debug, PartialEq, Eq)]
enum LinkEvent {
    Bytes(usize),
    Finished,
}

impl Scripted {
    fn new() -> Self {
        let tower = tower(Config::default(), 8001);
        let (notices, output, events) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { tower, notices, output, transmits: 0, events }
    }
}

impl StateMachine for Scripted {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.tower.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, _: Instant) {
        match event {
            Event::BytesArrived { bytes, .. } => self.events.push(LinkEvent::Bytes(bytes.len())),
            Event::Finished { .. } => self.events.push(LinkEvent::Finished),
            _ => {}
        }
    }

    fn transmit(&mut self, _: LinkId, out: &mut impl BufMut) -> usize {
        self.transmits += 1;
        let count = self.output.len().min(out.remaining_mut());
        out.put_slice(&self.output[..count]);
        self.output.drain(..count);
        count
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.notices.pop_front().map(Action::Notify)
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        None
    }

    fn tower(&self) -> &Tower {
        &self.tower
    }

    fn tower_mut(&mut self) -> &mut Tower {
        &mut self.tower
    }
}

impl Shared<Scripted> {
    /// Passes notices through the state machine to the readers.
    fn notify(&self, notices: impl IntoIterator<Item = Notice>) {
        self.call(|machine, _| machine.notices.extend(notices));
        assert_eq!(self.poll_action(), None);
    }
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls a future once.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}
