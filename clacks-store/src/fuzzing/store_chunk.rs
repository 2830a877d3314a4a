//! Chunks from strangers.

use alloc::boxed::Box;

use super::Choices;
use crate::chunk::{CHUNK, Chunk, seal};
use crate::geometry::{Geometry, SHARD};
use crate::keys::Secret;
use crate::merkle::{Path, Root, prove};

/// Checks that no changed bit of a sealed chunk leaves a chunk that its owner recognises, and that
/// arbitrary bytes, shards and paths are no chunk and no proof.
pub fn store_chunk(input: &[u8]) {
    let keys = Secret::new([7; 16]).keep().chunk_keys();
    let mut arbitrary = Box::new([0; CHUNK]);
    for (byte, from) in arbitrary.iter_mut().zip(input.iter().cycle()) {
        *byte = *from;
    }
    assert!(Chunk::parse(input).is_none_or(|chunk| chunk.open(&keys).is_none()));
    assert!(Chunk::parse(&arbitrary[..]).is_none_or(|chunk| chunk.open(&keys).is_none()));

    let mut choices = Choices(input);
    let geometry =
        Geometry::new(2 + choices.below(7), 1 + u32::from(choices.byte())).expect("small");
    let index = u32::from(choices.byte()) % geometry.chunks();
    let until = u32::from_be_bytes([0; 4].map(|_| choices.byte()));
    let nonce = [choices.byte(); 12];
    let shard: &[u8; SHARD] = arbitrary.first_chunk().expect("a chunk is longer");
    let path = Path([[choices.byte(); 32]; 18]);
    let root = Root::new([choices.byte(); 32]);
    assert_eq!(prove(geometry, &root, index, shard, &path), None);

    let mut sealed = seal(&keys, index, shard, &path, until, nonce);
    let chunk = Chunk::parse(&sealed[..]).expect("a sealed chunk");
    assert_eq!((chunk.until(), chunk.tag().recognise(&keys)), (until, Some(index)));
    let opened = chunk.open(&keys).expect("the right keys");
    assert_eq!((opened.index(), opened.shard()), (index, &shard[..]));

    let place = usize::from(u16::from_be_bytes([choices.byte(), choices.byte()])) % CHUNK;
    sealed[place] ^= 1 << choices.below(8);
    let changed = Chunk::parse(&sealed[..]);
    assert!(changed.is_none_or(|chunk| chunk.tag().recognise(&keys).is_none()));
}
