//! HTTP/1.1 with JSON: what the towers of the original's JavaScript package say to each other.
//!
//! [`RequestReader`] and [`ResponseReader`] read bytes cut into any pieces, [`Payload`] is what a request carries. All of it is
//! bounded, and none of it does I/O. This page says what the dialect is, and where it differs from the native [`wire`](crate::wire).
//!
//! # One message, one request
//!
//! ```text
//! POST / HTTP/1.1
//! Content-Type: application/json
//! Content-Length: 127
//! Host: localhost:9001
//! Connection: keep-alive
//!
//! {"message":"hi","type":"message","sender":{"hostname":"localhost","port":8001},"friend":{"hostname":"localhost","port":8002}}
//! ```
//!
//! The status 200 confirms it, and nothing else does. A request comes after the answer to the one before it, so one link has one message
//! unconfirmed; to have more there are more links. An announcement has the type `announce` and the message `null`.
//!
//! A JavaScript tower puts a comma between what comes in two TLS records. So head and body are a record each, and a body that does not fit into one
//! ([`MAX_RECORD`]) is for other peers.
//!
//! # Messages and values
//!
//! | message | JSON |
//! |---|---|
//! | text | a string |
//! | JSON | the value, character for character |
//! | bytes | `{"clacks:base64": "…"}`, in the one spelling of RFC 4648 §4 |
//!
//! What JavaScript takes for false (`null`, `false`, zero, the empty string) it drops; what nests deeper than [`MAX_DEPTH`] may crash it. Neither is handed
//! to a JavaScript tower. There is no nonce in a request: where a message comes in it gets a new one, so that two copies of which one
//! travelled this way are two messages from then on, and don't coalesce.
//!
//! # Answers
//!
//! | answer | to |
//! |---|---|
//! | 200 | a message that is queued now; an announcement |
//! | 400 | what is no request, or no payload. The link is closed when it can't be said where the next request begins |
//! | 403 | a sender that is ignored |
//! | 408 | a request that did not come to its end in time |
//! | 413 | a message longer than the tower takes, after its last byte: an answer that comes earlier makes JavaScript towers send it twice |
//! | 417 | an expectation other than `100-continue` |
//! | 431 | a head of more than [`MAX_HEAD`] bytes |
//! | 503 | a message for which there is no room now, or that the application rejects; more requests at a time than the tower's window, and the link is closed |
//!
//! # Content-Length
//!
//! JavaScript towers count UTF-16 units where they should count bytes, so what is not ASCII has more bytes than its head says. When the
//! JSON is not complete where the body should end, what follows is taken for the rest of it, up to the closing bracket.

mod body;
mod brackets;
mod head;
mod payload;
mod request;
mod response;
mod value;

#[cfg(test)]
mod tests;

pub use payload::Payload;
pub use request::{Request, RequestEvent, RequestReader};
pub use response::{BadResponse, Response, ResponseReader};

pub(crate) use head::FIELDS_MEMORY;
pub(crate) use payload::{suits, write_payload};
pub(crate) use request::write_request_head;
pub(crate) use response::{KeepAlive, write_continue, write_response};

/// How many brackets of a message may be open at a time. JavaScript towers read more, and crash when they write 5000 of them.
pub const MAX_DEPTH: u32 = 512;
/// The longest body that is handed to a JavaScript tower, in bytes: one TLS record.
pub const MAX_RECORD: usize = 16 * 1024;
/// The longest head of a request or response, in bytes: that of node.
pub const MAX_HEAD: usize = 16 * 1024;

/// The statuses that a tower answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusCode {
    /// 200: taken.
    Ok,
    /// 400: not understood.
    BadRequest,
    /// 403: the sender is ignored.
    Forbidden,
    /// 408: the request did not end in time.
    RequestTimeout,
    /// 413: longer than the tower takes.
    ContentTooLarge,
    /// 417: something is expected that a tower does not do.
    ExpectationFailed,
    /// 431: the head is too long.
    RequestHeaderFieldsTooLarge,
    /// 503: no room now.
    ServiceUnavailable,
}

impl StatusCode {
    /// The number and the words for it.
    #[must_use]
    pub fn line(self) -> (u16, &'static str) {
        match self {
            Self::Ok => (200, "OK"),
            Self::BadRequest => (400, "Bad Request"),
            Self::Forbidden => (403, "Forbidden"),
            Self::RequestTimeout => (408, "Request Timeout"),
            Self::ContentTooLarge => (413, "Content Too Large"),
            Self::ExpectationFailed => (417, "Expectation Failed"),
            Self::RequestHeaderFieldsTooLarge => (431, "Request Header Fields Too Large"),
            Self::ServiceUnavailable => (503, "Service Unavailable"),
        }
    }
}
