//! Coding and sealing of a group of a file, compared with the same work of the crates beneath.
//!
//! Each operation handles one group of 256 data shards, 2.9 MB of a file. Targets: 80 MiB/s for a
//! put and 100 MiB/s for a get, on one core.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --features store --bench store
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark has a clock, and panics on errors"
)]

#[path = "../../clacks-proto/benches/common/mod.rs"]
mod common;

use std::hint::black_box;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use clacks_store::{
    CHUNK, Chunk, ChunkKeys, FileId, Geometry, Group, GroupRoots, ReadLink, SHARD, Secret,
    apply_cipher, prove, seal,
};
use common::{Comparison, Target};
use criterion::Criterion;

/// The data shards of a group, and all its shards.
const DATA: usize = 256;
const TOTAL: usize = 512;
const BYTES: usize = DATA * SHARD;

const PUT_MIB_PER_SECOND: f64 = 80.0;
const GET_MIB_PER_SECOND: f64 = 100.0;

fn main() {
    let mut criterion = common::criterion();
    put(&mut criterion);
    get(&mut criterion);
    criterion.final_summary();
}

fn geometry() -> Geometry {
    Geometry::new(2, DATA as u32).unwrap()
}

fn plain() -> Vec<u8> {
    let mut plain = vec![0; BYTES];
    apply_cipher(&Secret::new([3; 16]), 0, &mut plain).unwrap();
    plain
}

fn shards(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(SHARD).map(<[u8]>::to_vec).collect()
}

/// Encrypts, codes, proves and seals a group.
fn seal_group(
    secret: &Secret,
    keys: &ChunkKeys,
    plain: &[u8],
) -> (Group, GroupRoots, Vec<Box<[u8; CHUNK]>>) {
    let mut bytes = plain.to_vec();
    apply_cipher(secret, 0, &mut bytes).unwrap();
    let group = Group::encode(geometry(), 0, shards(&bytes)).unwrap();
    let roots = GroupRoots::new(vec![group.root()]);
    let chunks = (0..).zip(group.shards()).map(|(index, shard)| {
        let shard = shard.as_slice().try_into().unwrap();
        seal(keys, index, shard, &roots.path(&group, index), 498_000, [7; 12])
    });
    let chunks = chunks.collect();
    (group, roots, chunks)
}

fn nanos(mib_per_second: f64) -> f64 {
    BYTES as f64 / (mib_per_second * 1_048_576.0) * 1e9
}

/// The crates alone: a stream cipher, a code, a hash of each shard, a box for each shard and its
/// hash.
fn floor_of_put(plain: &[u8]) {
    let mut bytes = plain.to_vec();
    apply_cipher(&Secret::new([1; 16]), 0, &mut bytes).unwrap();
    let mut shards = shards(&bytes);
    let parity = reed_solomon_simd::encode(DATA, TOTAL - DATA, &shards).unwrap();
    shards.extend(parity);
    let cipher = ChaCha20Poly1305::new(&[5; 32].into());
    for shard in &mut shards {
        black_box(blake3::hash(shard));
        let tag = cipher
            .encrypt_inout_detached(&[0; 12].into(), &[], shard.as_mut_slice().into())
            .unwrap();
        black_box(tag);
        black_box(blake3::hash(shard));
    }
    black_box(shards);
}

fn put(criterion: &mut Criterion) {
    let plain = plain();
    let secret = Secret::new([1; 16]);
    let keys = secret.keep().chunk_keys();
    let mut bytes = plain.clone();
    let (group, roots, _) = seal_group(&secret, &keys, &plain);
    let data = shards(&plain);
    let mut comparison = Comparison::new("store/put").bytes(BYTES);
    comparison.row("the crates alone (floor)", None, || floor_of_put(black_box(&plain)));
    comparison.row("encode and seal", Some(Target::Nanos(nanos(PUT_MIB_PER_SECOND))), || {
        black_box(seal_group(&secret, &keys, black_box(&plain)));
    });
    comparison.row("apply the cipher", None, || {
        apply_cipher(&secret, 0, black_box(&mut bytes)).unwrap();
    });
    comparison.row("encode", None, || {
        black_box(Group::encode(geometry(), 0, black_box(&data).clone()).unwrap());
    });
    comparison.row("seal", None, || {
        for (index, shard) in (0..).zip(group.shards()) {
            let shard = shard.as_slice().try_into().unwrap();
            black_box(seal(&keys, index, shard, &roots.path(&group, index), 498_000, [7; 12]));
        }
    });
    comparison.run(criterion);
}

fn get(criterion: &mut Criterion) {
    let plain = plain();
    let secret = Secret::new([1; 16]);
    let keys = secret.keep().chunk_keys();
    let (group, roots, chunks) = seal_group(&secret, &keys, &plain);
    let file = FileId { geometry: geometry(), until: 498_000, root: roots.file_root() };
    let link = ReadLink::new(secret, file);
    // Every other piece: half of them are parity.
    let taken: Vec<_> = chunks.iter().step_by(2).collect();
    let shards = group.shards().iter().enumerate().step_by(2);
    let shards: Vec<_> = shards.map(|(place, shard)| (place as u32, shard.as_slice())).collect();
    let mut comparison = Comparison::new("store/get").bytes(BYTES);
    comparison.row("the crates alone (floor)", None, || {
        let cipher = ChaCha20Poly1305::new(&[5; 32].into());
        let mut shards = Vec::new();
        for (place, _) in taken.iter().enumerate() {
            let mut shard = group.shards()[2 * place].clone();
            black_box(blake3::hash(&shard));
            black_box(
                cipher
                    .encrypt_inout_detached(&[0; 12].into(), &[], shard.as_mut_slice().into())
                    .unwrap(),
            );
            black_box(blake3::hash(&shard));
            shards.push(shard);
        }
        let (data, parity) = shards.split_at(DATA / 2);
        let place = |(at, shard)| (2 * at, shard);
        let data = data.iter().enumerate().map(place);
        let parity = parity.iter().enumerate().map(place);
        black_box(reed_solomon_simd::decode(DATA, TOTAL - DATA, data, parity).unwrap());
    });
    comparison.row(
        "open, prove and restore",
        Some(Target::Nanos(nanos(GET_MIB_PER_SECOND))),
        || {
            let pieces: Vec<_> = taken
                .iter()
                .map(|chunk| {
                    let piece = Chunk::parse(&chunk[..]).unwrap().open(&keys).unwrap();
                    let (index, path) = (piece.index(), piece.path());
                    prove(geometry(), &link.file().root, index, piece.shard(), &path).unwrap();
                    piece
                })
                .collect();
            let shards = pieces.iter().map(|piece| (piece.index(), piece.shard()));
            let restored = Group::restore(geometry(), 0, &group.root(), shards).unwrap();
            let mut bytes = restored.shards()[..DATA].concat();
            apply_cipher(link.secret(), 0, &mut bytes).unwrap();
            assert_eq!(black_box(bytes).len(), plain.len());
        },
    );
    comparison.row("open and prove", None, || {
        for chunk in &taken {
            let piece = Chunk::parse(&chunk[..]).unwrap().open(&keys).unwrap();
            let (index, path) = (piece.index(), piece.path());
            prove(geometry(), &link.file().root, index, piece.shard(), &path).unwrap();
        }
    });
    comparison.row("restore", None, || {
        let shards = shards.iter().copied();
        black_box(Group::restore(geometry(), 0, &group.root(), shards).unwrap());
    });
    comparison.run(criterion);
}
