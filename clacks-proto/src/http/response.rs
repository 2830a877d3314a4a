//! Responses: a reader for a client, and the responses that a server sends.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use httparse::EMPTY_HEADER;

use super::body::BodyDecoder;
use super::head::{Fields, HeadReader, MAX_FIELDS};
use super::{ParseError, StatusCode};

/// Reads the responses of one connection, for a client.
///
/// Bodies are skipped. The reader buffers at most a head of [`MAX_HEAD`](super::MAX_HEAD) bytes.
#[derive(Debug, Default)]
pub struct ResponseReader {
    head: HeadReader,
    /// The body, from the end of the head to the end of the body.
    body: Option<Body>,
}

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Whether the server closes the connection after the response.
    pub closes: bool,
    /// How long the server keeps an idle connection, in seconds, if it announces this.
    pub keep_alive: Option<u64>,
}

/// The bytes are not a valid response. The reader must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse;

/// A body that is being skipped.
#[derive(Debug)]
struct Body {
    response: Response,
    decoder: BodyDecoder,
    skipped: usize,
}

/// The beginning of every head. Other bytes are refused at once, without waiting for a complete
/// head.
const START: &[u8] = b"HTTP/1.";
/// The maximum length of a body, in bytes. The value is a guess. JavaScript towers send empty
/// bodies.
const MAX_BODY: usize = 64 * 1024;

impl ResponseReader {
    /// Removes bytes from the front of `input`, up to the end of the next response. Returns the
    /// response, or `None` when `input` is used up. Interim responses (1xx) are skipped.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not a valid response, or if the head or the body is too
    /// long. [`status`](Self::status) still returns the status if only the body is invalid.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Response>, BadResponse> {
        let body = match &mut self.body {
            Some(body) => body,
            None => loop {
                let Some(head) = self.head.read(START, input)? else { return Ok(None) };
                if let Some(body) = parse_head(&head)? {
                    break self.body.insert(body);
                }
            },
        };
        let is_complete = body.decoder.read(input, |piece| body.skipped += piece.len())?;
        if body.skipped > MAX_BODY {
            return Err(BadResponse);
        }
        Ok(if is_complete { self.body.take().map(|body| body.response) } else { None })
    }

    /// Returns whether the first byte of a response has arrived and the last byte has not.
    #[must_use]
    pub fn is_mid_response(&self) -> bool {
        self.body.is_some() || self.head.len() > 0
    }

    /// Returns the status of a response whose head has arrived and whose body is incomplete.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.body.as_ref().map(|body| body.response.status)
    }

    /// Returns the allocated memory, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn capacity(&self) -> usize {
        self.head.capacity() + self.body.as_ref().map_or(0, |body| body.decoder.capacity())
    }
}

/// Parses a head. Returns the empty body of the response, or `None` for an interim response.
fn parse_head(head: &[u8]) -> Result<Option<Body>, ParseError> {
    let mut headers = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(head)?.is_partial() {
        return Err(ParseError::Malformed);
    }
    let is_http_1_0 = response.version == Some(0);
    let status = response.code.ok_or(ParseError::Malformed)?;
    let fields = Fields::parse(response.headers)?;
    let decoder = match (status, fields.body) {
        (100..200, _) => return Ok(None),
        (204 | 304, _) => BodyDecoder::ContentLength(0),
        (_, body) => body.unwrap_or(BodyDecoder::UntilClose),
    };
    let closes = fields.closes || is_http_1_0;
    let response = Response { status, closes, keep_alive: fields.keep_alive };
    Ok(Some(Body { response, decoder, skipped: 0 }))
}

impl From<ParseError> for BadResponse {
    fn from(_: ParseError) -> Self {
        Self
    }
}

/// The `Connection` and `Keep-Alive` fields of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// The server keeps an idle connection for this many seconds.
    Seconds(u64),
    /// The server closes the connection.
    Close,
}

/// Appends a response without a body to `out`.
pub(crate) fn write_response(status: StatusCode, keep_alive: KeepAlive, out: &mut Vec<u8>) {
    let (code, reason) = (status.as_u16(), status.reason());
    let connection: Cow<'_, str> = match keep_alive {
        KeepAlive::Seconds(seconds) => {
            format!("keep-alive\r\nKeep-Alive: timeout={seconds}").into()
        }
        KeepAlive::Close => "close".into(),
    };
    // RFC 9110 §15.5.6: a 405 response must list the allowed methods.
    let allow = if status == StatusCode::MethodNotAllowed { "Allow: POST\r\n" } else { "" };
    let response = format!(
        "HTTP/1.1 {code} {reason}\r\nConnection: {connection}\r\n{allow}Content-Length: 0\r\n\r\n"
    );
    out.extend_from_slice(response.as_bytes());
}

/// Appends an interim response to `out`, for a client that expects `100 Continue`.
pub(crate) fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}
