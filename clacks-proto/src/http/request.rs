//! Requests: reading those of others from bytes in any pieces, and writing our own.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::StatusCode;
use super::body::{Chunk, Frame};
use super::brackets::Scan;
use super::head::{BadHead, Expects, Fields, Gathered, Length, with_fields};
use crate::address::Address;

/// Reads the requests that come in on one link.
///
/// It never holds more than [`MAX_HEAD`](super::MAX_HEAD) and the longest body that it was made for, and what it holds grows with the bytes that
/// really arrive.
///
/// ```
/// use clacks_proto::http::{RequestEvent, RequestReader};
///
/// let mut reader = RequestReader::new(1024);
/// let mut arrived: &[u8] = b"POST / HTTP/1.1\r\nHost: tower\r\nContent-Length: 2\r\n\r\n{}";
/// let Some(RequestEvent::Request(request)) = reader.read(&mut arrived) else { panic!("no request") };
/// assert_eq!(request.body.unwrap(), b"{}");
/// ```
#[derive(Debug, Default)]
pub struct RequestReader {
    max_body: usize,
    head: Gathered,
    body: Option<Body>,
    has_failed: bool,
}

/// Something that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent {
    /// A head whose sender waits for `100 Continue` before it sends the body.
    ContinueExpected,
    /// A whole request.
    Request(Request),
    /// What is no request: answer with this and close the link, nothing more can be read.
    Failure(StatusCode),
}

/// A request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its body, or the status to answer with because the body could not be kept.
    pub body: Result<Vec<u8>, StatusCode>,
    /// Whether the link ends with the answer to it.
    pub closes: bool,
}

/// A body that is not whole.
#[derive(Debug)]
struct Body {
    frame: Frame,
    bytes: Vec<u8>,
    scan: Scan,
    closes: bool,
    /// How many bytes came that were too many to be kept.
    dropped: usize,
    /// How many more may come behind the end that the head named; `None` before it has come to that.
    behind: Option<usize>,
    /// The length that the head named.
    named: usize,
}

/// As many bytes of a body that is too long are read before the link is closed on whoever sends them.
const MAX_DROPPED: usize = 64 * 1024 * 1024;

/// The methods that node's parser knows and a server gets to see.
const METHODS: &[&str] = &[
    "DELETE",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "OPTIONS",
    "TRACE",
    "COPY",
    "LOCK",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "SEARCH",
    "UNLOCK",
    "BIND",
    "REBIND",
    "UNBIND",
    "ACL",
    "REPORT",
    "MKACTIVITY",
    "CHECKOUT",
    "MERGE",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "PATCH",
    "PURGE",
    "MKCALENDAR",
    "LINK",
    "UNLINK",
    "SOURCE",
    "QUERY",
];

impl RequestReader {
    /// A reader that keeps bodies of at most `max_body` bytes.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        Self { max_body, ..Self::default() }
    }

    /// What comes next. Takes its bytes off the front of `input`; `None` when the input is used up.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<RequestEvent> {
        if self.has_failed {
            *input = &[];
            return None;
        }
        let heard = self.next(input).unwrap_or_else(|status| {
            (self.head, self.body) = (Gathered::default(), None);
            Some(RequestEvent::Failure(status))
        });
        self.has_failed = matches!(heard, Some(RequestEvent::Failure(_)))
            || matches!(heard, Some(RequestEvent::Request(Request { closes: true, .. })));
        heard
    }

    /// Whether a request has begun and not ended.
    #[must_use]
    pub fn is_mid_request(&self) -> bool {
        self.body.is_some() || !self.head.bytes().is_empty()
    }

    /// Whether the head of a request is there, and its body is not whole.
    #[must_use]
    pub fn is_mid_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether the body has come to the end that its head names and is not complete as JSON: more may be on its way.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.behind.is_some())
    }

    /// How many bytes are held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.head.bytes().len() + self.body.as_ref().map_or(0, |body| body.bytes.len())
    }

    /// How much memory is taken for that.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn capacity(&self) -> usize {
        self.head.capacity() + self.body.as_ref().map_or(0, |body| body.bytes.capacity())
    }

    fn next(&mut self, input: &mut &[u8]) -> Result<Option<RequestEvent>, StatusCode> {
        if self.body.is_none() {
            let gathered = self.head.gather(input);
            if !begins_with_method(self.head.bytes()) {
                return Err(StatusCode::BadRequest);
            }
            if !gathered.map_err(status_of)? {
                return Ok(None);
            }
            let expects = self.begin_body()?;
            if expects && input.is_empty() {
                return Ok(Some(RequestEvent::ContinueExpected));
            }
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        if !body.feed(input, self.max_body)? {
            return Ok(None);
        }
        let Some(body) = self.body.take() else { return Ok(None) };
        let closes = body.closes || body.behind.is_some();
        let body = if body.dropped > 0 { Err(StatusCode::ContentTooLarge) } else { Ok(body.bytes) };
        Ok(Some(RequestEvent::Request(Request { body, closes })))
    }

    /// The head is whole. Whether its sender waits for a word before it sends the body.
    fn begin_body(&mut self) -> Result<bool, StatusCode> {
        let head = self.head.take();
        let (version, fields) = with_fields(|headers| {
            let mut request = httparse::Request::new(headers);
            let parsed = request.parse(&head)?;
            let known = request.method.is_some_and(|method| METHODS.contains(&method));
            if parsed.is_partial() || !known {
                return Err(httparse::Error::Token);
            }
            Ok((request.version.unwrap_or(0), Fields::read(request.headers)))
        })
        .map_err(status_of)?;
        let fields = fields.map_err(status_of)?;
        if version == 1 && !fields.has_host {
            return Err(StatusCode::BadRequest);
        }
        if fields.expects == Expects::More {
            return Err(StatusCode::ExpectationFailed);
        }
        let (frame, named) = match fields.length {
            Length::Unsaid => (Frame::Bytes(0), 0),
            Length::Bytes(len) => (Frame::Bytes(len), len),
            Length::Chunked => (Frame::Chunks(Chunk::START), 0),
        };
        self.body = Some(Body {
            frame,
            bytes: Vec::new(),
            scan: Scan::default(),
            closes: fields.closes || version == 0,
            dropped: 0,
            behind: None,
            named,
        });
        Ok(fields.expects == Expects::Continue)
    }
}

impl Body {
    /// Whether it is whole.
    fn feed(&mut self, input: &mut &[u8], max: usize) -> Result<bool, StatusCode> {
        if self.behind.is_none() {
            let Self { frame, bytes, scan, dropped, .. } = self;
            let is_whole = frame.feed(input, |piece| {
                scan.feed(piece);
                keep(bytes, dropped, piece, max);
            });
            let is_whole = is_whole.map_err(|_| StatusCode::BadRequest)?;
            if self.dropped > MAX_DROPPED {
                return Err(StatusCode::ContentTooLarge);
            }
            if !is_whole {
                return Ok(false);
            }
            if !self.scan.is_open() || self.named == 0 {
                return Ok(true);
            }
            // One UTF-16 unit is at most three bytes of UTF-8.
            self.behind = Some(self.named.saturating_mul(2));
        }
        let Some(behind) = &mut self.behind else { return Ok(true) };
        let offered = input.get(..input.len().min(*behind)).unwrap_or_default();
        let taken = self.scan.feed(offered);
        keep(&mut self.bytes, &mut self.dropped, offered.get(..taken).unwrap_or_default(), max);
        *behind -= taken;
        *input = input.get(taken..).unwrap_or_default();
        match (self.scan.is_open(), *behind) {
            (false, _) => Ok(true),
            (true, 0) => Err(StatusCode::BadRequest),
            (true, _) => Ok(false),
        }
    }
}

fn keep(bytes: &mut Vec<u8>, dropped: &mut usize, piece: &[u8], max: usize) {
    if *dropped == 0 && bytes.len() + piece.len() <= max {
        bytes.extend_from_slice(piece);
    } else {
        *dropped += bytes.len() + piece.len();
        *bytes = Vec::new();
    }
}

/// Whether a head begins with what may be a method, or with a part of one. What is no HTTP at all shows at once.
fn begins_with_method(head: &[u8]) -> bool {
    let word = head.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_method = |word: &[u8]| {
        word.len() <= 16 && word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
    };
    head == b"\r" || is_method(word) && (head.is_empty() || !word.is_empty())
}

fn status_of(bad: BadHead) -> StatusCode {
    match bad {
        BadHead::TooLong => StatusCode::RequestHeaderFieldsTooLarge,
        BadHead::Malformed => StatusCode::BadRequest,
    }
}

/// Appends the head of one of our requests, as JavaScript towers write theirs.
pub(crate) fn write_request_head(to: &Address, body: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ");
    out.extend_from_slice(body.to_string().as_bytes());
    out.extend_from_slice(b"\r\nHost: ");
    // Over TLS, which is where all of them listen, 443 goes without saying.
    let host = to.to_string();
    let bare = host.strip_suffix(":443");
    out.extend_from_slice(bare.unwrap_or(&host).as_bytes());
    out.extend_from_slice(b"\r\nConnection: keep-alive\r\n\r\n");
}
