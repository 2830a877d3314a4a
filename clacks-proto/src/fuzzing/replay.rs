//! What fuzzers found worth keeping, run by the tests.

use std::path::Path;
use std::println;
use std::vec::Vec;

/// Runs every file that is kept for a target: its corpus, and what it once found.
fn replay(target: &str, body: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    if !fuzz.exists() {
        // A published crate comes without it.
        println!("nothing is replayed, because {} is not there", fuzz.display());
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
        // A failure shows the name of the file that was last printed.
        println!("{}", file.display());
        body(&std::fs::read(&file).unwrap());
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of inputs")]
fn wire_decode() {
    replay("wire_decode", super::wire_decode);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of inputs")]
fn wire_roundtrip() {
    replay("wire_roundtrip", super::wire_roundtrip);
}

#[cfg(feature = "http")]
#[test]
#[cfg_attr(miri, ignore = "dozens of inputs")]
fn http_bytes() {
    replay("http_bytes", super::http_bytes);
}

#[cfg(feature = "tls")]
#[test]
#[cfg_attr(miri, ignore = "hundreds of inputs")]
fn tls_bytes() {
    replay("tls_bytes", super::tls_bytes);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of inputs")]
fn tower_events() {
    replay("tower_events", super::tower_events);
}
