use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};
use std::fs::{self, File};
use std::io::{self, Cursor};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::OnceLock;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::source::spool_up_to;
use super::*;
use crate::chunk::{Chunk, OpenedChunk, seal};
use crate::geometry::SHARD;
use crate::keys::Secret;
use crate::link::ReadLink;

const HEADER: u64 = 52;
const RECORD: u64 = 11_952;

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn source(content: &[u8], redundancy: u8) -> Source<Cursor<Vec<u8>>> {
    let input = Cursor::new(content.to_vec());
    Source::read(input, "photo.jpg".into(), redundancy, Secret::new([7; 16]), |_, _| {}).unwrap()
}

/// Returns all chunks of a file as a client opens them.
fn chunks(source: &mut Source<Cursor<Vec<u8>>>) -> Vec<OpenedChunk> {
    let (geometry, keys) = (source.geometry(), source.link(1).keep().chunk_keys());
    let mut chunks = Vec::new();
    for number in 0..geometry.groups() {
        let group = source.group(number).unwrap();
        for (shard, place) in group.shards().iter().zip(0..) {
            let path = source.roots().path(&group, place);
            let shard: &[u8; SHARD] = shard.as_slice().try_into().unwrap();
            let index = geometry.index(number, place);
            let chunk = seal(&keys, index, shard, &path, 1, [0; 12]);
            chunks.push(Chunk::parse(&chunk[..]).unwrap().open(&keys).unwrap());
        }
    }
    chunks
}

fn restored(part: &PartFile, link: &ReadLink) -> Vec<u8> {
    let content = part.content(link).unwrap();
    assert_eq!(content.header().name, "photo.jpg");
    let mut output = Vec::new();
    content.write_to(&mut output, |_, _| Ok(())).unwrap();
    output
}

/// A file of two groups, each with 33 data shards of 264.
struct PutFile {
    content: Vec<u8>,
    link: ReadLink,
    chunks: Vec<OpenedChunk>,
}

/// A file with its chunks, and a folder for its log.
struct Fixture {
    file: &'static PutFile,
    dir: TempDir,
}

impl core::ops::Deref for Fixture {
    type Target = PutFile;

    fn deref(&self) -> &PutFile {
        self.file
    }
}

impl Fixture {
    fn new() -> Self {
        // Sealing takes seconds without optimisation, so all tests share the chunks.
        static FILE: OnceLock<PutFile> = OnceLock::new();
        let file = FILE.get_or_init(|| {
            // 65 data shards, and at most 64 in a group.
            let content = bytes(64 * SHARD + 100);
            let mut source = source(&content, 8);
            PutFile { content, link: source.link(1), chunks: chunks(&mut source) }
        });
        Self { file, dir: tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("part")
    }

    fn open(&self) -> Result<PartFile, PartError> {
        PartFile::open(&self.path(), &self.link.file())
    }

    /// Returns a log with these chunks.
    fn with(&self, chunks: impl IntoIterator<Item = usize>) -> PartFile {
        let mut part = self.open().unwrap();
        chunks.into_iter().for_each(|at| assert!(part.push(&self.chunks[at]).unwrap()));
        part
    }
}

#[test]
fn a_file_that_changes_is_not_put() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file");
    let content = bytes(3 * SHARD);
    fs::write(&path, &content).unwrap();
    let input = File::open(&path).unwrap();
    let secret = Secret::new([7; 16]);
    let mut source = Source::read(input, "a".into(), 2, secret, |_, _| {}).unwrap();
    source.group(0).unwrap();
    let mut changed = content.clone();
    changed[SHARD] ^= 1;
    fs::write(&path, &changed).unwrap();
    assert!(matches!(source.group(0), Err(SourceError::Changed)));
    fs::write(&path, &content).unwrap();
    source.group(0).unwrap();
    fs::write(&path, &content[..2 * SHARD]).unwrap();
    assert!(matches!(source.group(0), Err(SourceError::Changed)));
    assert!(matches!(source.group(1), Err(SourceError::NoGroup)));
}

#[test]
fn a_file_that_grows_while_it_is_read_is_not_put() {
    struct Growing(Cursor<Vec<u8>>);
    impl io::Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.get_mut().push(0);
            self.0.read(buffer)
        }
    }
    impl io::Seek for Growing {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let input = Growing(Cursor::new(bytes(100)));
    let read = Source::read(input, "a".into(), 2, Secret::new([1; 16]), |_, _| {});
    assert!(matches!(read, Err(SourceError::Changed)));
}

#[test]
fn sizes_names_and_redundancies_that_no_file_can_have_are_refused() {
    let read = |name: &str, redundancy| {
        let input = Cursor::new(Vec::new());
        Source::read(input, name.into(), redundancy, Secret::new([1; 16]), |_, _| {})
    };
    assert!(matches!(read(&"a".repeat(256), 2), Err(SourceError::Name(_))));
    assert!(matches!(read("a", 9), Err(SourceError::Geometry(_))));
    let spooled = spool_up_to(1 << 20, io::repeat(0), |_| {});
    assert!(matches!(spooled, Err(SourceError::Geometry(_))));
    assert_eq!(spool_up_to(3, &[0; 3][..], |_| {}).unwrap().metadata().unwrap().len(), 3);
}

#[test]
fn a_stream_is_spooled_to_its_end() {
    let content = bytes(700_000);
    let file = spool(&content[..], |_| {}).unwrap();
    let secret = Secret::new([7; 16]);
    let spooled = Source::read(file, "photo.jpg".into(), 2, secret, |_, _| {}).unwrap();
    assert_eq!(spooled.link(1), source(&content, 2).link(1));
}

#[test]
fn an_interrupted_log_continues_where_it_was() {
    let fixture = Fixture::new();
    let part = fixture.with((0..30).chain(300..310));
    assert_eq!((part.held(), part.needed()), (40, 66));
    let indices: Vec<u32> = part.indices().collect();
    drop(part);
    let mut part = fixture.open().unwrap();
    assert_eq!(part.indices().collect::<Vec<_>>(), indices);
    assert_eq!((part.held(), part.missing_bytes()), (40, 26 * RECORD));
    let file = fs::metadata(fixture.path()).unwrap();
    assert_eq!((file.len(), file.mode() & 0o777), (HEADER + 40 * RECORD, 0o600));
    assert!(!part.is_complete());
    assert!(matches!(part.content(&fixture.link), Err(ContentError::Restore(_))));
    for at in (30..33).chain(505..528) {
        assert!(part.push(&fixture.chunks[at]).unwrap(), "{at}");
    }
    assert!(part.is_complete() && part.missing_bytes() == 0);
    assert_eq!(restored(&part, &fixture.link), fixture.content);
}

#[test]
fn a_chunk_that_is_known_or_not_needed_or_of_another_file_is_not_added() {
    let fixture = Fixture::new();
    let mut part = fixture.with(0..33);
    assert!(!part.push(&fixture.chunks[0]).unwrap(), "it is known");
    assert!(!part.push(&fixture.chunks[40]).unwrap(), "the group is full");
    let other = chunks(&mut source(&bytes(64 * SHARD), 8));
    assert!(!part.push(&other[300]).unwrap(), "its proof fails");
    assert_eq!(part.held(), 33);
}

#[test]
fn a_log_is_cut_off_at_the_first_record_that_is_not_proved() {
    let fixture = Fixture::new();
    drop(fixture.with(100..110));
    let whole = fs::read(fixture.path()).unwrap();
    let held = |log: &[u8]| {
        fs::write(fixture.path(), log).unwrap();
        let part = fixture.open().unwrap();
        let held = part.held();
        assert_eq!(fs::metadata(fixture.path()).unwrap().len(), HEADER + u64::from(held) * RECORD);
        held
    };
    let at = |record: u64, place: u64| usize::try_from(HEADER + record * RECORD + place).unwrap();
    for (record, place) in [(3, 0), (3, 3), (3, 4), (3, RECORD - 1), (3, 11_500)] {
        let mut log = whole.clone();
        log[at(record, place)] ^= 1;
        assert_eq!(held(&log), 3, "{place}");
    }
    for (len, expected) in [
        (0, 0),
        (1, 0),
        (at(0, 0) - 1, 0),
        (at(0, 0), 0),
        (at(0, 1), 0),
        (at(1, 0) - 1, 0),
        (at(1, 0), 1),
        (at(10, 0), 10),
    ] {
        assert_eq!(held(&whole[..len]), expected, "{len}");
    }
    // A record that is repeated, and more records than a file has.
    let record = &whole[at(0, 0)..at(1, 0)];
    assert_eq!(held(&[&whole, record].concat()), 10);
    assert_eq!(held(&[&whole[..at(0, 0)], &vec![0; 600 * record.len()]].concat()), 0);
}

#[test]
fn a_file_that_is_no_log_of_this_link_stays_as_it_is() {
    let fixture = Fixture::new();
    let foreign = source(&bytes(5), 2).link(1);
    drop(PartFile::open(&fixture.path(), &foreign.file()).unwrap());
    assert!(matches!(fixture.open(), Err(PartError::OtherFile)));
    fs::write(fixture.path(), "my notes").unwrap();
    assert!(matches!(fixture.open(), Err(PartError::OtherFile)));
    assert_eq!(fs::read(fixture.path()).unwrap(), b"my notes");
}

#[test]
fn links_and_folders_are_no_logs() {
    let fixture = Fixture::new();
    let target = fixture.dir.path().join("target");
    symlink(&target, fixture.path()).unwrap();
    assert!(matches!(fixture.open(), Err(PartError::Foreign)));
    assert!(!target.exists());
    fs::write(&target, "mine").unwrap();
    assert!(matches!(fixture.open(), Err(PartError::Foreign)));
    fs::remove_file(fixture.path()).unwrap();
    fs::hard_link(&target, fixture.path()).unwrap();
    assert!(matches!(fixture.open(), Err(PartError::Foreign)));
    assert_eq!(fs::read(&target).unwrap(), b"mine");
    fs::remove_file(fixture.path()).unwrap();
    fs::create_dir(fixture.path()).unwrap();
    assert!(matches!(fixture.open(), Err(PartError::Foreign)));
    fs::remove_dir(fixture.path()).unwrap();
    nix::unistd::mkfifo(&fixture.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(fixture.open(), Err(PartError::Foreign)));
}

#[test]
fn one_process_at_a_time_uses_a_log() {
    let fixture = Fixture::new();
    let part = fixture.open().unwrap();
    assert!(matches!(fixture.open(), Err(PartError::Locked)));
    drop(part);
    fixture.open().unwrap();
}

#[test]
fn a_log_that_the_disk_changes_is_noticed() {
    let fixture = Fixture::new();
    let part = fixture.with((0..33).chain(400..433));
    let mut log = fs::read(fixture.path()).unwrap();
    let last = log.len() - 1_000;
    log[last] ^= 1;
    fs::write(fixture.path(), log).unwrap();
    let content = part.content(&fixture.link).unwrap();
    let result = content.write_to(&mut Vec::new(), |_, _| Ok(()));
    assert!(matches!(result, Err(ContentError::Read(_))), "{result:?}");
}

#[test]
fn an_output_that_is_full_is_an_error() {
    let fixture = Fixture::new();
    let part = fixture.with((0..33).chain(400..433));
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let result = part.content(&fixture.link).unwrap().write_to(&mut full, |_, _| Ok(()));
    assert!(matches!(result, Err(ContentError::Write(_))), "{result:?}");
}

#[test]
fn a_new_file_has_its_name_when_it_is_finished() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("photo.jpg");
    let id = source(b"x", 2).link(1).file();
    let new = |content: &[u8]| {
        let mut new = NewFile::create(&path, &id).unwrap();
        io::Write::write_all(new.file(), content).unwrap();
        new
    };
    drop(new(b"dropped"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    new(b"first").finish(Existing::Keep).unwrap();
    let error = new(b"second").finish(Existing::Keep).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    new(b"third").finish(Existing::Replace).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"third");
    // A link is replaced, and not followed.
    let target = dir.path().join("target");
    fs::rename(&path, &target).unwrap();
    symlink(&target, &path).unwrap();
    assert!(new(b"fourth").finish(Existing::Keep).is_err());
    new(b"fifth").finish(Existing::Replace).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"third");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert!(free_space(&path).is_some_and(|free| free > 0));
}

#[test]
fn the_output_of_a_killed_process_is_private_and_is_removed_by_the_next_one() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("photo.jpg");
    let create = || NewFile::create(&path, &fixture.link.file()).unwrap();
    let names = || {
        let entries = fs::read_dir(fixture.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut killed = create();
    io::Write::write_all(killed.file(), b"plaintext").unwrap();
    let left = names();
    assert!(matches!(&left[..], [name] if name.ends_with(".clacks-new")), "{left:?}");
    let mode = |name: &str| fs::metadata(fixture.dir.path().join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode(&left[0]), 0o600);
    core::mem::forget(killed);
    let next = create();
    assert_eq!(names(), left);
    next.finish(Existing::Keep).unwrap();
    assert_eq!(names(), ["photo.jpg"]);
    fs::write(fixture.dir.path().join("plain"), "").unwrap();
    assert_eq!(mode("photo.jpg"), mode("plain"), "the umask decides");
}

#[test]
fn an_output_that_is_stopped_is_an_error() {
    let fixture = Fixture::new();
    let part = fixture.with((0..33).chain(400..433));
    let mut output = Vec::new();
    let content = part.content(&fixture.link).unwrap();
    let result = content.write_to(&mut output, |_, _| Err(io::Error::other("stopped")));
    assert!(matches!(result, Err(ContentError::Write(_))), "{result:?}");
    assert!(output.len() < fixture.content.len());
}

#[test]
fn no_secret_is_in_debug_output() {
    let fixture = Fixture::new();
    let part = fixture.with((0..33).chain(400..433));
    let text = format!("{:?}{:?}", source(b"x", 2), part.content(&fixture.link).unwrap());
    assert!(text.contains("photo.jpg") && !text.contains("7, 7"), "{text}");
    assert!(!text.contains(&fixture.link.to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_file_of_any_length_is_restored_from_any_shards(
        len in prop_oneof![0usize..64, (0usize..40).prop_map(|shards| shards * SHARD - shards.min(19))],
        redundancy in 2u8..=8,
        order: u64,
    ) {
        let content = bytes(len);
        let mut source = source(&content, redundancy);
        let link = source.link(9);
        let mut chunks = chunks(&mut source);
        chunks.sort_by_key(|chunk| {
            (u64::from(chunk.index()) ^ order).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        });
        let mut part = PartFile::temporary(&link.file()).unwrap();
        for chunk in &chunks {
            if part.is_complete() {
                break;
            }
            part.push(chunk).unwrap();
        }
        prop_assert!(part.is_complete());
        prop_assert_eq!(restored(&part, &link), content);
    }
}
