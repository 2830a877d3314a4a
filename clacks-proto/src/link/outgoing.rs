//! The outgoing side of a link: transfers, and the order of frames.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes};

use super::datagrams::Outbox;
use super::window::{Answer, Outcome, ReceiveWindow};
use super::{Content, HeldContent, Local};
use crate::ids::MessageId;
use crate::time::Instant;
use crate::wire::{
    AnnounceFrame, Farewell, Frame, Hello, MessageFrame, TransferId, VERSION, Window,
};

/// A message or an announcement that the peer must answer.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) payload: Payload,
    /// What is sent again, for a retry.
    pub(crate) retry: Option<Box<Retry>>,
    /// When the transfer was handed to the driver. Before that: when the window last had nothing
    /// unanswered.
    pub(crate) sent: Instant,
}

/// How often a transfer in doubt is retried. A message whose last retry breaks off goes to another
/// peer and may be a copy. If one in a hundred segments breaks its connection, there are 1.03
/// copies of a message with one retry and 1.01 with three (scenario `broken-links`).
pub(crate) const MAX_RETRIES: u8 = 3;

/// The transfer that a retry sends again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    /// The name of the first sending.
    pub(crate) first: TransferId,
    /// When it was sent first.
    pub(crate) since: Instant,
    /// The number of retries, with this one.
    pub(crate) count: u8,
}

/// What a transfer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Message { id: MessageId, len: u32 },
    Announce,
}

impl Transfer {
    /// Returns the bytes that count towards the window.
    pub(crate) fn len(&self) -> usize {
        match self.payload {
            Payload::Message { len, .. } => len as usize,
            Payload::Announce => 0,
        }
    }

    pub(crate) fn message(&self) -> Option<MessageId> {
        self.payload.message()
    }

    pub(crate) fn is_retry(&self) -> bool {
        self.retry.is_some()
    }
}

impl Payload {
    fn message(self) -> Option<MessageId> {
        match self {
            Self::Message { id, .. } => Some(id),
            Self::Announce => None,
        }
    }
}

/// A transfer that is sent now, with its number on the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    number: u64,
    retry_of: Option<TransferId>,
    pub(crate) payload: Payload,
}

/// The next frame, without borrowed parts.
#[derive(Debug)]
pub(crate) enum NextFrame {
    Hello,
    Answer(Answer),
    Transfer(Sending),
    Datagram(Bytes),
    Goodbye(Farewell),
}

/// A frame of which the driver's last buffer took only a part.
#[derive(Debug)]
struct Partial {
    /// The frame without its body.
    head: Vec<u8>,
    body: Option<Bytes>,
    /// How many bytes of head and body have been sent.
    sent: usize,
}

/// What a link has to send, in the order: hello, answers, transfers and datagrams in turn, goodbye.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) hello_due: bool,
    pub(crate) goodbye_due: Option<Farewell>,
    /// The window that the other side has granted.
    pub(crate) granted: Window,
    /// In the order in which they are sent. Those that were sent are in front, since answers come
    /// in the same order.
    transfers: VecDeque<Transfer>,
    /// How many of the transfers were sent.
    sent: usize,
    /// How many transfers before these were sent and answered. Transfers are numbered from 1.
    answered: u64,
    sent_bytes: usize,
    unsent_bytes: usize,
    partial: Option<Box<Partial>>,
    /// Datagrams to send; `None` before the first one.
    pub(super) datagrams: Option<Box<Outbox>>,
}

impl Outgoing {
    pub(crate) fn new(granted: Window) -> Self {
        Self {
            hello_due: false,
            goodbye_due: None,
            granted,
            transfers: VecDeque::new(),
            sent: 0,
            answered: 0,
            sent_bytes: 0,
            unsent_bytes: 0,
            partial: None,
            datagrams: None,
        }
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        prefetch_index::prefetch_index(self.transfers.as_slices().0, 0);
    }

    /// Adds a transfer.
    #[inline]
    pub(crate) fn push(&mut self, transfer: Transfer) {
        self.unsent_bytes += transfer.len();
        if self.transfers.capacity() == 0 {
            // Most links carry one transfer at a time. A `VecDeque` would make room for four.
            self.transfers.reserve_exact(1);
        }
        self.transfers.push_back(transfer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    /// Returns how many transfers wait for an answer.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Returns whether the window has no room for one more transfer.
    pub(crate) fn is_full(&self) -> bool {
        !self.granted.admits(self.transfers.len(), self.sent_bytes + self.unsent_bytes, 1)
    }

    /// Returns whether a datagram waits to be sent.
    #[inline]
    pub(crate) fn has_datagrams(&self) -> bool {
        self.datagrams.as_ref().is_some_and(|outbox| !outbox.is_empty())
    }

    /// Returns whether the next transfer fits the window.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        self.transfers
            .get(self.sent)
            .is_some_and(|next| self.granted.admits(self.sent, self.sent_bytes, next.len()))
    }

    /// Returns whether a frame was sent in part.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.partial.is_some()
    }

    /// Returns whether a transfer that was sent and not answered has this number.
    #[inline]
    pub(crate) fn awaits(&self, number: u64) -> bool {
        let position = number.wrapping_sub(self.answered);
        (1..=self.sent as u64).contains(&position)
    }

    /// Returns the number of the last transfer that was answered.
    #[inline]
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Returns the transfer that has waited longest: for its answer, or else to be sent.
    pub(crate) fn oldest(&self) -> Option<&Transfer> {
        self.transfers.front()
    }

    /// Returns whether an announce waits to be sent.
    pub(crate) fn has_unsent_announce(&self) -> bool {
        self.transfers.iter().skip(self.sent).any(|it| it.payload == Payload::Announce)
    }

    /// Notes that the next transfer is sent now, and returns it.
    #[inline]
    pub(crate) fn send_next(&mut self, now: Instant) -> Option<Sending> {
        let next = self.transfers.get_mut(self.sent)?;
        next.sent = now;
        self.sent += 1;
        self.unsent_bytes -= next.len();
        self.sent_bytes += next.len();
        let number = self.answered + self.sent as u64;
        let retry_of = next.retry.as_ref().map(|retry| retry.first);
        Some(Sending { number, retry_of, payload: next.payload })
    }

    /// Takes the transfer that has waited longest for its answer. If no other answer is awaited,
    /// the waiting time of the next transfer begins now: the peer's window held it up before.
    #[inline]
    pub(crate) fn pop_sent(&mut self, now: Instant) -> Option<Transfer> {
        if self.sent == 0 {
            return None;
        }
        let transfer = self.transfers.pop_front()?;
        self.sent -= 1;
        self.answered += 1;
        self.sent_bytes -= transfer.len();
        if let Some(next) = self.transfers.front_mut().filter(|_| self.sent == 0) {
            next.sent = now;
        }
        Some(transfer)
    }

    /// Takes all transfers that were not sent.
    pub(crate) fn take_unsent(&mut self) -> VecDeque<Transfer> {
        self.unsent_bytes = 0;
        self.transfers.split_off(self.sent)
    }

    /// Takes all transfers that were sent and not answered.
    pub(crate) fn take_sent(&mut self) -> VecDeque<Transfer> {
        debug_assert_eq!(self.transfers.len(), self.sent, "the unsent ones were taken before");
        (self.sent, self.sent_bytes) = (0, 0);
        core::mem::take(&mut self.transfers)
    }

    /// Takes the next frame.
    #[inline]
    pub(crate) fn next_frame(
        &mut self,
        answers: &mut ReceiveWindow,
        may_send: bool,
        now: Instant,
    ) -> Option<NextFrame> {
        if core::mem::take(&mut self.hello_due) {
            return Some(NextFrame::Hello);
        }
        if let Some(answer) = answers.pop_answer() {
            return Some(NextFrame::Answer(answer));
        }
        let may_send_transfer = may_send && self.may_send();
        if may_send
            && let Some(outbox) = &mut self.datagrams
            && let Some(body) = outbox.pop(may_send_transfer)
        {
            return Some(NextFrame::Datagram(body));
        }
        if may_send_transfer && let Some(transfer) = self.send_next(now) {
            return Some(NextFrame::Transfer(transfer));
        }
        self.goodbye_due.take().map(NextFrame::Goodbye)
    }

    /// Writes a frame. What does not fit into `out` is kept for
    /// [`transmit_partial`](Self::transmit_partial).
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        next: &NextFrame,
        out: &mut impl BufMut,
        link: u64,
        local: &Local,
        content: &mut impl Content,
    ) {
        let mut head = Vec::new();
        with_frame(next, link, local, content, |frame| {
            if frame.encoded_len() <= out.remaining_mut() {
                frame.encode(out);
            } else {
                frame.encode_head(&mut head);
            }
        });
        if !head.is_empty() {
            let message = |id: MessageId| Some(content.message(id)?.message.clone().into());
            let body = match next {
                NextFrame::Transfer(sending) => sending.payload.message().and_then(message),
                NextFrame::Datagram(body) => Some(body.clone()),
                _ => None,
            };
            self.partial = Some(Box::new(Partial { head, body, sent: 0 }));
            self.transmit_partial(out);
        }
    }

    /// Goes on with a frame that was sent in part. Returns whether no part is left.
    #[inline]
    pub(crate) fn transmit_partial(&mut self, out: &mut impl BufMut) -> bool {
        let Some(partial) = &mut self.partial else { return true };
        let body = partial.body.as_deref().unwrap_or_default();
        let skipped = partial.sent.min(partial.head.len());
        for part in [&partial.head[skipped..], &body[partial.sent - skipped..]] {
            let part = &part[..part.len().min(out.remaining_mut())];
            out.put_slice(part);
            partial.sent += part.len();
        }
        let is_whole = partial.sent == partial.head.len() + body.len();
        if is_whole {
            self.partial = None;
        }
        is_whole
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Outgoing {
    pub(crate) fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.iter()
    }

    pub(crate) fn assert_consistent(&self) {
        assert!(self.sent <= self.transfers.len());
        let sent: usize = self.transfers().take(self.sent).map(Transfer::len).sum();
        let unsent: usize = self.transfers().skip(self.sent).map(Transfer::len).sum();
        assert_eq!((sent, unsent), (self.sent_bytes, self.unsent_bytes));
    }
}

/// Makes the frame and passes it to `encode`.
#[inline]
fn with_frame(
    next: &NextFrame,
    link: u64,
    local: &Local,
    content: &mut impl Content,
    encode: impl FnOnce(&Frame<'_>),
) {
    match next {
        NextFrame::Hello => encode(&Frame::Hello(Hello {
            version: VERSION,
            incarnation: local.incarnation,
            link,
            max_message: u32::try_from(local.config.max_message).unwrap_or(u32::MAX),
            window: local.config.window,
            datagram: local.config.datagrams.max_len(),
            network: &local.config.network,
            address: (!local.config.is_guest).then(|| local.address.clone()),
            rest: &[],
        })),
        NextFrame::Answer(Answer { transfer, outcome, .. }) => match outcome {
            Outcome::Taken => encode(&Frame::Confirmed { through: *transfer }),
            Outcome::Refused(reason) => {
                encode(&Frame::Refused { transfer: *transfer, reason: *reason });
            }
            Outcome::Invalid(_) => debug_assert!(false, "no native transfer is answered so"),
        },
        NextFrame::Transfer(Sending { number, retry_of, payload }) => {
            let transfer = *number;
            match payload {
                Payload::Announce => {
                    let friends = content.friends();
                    encode(&Frame::Announce(AnnounceFrame { transfer, friends }));
                }
                Payload::Message { id, .. } => {
                    let friend = content.friend();
                    let Some(HeldContent { nonce, lifetime, message }) = content.message(*id)
                    else {
                        debug_assert!(false, "a message in flight is held");
                        return;
                    };
                    encode(&Frame::Message(MessageFrame {
                        transfer,
                        retry_of: *retry_of,
                        lifetime,
                        nonce,
                        kind: message.kind(),
                        friend,
                        body: message.body(),
                    }));
                }
            }
        }
        NextFrame::Datagram(body) => encode(&Frame::Datagram(body)),
        NextFrame::Goodbye(farewell) => encode(&Frame::Goodbye { farewell: *farewell }),
    }
}
