//! Builds arbitrary frames from arbitrary bytes. Property tests and fuzz targets share this
//! builder. Both shrink a frame by shrinking its bytes.
#![allow(clippy::unwrap_used, reason = "compiled only for tests and fuzz targets")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::{NonZeroU16, NonZeroU64};
use core::str;

use super::{
    AnnounceFrame, Attempt, Farewell, Frame, Hello, MAX_BODY, MAX_DATAGRAM, MAX_FRIENDS,
    MAX_NETWORK, MAX_REST, MAX_WINDOW, MIN_VERSION, MessageFrame, RefusedReason, TransferId,
};
use crate::{Address, Kind, Lifetime, Name, Nonce, Window};
use alloc::string::String;
use alloc::vec::Vec;

/// The bytes that choices are made from. Every choice is the first one when they run out.
pub(crate) struct Supply<'a>(pub(crate) &'a [u8]);

impl<'a> Supply<'a> {
    /// Returns a frame that the format can carry. A body of kind bytes and a datagram take the rest
    /// of the supply.
    pub(crate) fn frame(&mut self) -> Frame<'a> {
        match self.below(7) {
            0 => Frame::Message(self.message()),
            1 => Frame::Hello(self.hello()),
            2 => Frame::Announce(AnnounceFrame { transfer: self.word(), friends: self.friends() }),
            3 => Frame::Confirmed { through: self.word() },
            4 => Frame::Refused {
                transfer: self.word(),
                reason: self.code(4, RefusedReason::from_code),
            },
            5 if !self.0.is_empty() => Frame::Datagram(core::mem::take(&mut self.0)),
            _ => Frame::Goodbye { farewell: self.code(7, Farewell::from_code) },
        }
    }

    fn hello(&mut self) -> Hello<'a> {
        let small = |word: u64, max: u64| word % max + 1;
        Hello {
            version: self.byte().max(MIN_VERSION),
            incarnation: self.word(),
            link: self.word(),
            max_message: u32::try_from(small(self.word(), MAX_BODY as u64)).unwrap(),
            window: Window {
                messages: u16::try_from(small(self.word(), MAX_WINDOW.into())).unwrap(),
                bytes: u32::from_be_bytes(self.array()),
            },
            datagram: u32::from_be_bytes(self.array()) % (MAX_DATAGRAM + 1),
            address: self.maybe_address(),
            network: self.text(MAX_NETWORK),
            rest: self.bytes(MAX_REST),
        }
    }

    fn message(&mut self) -> MessageFrame<'a> {
        let kind = self.code(3, Kind::from_code);
        MessageFrame {
            transfer: self.word(),
            retry_of: match self.code(2, Attempt::from_code) {
                Attempt::First => None,
                Attempt::Retry => {
                    let number = NonZeroU64::new(self.word()).unwrap_or(NonZeroU64::MIN);
                    Some(TransferId { link: self.word(), number })
                }
            },
            lifetime: Lifetime::from_wire(u32::from_be_bytes(self.array()).max(1)).unwrap(),
            nonce: Nonce(u128::from_be_bytes(self.array())),
            kind,
            friend: self.maybe_address(),
            body: match kind {
                Kind::Bytes => core::mem::take(&mut self.0),
                Kind::Text | Kind::Json => self.text(usize::MAX).as_bytes(),
            },
        }
    }

    fn friends(&mut self) -> Vec<Address> {
        let count = usize::from(self.byte()) % (MAX_FRIENDS + 1);
        (0..count).filter_map(|_| self.maybe_address()).collect()
    }

    fn maybe_address(&mut self) -> Option<Address> {
        let port = u16::from_be_bytes(self.array()).max(1);
        let port = NonZeroU16::new(port).unwrap();
        let any = |ip: IpAddr| Address::from_ip(ip, port).ok();
        match self.below(4) {
            0 => None,
            1 => any(Ipv4Addr::from(self.array::<4>()).into()),
            2 => any(Ipv6Addr::from(self.array::<16>()).into()),
            _ => {
                let name = self.name();
                Some(Address::from_name(Name::new(&name).unwrap(), port))
            }
        }
    }

    /// Returns a valid name of several short labels. The last label is a letter, so that the name
    /// can't be parsed as an IP address.
    fn name(&mut self) -> String {
        let mut name = String::new();
        for _ in 0..self.below(60) {
            let letters = b"abcxyz0189_";
            let letter = |byte: u8| char::from(letters[usize::from(byte) % letters.len()]);
            name.extend([letter(self.byte()), '-', letter(self.byte()), '.']);
        }
        name + "t"
    }

    /// Returns the longest prefix of the supply that is valid text, at most `max` bytes.
    fn text(&mut self, max: usize) -> &'a str {
        let some = &self.0[..max.min(self.0.len())];
        let valid = str::from_utf8(some).map_or_else(|error| error.valid_up_to(), str::len);
        let (text, rest) = self.0.split_at(valid);
        self.0 = rest;
        str::from_utf8(text).unwrap()
    }

    fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = usize::from(self.byte()) % (max + 1);
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn code<T>(&mut self, count: u8, from_code: fn(u8) -> Option<T>) -> T {
        from_code(self.below(count)).unwrap()
    }

    pub(crate) fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (some, rest) = self.0.split_at(N.min(self.0.len()));
        array[..some.len()].copy_from_slice(some);
        self.0 = rest;
        array
    }
}

#[cfg(test)]
pub(super) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// Returns an address whose encoding has the maximum length.
#[cfg(test)]
pub(super) fn longest_name() -> Address {
    let label = "a".repeat(63) + ".";
    let name = label.repeat(3) + &"b".repeat(61);
    assert_eq!(name.len(), crate::MAX_NAME);
    Address::new(&name, 65535).unwrap()
}
