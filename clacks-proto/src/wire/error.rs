//! Decoding errors.

use core::fmt;

use super::frame::FrameKind;

/// Why bytes are not a valid frame. The decoder that returned the error decodes nothing more, so
/// the link must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WireError {
    /// The first byte is not the kind of a frame.
    Kind(u8),
    /// The hello has a version that is no longer spoken.
    Version(u8),
    /// A frame of this kind arrived before the hello.
    BeforeHello(FrameKind),
    /// The length exceeds the maximum of its kind.
    Length {
        /// The kind of the frame.
        kind: FrameKind,
        /// The claimed length of the payload, in bytes.
        len: u32,
    },
    /// The frame ends before the end of this field.
    Truncated(Field),
    /// The frame has bytes after its last field.
    Trailing(FrameKind),
    /// An enumerated field has an undefined value.
    Unknown {
        /// The field.
        field: Field,
        /// The value of the field.
        byte: u8,
    },
    /// The number in this field, or the length of this field, is out of range.
    Range(Field),
    /// This field is not UTF-8.
    Utf8(Field),
    /// The host is neither a valid DNS name nor an IP address that can be dialled.
    Host,
    /// The host is not in its canonical form: a name is not in lower case, or an IPv4 address is
    /// encoded as IPv6.
    HostSpelling,
}

/// A field of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Field {
    /// The version, in a hello.
    Version,
    /// The incarnation, in a hello.
    Incarnation,
    /// The number of the link, in a hello or a retry.
    Link,
    /// The longest accepted body, in a hello.
    MaxMessage,
    /// The window in messages, in a hello.
    WindowMessages,
    /// The window in bytes, in a hello.
    WindowBytes,
    /// The longest accepted datagram, in a hello, or the bytes of a datagram.
    Datagram,
    /// The network's name, in a hello.
    Network,
    /// The fields that a later version adds, in a hello.
    Rest,
    /// The tag of an address.
    AddressTag,
    /// The host of an address.
    Host,
    /// The port of an address.
    Port,
    /// The number of a transfer.
    Transfer,
    /// The attempt: first or retry.
    Attempt,
    /// The remaining lifetime of a message.
    Lifetime,
    /// The nonce of a message.
    Nonce,
    /// The kind of a message.
    MessageKind,
    /// The number of friends, in an announce.
    Friends,
    /// The body of a message.
    Body,
    /// Why a transfer is refused.
    Reason,
    /// Why a link ends.
    Farewell,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(byte) => write!(f, "unknown kind of frame: {byte:#04x}"),
            Self::Version(version) => write!(f, "version {version} is no longer spoken"),
            Self::BeforeHello(kind) => write!(f, "the frame {kind} arrived before the hello"),
            Self::Length { kind, len } => {
                write!(f, "a payload of {len} bytes is too long for the frame {kind}")
            }
            Self::Truncated(field) => write!(f, "the frame ends before the end of {field}"),
            Self::Trailing(kind) => write!(f, "the frame {kind} has bytes after its last field"),
            Self::Unknown { field, byte } => write!(f, "{field} has the undefined value {byte}"),
            Self::Range(field) => write!(f, "{field} is out of range"),
            Self::Utf8(field) => write!(f, "{field} is not UTF-8"),
            Self::Host => {
                f.write_str("the host is neither a valid name nor an address that can be dialled")
            }
            Self::HostSpelling => f.write_str("the host is not in its canonical form"),
        }
    }
}

impl core::error::Error for WireError {}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the version",
            Self::Incarnation => "the incarnation",
            Self::Link => "the number of the link",
            Self::MaxMessage => "the longest accepted body",
            Self::WindowMessages => "the window in messages",
            Self::WindowBytes => "the window in bytes",
            Self::Datagram => "the datagram",
            Self::Network => "the network's name",
            Self::Rest => "the rest of the hello",
            Self::AddressTag => "the tag of an address",
            Self::Host => "the host",
            Self::Port => "the port",
            Self::Transfer => "the transfer",
            Self::Attempt => "the attempt",
            Self::Lifetime => "the lifetime",
            Self::Nonce => "the nonce",
            Self::MessageKind => "the kind of the message",
            Self::Friends => "the number of friends",
            Self::Body => "the body",
            Self::Reason => "the reason",
            Self::Farewell => "the farewell",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_error_takes_8_bytes_and_describes_the_problem() {
        assert_eq!(size_of::<WireError>(), 8);
        for (error, words) in [
            (WireError::Kind(b'G'), "unknown kind of frame: 0x47"),
            (
                WireError::Length { kind: FrameKind::Hello, len: 342 },
                "a payload of 342 bytes is too long for the frame hello",
            ),
            (WireError::Truncated(Field::Nonce), "the frame ends before the end of the nonce"),
            (
                WireError::Unknown { field: Field::AddressTag, byte: 9 },
                "the tag of an address has the undefined value 9",
            ),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
