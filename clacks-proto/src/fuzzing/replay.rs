//! Runs the bodies of the fuzz targets on the inputs that are kept in `fuzz/`.

use std::path::Path;
use std::string::String;
use std::vec::Vec;
use std::{format, println};

use super::replay;

/// Checks that the README names each regression and a test of the rule that was broken.
#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn each_regression_is_in_the_readme() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let Ok(readme) = std::fs::read_to_string(fuzz.join("README.md")) else {
        return println!("nothing is compared, because {} does not exist", fuzz.display());
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
            // Several files with one cause share a row, which names the first in full.
            let (first, number) = match name.rsplit_once('-') {
                Some((rest, number @ ("2" | "3"))) => (format!("{rest}-1"), format!("`-{number}`")),
                _ => (name.into(), String::new()),
            };
            let row = rows.iter().find(|row| row.starts_with(&format!("| `{first}`")));
            let row = row.unwrap_or_else(|| panic!("{name} is not in fuzz/README.md"));
            assert!(row.contains(&number), "{name} is not in fuzz/README.md");
            let named = row.split(" | ").nth(1).unwrap().trim_end_matches(" |");
            let test = named.trim_matches('`');
            let exists = || sources.contains(&format!("fn {test}("));
            assert!(named.starts_with("none: ") || exists(), "{name}: {test} is not a test");
        }
    }
}

/// Reads all code below a folder.
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
