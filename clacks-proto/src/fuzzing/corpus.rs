//! Reads the inputs that are kept in `fuzz/`.

use std::path::Path;
use std::println;
use std::vec::Vec;

/// Runs a body on each file of its target's corpus and regressions. Panics if the target has no
/// corpus.
pub fn replay(target: &str, mut body: impl FnMut(&[u8])) {
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
