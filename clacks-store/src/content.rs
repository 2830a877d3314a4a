//! The content of a file: name, length and bytes, encrypted and cut into data shards.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | the version, 1 |
//! | 1 | the length of the name |
//! | | the name, UTF-8 |
//! | 8 | the length of the file |
//! | | the file |
//! | | zeros, up to the end of the last group |
//!
//! The whole is encrypted with ChaCha20 under the content key. The Merkle root authenticates it.
//! The cipher can start at each shard, so a file is read in any order of its groups.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use crate::geometry::{Geometry, GeometryError, SHARD};
use crate::keys::Secret;

const VERSION: u8 = 1;

/// The longest name of a file, in bytes.
pub const MAX_NAME: usize = 255;

/// The name and the length of a file, which come before its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The name that the file had where it was put. It comes from a stranger: see
    /// [`safe_name`](Self::safe_name).
    pub name: String,
    /// The bytes of the file.
    pub len: u64,
}

/// The error of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name has more than 255 bytes.
    NameTooLong,
    /// The version is unknown.
    Version(u8),
    /// The header ends early, its name is not UTF-8, or the file is longer than its shards.
    Invalid,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTooLong => f.write_str("the name of the file has more than 255 bytes"),
            Self::Version(version) => write!(f, "the file has the unknown version {version}"),
            Self::Invalid => f.write_str("the file begins with an invalid header"),
        }
    }
}

impl core::error::Error for HeaderError {}

impl FileHeader {
    /// Returns the encoded header.
    ///
    /// # Errors
    ///
    /// If the name is too long.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let len = u8::try_from(self.name.len()).map_err(|_| HeaderError::NameTooLong)?;
        let mut bytes = vec![VERSION, len];
        bytes.extend(self.name.as_bytes());
        bytes.extend(self.len.to_be_bytes());
        Ok(bytes)
    }

    /// Decodes the header at the beginning of the first shard. Returns it with its length.
    ///
    /// # Errors
    ///
    /// If the bytes are no header of a file of this geometry.
    pub fn decode(bytes: &[u8], geometry: Geometry) -> Result<(Self, usize), HeaderError> {
        let (&[version, name_len], rest) = bytes.split_first_chunk().ok_or(HeaderError::Invalid)?;
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let (name, rest) = rest.split_at_checked(name_len.into()).ok_or(HeaderError::Invalid)?;
        let name = core::str::from_utf8(name).map_err(|_| HeaderError::Invalid)?;
        let len = u64::from_be_bytes(*rest.first_chunk().ok_or(HeaderError::Invalid)?);
        let header_len = 2 + usize::from(name_len) + 8;
        let room = u64::from(geometry.shards()) * SHARD as u64 - header_len as u64;
        if len > room {
            return Err(HeaderError::Invalid);
        }
        Ok((Self { name: name.into(), len }, header_len))
    }

    /// Returns the number of data shards of the file.
    ///
    /// # Errors
    ///
    /// If the file is too large for one link.
    pub fn geometry(&self, redundancy: u8) -> Result<Geometry, GeometryError> {
        let len = self.len.saturating_add(2 + self.name.len() as u64 + 8);
        let shards = u32::try_from(len.div_ceil(SHARD as u64)).unwrap_or(u32::MAX);
        Geometry::new(redundancy, shards)
    }

    /// Returns a name under which the file can be written: without folders, leading dots and
    /// dashes, and characters that a terminal interprets or shows in another order. `None` if
    /// nothing is left.
    #[must_use]
    pub fn safe_name(&self) -> Option<String> {
        let last = self.name.rsplit(['/', '\\']).next().unwrap_or_default();
        let name: String = last.chars().filter(|character| !is_invisible(*character)).collect();
        let is_leading =
            |character: char| matches!(character, '.' | '-') || character.is_whitespace();
        let name = name.trim_start_matches(is_leading).trim_end();
        (!name.is_empty()).then(|| name.into())
    }
}

/// Returns whether a character is invisible, or changes how a terminal shows other characters:
/// control characters, marks of direction, joiners, fillers, separators.
#[must_use]
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}'
            | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}')
}

/// Bytes are beyond the 256 GiB of a key stream. A file is shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherError;

impl fmt::Display for CipherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shards are beyond the end of the key stream")
    }
}

impl core::error::Error for CipherError {}

/// Encrypts or decrypts data shards that begin at a place of the file's stream, in shards.
///
/// The cipher is its own inverse.
///
/// # Errors
///
/// If the shards are beyond the end of the key stream. All bytes are zeros then, so that no caller
/// sends them in clear.
pub fn apply_cipher(
    secret: &Secret,
    first_shard: u32,
    bytes: &mut [u8],
) -> Result<(), CipherError> {
    let key = secret.content_key();
    let mut cipher = ChaCha20::new(&key.0.into(), &[0; 12].into());
    let applied = cipher
        .try_seek(u64::from(first_shard) * SHARD as u64)
        .and_then(|()| cipher.try_apply_keystream(bytes));
    applied.map_err(|_| {
        bytes.fill(0);
        CipherError
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(name: &str, len: u64) -> FileHeader {
        FileHeader { name: name.into(), len }
    }

    #[test]
    fn the_stream_of_a_file_never_changes() {
        let mut bytes = header("photo.jpg", 5).encode().unwrap();
        bytes.extend(b"hello");
        bytes.resize(2 * SHARD, 0);
        apply_cipher(&Secret::new([7; 16]), 0, &mut bytes).unwrap();
        let hash = blake3::hash(&bytes);
        assert_eq!(hash.to_hex().as_str(), include_str!("golden/content").trim());
    }

    #[test]
    fn the_cipher_starts_at_any_shard() {
        let secret = Secret::new([7; 16]);
        let mut whole = vec![0; 3 * SHARD];
        apply_cipher(&secret, 0, &mut whole).unwrap();
        let mut last = vec![0; SHARD];
        apply_cipher(&secret, 2, &mut last).unwrap();
        assert_eq!(whole[2 * SHARD..], last);
        apply_cipher(&secret, 0, &mut whole).unwrap();
        assert!(whole.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn no_byte_beyond_the_key_stream_is_left_in_clear() {
        let secret = Secret::new([7; 16]);
        // 256 GiB end within the shard after the last whole one.
        let end = u32::try_from((256u64 << 30) / SHARD as u64).unwrap();
        for first in [end, end + 1, u32::MAX] {
            let mut bytes = vec![1; SHARD];
            assert_eq!(apply_cipher(&secret, first, &mut bytes), Err(CipherError), "{first}");
            assert!(bytes.iter().all(|byte| *byte == 0), "{first}");
        }
        assert_eq!(apply_cipher(&secret, end - 1, &mut vec![1; SHARD]), Ok(()));
    }

    #[test]
    fn invalid_headers_are_refused() {
        let geometry = Geometry::new(2, 1).unwrap();
        let decode = |bytes: &[u8]| FileHeader::decode(bytes, geometry);
        assert_eq!(decode(&[]), Err(HeaderError::Invalid));
        assert_eq!(decode(&[2, 0]), Err(HeaderError::Version(2)));
        assert_eq!(decode(&[1, 3, b'a']), Err(HeaderError::Invalid));
        assert_eq!(decode(&[1, 1, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0]), Err(HeaderError::Invalid));
        let fits = header("a", SHARD as u64 - 11);
        assert_eq!(decode(&fits.encode().unwrap()), Ok((fits, 11)));
        let long = header("a", SHARD as u64 - 10).encode().unwrap();
        assert_eq!(decode(&long), Err(HeaderError::Invalid));
        assert_eq!(header(&"a".repeat(256), 1).encode(), Err(HeaderError::NameTooLong));
    }

    #[test]
    fn names_from_strangers_are_made_safe() {
        let safe = |name: &str| header(name, 0).safe_name();
        assert_eq!(safe("photo.jpg").as_deref(), Some("photo.jpg"));
        assert_eq!(safe("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(safe("C:\\windows\\system.ini").as_deref(), Some("system.ini"));
        assert_eq!(safe("..bashrc").as_deref(), Some("bashrc"));
        assert_eq!(safe("-rf").as_deref(), Some("rf"));
        assert_eq!(safe("a\x1b[2Jb\n").as_deref(), Some("a[2Jb"));
        assert_eq!(safe("evil\u{202E}gpj.exe").as_deref(), Some("evilgpj.exe"));
        assert_eq!(safe(". .bash_profile").as_deref(), Some("bash_profile"));
        assert_eq!(safe("- -rf").as_deref(), Some("rf"));
        assert_eq!(safe("in\u{2028}vi\u{AD}si\u{3164}ble").as_deref(), Some("invisible"));
        for name in ["", "..", "a/", "-", "\u{200B}", " . "] {
            assert_eq!(safe(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_is_written(name in ".{0,60}", len in 0u64..1_000_000_000) {
            let header = header(&name, len);
            let geometry = header.geometry(2).unwrap();
            let bytes = header.encode().unwrap();
            prop_assert_eq!(FileHeader::decode(&bytes, geometry), Ok((header, bytes.len())));
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes: Vec<u8>) {
            let geometry = Geometry::new(2, 1).unwrap();
            if let Ok((header, _)) = FileHeader::decode(&bytes, geometry) {
                let _ = header.safe_name();
            }
        }
    }
}
