//! The datagrams of stores: request and answer between neighbours.
//!
//! The first byte is the operation, and the next four are a number that the asker chose. An answer
//! has the number of its request. All numbers are big-endian. Bytes after the last field are an
//! error, and a datagram with an error is dropped without an answer.
//!
//! | byte | request | fields | answer |
//! |---|---|---|---|
//! | 01 | list | tag (20) after which the page begins, zeros for the first page | 81 inventory: 1 if more follows, else 0; the Unix minute of the tower (4); chunks held (4); chunks for which there is room (4); at most 500 tags, each with its hour (4), in ascending order |
//! | 02 | fetch | count (1), 1 to 32 tags | 82 chunk (12 000) for each one that is held, then 83 gone: count (1), tags |
//! | 03 | publish | chunk (12 000) | 84 published: outcome (1) |
//! | 04 | peers | cursor (4) | 85 towers: next cursor (4), 0 at the end; towers known (4); count (1), at most 40 addresses |
//! | 05 | relay | hops to go (1), target address or absent, the operation and the fields of another request | the answer to that request, or 86 lost |
//!
//! The outcome of a publish is 0 if the chunk is queued, 1 if there is no room, 2 if the hour or
//! the id is wrong, 3 if the link has used up its rate, and 4 if the hour is further ahead than so
//! full a queue takes.
//!
//! A relay has at most 8 hops to go. A tower that gets more than 1 passes the request on with one
//! hop less. The next tower is drawn for each inbound edge, and stays the same for some minutes. A
//! tower that knows no other one carries the request out itself.
//!
//! The tower that gets 1 carries the request out. It asks the target, or answers lost if the target
//! is no alive tower that it knows. A publish without a target goes to a tower that is drawn for
//! each chunk. Other requests without a target, and those whose target is the tower itself, are
//! answered there. A tower answers lost if no other answer came in 15 s.
//!
//! An inventory never lists tags by request: a tower that was asked for certain tags would learn
//! which ones belong together.

use alloc::vec::Vec;
use core::fmt;

use clacks_proto::Address;
use clacks_proto::wire::{decode_address, encode_address};

use crate::chunk::{CHUNK, Tag};

/// The most entries of an inventory page.
pub const PAGE: usize = 500;
/// The most tags of a fetch.
pub const MAX_TAGS: usize = 32;
/// The most addresses of an answer.
pub const MAX_TOWERS: usize = 40;
/// The most hops of a relay. A tower answers lost to more.
pub const MAX_HOPS: u8 = 8;
/// The longest datagram, in bytes.
pub const MAX_LEN: usize = 12_288;

const ENTRY: usize = Tag::LEN + 4;
/// The bytes before the fields of an operation.
const HEAD: usize = 5;

const LIST: u8 = 0x01;
const FETCH: u8 = 0x02;
const PUBLISH: u8 = 0x03;
const PEERS: u8 = 0x04;
const RELAY: u8 = 0x05;
const INVENTORY: u8 = 0x81;
const CHUNK_OP: u8 = 0x82;
const GONE: u8 = 0x83;
const PUBLISHED: u8 = 0x84;
const TOWERS: u8 = 0x85;
const LOST: u8 = 0x86;

/// A datagram with the number of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Chosen by the asker, for one link.
    pub number: u32,
    /// The operation.
    pub body: Body<'a>,
}

/// An operation with its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body<'a> {
    /// Asks for the page of the inventory after a tag.
    List {
        /// The last tag of the page before, or zeros.
        after: Tag,
    },
    /// A page of the inventory.
    Inventory {
        /// Whether another page follows.
        has_more: bool,
        /// The time of the tower in Unix minutes: seconds / 60. A finer time would tell machines
        /// apart.
        minute: u32,
        /// The number of chunks held.
        held: u32,
        /// The number of chunks for which there is room.
        room: u32,
        /// The tags with their hours.
        entries: Entries<'a>,
    },
    /// Asks for chunks.
    Fetch(Tags<'a>),
    /// A chunk that was asked for. Not checked yet.
    Chunk(&'a [u8; CHUNK]),
    /// Chunks that were asked for and are not held any more.
    Gone(Tags<'a>),
    /// Asks a store to queue a chunk. Not checked yet.
    Publish(&'a [u8; CHUNK]),
    /// What became of a chunk.
    Published(Outcome),
    /// Asks for towers with stores.
    Peers {
        /// The place to begin, 0 for the first.
        cursor: u32,
    },
    /// Towers with stores.
    Towers {
        /// The place to go on, or 0 at the end.
        next: u32,
        /// The number of towers known.
        known: u32,
        /// The addresses.
        addresses: Vec<Address>,
    },
    /// Asks a tower to pass a request on.
    Relay {
        /// The hops to go. The tower that gets 1 carries the request out.
        hops: u8,
        /// The tower that is asked at the end, or `None` for the end itself.
        target: Option<Address>,
        /// The operation and the fields of the request.
        inner: &'a [u8],
    },
    /// A relayed request got no answer.
    Lost,
}

/// What became of a published chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Outcome {
    /// The chunk is in the queue.
    Queued = 0,
    /// There is no room.
    Full = 1,
    /// Its hour is over, or too far ahead.
    BadHour = 2,
    /// The link has used up its rate.
    TooFast = 3,
    /// Its hour is further ahead than a queue this full takes. A chunk that ends sooner may be
    /// taken: at most 2 hours ahead is never too long.
    TooLong = 4,
}

/// Tags in a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tags<'a>(&'a [[u8; Tag::LEN]]);

impl<'a> Tags<'a> {
    /// Returns the tags in these bytes. `None` if there are none or more than [`MAX_TAGS`].
    #[must_use]
    pub fn new(tags: &'a [[u8; Tag::LEN]]) -> Option<Self> {
        (1..=MAX_TAGS).contains(&tags.len()).then_some(Self(tags))
    }

    /// Returns the tags.
    pub fn iter(&self) -> impl Iterator<Item = Tag> + use<'a> {
        self.0.iter().map(|bytes| Tag::new(*bytes))
    }
}

impl fmt::Debug for Tags<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The entries of an inventory page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entries<'a>(&'a [[u8; ENTRY]]);

impl<'a> Entries<'a> {
    /// Returns the tags with their hours.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, u32)> + use<'a> {
        self.0.iter().map(|entry| {
            let (mut tag, mut until) = ([0; Tag::LEN], [0; 4]);
            tag.copy_from_slice(&entry[..Tag::LEN]);
            until.copy_from_slice(&entry[Tag::LEN..]);
            (Tag::new(tag), u32::from_be_bytes(until))
        })
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A page of an inventory that is being written.
#[derive(Clone, Debug, Default)]
pub struct Page(Vec<[u8; ENTRY]>);

impl Page {
    /// Adds an entry. Returns false if the page is full.
    pub fn push(&mut self, tag: Tag, until: u32) -> bool {
        if self.0.len() == PAGE {
            return false;
        }
        let mut entry = [0; ENTRY];
        entry[..Tag::LEN].copy_from_slice(tag.bytes());
        entry[Tag::LEN..].copy_from_slice(&until.to_be_bytes());
        self.0.push(entry);
        true
    }

    /// Returns the entries.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries(&self.0)
    }
}

/// A datagram that is none of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDatagram;

impl fmt::Display for InvalidDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the datagram is not one of a store")
    }
}

impl core::error::Error for InvalidDatagram {}

impl<'a> Datagram<'a> {
    /// Decodes a datagram.
    ///
    /// # Errors
    ///
    /// If the operation is unknown, a field is out of its range, or the length is wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, InvalidDatagram> {
        let (&[operation, number @ ..], fields) =
            bytes.split_first_chunk::<HEAD>().ok_or(InvalidDatagram)?;
        let number = u32::from_be_bytes(number);
        if bytes.len() > MAX_LEN {
            return Err(InvalidDatagram);
        }
        let body = Body::decode(operation, fields).ok_or(InvalidDatagram)?;
        Ok(Self { number, body })
    }

    /// Encodes the datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(self.body.operation());
        out.extend(self.number.to_be_bytes());
        self.body.encode_fields(&mut out);
        out
    }
}

impl<'a> Body<'a> {
    /// Decodes the request that a relay carries.
    ///
    /// # Errors
    ///
    /// If it is no list, fetch, publish or request for peers.
    pub fn decode_inner(inner: &'a [u8]) -> Result<Self, InvalidDatagram> {
        let (operation, fields) = inner.split_first().ok_or(InvalidDatagram)?;
        match *operation {
            LIST | FETCH | PUBLISH | PEERS => {
                Self::decode(*operation, fields).ok_or(InvalidDatagram)
            }
            _ => Err(InvalidDatagram),
        }
    }

    /// Encodes a request for a relay.
    #[must_use]
    pub fn encode_inner(&self) -> Vec<u8> {
        let mut out = alloc::vec![self.operation()];
        self.encode_fields(&mut out);
        out
    }

    fn decode(operation: u8, fields: &'a [u8]) -> Option<Self> {
        Some(match operation {
            LIST => Self::List { after: Tag::new(fields.try_into().ok()?) },
            FETCH => Self::Fetch(tags(fields)?),
            PUBLISH => Self::Publish(fields.try_into().ok()?),
            PEERS => Self::Peers { cursor: u32::from_be_bytes(fields.try_into().ok()?) },
            RELAY => return relay(fields),
            INVENTORY => {
                let (&[more], fields) = fields.split_first_chunk()?;
                let (minute, fields) = fields.split_first_chunk()?;
                let (held, fields) = fields.split_first_chunk()?;
                let (room, entries) = fields.split_first_chunk()?;
                let (entries, []) = entries.as_chunks() else { return None };
                if more > 1 || entries.len() > PAGE {
                    return None;
                }
                Self::Inventory {
                    has_more: more == 1,
                    minute: u32::from_be_bytes(*minute),
                    held: u32::from_be_bytes(*held),
                    room: u32::from_be_bytes(*room),
                    entries: Entries(entries),
                }
            }
            CHUNK_OP => Self::Chunk(fields.try_into().ok()?),
            GONE => Self::Gone(tags(fields)?),
            PUBLISHED => {
                let &[code] = fields else { return None };
                Self::Published(Outcome::from_code(code)?)
            }
            TOWERS => return towers(fields),
            LOST => fields.is_empty().then_some(Self::Lost)?,
            _ => return None,
        })
    }

    fn operation(&self) -> u8 {
        match self {
            Self::List { .. } => LIST,
            Self::Inventory { .. } => INVENTORY,
            Self::Fetch(_) => FETCH,
            Self::Chunk(_) => CHUNK_OP,
            Self::Gone(_) => GONE,
            Self::Publish(_) => PUBLISH,
            Self::Published(_) => PUBLISHED,
            Self::Peers { .. } => PEERS,
            Self::Towers { .. } => TOWERS,
            Self::Relay { .. } => RELAY,
            Self::Lost => LOST,
        }
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::List { after } => out.extend(after.bytes()),
            Self::Inventory { has_more, minute, held, room, entries } => {
                out.push((*has_more).into());
                out.extend(minute.to_be_bytes());
                out.extend(held.to_be_bytes());
                out.extend(room.to_be_bytes());
                out.extend(entries.0.as_flattened());
            }
            Self::Fetch(tags) | Self::Gone(tags) => {
                out.push(u8::try_from(tags.0.len()).unwrap_or(u8::MAX));
                out.extend(tags.0.as_flattened());
            }
            Self::Chunk(chunk) | Self::Publish(chunk) => out.extend(*chunk),
            Self::Published(outcome) => out.push(*outcome as u8),
            Self::Peers { cursor } => out.extend(cursor.to_be_bytes()),
            Self::Towers { next, known, addresses } => {
                out.extend(next.to_be_bytes());
                out.extend(known.to_be_bytes());
                let addresses = &addresses[..addresses.len().min(MAX_TOWERS)];
                out.push(u8::try_from(addresses.len()).unwrap_or(u8::MAX));
                addresses.iter().for_each(|address| encode_address(Some(address), out));
            }
            Self::Relay { hops, target, inner } => {
                out.push(*hops);
                encode_address(target.as_ref(), out);
                out.extend(*inner);
            }
            Self::Lost => {}
        }
    }
}

impl Outcome {
    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Queued, Self::Full, Self::BadHour, Self::TooFast, Self::TooLong];
        all.into_iter().find(|outcome| *outcome as u8 == code)
    }
}

fn tags(fields: &[u8]) -> Option<Tags<'_>> {
    let (count, tags) = fields.split_first()?;
    let (tags, []) = tags.as_chunks() else { return None };
    Tags::new(tags).filter(|_| tags.len() == usize::from(*count))
}

fn towers(fields: &[u8]) -> Option<Body<'_>> {
    let (&[a, b, c, d, known @ .., count], mut rest) = fields.split_first_chunk::<9>()?;
    if usize::from(count) > MAX_TOWERS {
        return None;
    }
    let mut addresses = Vec::with_capacity(count.into());
    for _ in 0..count {
        addresses.push(decode_address(&mut rest).ok()??);
    }
    let (next, known) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(known));
    rest.is_empty().then_some(Body::Towers { next, known, addresses })
}

fn relay(fields: &[u8]) -> Option<Body<'_>> {
    let (hops, mut inner) = fields.split_first()?;
    let target = decode_address(&mut inner).ok()?;
    Body::decode_inner(inner).ok()?;
    (*hops > 0).then_some(Body::Relay { hops: *hops, target, inner })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn tag(number: u8) -> Tag {
        Tag::new([number; Tag::LEN])
    }

    fn all(
        number: u32,
        page: &Page,
        flat: &[[u8; Tag::LEN]],
        chunk: &[u8; CHUNK],
        inner: &[u8],
    ) -> Vec<Vec<u8>> {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let tags = Tags::new(flat).unwrap();
        let bodies = [
            Body::List { after: tag(1) },
            Body::Inventory {
                has_more: true,
                minute: 29_880_030,
                held: 7,
                room: 9,
                entries: page.entries(),
            },
            Body::Fetch(tags),
            Body::Chunk(chunk),
            Body::Gone(tags),
            Body::Publish(chunk),
            Body::Published(Outcome::TooFast),
            Body::Peers { cursor: 3 },
            Body::Towers {
                next: 4,
                known: 5,
                addresses: vec![address("tower.example:1"), address("[2001:db8::1]:2")],
            },
            Body::Relay { hops: 2, target: Some(address("192.0.2.1:8001")), inner },
            Body::Relay { hops: 1, target: None, inner },
            Body::Lost,
        ];
        let encode = |body: Body<'_>| {
            let datagram = Datagram { number, body };
            let bytes = datagram.encode();
            assert_eq!(Datagram::decode(&bytes), Ok(datagram));
            bytes
        };
        bodies.into_iter().map(encode).collect()
    }

    fn examples(number: u32) -> Vec<Vec<u8>> {
        let mut page = Page::default();
        assert!(page.push(tag(1), 498_000) && page.push(tag(2), 498_001));
        let inner = Body::List { after: tag(0) }.encode_inner();
        all(number, &page, &[[3; Tag::LEN], [4; Tag::LEN]], &[5; CHUNK], &inner)
    }

    #[test]
    fn the_bytes_of_datagrams_never_change() {
        let mut hasher = blake3::Hasher::new();
        examples(0x0102_0304).iter().for_each(|bytes| _ = hasher.update(bytes));
        let hash = hasher.finalize();
        assert_eq!(hash.to_hex().as_str(), include_str!("golden/datagrams").trim());
        assert_eq!(examples(0x0102_0304)[7], [4, 1, 2, 3, 4, 0, 0, 0, 3]);
    }

    #[test]
    fn the_longest_datagrams_fit() {
        let mut page = Page::default();
        (0..PAGE).for_each(|_| assert!(page.push(tag(1), 1)));
        assert!(!page.push(tag(1), 1));
        let inner = Body::Publish(&[0; CHUNK]).encode_inner();
        let flat = [[0; Tag::LEN]; MAX_TAGS];
        let longest = all(1, &page, &flat, &[0; CHUNK], &inner).iter().map(Vec::len).max();
        // The address of a relay has at most 257 bytes.
        assert!(longest.unwrap() + 250 <= MAX_LEN);
        let towers = vec![longest_name(); MAX_TOWERS];
        let body = Body::Towers { next: 0, known: 0, addresses: towers };
        let bytes = Datagram { number: 0, body }.encode();
        assert!(bytes.len() <= MAX_LEN && Datagram::decode(&bytes).is_ok());
    }

    fn longest_name() -> Address {
        let label = "a".repeat(61);
        Address::new(&[&label[..], &label, &label, &label].join("."), 1).unwrap()
    }

    #[test]
    fn datagrams_that_end_early_or_late_are_refused() {
        for bytes in examples(7) {
            let mut long = bytes.clone();
            long.push(0);
            // Entries are as long as they are.
            assert_eq!(Datagram::decode(&long), Err(InvalidDatagram), "{:x}", bytes[0]);
            for len in 0..bytes.len().min(200) {
                assert_eq!(
                    Datagram::decode(&bytes[..len]),
                    Err(InvalidDatagram).or_else(|error| {
                        // An inventory may end after any entry.
                        Datagram::decode(&bytes[..len])
                            .ok()
                            .filter(|_| bytes[0] == INVENTORY)
                            .ok_or(error)
                    })
                );
            }
        }
    }

    #[test]
    fn only_requests_are_relayed() {
        for inner in [vec![], vec![LOST], vec![RELAY, 1, 0, PEERS, 0, 0, 0, 0], vec![PEERS, 0]] {
            let bytes = [&[RELAY, 0, 0, 0, 1, 1, 0][..], &inner].concat();
            assert_eq!(Datagram::decode(&bytes), Err(InvalidDatagram), "{inner:?}");
        }
        let no_hops = [RELAY, 0, 0, 0, 1, 0, 0, PEERS, 0, 0, 0, 0];
        assert_eq!(Datagram::decode(&no_hops), Err(InvalidDatagram));
        assert_eq!(Datagram::decode(&[PUBLISHED, 0, 0, 0, 1, 5]), Err(InvalidDatagram));
        assert_eq!(Datagram::decode(&[FETCH, 0, 0, 0, 1, 0]), Err(InvalidDatagram));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_048))]

        #[test]
        fn what_is_decoded_is_encoded_as_the_same_bytes(
            operation in prop_oneof![1u8..=5, 0x81u8..=0x86, any::<u8>()],
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            bytes.insert(0, operation);
            if let Ok(datagram) = Datagram::decode(&bytes) {
                prop_assert_eq!(datagram.encode(), bytes);
            }
        }
    }
}
