//! HTTP/1.1 with JSON: the dialect of the original's JavaScript towers (`clacks-p2p`).
//!
//! [`RequestReader`] is the server's side and [`ResponseReader`] the client's side. Both accept
//! bytes in pieces of any size. [`Payload`] is the body of a request. All of them have bounded
//! memory and do no I/O.
//!
//! This is not a general HTTP implementation. It supports one method and one resource, and
//! responses without a body. `httparse` parses heads, and `serde_json` parses bodies. The sections
//! on [Content-Length](#content-length) and [records](#records) describe differences from standard
//! HTTP.
//!
//! # Requests
//!
//! ```text
//! POST / HTTP/1.1
//! Content-Type: application/json
//! Content-Length: 124
//! Host: localhost:9001
//! Connection: keep-alive
//!
//! {"message":"hi","type":"message","sender":{"hostname":"localhost","port":8001},
//! "friend":{"hostname":"localhost","port":8002}}
//! ```
//!
//! The example is wrapped. In a real request the body is one line. An announcement has the type
//! `announce` and the message `null`. The friend is optional.
//!
//! A client sends a request only after the response to the previous one, so a connection has at
//! most one unconfirmed message. A client that needs more opens more connections.
//!
//! # Messages
//!
//! | message | JSON |
//! |---|---|
//! | text | a string |
//! | JSON | the value, unchanged |
//! | bytes | `{"clacks:base64": "…"}`, in the canonical base64 of RFC 4648 §4 |
//!
//! A request has no nonce. A received message gets a new one, so copies of a message that were
//! received in requests do not coalesce.
//!
//! A JavaScript tower drops falsy values (`null`, `false`, zero, the empty string), and may crash
//! when it writes a value that is nested deeper than [`MAX_DEPTH`]. A tower does not send such
//! messages to a JavaScript tower.
//!
//! # Responses
//!
//! Only the status 200 confirms a message. A tower responds with:
//!
//! | status | when |
//! |---|---|
//! | 200 | the message is queued, or the announcement is accepted |
//! | 400 | the request or its payload is malformed |
//! | 403 | the sender is ignored, or the request may come from a [web page](#web-pages) |
//! | 405 | the request does not begin with `POST` |
//! | 408 | the request did not arrive in time |
//! | 413 | the message is longer than the tower accepts |
//! | 431 | the head is longer than [`MAX_HEAD`] bytes, or has more than 100 fields |
//! | 503 | the queue is full, the application rejects the message, or too many are pipelined |
//!
//! The server closes the connection after a status for which it does not know where the next
//! request begins. It responds with 413 after the last byte of the body, because a JavaScript tower
//! that receives the response earlier sends the message twice.
//!
//! # Web pages
//!
//! A browser lets every page send a `POST` with any body to any host, except with the type
//! `application/json`. A request without this content type, or with a field that only browsers send
//! (`Origin`, `Sec-Fetch-*`), is answered with 403 as soon as its head has arrived, and changes
//! nothing. JavaScript towers always send this type and none of these fields.
//!
//! # Content-Length
//!
//! A JavaScript tower counts UTF-16 units instead of bytes. A body that is not ASCII is therefore
//! longer than its `Content-Length`. If the JSON is incomplete at the announced length, the server
//! reads up to the closing bracket, and closes the connection after the response.
//!
//! # Records
//!
//! A JavaScript tower inserts a comma between the parts of a body that arrive in different TLS
//! records. A client therefore sends head and body in one record each, and does not send a body
//! that is longer than one ([`MAX_RECORD`]).

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

pub(crate) use payload::{suits, write_payload};
pub(crate) use request::write_request_head;
pub(crate) use response::{KeepAlive, write_continue, write_response};

/// The maximum nesting of a message that is sent to a JavaScript tower. The value is a guess. A
/// JavaScript tower encodes 4000 levels, and crashes at 5000.
pub const MAX_DEPTH: u32 = 512;
/// The maximum length of a body that is sent to a JavaScript tower, in bytes: one TLS record.
pub const MAX_RECORD: usize = 16 * 1024;
/// The maximum length of the head of a request or response, in bytes (the default of node).
pub const MAX_HEAD: usize = 16 * 1024;

/// The status of a response, named as in RFC 9110 and RFC 6585.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusCode {
    /// 200.
    Ok = 200,
    /// 400.
    BadRequest = 400,
    /// 403.
    Forbidden = 403,
    /// 405.
    MethodNotAllowed = 405,
    /// 408.
    RequestTimeout = 408,
    /// 413.
    ContentTooLarge = 413,
    /// 431.
    RequestHeaderFieldsTooLarge = 431,
    /// 503.
    ServiceUnavailable = 503,
}

impl StatusCode {
    /// Returns the number.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        self as u16
    }

    /// Returns the reason phrase.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::ContentTooLarge => "Content Too Large",
            Self::RequestHeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::ServiceUnavailable => "Service Unavailable",
        }
    }
}

/// Why bytes are not a valid request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParseError {
    /// The first line does not begin with `POST`, or with a version of HTTP.
    WrongStart,
    /// The head has too many bytes or fields.
    TooLarge,
    /// The request may come from a web page.
    FromPage,
    Malformed,
}

impl From<httparse::Error> for ParseError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

impl From<ParseError> for StatusCode {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::WrongStart => Self::MethodNotAllowed,
            ParseError::TooLarge => Self::RequestHeaderFieldsTooLarge,
            ParseError::FromPage => Self::Forbidden,
            ParseError::Malformed => Self::BadRequest,
        }
    }
}
