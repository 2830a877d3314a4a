//! Requests: a reader for a server, and the head that a client sends.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use httparse::EMPTY_HEADER;

use super::body::BodyDecoder;
use super::brackets::Brackets;
use super::head::{Fields, HeadReader, MAX_FIELDS};
use super::{ParseError, StatusCode};
use crate::address::Address;

/// Reads the requests of one connection, for a server.
///
/// Only `POST` requests are accepted, with any target. The reader buffers at most a head of
/// [`MAX_HEAD`](super::MAX_HEAD) bytes or a body of the maximum length. Its memory grows with the
/// bytes that arrive, not with the announced length.
///
/// ```
/// use clacks_proto::http::{RequestEvent, RequestReader};
///
/// let mut reader = RequestReader::new(1024);
/// let mut input: &[u8] = b"POST / HTTP/1.1\r\nHost: tower\r\n\
///     Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
/// let Some(RequestEvent::Request(request)) = reader.read(&mut input) else { panic!() };
/// assert_eq!(request.body.unwrap(), b"{}");
/// ```
#[derive(Debug, Default)]
pub struct RequestReader {
    max_body: usize,
    head: HeadReader,
    /// The body, from the end of the head to the end of the body.
    body: Option<Body>,
    /// The connection carries no further request.
    has_ended: bool,
}

/// The output of a [`RequestReader`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent {
    /// The client waits for `100 Continue` before it sends the body.
    ContinueExpected,
    /// A complete request.
    Request(Request),
    /// The bytes are not a valid request. Respond with this status and close the connection. The
    /// reader ignores all further bytes.
    Failure(StatusCode),
}

/// A complete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The body, or the status of the response if the body is longer than the maximum.
    pub body: Result<Vec<u8>, StatusCode>,
    /// Whether the connection closes after the response. If true, the reader ignores all further
    /// bytes.
    pub closes: bool,
}

/// The beginning of every head. Other bytes are refused at once, without waiting for a complete
/// head.
const START: &[u8] = b"POST ";

impl RequestReader {
    /// Returns a reader that accepts bodies of at most `max_body` bytes. A longer body is read to
    /// its end and dropped.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        Self { max_body, ..Self::default() }
    }

    /// Removes bytes from the front of `input`, up to the next event. Returns the event, or `None`
    /// when `input` is used up.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<RequestEvent> {
        if self.has_ended {
            *input = &[];
            return None;
        }
        let event = self.next_event(input).unwrap_or_else(|error| {
            *self = Self::new(self.max_body);
            Some(RequestEvent::Failure(error.into()))
        });
        self.has_ended = match &event {
            Some(RequestEvent::Request(request)) => request.closes,
            Some(RequestEvent::Failure(_)) => true,
            Some(RequestEvent::ContinueExpected) | None => false,
        };
        event
    }

    /// Returns whether the first byte of a request has arrived and the last byte has not.
    #[must_use]
    pub fn is_mid_request(&self) -> bool {
        self.is_mid_body() || self.head.len() > 0
    }

    /// Returns whether the head of a request has arrived and the end of its body has not.
    #[must_use]
    pub fn is_mid_body(&self) -> bool {
        self.body.is_some()
    }

    /// Returns whether the body has reached its announced length and is incomplete JSON.
    ///
    /// The reader then continues up to the closing bracket at any distance, and the caller must
    /// limit the time for this. The rest of a valid body arrives together with its beginning.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.is_short)
    }

    /// Returns the number of buffered bytes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, |body| body.bytes.len())
    }

    /// Returns the allocated memory, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn capacity(&self) -> usize {
        let body = |body: &Body| body.bytes.capacity() + body.decoder.capacity();
        self.head.capacity() + self.body.as_ref().map_or(0, body)
    }

    fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<RequestEvent>, ParseError> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let Some(head) = self.head.read(START, input)? else { return Ok(None) };
                let (body, expects_continue) = parse_head(&head)?;
                let body = self.body.insert(body);
                if expects_continue && input.is_empty() {
                    return Ok(Some(RequestEvent::ContinueExpected));
                }
                body
            }
        };
        if !body.read(input, self.max_body)? {
            return Ok(None);
        }
        Ok(self.body.take().map(|body| RequestEvent::Request(body.into_request())))
    }
}

/// Parses a head. Returns the empty body of the request, and whether the client expects `100
/// Continue`.
fn parse_head(head: &[u8]) -> Result<(Body, bool), ParseError> {
    let mut headers = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(head)?.is_partial() {
        return Err(ParseError::Malformed);
    }
    let is_http_1_0 = request.version == Some(0);
    let fields = Fields::parse(request.headers)?;
    // RFC 9112 §3.2: a request of HTTP/1.1 without a Host field, or any request with several of
    // them, is answered with 400.
    if fields.hosts > 1 || !is_http_1_0 && fields.hosts == 0 {
        return Err(ParseError::Malformed);
    }
    if fields.is_from_browser || !fields.is_json {
        return Err(ParseError::FromPage);
    }
    let body = Body {
        decoder: fields.body.unwrap_or(BodyDecoder::ContentLength(0)),
        bytes: Vec::new(),
        brackets: Brackets::default(),
        is_too_long: false,
        is_short: false,
        closes: fields.closes || is_http_1_0,
    };
    Ok((body, fields.expects_continue))
}

/// A body that is being read.
#[derive(Debug)]
struct Body {
    decoder: BodyDecoder,
    bytes: Vec<u8>,
    brackets: Brackets,
    /// The body is longer than the maximum, so its bytes are dropped.
    is_too_long: bool,
    /// The body has reached its announced length, and the JSON is incomplete.
    is_short: bool,
    closes: bool,
}

impl Body {
    /// Reads bytes of the body. Returns true at its end.
    fn read(&mut self, input: &mut &[u8], max_len: usize) -> Result<bool, ParseError> {
        if !self.is_short {
            let Self { decoder, bytes, brackets, is_too_long, .. } = self;
            let is_complete = decoder.read(input, |piece| {
                brackets.read(piece);
                append(piece, max_len, bytes, is_too_long);
            })?;
            // A JavaScript tower counts UTF-16 units, so a body that is not ASCII is longer than
            // its Content-Length. The rest of the JSON follows.
            self.is_short = is_complete
                && self.brackets.are_open()
                && matches!(self.decoder, BodyDecoder::ContentLength(_));
            if !self.is_short {
                return Ok(is_complete);
            }
        }
        let rest_len = self.brackets.read(input);
        let rest = input.split_off(..rest_len).unwrap_or_default();
        append(rest, max_len, &mut self.bytes, &mut self.is_too_long);
        Ok(!self.brackets.are_open())
    }

    fn into_request(self) -> Request {
        let body = if self.is_too_long { Err(StatusCode::ContentTooLarge) } else { Ok(self.bytes) };
        // The beginning of the next request is unknown after a wrong length.
        Request { body, closes: self.closes || self.is_short }
    }
}

fn append(piece: &[u8], max_len: usize, bytes: &mut Vec<u8>, is_too_long: &mut bool) {
    *is_too_long |= bytes.len() + piece.len() > max_len;
    if *is_too_long {
        *bytes = Vec::new();
    } else {
        bytes.extend_from_slice(piece);
    }
}

/// Appends the head of a request to `out`, with the same bytes as from a JavaScript tower.
pub(crate) fn write_request_head(to: &Address, body_len: usize, out: &mut Vec<u8>) {
    let host = to.to_string();
    // Node omits the default port of HTTPS.
    let host = host.strip_suffix(":443").unwrap_or(&host);
    let head = format!(
        "POST / HTTP/1.1\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {body_len}\r\n\
         Host: {host}\r\n\
         Connection: keep-alive\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
}
