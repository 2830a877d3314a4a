//! Heads of requests and responses.

use alloc::vec::Vec;
use core::str::FromStr;

use httparse::Header;

use super::body::{BodyDecoder, ChunkedDecoder};
use super::{MAX_HEAD, ParseError};

/// The maximum number of fields in a head (the default of hyper). JavaScript towers send four.
pub(super) const MAX_FIELDS: usize = 100;

/// Collects the bytes of a head.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: Vec<u8>,
}

impl HeadReader {
    /// Removes bytes from the front of `input`, up to the empty line that ends the head. Returns
    /// the head, or `None` if it is incomplete.
    ///
    /// Fails at the first byte that differs from `start`, at a line that does not end in CR LF, and
    /// if the head is longer than [`MAX_HEAD`].
    pub(super) fn read(
        &mut self,
        start: &[u8],
        input: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, ParseError> {
        while let Some(byte) = input.split_off_first() {
            let len = self.bytes.len();
            if start.get(len).is_some_and(|expected| expected != byte) {
                return Err(ParseError::WrongStart);
            }
            if (*byte == b'\n') != (self.bytes.last() == Some(&b'\r')) {
                return Err(ParseError::Malformed);
            }
            if len == MAX_HEAD {
                return Err(ParseError::TooLarge);
            }
            self.bytes.push(*byte);
            if self.bytes.ends_with(b"\r\n\r\n") {
                return Ok(Some(core::mem::take(&mut self.bytes)));
            }
        }
        Ok(None)
    }

    /// Returns the number of buffered bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the allocated memory, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The values of the fields that a tower uses.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The length of the body, from `Content-Length` or `Transfer-Encoding`.
    pub(super) body: Option<BodyDecoder>,
    pub(super) hosts: usize,
    /// Whether `Content-Type` is JSON.
    pub(super) is_json: bool,
    /// Whether there is a field that only browsers send.
    pub(super) is_from_browser: bool,
    /// Whether `Connection` contains `close`.
    pub(super) closes: bool,
    /// Whether `Expect` is `100-continue`.
    pub(super) expects_continue: bool,
    /// The seconds in `Keep-Alive: timeout=…`.
    pub(super) keep_alive: Option<u64>,
}

impl Fields {
    /// Parses the fields of a head. Fails if the end of the body is ambiguous.
    pub(super) fn parse(headers: &[Header<'_>]) -> Result<Self, ParseError> {
        let mut fields = Self::default();
        for Header { name, value } in headers {
            match name.to_ascii_lowercase().as_str() {
                "content-length" | "transfer-encoding" if fields.body.is_some() => {
                    return Err(ParseError::Malformed);
                }
                "content-length" => {
                    let len = parse_number(value).ok_or(ParseError::Malformed)?;
                    fields.body = Some(BodyDecoder::ContentLength(len));
                }
                "transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => {
                    fields.body = Some(BodyDecoder::Chunked(ChunkedDecoder::default()));
                }
                "transfer-encoding" => return Err(ParseError::Malformed),
                "host" => fields.hosts += 1,
                "content-type" => fields.is_json = is_json(value),
                "origin" => fields.is_from_browser = true,
                name if name.starts_with("sec-fetch-") => fields.is_from_browser = true,
                "connection" => {
                    fields.closes |= elements(value).any(|it| it.eq_ignore_ascii_case(b"close"));
                }
                "expect" => fields.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
                "keep-alive" => {
                    let seconds = |element: &[u8]| parse_number(element.strip_prefix(b"timeout=")?);
                    fields.keep_alive = elements(value).find_map(seconds);
                }
                _ => {}
            }
        }
        Ok(fields)
    }
}

/// Returns whether a media type is JSON, with any parameters.
fn is_json(value: &[u8]) -> bool {
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Returns the elements of a comma-separated list.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Parses a number that consists of digits only.
fn parse_number<T: FromStr>(digits: &[u8]) -> Option<T> {
    let digits = core::str::from_utf8(digits).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
