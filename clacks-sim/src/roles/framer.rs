//! Framers: endpoints that send bytes which the protocol does not allow.

use clacks_proto::wire::{Farewell, Frame, MessageFrame, RefusedReason};
use clacks_proto::{Instant, Kind, Lifetime, LinkId, Nonce};
use rand::Rng;

use super::raw::{Io, hello};
use super::{Endpoint, Schedule, Setup};
use crate::scenario::BadFrames;

/// Calls towers in turn, and sends something malformed or unexpected in each call.
#[derive(Debug)]
pub(super) struct Framer {
    setup: Setup,
    frames: BadFrames,
    schedule: Schedule,
    calls: usize,
}

impl Framer {
    pub(super) fn new(setup: Setup, frames: BadFrames, rate: f64) -> Self {
        let rate = rate * setup.targets().len() as f64;
        let schedule = Schedule::new(setup.window, rate);
        Self { setup, frames, schedule, calls: 0 }
    }

    /// Writes bytes that are no frame.
    fn write_malformed(&mut self, out: &mut Vec<u8>) {
        let transfer = self.setup.draws.next_u64();
        match self.setup.draws.below(5) {
            // An unknown kind.
            0 => out.extend([0x7F; 16]),
            // A length above the maximum of its kind.
            1 => out.extend([0xC2, 0xFF, 0xFF, 0xFF, 0xFF]),
            // A frame that ends early.
            2 => out.extend([0xC4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]),
            // A text that is not UTF-8.
            3 => Frame::Message(message(transfer, Kind::Text)).encode(out),
            _ => out.extend((0..8).flat_map(|_| self.setup.draws.next_u64().to_be_bytes())),
        }
    }

    /// Writes valid frames that are not allowed after a hello.
    fn write_unexpected(&mut self, out: &mut Vec<u8>) {
        let transfer = self.setup.draws.next_u64();
        match self.setup.draws.below(4) {
            0 => Frame::Hello(hello(&self.setup.config, transfer, None)).encode(out),
            1 => Frame::Confirmed { through: transfer }.encode(out),
            2 => Frame::Refused { transfer, reason: RefusedReason::Busy }.encode(out),
            _ => {
                Frame::Goodbye { farewell: Farewell::Idle }.encode(out);
                Frame::Message(message(transfer, Kind::Bytes)).encode(out);
            }
        }
    }
}

fn message(transfer: u64, kind: Kind) -> MessageFrame<'static> {
    MessageFrame {
        transfer,
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(u128::from(transfer)),
        kind,
        friend: None,
        body: &[0xFF; 8],
    }
}

impl Endpoint for Framer {
    fn next_wakeup(&self) -> Option<Instant> {
        self.schedule.next()
    }

    fn on_timer(&mut self, io: &mut Io) {
        while self.schedule.is_due(io.now()) {
            let targets = self.setup.targets();
            let target = targets.get(self.calls % targets.len().max(1)).copied();
            self.calls = self.calls.wrapping_add(1);
            if let Some(address) = target.and_then(|target| self.setup.address_of(target)) {
                io.dial(address, self.setup.plan.addresses.ip_of(self.setup.tower));
            }
        }
    }

    fn on_open(&mut self, link: LinkId, io: &mut Io) {
        let mut bytes = Vec::new();
        let incarnation = self.setup.draws.next_u64();
        Frame::Hello(hello(&self.setup.config, incarnation, None)).encode(&mut bytes);
        let is_malformed = match self.frames {
            BadFrames::Malformed => true,
            BadFrames::Unexpected => false,
            BadFrames::Any => self.setup.draws.chance(0.5),
        };
        if is_malformed {
            self.write_malformed(&mut bytes);
        } else {
            self.write_unexpected(&mut bytes);
        }
        io.send_bytes(link, &bytes);
    }

    fn on_frame(&mut self, link: LinkId, frame: &Frame<'_>, io: &mut Io) {
        if let Frame::Goodbye { .. } = frame {
            io.close(link);
        }
    }
}
