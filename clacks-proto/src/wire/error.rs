//! Why bytes are not a frame.

use core::fmt;

use super::frame::FrameKind;

/// Why bytes are not a frame. The decoder that said so takes no more bytes: the link is beyond
/// repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WireError {
    /// No frame begins with this byte.
    Kind(u8),
    /// The first frame must be a hello.
    BeforeHello(FrameKind),
    /// No frame of this kind is that long.
    Length {
        /// The kind of the frame.
        kind: FrameKind,
        /// The length that it claims for its payload.
        len: u32,
    },
    /// The frame ends before or within this field.
    Truncated(Field),
    /// The frame goes on after its last field.
    Trailing(FrameKind),
    /// A byte that stands for nothing.
    Unknown {
        /// The field.
        field: Field,
        /// What it holds.
        byte: u8,
    },
    /// A number, or a length, outside of this field's limits.
    Range(Field),
    /// Not UTF-8.
    Utf8(Field),
    /// Neither a DNS name nor an IP address that can be dialled.
    Host,
    /// A host in another than its only spelling: a name not in lower case, or an IPv4 address as
    /// IPv6.
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
    /// The longest body taken, in a hello.
    MaxMessage,
    /// The window's messages, in a hello.
    WindowMessages,
    /// The window's bytes, in a hello.
    WindowBytes,
    /// The network's name, in a hello.
    Network,
    /// The tag of an address.
    AddressTag,
    /// The host of an address.
    Host,
    /// The port of an address.
    Port,
    /// The number of a transfer.
    Transfer,
    /// Whether a message is sent again.
    Attempt,
    /// The nonce of a message.
    Nonce,
    /// The kind of a message.
    MessageKind,
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
            Self::Kind(byte) => write!(f, "no frame begins with the byte {byte:#04x}"),
            Self::BeforeHello(kind) => write!(f, "the frame {kind} comes before the hello"),
            Self::Length { kind, len } => write!(f, "the frame {kind} claims {len} bytes"),
            Self::Truncated(field) => write!(f, "the frame ends before the end of {field}"),
            Self::Trailing(kind) => write!(f, "the frame {kind} goes on after its last field"),
            Self::Unknown { field, byte } => write!(f, "{field} can't be {byte}"),
            Self::Range(field) => write!(f, "{field} is out of its limits"),
            Self::Utf8(field) => write!(f, "{field} is not UTF-8"),
            Self::Host => f.write_str("the host is not one that can be dialled"),
            Self::HostSpelling => f.write_str("the host is not in its one spelling"),
        }
    }
}

impl core::error::Error for WireError {}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the version",
            Self::Incarnation => "the incarnation",
            Self::MaxMessage => "the longest body taken",
            Self::WindowMessages => "the window's messages",
            Self::WindowBytes => "the window's bytes",
            Self::Network => "the network's name",
            Self::AddressTag => "the tag of an address",
            Self::Host => "the host",
            Self::Port => "the port",
            Self::Transfer => "the transfer",
            Self::Attempt => "the attempt",
            Self::Nonce => "the nonce",
            Self::MessageKind => "the kind of the message",
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
    fn an_error_is_small_and_speaks_plainly() {
        assert_eq!(size_of::<WireError>(), 8);
        for (error, words) in [
            (WireError::Kind(b'G'), "no frame begins with the byte 0x47"),
            (
                WireError::Length { kind: FrameKind::Hello, len: 342 },
                "the frame hello claims 342 bytes",
            ),
            (WireError::Truncated(Field::Nonce), "the frame ends before the end of the nonce"),
            (
                WireError::Unknown { field: Field::AddressTag, byte: 9 },
                "the tag of an address can't be 9",
            ),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
