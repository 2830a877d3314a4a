//! Chunks: shards that are sealed for the network.
//!
//! A chunk has exactly 12 000 bytes, the most that a tower of the JavaScript package takes whatever
//! its address. All but the hour of its end are indistinguishable from random bytes without the
//! keys.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 12 | id | the first bytes of BLAKE3 of all bytes after the check |
//! | 4 | mask | the index XOR the first half of SipHash-2-4 of the id under the tag key |
//! | 4 | check | the second half of SipHash-2-4 of the id and the index under the tag key |
//! | 4 | until | the Unix hour (seconds / 3 600) at whose end stores drop the chunk |
//! | 12 | nonce | random |
//! | 11 964 | box | ChaCha20-Poly1305 of the shard and its Merkle path |
//!
//! Numbers are big-endian. The key of the box is the keyed BLAKE3 of until and nonce under the seal
//! key, so each box has a key of its own, and the nonce of the cipher is zero. Until and nonce are
//! associated data. Id, mask and check are the [`Tag`], by which the owner of the keys recognises a
//! chunk. Each store checks the id, so a byte that is changed under way is noticed at the next
//! store. A reader checks the word `check`, which depends on the tag key: without this key, a
//! forged tag names another index with a probability of 2^-32 only.

use alloc::boxed::Box;
use core::fmt;
use core::hash::Hasher;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use siphasher::sip::SipHasher24;
use zeroize::Zeroize;

use crate::geometry::SHARD;
use crate::keys::ChunkKeys;
use crate::merkle::{PATH, Path};

/// The bytes of a chunk.
pub const CHUNK: usize = 12_000;

const ID: usize = 12;
const TAG: usize = ID + 8;
const NONCE: usize = TAG + 4;
const BOX: usize = NONCE + 12;
const PATH_BYTES: usize = PATH * 32;
const PLAIN: usize = SHARD + PATH_BYTES;
const MAC: usize = 16;
const _: () = assert!(BOX + PLAIN + MAC == CHUNK);

/// The public name of a chunk: its id, mask and check. Each injection of a shard has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; TAG]);

impl Tag {
    /// The bytes of a tag.
    pub const LEN: usize = TAG;

    /// Returns the tag of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; TAG]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; TAG] {
        &self.0
    }

    /// Returns the index of the shard, if the tag is one of the file with these keys. A tag of
    /// another file passes with a probability of 2^-32, and its box does not open.
    #[must_use]
    pub fn recognise(&self, keys: &ChunkKeys) -> Option<u32> {
        let (id, mask) = self.0.split_at(ID);
        let (mask, check) = mask.split_first_chunk()?;
        let index = u32::from_be_bytes(*mask) ^ pad_of(keys, id);
        (check == check_of(keys, id, index).to_be_bytes()).then_some(index)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

/// A chunk whose id is that of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a>(&'a [u8; CHUNK]);

impl<'a> Chunk<'a> {
    /// Returns the chunk of these bytes, or `None` if their length or their id is wrong.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes: &[u8; CHUNK] = bytes.try_into().ok()?;
        (bytes[..ID] == id_of(bytes)).then_some(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8; CHUNK] {
        self.0
    }

    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.0[..TAG]);
        Tag(tag)
    }

    /// Returns the Unix hour at whose end the chunk is over.
    #[must_use]
    pub fn until(&self) -> u32 {
        let mut until = [0; 4];
        until.copy_from_slice(&self.0[TAG..NONCE]);
        u32::from_be_bytes(until)
    }

    /// Opens the chunk. Returns `None` if it is not one of the file with these keys.
    ///
    /// The shard is not authenticated by this. A holder of the keep link can seal other bytes, so
    /// check the shard and its path with [`prove`](crate::prove).
    #[must_use]
    pub fn open(&self, keys: &ChunkKeys) -> Option<OpenedChunk> {
        let index = self.tag().recognise(keys)?;
        let mut opened = OpenedChunk { index, plain: Box::new([0; PLAIN]) };
        let (header, sealed) = self.0[TAG..].split_at(BOX - TAG);
        let (sealed, mac) = sealed.split_at(CHUNK - BOX - MAC);
        opened.plain.copy_from_slice(sealed);
        let mac = mac.try_into().ok()?;
        cipher(keys, header)
            .decrypt_inout_detached(&[0; 12].into(), header, (&mut opened.plain[..]).into(), mac)
            .ok()?;
        Some(opened)
    }
}

impl fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("tag", &self.tag()).field("until", &self.until()).finish()
    }
}

/// The content of a chunk: a shard with its Merkle path.
pub struct OpenedChunk {
    index: u32,
    plain: Box<[u8; PLAIN]>,
}

impl OpenedChunk {
    /// Returns the index of the shard.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns the shard.
    #[must_use]
    pub fn shard(&self) -> &[u8] {
        &self.plain[..SHARD]
    }

    /// Returns the Merkle path.
    #[must_use]
    pub fn path(&self) -> Path {
        let mut path = [[0; 32]; PATH];
        for (node, bytes) in path.iter_mut().zip(self.plain[SHARD..].chunks_exact(32)) {
            node.copy_from_slice(bytes);
        }
        Path(path)
    }
}

impl fmt::Debug for OpenedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedChunk").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Drop for OpenedChunk {
    fn drop(&mut self) {
        self.plain.zeroize();
    }
}

/// Seals a shard with its Merkle path. `until` is the Unix hour at whose end the chunk is over. The
/// nonce must be random: a chunk with another nonce has nothing in common with this one.
#[must_use]
pub fn seal(
    keys: &ChunkKeys,
    index: u32,
    shard: &[u8; SHARD],
    path: &Path,
    until: u32,
    nonce: [u8; 12],
) -> Box<[u8; CHUNK]> {
    let mut chunk = Box::new([0; CHUNK]);
    chunk[TAG..NONCE].copy_from_slice(&until.to_be_bytes());
    chunk[NONCE..BOX].copy_from_slice(&nonce);
    let (header, sealed) = chunk[TAG..].split_at_mut(BOX - TAG);
    let (plain, mac) = sealed.split_at_mut(PLAIN);
    plain[..SHARD].copy_from_slice(shard);
    for (bytes, node) in plain[SHARD..].chunks_exact_mut(32).zip(&path.0) {
        bytes.copy_from_slice(node);
    }
    let sealed =
        cipher(keys, header).encrypt_inout_detached(&[0; 12].into(), header, (&mut *plain).into());
    match sealed {
        Ok(code) => mac.copy_from_slice(&code),
        // Only a text of more than 256 GiB. The chunk must not contain the shard in clear then.
        Err(_) => plain.fill(0),
    }
    let id = id_of(&chunk);
    let mask = index ^ pad_of(keys, &id);
    let check = check_of(keys, &id, index);
    chunk[..ID].copy_from_slice(&id);
    chunk[ID..ID + 4].copy_from_slice(&mask.to_be_bytes());
    chunk[ID + 4..TAG].copy_from_slice(&check.to_be_bytes());
    chunk
}

fn id_of(chunk: &[u8; CHUNK]) -> [u8; ID] {
    let hash = blake3::hash(&chunk[TAG..]);
    let mut id = [0; ID];
    id.copy_from_slice(&hash.as_bytes()[..ID]);
    id
}

/// Returns the word that hides the index of a chunk.
fn pad_of(keys: &ChunkKeys, id: &[u8]) -> u32 {
    let mut hasher = SipHasher24::new_with_key(&keys.tag);
    hasher.write(id);
    halves(hasher.finish()).0
}

/// Returns the word that proves the index of a chunk to the owner of the keys.
fn check_of(keys: &ChunkKeys, id: &[u8], index: u32) -> u32 {
    let mut hasher = SipHasher24::new_with_key(&keys.tag);
    hasher.write(id);
    hasher.write(&index.to_be_bytes());
    halves(hasher.finish()).1
}

/// Returns the upper and the lower half.
fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// Returns the cipher of the box with this header.
fn cipher(keys: &ChunkKeys, header: &[u8]) -> ChaCha20Poly1305 {
    let mut key = *blake3::keyed_hash(&keys.seal, header).as_bytes();
    let cipher = ChaCha20Poly1305::new(&key.into());
    key.zeroize();
    cipher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Secret;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn keys(number: u8) -> ChunkKeys {
        Secret::new([number; 16]).keep().chunk_keys()
    }

    fn shard() -> [u8; SHARD] {
        core::array::from_fn(|at| (at % 251) as u8)
    }

    fn path() -> Path {
        let mut path = Path::default();
        path.0[0] = [1; 32];
        path.0[9] = [2; 32];
        path
    }

    fn chunk(nonce: u8) -> Box<[u8; CHUNK]> {
        seal(&keys(7), 77, &shard(), &path(), 498_000, [nonce; 12])
    }

    #[test]
    fn a_chunk_opens_as_it_was_sealed() {
        let bytes = chunk(1);
        let chunk = Chunk::parse(&bytes[..]).unwrap();
        assert_eq!(chunk.until(), 498_000);
        assert_eq!(chunk.tag().recognise(&keys(7)), Some(77));
        let opened = chunk.open(&keys(7)).unwrap();
        assert_eq!((opened.index(), opened.shard()), (77, &shard()[..]));
        assert_eq!(opened.path().0, path().0);
    }

    #[test]
    fn the_bytes_of_a_chunk_never_change() {
        let hash = blake3::hash(&chunk(1)[..]);
        assert_eq!(hash.to_hex().as_str(), include_str!("golden/chunk").trim());
    }

    #[test]
    fn no_chunk_with_a_changed_bit_has_its_tag_and_is_accepted() {
        let bytes = chunk(1);
        let keys = keys(7);
        // All bits of the header and the code, and some of the box.
        let places = (0..BOX + 64).chain((BOX..CHUNK).step_by(97)).chain(CHUNK - MAC..CHUNK);
        for place in places {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                match Chunk::parse(&changed[..]) {
                    // Mask and check are not covered by the id. The tag is another one then, and
                    // its index is not proved.
                    Some(chunk) => {
                        assert!((ID..TAG).contains(&place));
                        assert_ne!(chunk.tag(), Chunk::parse(&bytes[..]).unwrap().tag());
                        assert_eq!(chunk.tag().recognise(&keys), None);
                    }
                    None => assert!(!(ID..TAG).contains(&place)),
                }
            }
        }
    }

    #[test]
    fn two_injections_of_a_shard_share_no_eight_bytes() {
        let (one, other) = (chunk(1), chunk(2));
        let of = |chunk: &[u8; CHUNK]| -> Vec<[u8; 8]> {
            chunk.windows(8).map(|window| window.try_into().unwrap()).collect()
        };
        let (mut all, other) = (of(&one), of(&other));
        all.sort_unstable();
        let shared = other.iter().filter(|window| all.binary_search(window).is_ok());
        // The hour is public, and follows a mask that differs.
        assert_eq!(shared.count(), 0);
    }

    #[test]
    fn other_keys_recognise_no_tag() {
        let keys = keys(8);
        for number in 0..1_000_000u64 {
            let mut tag = [0; TAG];
            tag[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            tag[12..].copy_from_slice(&number.wrapping_mul(0xD6E8_FEB8_6659_FD93).to_be_bytes());
            assert_eq!(Tag::new(tag).recognise(&keys), None);
        }
        assert!(Chunk::parse(&chunk(1)[..]).unwrap().open(&keys).is_none());
    }

    #[test]
    fn a_chunk_of_another_length_is_refused() {
        assert!(Chunk::parse(&[]).is_none());
        let mut long = chunk(1).to_vec();
        long.push(0);
        assert!(Chunk::parse(&long).is_none());
        assert!(Chunk::parse(&long[..CHUNK - 1]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn random_bytes_are_no_chunk(seed: u64) {
            let bytes: Vec<u8> = (0..CHUNK as u64)
                .map(|at| (seed ^ at).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0])
                .collect();
            prop_assert!(Chunk::parse(&bytes).is_none());
            let _ = Chunk::parse(&vec![0; CHUNK]);
        }
    }
}
