//! Liars: towers that store messages and refuse them.

use std::collections::VecDeque;

use clacks_proto::wire::{Decoder, Frame, MAX_BODY, RefusedReason};
use clacks_proto::{Instant, LinkId, Tower};

use super::{Behaviour, Setup};

/// Stores messages, and answers a share of them with a refusal. Their senders keep copies.
#[derive(Debug)]
pub(super) struct Liar {
    setup: Setup,
    share: f64,
    /// By the index of the links.
    links: Vec<Incoming>,
}

/// What arrived on a link and is not answered.
#[derive(Debug, Default)]
struct Incoming {
    decoder: Decoder,
    transfers: VecDeque<(u64, TransferKind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransferKind {
    Message,
    Announce,
}

impl Liar {
    pub(super) fn new(setup: Setup, share: f64) -> Self {
        Self { setup, share, links: Vec::new() }
    }

    /// Answers all transfers up to a confirmed one, messages with a refusal now and then.
    fn answer(&mut self, link: LinkId, through: u64, frames: &mut Vec<u8>, now: Instant) {
        let lies = self.setup.window.contains(now);
        let Some(incoming) = self.links.get_mut(link.index()) else { return };
        let mut confirmed = None;
        while let Some((transfer, kind)) = incoming.transfers.pop_front() {
            let is_message = kind == TransferKind::Message;
            if is_message && lies && self.setup.draws.chance(self.share) {
                // A refusal confirms all earlier transfers.
                let reason = RefusedReason::Busy;
                Frame::Refused { transfer, reason }.encode(frames);
                confirmed = None;
            } else {
                confirmed = Some(transfer);
            }
            if transfer == through {
                break;
            }
        }
        if let Some(through) = confirmed {
            Frame::Confirmed { through }.encode(frames);
        }
    }
}

impl Behaviour for Liar {
    fn on_bytes(&mut self, _: &Tower, link: LinkId, mut bytes: &[u8], _: Instant) -> bool {
        if self.links.len() <= link.index() {
            let fresh = || Incoming { decoder: Decoder::new(MAX_BODY), ..Incoming::default() };
            self.links.resize_with(link.index() + 1, fresh);
        }
        let Incoming { decoder, transfers } = &mut self.links[link.index()];
        while let Ok(Some(frame)) = decoder.decode(&mut bytes) {
            match frame {
                Frame::Message(message) => {
                    transfers.push_back((message.transfer, TransferKind::Message));
                }
                Frame::Announce(announce) => {
                    transfers.push_back((announce.transfer, TransferKind::Announce));
                }
                _ => {}
            }
        }
        true
    }

    fn on_end(&mut self, link: LinkId) {
        if let Some(incoming) = self.links.get_mut(link.index()) {
            *incoming = Incoming { decoder: Decoder::new(MAX_BODY), ..Incoming::default() };
        }
    }

    fn rewrite(&mut self, link: LinkId, frames: &mut Vec<u8>, now: Instant) {
        let written = std::mem::take(frames);
        let mut decoder = Decoder::new(MAX_BODY);
        let mut rest = &written[..];
        while let Ok(Some(frame)) = decoder.decode(&mut rest) {
            match frame {
                Frame::Confirmed { through } => self.answer(link, through, frames, now),
                Frame::Refused { transfer, .. } => {
                    if let Some(incoming) = self.links.get_mut(link.index()) {
                        // Whatever precedes the refused transfer is confirmed by the refusal.
                        while let Some((other, _)) = incoming.transfers.pop_front()
                            && other != transfer
                        {}
                    }
                    frame.encode(frames);
                }
                frame => frame.encode(frames),
            }
        }
    }
}
