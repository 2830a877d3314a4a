//! The keys of a file.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The secret of a file, from which all its keys are derived.
///
/// Each file needs a secret of its own, drawn from the operating system: two files with one secret
/// share their key stream.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 16]);

/// The part of the secret with which the chunks of a file can be recognised, opened and sealed
/// again, but not read.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeepSecret([u8; 16]);

impl Secret {
    /// Returns a secret of random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the part with which the file can be kept alive.
    #[must_use]
    pub fn keep(&self) -> KeepSecret {
        KeepSecret(first_half(blake3::derive_key("clacks-store 2026 keep", &self.0)))
    }

    /// Returns the key of the stream cipher that makes the file unreadable for keepers.
    pub(crate) fn content_key(&self) -> ContentKey {
        ContentKey(blake3::derive_key("clacks-store 2026 content", &self.0))
    }
}

impl KeepSecret {
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the keys of the chunks.
    #[must_use]
    pub fn chunk_keys(&self) -> ChunkKeys {
        ChunkKeys {
            tag: first_half(blake3::derive_key("clacks-store 2026 tag", &self.0)),
            seal: blake3::derive_key("clacks-store 2026 seal", &self.0),
        }
    }
}

/// The keys with which the chunks of a file are recognised and opened.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ChunkKeys {
    pub(crate) tag: [u8; 16],
    pub(crate) seal: [u8; 32],
}

/// The key of the content.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct ContentKey(pub(crate) [u8; 32]);

fn first_half(mut key: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key[..16]);
    key.zeroize();
    half
}

// Secrets must not get into logs.

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for KeepSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepSecret(..)")
    }
}

impl fmt::Debug for ChunkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_output_contains_no_key() {
        let secret = Secret::new([0xAB; 16]);
        for text in [
            format!("{secret:?}"),
            format!("{:?}", secret.keep()),
            format!("{:?}", secret.keep().chunk_keys()),
        ] {
            assert!(text.ends_with("(..)"), "{text}");
        }
    }

    #[test]
    fn ciphers_wipe_their_keys() {
        // Compiles only with the features of both crates.
        fn wipes<T: ZeroizeOnDrop>() {}
        wipes::<chacha20poly1305::ChaCha20Poly1305>();
        wipes::<chacha20::ChaChaCore<chacha20::R20, chacha20::variants::Ietf>>();
    }

    #[test]
    fn the_keys_of_a_secret_differ_and_never_change() {
        let secret = Secret::new([7; 16]);
        let keys = secret.keep().chunk_keys();
        assert_ne!(secret.bytes(), secret.keep().bytes());
        assert_ne!(keys.seal, secret.content_key().0);
        let all =
            [&secret.keep().bytes()[..], &secret.content_key().0, &keys.tag, &keys.seal].concat();
        // Recorded with the first version of the format.
        assert_eq!(blake3::hash(&all).to_hex().as_str(), include_str!("golden/keys").trim());
    }
}
