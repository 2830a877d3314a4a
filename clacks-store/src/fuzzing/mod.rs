//! The bodies of the fuzz targets. This module is internal and has no stable interface.
//!
//! Each target in `fuzz/` is one line. The tests of this crate run the bodies on the inputs that
//! are kept in `fuzz/`, on any toolchain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a fuzzer recognises a finding by a panic"
)]

#[cfg(test)]
mod replay;
mod store_chunk;
mod store_link;
mod store_machine;
mod store_protocol;

pub use store_chunk::store_chunk;
pub use store_link::store_link;
pub use store_machine::store_machine;
pub use store_protocol::store_protocol;

/// Choices from an input. After its last byte they are zeros.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte().checked_rem(bound).unwrap_or(0)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}
