//! Runs the bodies of the fuzz targets on the inputs that are kept in `fuzz/`.

use std::path::Path;
use std::println;
use std::vec::Vec;

/// Runs a body on each file of its target's corpus and regressions.
fn replay(target: &str, body: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    if !fuzz.exists() {
        // A published crate does not contain the folder.
        println!("nothing is replayed, because {} does not exist", fuzz.display());
        return;
    }
    let mut files = Vec::new();
    for folder in ["corpus", "regressions"] {
        let entries = std::fs::read_dir(fuzz.join(folder).join(target)).into_iter().flatten();
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    assert!(!files.is_empty(), "there is no corpus for {target}");
    files.sort();
    for file in files {
        // The last name printed is that of the file that failed.
        println!("{}", file.display());
        body(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn store_chunk() {
    replay("store_chunk", super::store_chunk);
}

#[test]
fn store_link() {
    replay("store_link", super::store_link);
}

#[test]
fn store_protocol() {
    replay("store_protocol", super::store_protocol);
}

#[test]
fn store_machine() {
    replay("store_machine", super::store_machine);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn random_inputs_find_nothing(input in proptest::collection::vec(proptest::num::u8::ANY, 0..900)) {
        super::store_chunk(&input);
        super::store_link(&input);
        super::store_protocol(&input);
        super::store_machine(&input);
    }
}
