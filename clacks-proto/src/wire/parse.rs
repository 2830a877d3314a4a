//! Parses the payload of one complete frame.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::{NonZeroU16, NonZeroU64};
use core::str;

use super::error::{Field, WireError};
use super::frame::{
    AnnounceFrame, Attempt, Farewell, Frame, FrameKind, Hello, MessageFrame, RefusedReason,
    TransferId, Window,
};
use super::{
    MAX_BODY, MAX_DATAGRAM, MAX_FRIENDS, MAX_NETWORK, MAX_REST, MAX_WINDOW, MESSAGE_FIXED,
    MIN_VERSION,
};
use crate::address::{Address, Host, Name};
use crate::message::{Kind, Lifetime, Nonce};

#[inline(always)]
pub(super) fn parse(
    kind: FrameKind,
    payload: &[u8],
    max_body: usize,
) -> Result<Frame<'_>, WireError> {
    let mut fields = Fields { rest: payload };
    let frame = match kind {
        FrameKind::Hello => Frame::Hello(fields.hello()?),
        // The body takes the rest, so there are no trailing bytes.
        FrameKind::Message => return fields.message(max_body).map(Frame::Message),
        FrameKind::Announce => Frame::Announce(AnnounceFrame {
            transfer: fields.u64(Field::Transfer)?,
            friends: fields.friends()?,
        }),
        // The decoder has checked the maximum.
        FrameKind::Datagram if payload.is_empty() => {
            return Err(WireError::Truncated(Field::Datagram));
        }
        FrameKind::Datagram => return Ok(Frame::Datagram(payload)),
        FrameKind::Confirmed => Frame::Confirmed { through: fields.u64(Field::Transfer)? },
        FrameKind::Refused => Frame::Refused {
            transfer: fields.u64(Field::Transfer)?,
            reason: fields.one_of(Field::Reason, RefusedReason::from_code)?,
        },
        FrameKind::Goodbye => {
            Frame::Goodbye { farewell: fields.one_of(Field::Farewell, Farewell::from_code)? }
        }
    };
    if fields.rest.is_empty() { Ok(frame) } else { Err(WireError::Trailing(kind)) }
}

/// Decodes an address as it is in frames, and removes it from the input. `None` is an absent
/// address. Applications use this for the addresses in their datagrams.
///
/// # Errors
///
/// If the address ends early or is not canonical. The input is unspecified then.
pub fn decode_address(input: &mut &[u8]) -> Result<Option<Address>, WireError> {
    let mut fields = Fields { rest: input };
    let address = fields.address();
    *input = fields.rest;
    address
}

/// The part of the payload that is not yet parsed.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn hello(&mut self) -> Result<Hello<'a>, WireError> {
        Ok(Hello {
            version: self.version()?,
            incarnation: self.u64(Field::Incarnation)?,
            link: self.u64(Field::Link)?,
            max_message: self.max_message()?,
            window: Window { messages: self.window()?, bytes: self.u32(Field::WindowBytes)? },
            datagram: self.datagram()?,
            network: self.network()?,
            address: self.address()?,
            rest: self.rest()?,
        })
    }

    fn version(&mut self) -> Result<u8, WireError> {
        let version = self.u8(Field::Version)?;
        if version >= MIN_VERSION { Ok(version) } else { Err(WireError::Version(version)) }
    }

    fn datagram(&mut self) -> Result<u32, WireError> {
        let len = self.u32(Field::Datagram)?;
        if len <= MAX_DATAGRAM { Ok(len) } else { Err(WireError::Range(Field::Datagram)) }
    }

    fn rest(&mut self) -> Result<&'a [u8], WireError> {
        let rest = core::mem::take(&mut self.rest);
        if rest.len() <= MAX_REST { Ok(rest) } else { Err(WireError::Range(Field::Rest)) }
    }

    fn max_message(&mut self) -> Result<u32, WireError> {
        let len = self.u32(Field::MaxMessage)?;
        let fits = len > 0 && usize::try_from(len).is_ok_and(|len| len <= MAX_BODY);
        if fits { Ok(len) } else { Err(WireError::Range(Field::MaxMessage)) }
    }

    fn window(&mut self) -> Result<u16, WireError> {
        let messages = u16::from_be_bytes(*self.array(Field::WindowMessages)?);
        let fits = (1..=MAX_WINDOW).contains(&messages);
        if fits { Ok(messages) } else { Err(WireError::Range(Field::WindowMessages)) }
    }

    fn network(&mut self) -> Result<&'a str, WireError> {
        let len = usize::from(self.u8(Field::Network)?);
        if len > MAX_NETWORK {
            return Err(WireError::Range(Field::Network));
        }
        let bytes = self.bytes(len, Field::Network)?;
        str::from_utf8(bytes).map_err(|_| WireError::Utf8(Field::Network))
    }

    #[inline(always)]
    fn message(&mut self, max_body: usize) -> Result<MessageFrame<'a>, WireError> {
        let (transfer, attempt, lifetime, nonce, kind) = match self.rest.split_first_chunk() {
            Some((fixed, rest)) => {
                self.rest = rest;
                // One length check covers all of these fields.
                Fields { rest: fixed as &[u8; MESSAGE_FIXED] }.message_fields()?
            }
            None => self.message_fields()?,
        };
        let retry_of = match attempt {
            Attempt::First => None,
            Attempt::Retry => Some(self.transfer_id()?),
        };
        let friend = self.address()?;
        let body = core::mem::take(&mut self.rest);
        if body.len() > max_body {
            return Err(WireError::Range(Field::Body));
        }
        match kind {
            Kind::Bytes => {}
            Kind::Text | Kind::Json => {
                str::from_utf8(body).map_err(|_| WireError::Utf8(Field::Body))?;
            }
        }
        Ok(MessageFrame { transfer, retry_of, lifetime, nonce, kind, friend, body })
    }

    #[inline(always)]
    fn message_fields(&mut self) -> Result<(u64, Attempt, Lifetime, Nonce, Kind), WireError> {
        let transfer = self.u64(Field::Transfer)?;
        let attempt = self.one_of(Field::Attempt, Attempt::from_code)?;
        let lifetime = self.u32(Field::Lifetime)?;
        let lifetime = Lifetime::from_wire(lifetime).ok_or(WireError::Range(Field::Lifetime))?;
        let nonce = Nonce(u128::from_be_bytes(*self.array(Field::Nonce)?));
        let kind = self.one_of(Field::MessageKind, Kind::from_code)?;
        Ok((transfer, attempt, lifetime, nonce, kind))
    }

    #[inline(never)]
    fn transfer_id(&mut self) -> Result<TransferId, WireError> {
        let link = self.u64(Field::Link)?;
        let number = NonZeroU64::new(self.u64(Field::Transfer)?);
        Ok(TransferId { link, number: number.ok_or(WireError::Range(Field::Transfer))? })
    }

    /// Parses a list of addresses. None of them is absent.
    fn friends(&mut self) -> Result<Vec<Address>, WireError> {
        let count = usize::from(self.u8(Field::Friends)?);
        if count > MAX_FRIENDS {
            return Err(WireError::Range(Field::Friends));
        }
        let absent = WireError::Unknown { field: Field::AddressTag, byte: 0 };
        (0..count).map(|_| self.address()?.ok_or(absent)).collect()
    }

    #[inline(always)]
    fn address(&mut self) -> Result<Option<Address>, WireError> {
        match self.u8(Field::AddressTag)? {
            0 => Ok(None),
            1 => self.named_address().map(Some),
            // Every IPv4 address has only one encoding, so no comparison is needed.
            4 => {
                let ip = Ipv4Addr::from(*self.array::<4>(Field::Host)?);
                let address = Address::from_ip(ip.into(), self.port()?);
                address.map(Some).map_err(|_| WireError::Host)
            }
            6 => self.ipv6_address().map(Some),
            byte => Err(WireError::Unknown { field: Field::AddressTag, byte }),
        }
    }

    /// Parses an IPv6 address. Refuses an address that the constructor of [`Address`] changes,
    /// because such an address is not canonical.
    #[inline(never)]
    fn ipv6_address(&mut self) -> Result<Address, WireError> {
        let ip = IpAddr::from(Ipv6Addr::from(*self.array::<16>(Field::Host)?));
        let address = Address::from_ip(ip, self.port()?).map_err(|_| WireError::Host)?;
        if address.host() == Host::Ip(ip) { Ok(address) } else { Err(WireError::HostSpelling) }
    }

    #[inline(never)]
    fn named_address(&mut self) -> Result<Address, WireError> {
        let len = usize::from(self.u8(Field::Host)?);
        let text = str::from_utf8(self.bytes(len, Field::Host)?).map_err(|_| WireError::Host)?;
        let port = self.port()?;
        let name = Name::new(text).map_err(|_| WireError::Host)?;
        if name.as_str() != text {
            return Err(WireError::HostSpelling);
        }
        Ok(Address::from_name(name, port))
    }

    fn port(&mut self) -> Result<NonZeroU16, WireError> {
        let port = u16::from_be_bytes(*self.array(Field::Port)?);
        NonZeroU16::new(port).ok_or(WireError::Range(Field::Port))
    }

    fn one_of<T>(&mut self, field: Field, from_code: fn(u8) -> Option<T>) -> Result<T, WireError> {
        let byte = self.u8(field)?;
        from_code(byte).ok_or(WireError::Unknown { field, byte })
    }

    fn u8(&mut self, field: Field) -> Result<u8, WireError> {
        self.array(field).map(|[byte]| *byte)
    }

    fn u32(&mut self, field: Field) -> Result<u32, WireError> {
        self.array(field).map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self, field: Field) -> Result<u64, WireError> {
        self.array(field).map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Returns a reference, because copying an array inside a `Result` to an odd offset is slow.
    #[inline(always)]
    fn array<const N: usize>(&mut self, field: Field) -> Result<&'a [u8; N], WireError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated(field))?;
        self.rest = rest;
        Ok(array)
    }

    fn bytes(&mut self, len: usize, field: Field) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated(field))?;
        self.rest = rest;
        Ok(bytes)
    }
}
