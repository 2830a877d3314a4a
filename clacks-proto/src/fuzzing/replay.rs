//! What fuzzers found worth keeping, run by the tests.

use std::path::Path;
use std::string::String;
use std::vec::Vec;
use std::{format, println};

/// Runs every file that is kept for a target: its corpus, and what it once found.
fn replay(target: &str, mut body: impl FnMut(&[u8])) {
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
#[cfg_attr(miri, ignore = "reads files")]
fn each_finding_is_told_of() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let Ok(readme) = std::fs::read_to_string(fuzz.join("README.md")) else {
        return println!("nothing is compared, because {} is not there", fuzz.display());
    };
    let mut sources = String::new();
    for folder in ["clacks-proto/src", "clacks-proto/tests", "clacks-sim/src"] {
        read_sources(&fuzz.join("..").join(folder), &mut sources);
    }
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for target in std::fs::read_dir(fuzz.join("regressions")).unwrap() {
        for file in std::fs::read_dir(target.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(fuzz.join("regressions")).unwrap().to_str().unwrap();
            // Of some that show the same, the first is named in full.
            let (first, number) = match name.rsplit_once('-') {
                Some((rest, number @ ("2" | "3"))) => (format!("{rest}-1"), format!("`-{number}`")),
                _ => (name.into(), String::new()),
            };
            let row = rows.iter().find(|row| row.starts_with(&format!("| `{first}`")));
            let row = row.unwrap_or_else(|| panic!("{name} is not in fuzz/README.md"));
            assert!(row.contains(&number), "{name} is not in fuzz/README.md");
            let told = row.split(" | ").nth(1).unwrap().trim_end_matches(" |");
            let test = told.trim_matches('`');
            let is_there = || sources.contains(&format!("fn {test}("));
            assert!(told.starts_with("none: ") || is_there(), "{test} is not a test");
        }
    }
}

/// All the code of the crates in which the tests of findings are.
fn read_sources(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(path).unwrap());
        }
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

#[test]
#[cfg_attr(miri, ignore = "hundreds of inputs")]
fn tower_events() {
    replay("tower_events", super::tower_events);
}

#[cfg(feature = "tls")]
#[test]
#[cfg_attr(miri, ignore = "hundreds of inputs")]
fn tls_bytes() {
    replay("tls_bytes", super::tls_bytes);
}
