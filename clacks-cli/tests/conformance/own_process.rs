//! Tests that run in a process of their own, because they measure or limit the resources of the
//! process.

use std::process::Command;

use crate::network::Runtimes;

/// Set in the process of the test.
const VARIABLE: &str = "CLACKS_OWN_PROCESS";

/// Runs `test` in a process of its own: starts this program again with only the calling test, whose
/// name is `name`. The process may have `max_descriptors` file descriptors.
pub(crate) fn run_in_own_process(
    name: &str,
    runtimes: Runtimes,
    max_descriptors: u32,
    test: impl FnOnce(),
) {
    if std::env::var_os(VARIABLE).is_some() {
        test();
        return;
    }
    let [runtime] = runtimes else { panic!("a test of one runtime") };
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n {max_descriptors} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{runtime}::{name}"), "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
