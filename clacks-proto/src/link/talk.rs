//! What a link needs that speaks HTTP, or on which nobody has said anything yet.

use alloc::vec::Vec;
use bytes::BufMut;
use core::time::Duration;

use super::{Link, State};
use crate::config::{Config, Timeouts};
use crate::http::{MAX_HEAD, MAX_RECORD, RequestReader, ResponseReader, StatusCode};
use crate::time::Instant;

/// How a link talks that is not known to speak the native dialect.
#[derive(Debug)]
pub(crate) enum Talk {
    /// The caller's first byte will tell.
    Undecided,
    /// The caller asks, and we answer.
    Serving(Serving),
    /// We ask.
    Asking(Asking),
}

/// Requests that come in.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) reader: RequestReader,
    out: Outbox,
    /// The sender of a request waits for a word before it sends the body.
    pub(crate) continue_due: bool,
    /// What is said last, after all answers.
    pub(crate) failure: Option<StatusCode>,
    /// No more requests are read.
    pub(crate) closes: bool,
    /// When the request began that is not whole.
    pub(crate) began: Option<Instant>,
    /// Since when the rest of a body has been waited for that is longer than its head says.
    pub(crate) short_since: Option<Instant>,
}

/// Requests that go out.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    pub(crate) reader: ResponseReader,
    out: Outbox,
    /// How long the other side keeps the link without a request.
    pub(crate) keep_alive: Option<Duration>,
}

/// For how long the rest of a body is waited for that is longer than its head says. It was sent together with the rest.
const REST_OF_BODY: Duration = Duration::from_secs(1);
/// A link without a request is closed after this by us: node closes it after five seconds, and a request that crosses with that is lost.
const UNUSED: Duration = Duration::from_secs(4);

impl Talk {
    /// The longest body of a request that is kept: a message of the greatest length, of which every other character is escaped, and what is around it.
    pub(crate) fn max_body(max_message: usize) -> usize {
        max_message.saturating_mul(2).saturating_add(4096)
    }

    /// What a link takes more than a native one, in bytes: a request half received, and answers or a request half sent.
    pub(crate) fn memory(config: &Config) -> usize {
        if !config.may_speak_http() {
            return 0;
        }
        let answers = 128 * (usize::from(config.window.messages) + 4);
        let outbox = 2 * (MAX_RECORD + 1024).max(answers);
        // A vector that grows by doubling is copied into the next one.
        let request = 2 * (MAX_HEAD + Self::max_body(config.max_message));
        (size_of::<Self>() + outbox).saturating_add(request)
    }

    /// What reading one request takes for the moment, in bytes: its text, in which each byte that is no UTF-8 becomes three, and which grows
    /// by doubling; and its message, once unescaped and once copied.
    pub(crate) fn reading(config: &Config) -> usize {
        if !config.may_speak_http() {
            return 0;
        }
        Self::max_body(config.max_message).saturating_mul(3 * (2 + 2))
    }

    pub(crate) fn serving(max_message: usize) -> Self {
        Self::Serving(Serving {
            reader: RequestReader::new(Self::max_body(max_message)),
            out: Outbox::default(),
            continue_due: false,
            failure: None,
            closes: false,
            began: None,
            short_since: None,
        })
    }
}

impl Link {
    pub(crate) fn serving(&mut self) -> Option<&mut Serving> {
        match self.talk.as_deref_mut() {
            Some(Talk::Serving(serving)) => Some(serving),
            _ => None,
        }
    }

    pub(crate) fn asking(&mut self) -> Option<&mut Asking> {
        match self.talk.as_deref_mut() {
            Some(Talk::Asking(asking)) => Some(asking),
            _ => None,
        }
    }

    /// Whether a request has begun on it and not ended.
    pub(crate) fn is_mid_request(&self) -> bool {
        let is_live = matches!(self.state, State::Greeting | State::Open);
        is_live
            && matches!(self.talk.as_deref(), Some(Talk::Serving(serving)) if serving.began.is_some())
    }

    /// When it has waited long enough, where that differs from a native link.
    pub(crate) fn http_deadline(&self, times: &Timeouts) -> Option<Instant> {
        match (self.talk.as_deref()?, self.state) {
            (Talk::Serving(serving), State::Open) => match serving.short_since {
                Some(since) => Some(since + REST_OF_BODY),
                None => serving.began.map(|began| began + times.confirm),
            },
            (Talk::Asking(asking), State::Open) if self.transfers.is_empty() => {
                let kept = asking.keep_alive.unwrap_or(times.idle);
                Some(self.used + kept.min(UNUSED).min(times.idle))
            }
            _ => None,
        }
    }
}

impl Serving {
    pub(crate) fn out(&mut self) -> &mut Outbox {
        &mut self.out
    }
}

impl Asking {
    pub(crate) fn out(&mut self) -> &mut Outbox {
        &mut self.out
    }
}

/// Bytes on their way to the driver.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the head ends: what comes before goes out by itself, as one TLS record.
    head: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where to append. Only when it is empty.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn set_head(&mut self, head: usize) {
        self.head = head;
    }

    /// Gives the driver as much as it takes, but not head and body together.
    pub(crate) fn flush(&mut self, out: &mut impl BufMut) -> usize {
        let end = if self.sent < self.head { self.head } else { self.bytes.len() };
        let rest = self.bytes.get(self.sent..end).unwrap_or_default();
        let part = rest.get(..rest.len().min(out.remaining_mut())).unwrap_or_default();
        out.put_slice(part);
        let written = part.len();
        self.sent += written;
        if self.sent == self.bytes.len() {
            *self = Self::default();
        }
        written
    }
}
