//! Links: the text with which a file is read, or kept alive.
//!
//! A link is bech32m (BIP 350): lower or upper case, no punctuation, and any three wrong characters
//! are noticed. Behind the checksum are 55 bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | the version, 1, in the upper half and the redundancy in the lower one |
//! | 16 | the secret, or the keep secret |
//! | 3 | the number of data shards |
//! | 3 | the Unix hour at whose end the file is over |
//! | 32 | the Merkle root |

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use zeroize::{Zeroize, Zeroizing};

use crate::geometry::Geometry;
use crate::keys::{ChunkKeys, KeepSecret, Secret};
use crate::merkle::Root;

const VERSION: u8 = 1;
const READ: Hrp = Hrp::parse_unchecked("clacks");
const KEEP: Hrp = Hrp::parse_unchecked("keeper");
const BYTES: usize = 55;

/// What both links say about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// How the file is divided.
    pub geometry: Geometry,
    /// The Unix hour at whose end the file is over, below 2^24.
    pub until: u32,
    /// The root of the Merkle tree over all shards.
    pub root: Root,
}

impl FileId {
    /// Returns the first eight hexadecimal digits of the root, for names of files on disk.
    #[must_use]
    pub fn short_name(&self) -> String {
        self.root.bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The right to read a file, and to keep it alive.
///
/// The text is a secret: it must not get into logs. `Display` writes it.
///
/// ```
/// use clacks_store::{FileId, Geometry, ReadLink, Root, Secret};
///
/// let geometry = Geometry::new(2, 93)?;
/// let file = FileId { geometry, until: 498_000, root: Root::new([3; 32]) };
/// let link = ReadLink::new(Secret::new([7; 16]), file);
/// let text = link.to_string();
/// assert!(text.starts_with("clacks1"));
/// assert_eq!(text.to_uppercase().parse::<ReadLink>()?, link);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLink {
    secret: Secret,
    file: FileId,
}

/// The right to keep a file alive, without the right to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepLink {
    secret: KeepSecret,
    file: FileId,
}

/// The error of a text that is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// A character that no link contains.
    Character {
        /// The character.
        character: char,
        /// Its place, from 1.
        place: usize,
    },
    /// The checksum or the length is wrong, or the text is no link at all.
    Mistyped,
    /// A link that only keeps the file alive, where one that reads it is needed.
    IsKeepLink,
    /// A link that reads the file, where one that only keeps it alive is needed.
    IsReadLink,
    /// The version is unknown.
    Version(u8),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { character, place } => {
                write!(f, "the link has {character:?} at place {place}, which no link contains")
            }
            Self::Mistyped => f.write_str("the link is mistyped or incomplete"),
            Self::IsKeepLink => {
                f.write_str("this link keeps the file alive and can't read it: use the read link")
            }
            Self::IsReadLink => f.write_str("this link reads the file: use the keep link"),
            Self::Version(version) => {
                write!(
                    f,
                    "the link has version {version}: it needs a newer version of this program"
                )
            }
        }
    }
}

impl core::error::Error for LinkError {}

impl ReadLink {
    /// Returns the link of a file.
    #[must_use]
    pub fn new(secret: Secret, file: FileId) -> Self {
        Self { secret, file }
    }

    /// Returns what the link says about the file.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Returns the secret.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the link that keeps the file alive.
    #[must_use]
    pub fn keep(&self) -> KeepLink {
        KeepLink { secret: self.secret.keep(), file: self.file }
    }
}

impl KeepLink {
    /// Returns what the link says about the file.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Returns the keys of the chunks.
    #[must_use]
    pub fn chunk_keys(&self) -> ChunkKeys {
        self.secret.chunk_keys()
    }

    /// Returns the link of the same file with a later end.
    #[must_use]
    pub fn renewed(&self, until: u32) -> Self {
        Self { secret: self.secret.clone(), file: FileId { until, ..self.file } }
    }
}

impl fmt::Display for ReadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(READ, self.secret.bytes(), &self.file, f)
    }
}

impl fmt::Display for KeepLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(KEEP, self.secret.bytes(), &self.file, f)
    }
}

impl FromStr for ReadLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (secret, file) = parse(READ, text)?;
        Ok(Self { secret: Secret::new(*secret), file })
    }
}

impl FromStr for KeepLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (secret, file) = parse(KEEP, text)?;
        Ok(Self { secret: KeepSecret::new(*secret), file })
    }
}

fn write_text(
    hrp: Hrp,
    secret: &[u8; 16],
    file: &FileId,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
    bytes.push(VERSION << 4 | file.geometry.redundancy());
    bytes.extend(secret);
    bytes.extend(&file.geometry.shards().to_be_bytes()[1..]);
    bytes.extend(&file.until.to_be_bytes()[1..]);
    bytes.extend(file.root.bytes());
    let mut text: String = bech32::encode::<Bech32m>(hrp, &bytes).map_err(|_| fmt::Error)?;
    let result = f.pad(&text);
    text.zeroize();
    result
}

fn parse(expected: Hrp, text: &str) -> Result<(Zeroizing<[u8; 16]>, FileId), LinkError> {
    let checked = CheckedHrpstring::new::<Bech32m>(text.trim()).map_err(|_| mistake(text))?;
    let bytes = Zeroizing::new(checked.byte_iter().collect::<Vec<u8>>());
    match checked.hrp() {
        hrp if hrp == expected => {}
        hrp if hrp == KEEP => return Err(LinkError::IsKeepLink),
        hrp if hrp == READ => return Err(LinkError::IsReadLink),
        _ => return Err(LinkError::Mistyped),
    }
    let version = bytes.first().map_or(0, |first| first >> 4);
    if version != VERSION {
        return Err(LinkError::Version(version));
    }
    let bytes: &[u8; BYTES] = bytes.as_slice().try_into().map_err(|_| LinkError::Mistyped)?;
    let number = |at: usize| u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]]);
    let geometry = Geometry::new(bytes[0] & 0x0F, number(17)).map_err(|_| LinkError::Mistyped)?;
    let (mut secret, mut root) = (Zeroizing::new([0; 16]), [0; 32]);
    secret.copy_from_slice(&bytes[1..17]);
    root.copy_from_slice(&bytes[23..]);
    Ok((secret, FileId { geometry, until: number(20), root: Root::new(root) }))
}

/// Returns what is wrong with a text. A character is named only if no link contains it: the code
/// does not show which one was mistyped.
fn mistake(text: &str) -> LinkError {
    let is_foreign = |character: char| match character.to_ascii_lowercase() {
        'b' | 'i' | 'o' => true,
        character => !character.is_ascii_alphanumeric(),
    };
    // Spaces around the link are not part of it, and count for the place.
    let spaces = text.chars().take_while(|character| character.is_whitespace()).count();
    let mut data = (1..).zip(text.trim_end().chars()).skip(spaces + READ.len() + 1);
    match data.find(|(_, character)| is_foreign(*character)) {
        Some((place, character)) => LinkError::Character { character, place },
        None => LinkError::Mistyped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn link(secret: u8) -> ReadLink {
        let geometry = Geometry::new(2, 93).unwrap();
        let file = FileId { geometry, until: 498_000, root: Root::new([3; 32]) };
        ReadLink::new(Secret::new([secret; 16]), file)
    }

    #[test]
    fn the_text_of_a_link_never_changes() {
        let text = link(7).to_string();
        assert_eq!((text.len(), text.as_str()), (101, include_str!("golden/link").trim()));
        assert!(text.starts_with("clacks1z"), "{text}");
    }

    #[test]
    fn both_links_are_read_as_they_are_written() {
        let link = link(9);
        for text in [link.to_string(), link.to_string().to_uppercase()] {
            assert_eq!(text.parse(), Ok(link.clone()));
        }
        assert_eq!(alloc::format!("  {link}\n").parse(), Ok(link.clone()));
        let keep = link.keep();
        assert_eq!(keep.to_string().parse(), Ok(keep.clone()));
        assert_eq!(keep.to_string().parse::<ReadLink>(), Err(LinkError::IsKeepLink));
        assert_eq!(link.to_string().parse::<KeepLink>(), Err(LinkError::IsReadLink));
        assert_eq!(keep.renewed(1).file().until, 1);
    }

    #[test]
    fn a_character_that_no_link_contains_is_named_with_its_place() {
        let text = link(7).to_string();
        let with = |place: usize, character: &str| {
            let mut text = text.clone();
            text.replace_range(place - 1..place, character);
            text.parse::<ReadLink>().unwrap_err()
        };
        for character in ["b", "i", "o", "O", "-", " ", "é"] {
            let expected =
                LinkError::Character { character: character.chars().next().unwrap(), place: 40 };
            assert_eq!(with(40, character), expected);
        }
        assert_eq!(with(40, if &text[39..40] == "q" { "p" } else { "q" }), LinkError::Mistyped);
        assert_eq!(text[..100].parse::<ReadLink>(), Err(LinkError::Mistyped));
        assert_eq!("".parse::<ReadLink>(), Err(LinkError::Mistyped));
        let error = "https://example".parse::<ReadLink>().unwrap_err();
        assert_eq!(error, LinkError::Character { character: '/', place: 8 });
        for (text, place) in [("  https://example", 10), ("ééééééé/\n", 8)] {
            let error = text.parse::<ReadLink>().unwrap_err();
            assert_eq!(error, LinkError::Character { character: '/', place });
        }
        assert_eq!("ééééb".parse::<ReadLink>(), Err(LinkError::Mistyped));
    }

    #[test]
    fn an_unknown_version_is_an_error() {
        let bytes = [0x22; BYTES];
        let text = bech32::encode::<Bech32m>(READ, &bytes).unwrap();
        assert_eq!(text.parse::<ReadLink>(), Err(LinkError::Version(2)));
        let text = bech32::encode::<Bech32m>(READ, &[0x12; 54]).unwrap();
        assert_eq!(text.parse::<ReadLink>(), Err(LinkError::Mistyped));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn up_to_three_wrong_characters_are_noticed(
            secret: u8,
            changes in prop::collection::vec((7usize..101, 1u8..32), 1..=3),
        ) {
            const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
            let right = link(secret).to_string();
            let mut text = right.clone().into_bytes();
            for (place, change) in changes {
                let value = ALPHABET.iter().position(|it| *it == text[place]).unwrap();
                text[place] = ALPHABET[value ^ usize::from(change)];
            }
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(text.parse::<ReadLink>().is_ok(), text == right);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = text.parse::<ReadLink>();
            let _ = alloc::format!("clacks1{text}").parse::<KeepLink>();
        }
    }
}
