//! Responses: reading those to our requests from bytes in any pieces, and writing ours.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::StatusCode;
use super::body::{Chunk, Frame};
use super::head::{Fields, Gathered, Length, with_fields};

/// Reads the responses that come in on one link.
#[derive(Debug, Default)]
pub struct ResponseReader {
    head: Gathered,
    begun: Option<Begun>,
    /// Heads before the one that counts (1xx).
    interim: u8,
}

/// An answer that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Whether the link takes no more requests.
    pub closes: bool,
    /// For how many seconds the other side keeps the link without one, if it says so.
    pub keep_alive: Option<u64>,
}

/// The bytes are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse;

/// A response whose head is there.
#[derive(Debug)]
struct Begun {
    response: Response,
    frame: Frame,
    read: usize,
}

/// The longest body of a response that is passed over, in bytes: towers send none.
const MAX_BODY: usize = 64 * 1024;
/// The most heads of interim responses to one request.
const MAX_INTERIM: u8 = 8;

impl ResponseReader {
    /// The next response. Takes its bytes off the front of `input`; `None` when the input is used up.
    ///
    /// # Errors
    ///
    /// When the bytes are no response that a tower could mean. Nothing can be read after that.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Response>, BadResponse> {
        while self.begun.is_none() {
            let is_whole = self.head.gather(input).map_err(|_| BadResponse)?;
            if !begins_with_version(self.head.bytes()) {
                return Err(BadResponse);
            }
            if !is_whole {
                return Ok(None);
            }
            self.begin()?;
        }
        let Some(Begun { response, frame, read }) = &mut self.begun else { return Ok(None) };
        let is_whole = frame.feed(input, |piece| *read += piece.len()).map_err(|_| BadResponse)?;
        if *read > MAX_BODY {
            return Err(BadResponse);
        }
        let response = *response;
        if is_whole {
            self.begun = None;
            self.interim = 0;
        }
        Ok(is_whole.then_some(response))
    }

    /// Whether a response has begun and not ended.
    #[must_use]
    pub fn is_mid_response(&self) -> bool {
        self.begun.is_some() || !self.head.bytes().is_empty()
    }

    /// The status of the response whose head is there, though its body may not be whole.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.begun.as_ref().map(|begun| begun.response.status)
    }

    /// How much memory is taken: bodies are not kept.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn capacity(&self) -> usize {
        self.head.capacity()
    }

    fn begin(&mut self) -> Result<(), BadResponse> {
        let head = self.head.take();
        let (version, status, fields) = with_fields(|headers| {
            let mut response = httparse::Response::new(headers);
            if response.parse(&head)?.is_partial() {
                return Err(httparse::Error::Status);
            }
            let status = response.code.unwrap_or(0);
            Ok((response.version.unwrap_or(0), status, Fields::read(response.headers)))
        })
        .map_err(|_| BadResponse)?;
        let fields = fields.map_err(|_| BadResponse)?;
        if (100..200).contains(&status) {
            self.interim += 1;
            return if self.interim > MAX_INTERIM || status == 101 {
                Err(BadResponse)
            } else {
                Ok(())
            };
        }
        let frame = match fields.length {
            _ if status == 204 || status == 304 => Frame::Bytes(0),
            Length::Bytes(len) => Frame::Bytes(len),
            Length::Chunked => Frame::Chunks(Chunk::START),
            Length::Unsaid => Frame::Endless,
        };
        let closes = fields.closes || version == 0 || frame == Frame::Endless;
        let response = Response { status, closes, keep_alive: fields.keep_alive };
        self.begun = Some(Begun { response, frame, read: 0 });
        Ok(())
    }
}

/// Whether a head begins as every response does, or with a part of that, or of an empty line before it. What is no HTTP at all shows at once.
fn begins_with_version(head: &[u8]) -> bool {
    head == b"\r" || b"HTTP/1.".iter().zip(head).all(|(expected, byte)| expected == byte)
}

/// What a response says of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// It stays for so many seconds.
    Seconds(u64),
    /// It is closed.
    Close,
}

/// Appends a response without a body.
pub(crate) fn write_response(status: StatusCode, keep_alive: KeepAlive, out: &mut Vec<u8>) {
    let (number, words) = status.line();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(number.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(words.as_bytes());
    match keep_alive {
        KeepAlive::Seconds(seconds) => {
            out.extend_from_slice(b"\r\nConnection: keep-alive\r\nKeep-Alive: timeout=");
            out.extend_from_slice(seconds.to_string().as_bytes());
        }
        KeepAlive::Close => out.extend_from_slice(b"\r\nConnection: close"),
    }
    out.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n");
}

/// Appends the word for which a sender waits before it sends the body.
pub(crate) fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}
