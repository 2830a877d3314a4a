#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(
    test,
    allow(clippy::cast_possible_truncation, reason = "tests make bytes of small numbers")
)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod address_group;
mod chunk;
pub mod client;
mod clock;
mod clock_samples;
mod code;
mod content;
mod deck;
mod estimate;
#[cfg(all(unix, feature = "std"))]
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod keys;
mod link;
mod merkle;
pub mod protocol;
mod rate;
mod store;

pub use address_group::AddressGroup;
pub use chunk::{CHUNK, Chunk, OpenedChunk, Tag, seal};
pub use client::{
    Client, ClientConfig, FirstHop, Health, HealthState, Job, JobError, JobEvent, Listener, Phase,
    Progress, PutReport, Repair, Route, enable_client, hours_with_jitter,
};
pub use code::{Group, GroupRoots, RestoreError};
pub use content::{CipherError, FileHeader, HeaderError, MAX_NAME, apply_cipher, is_invisible};
pub use estimate::{Forecast, ListeningForecast, NetworkEstimate, Refusal};
pub use geometry::{Geometry, GeometryError, MAX_GROUP, MAX_GROUPS, SHARD};
pub use keys::{ChunkKeys, KeepSecret, Secret};
pub use link::{FileId, KeepLink, LinkError, ReadLink};
pub use merkle::{Path, Root, prove};
pub use rate::Rate;
pub use store::{Store, StoreConfig, StoreError, StoreStats, enable_store};
