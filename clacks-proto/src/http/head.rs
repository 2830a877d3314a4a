//! The heads of requests and responses: gathering their bytes, and what their fields say of the body.

use alloc::vec;
use alloc::vec::Vec;

use httparse::{EMPTY_HEADER, Header};

use super::MAX_HEAD;

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    TooLong,
    Malformed,
}

/// The bytes of a head that is not whole yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered(Vec<u8>);

impl Gathered {
    /// Takes bytes up to the empty line. Whether it is there. Every line must end in CR LF, and empty lines before the first one are passed over.
    pub(super) fn gather(&mut self, input: &mut &[u8]) -> Result<bool, BadHead> {
        let Self(head) = self;
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            let after_return = head.last() == Some(&b'\r');
            if (*byte == b'\n') != after_return {
                return Err(BadHead::Malformed);
            }
            if head.len() == MAX_HEAD {
                return Err(BadHead::TooLong);
            }
            head.push(*byte);
            if head == b"\r\n" {
                head.clear();
            }
            if head.ends_with(b"\r\n\r\n") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }
}

/// As many fields as most heads have.
const FEW: usize = 32;
/// As many fields as fit into the longest head: `a:` and the end of the line.
const MANY: usize = MAX_HEAD / 4;
/// What the fields of a head take while they are read, in bytes.
pub(crate) const FIELDS_MEMORY: usize = MANY * size_of::<Header<'_>>();

/// Calls `parse` with room for a few fields, and if these are not enough, with room for as many as there can be.
pub(super) fn with_fields<'b, T>(
    mut parse: impl FnMut(&mut [Header<'b>]) -> Result<T, httparse::Error>,
) -> Result<T, BadHead> {
    let parsed = match parse(&mut [EMPTY_HEADER; FEW]) {
        Err(httparse::Error::TooManyHeaders) => parse(&mut vec![EMPTY_HEADER; MANY]),
        parsed => parsed,
    };
    parsed.map_err(|_| BadHead::Malformed)
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Neither field says anything.
    Unsaid,
    Bytes(usize),
    Chunked,
}

/// What the fields of a head say, as far as it is of interest here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) length: Length,
    pub(super) has_host: bool,
    pub(super) closes: bool,
    pub(super) expects: Expects,
    /// The seconds of `Keep-Alive: timeout=…`.
    pub(super) keep_alive: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    Nothing,
    Continue,
    /// What nobody here can do.
    More,
}

impl Fields {
    pub(super) fn read(headers: &[Header<'_>]) -> Result<Self, BadHead> {
        let mut fields = Self {
            length: Length::Unsaid,
            has_host: false,
            closes: false,
            expects: Expects::Nothing,
            keep_alive: None,
        };
        for Header { name, value } in headers {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            let value = value.trim_ascii();
            if is("content-length") || is("transfer-encoding") {
                // Two lengths, even equal ones, are one too many.
                if fields.length != Length::Unsaid {
                    return Err(BadHead::Malformed);
                }
                fields.length = if is("content-length") {
                    Length::Bytes(number(value).ok_or(BadHead::Malformed)?)
                } else if value.eq_ignore_ascii_case(b"chunked") {
                    Length::Chunked
                } else {
                    return Err(BadHead::Malformed);
                };
            } else if is("host") {
                fields.has_host = true;
            } else if is("connection") {
                fields.closes |= words(value).any(|word| word.eq_ignore_ascii_case(b"close"));
            } else if is("expect") {
                let continues = value.eq_ignore_ascii_case(b"100-continue");
                fields.expects = if continues { Expects::Continue } else { Expects::More };
            } else if is("keep-alive") {
                let seconds = words(value).filter_map(|word| word.strip_prefix(b"timeout="));
                fields.keep_alive = seconds.filter_map(number).next().map(|seconds| seconds as u64);
            }
        }
        Ok(fields)
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits and nothing else, and no more than the machine can count.
fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}
