//! Tests of `clacks sim` with text output and with JSON output.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test that fails must panic")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use clacks_sim::Scenario;
use common::{DEADLINE, clacks, interrupt_until_it_ends, lines_of, run, stderr, stdout};
use serde_json::Value;
use tempfile::tempdir;

/// The arguments of a run that takes longer than all deadlines of the tests.
const ENDLESS: [&str; 4] = ["sim", "original-1", "--time", "366days"];

/// Runs a command, and returns its standard output.
fn output_of(args: &[&str]) -> String {
    stdout(&run(args)).to_owned()
}

/// Runs a command, and returns the JSON objects on its standard output, one for each line.
fn events(args: &[&str]) -> Vec<Value> {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_list_contains_all_scenarios_and_show_prints_each_one() {
    let list = output_of(&["sim", "--list"]);
    assert!(list.contains("200 towers      20m  takes     7s  The messages in flight"), "{list}");
    assert!(list.contains(" 2 to 60 towers  3 - 15m  takes     1s  A random scenario"), "{list}");
    for name in ["original-1", "capacity", "discovery", "churn", "netsplit", "lossy", "million"] {
        assert!(list.contains(&format!("{name} ")), "{list}");
        assert!(
            output_of(&["sim", name, "--show"]).contains(&format!("name = \"{name}\"")),
            "{name}"
        );
    }
}

#[test]
fn equal_seeds_have_equal_hashes_and_different_seeds_different_ones() {
    let hash = |seed| {
        events(&["sim", "original-1", "--json", "--seed", seed]).pop().unwrap()["hash"].clone()
    };
    assert_eq!(hash("7"), hash("7"));
    assert_ne!(hash("7"), hash("8"));
}

#[test]
fn a_sweep_has_the_same_results_on_one_thread_and_on_two() {
    let sweep = |jobs| {
        let mut events =
            events(&["sim", "original-1", "--json", "--seeds", "3..9", "--jobs", jobs]);
        let result = events.pop().unwrap();
        (events, result["hash"].clone(), result["passed"].clone())
    };
    let (runs, hash, passed) = sweep("1");
    assert_eq!((runs.len(), passed.as_u64()), (7, Some(6)), "a start event, and six runs");
    assert_eq!(sweep("2"), (runs, hash, passed));
}

#[test]
fn a_failed_seed_is_reported_with_its_reason_and_its_replay_command() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("hermits.toml");
    let text = "name = \"hermits\"\ntowers = 3\ntime = \"1m\"\ncontacts.shape = \"none\"\n\
                checks = { settle_within = \"1m\" }\n";
    fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let output = run(&["sim", name, "--seeds", "4..6"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    let first = "the first that failed: ";
    let replay = |seed| format!("clacks sim {name} --seed {seed}\n");
    for words in [
        "convergence",
        &format!("repeat with: {}", replay(5)),
        "0 of 2 passed in ",
        &format!("{first}{}", replay(4)),
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let markdown = run(&["sim", name, "--seeds", "4..6", "--markdown"]);
    assert_eq!((markdown.status.code(), stdout(&markdown)), (Some(1), ""));
    assert!(stderr(&markdown).contains("seed 5 failed: "), "{}", stderr(&markdown));
    let alone = run(&["sim", name]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(stdout(&alone).contains("failed: "), "{}", stdout(&alone));
}

#[test]
fn the_output_of_show_can_be_run_from_a_file() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, output_of(&["sim", "original-1", "--show", "--seed", "4"])).unwrap();
    let result = events(&["sim", file.to_str().unwrap(), "--json"]).pop().unwrap();
    assert_eq!(result["seed"], 4);
    assert_eq!(result["passed"], true);
}

#[test]
fn traces_tables_and_the_report_are_written() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second, report) = (path("first"), path("second"), path("report.html"));
    events(&[
        "sim",
        "original-1",
        "--json",
        "--trace",
        &first,
        "--report",
        &report,
        "--csv",
        &path("tables"),
    ]);
    events(&["sim", "original-1", "--json", "--trace", &second, "--seed", "5"]);
    let same = run(&["sim", "diff", &first, &first]);
    assert!(same.status.success() && stdout(&same).contains("the same"));
    let different = run(&["sim", "diff", &first, &second]);
    assert_eq!(different.status.code(), Some(1));
    let (text, names) = (stdout(&different), format!("(- {first}, + {second}):\n"));
    assert!(text.contains("differs") && text.contains(&names), "{text}");
    let page = fs::read_to_string(&report).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    assert!(
        fs::read_to_string(folder.path().join("tables/series.csv")).unwrap().lines().count() > 10
    );
}

#[test]
fn text_and_json_show_the_same_figures_and_the_checks_that_ran() {
    let args = ["sim", "original-1", "--seed", "4"];
    let text = output_of(&args);
    let result = events(&[&args[..], &["--json"]].concat()).pop().unwrap();
    let value = |line: &str| line.rsplit_once("  ").map(|(_, value)| value.replace(' ', ""));
    let row = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name));
    for (key, name) in [("hops", "hops "), ("messages", "messages alive"), ("copies", "copies ")] {
        let row = row(name).unwrap();
        assert_eq!(value(row), Some(result["figures"][key].to_string()), "{row}");
    }
    let checks = result["checks"].as_array().unwrap();
    assert!(checks.len() > 3);
    for check in checks {
        let name = check["check"].as_str().unwrap();
        assert!(row(name).unwrap().ends_with(" 0"), "{name}: {text}");
    }
    let verdict = result["verdict"].as_str().unwrap();
    assert!(text.contains(&format!("\n{verdict}\n")), "{text}");
}

#[test]
fn a_trace_is_cut_at_its_limit_and_the_run_continues() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("trace");
    let name = file.to_str().unwrap();
    let run = run(&["sim", "original-1", "--json", "--trace", name, "--trace-limit", "10kB"]);
    assert!(run.status.success() && stderr(&run).contains("cut at 9.77 KiB"), "{}", stderr(&run));
    let trace = fs::read_to_string(&file).unwrap();
    assert!(trace.len() > 9_900 && trace.len() <= 10_000 && trace.ends_with('\n'));
    let result: Value = serde_json::from_str(stdout(&run).lines().last().unwrap()).unwrap();
    assert_eq!(result["trace"]["bytes"], trace.len());
    assert_eq!((&result["trace"]["complete"], &result["complete"]), (&false.into(), &true.into()));
}

#[test]
fn a_stopped_run_reports_its_progress() {
    let output = run(&[&ENDLESS[..], &["--wall", "1ms"]].concat());
    let so_far = stdout(&output);
    assert!(output.status.success(), "{}{so_far}", stderr(&output));
    for words in [
        "of the whole run",
        "--wall\n",
        "passed: ",
        "; stopped before the end, so the checks of the end did not run",
        "trace so far ",
    ] {
        assert!(so_far.contains(words), "{words}: {so_far}");
    }
    let whole = output_of(&["sim", "original-1"]);
    assert!(!whole.contains("so far") && !whole.contains("stopped"), "{whole}");
}

/// A running command. The command is killed on drop.
struct Running {
    child: Child,
    /// The lines of standard output.
    lines: Receiver<String>,
}

impl Running {
    /// Starts a command, and waits for the first line of its output.
    fn start(args: &[&str]) -> Self {
        let mut child = clacks(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
        let running = Self { child, lines };
        assert!(running.lines.recv_timeout(DEADLINE).unwrap().contains("original-1"));
        running
    }

    /// Sends SIGINT to the command.
    fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end of the command. Returns all lines after the first one, and whether the
    /// command succeeded.
    fn end(&mut self) -> (String, bool) {
        let mut rest = String::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => rest.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    return (rest, self.child.wait().unwrap().success());
                }
                Err(RecvTimeoutError::Timeout) => panic!("the command did not end: {rest}"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_ctrl_c_ends_a_run_with_its_summary() {
    let mut running = Running::start(&ENDLESS);
    running.interrupt();
    let (text, is_success) = running.end();
    assert!(text.contains("a signal\n") && text.contains("trace so far "), "{text}");
    assert!(is_success);
}

#[test]
fn the_first_ctrl_c_ends_a_sweep_with_its_summary() {
    let mut running = Running::start(&[&ENDLESS[..], &["--seeds", "0..9", "--json"]].concat());
    running.interrupt();
    let (text, is_success) = running.end();
    assert!(is_success, "{text}");
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(result["event"], "result");
    assert_eq!(
        (&result["complete"], &result["runs"], &result["asked"]),
        (&false.into(), &0.into(), &9.into())
    );
    assert_eq!(result["hash"], Value::Null, "a stopped sweep has no hash");
}

#[test]
fn the_second_ctrl_c_ends_a_run_at_once() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("trace");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // The test does not read the pipe. The pipe is full before the command checks for signals.
    let _held = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut running =
        Running::start(&[&ENDLESS[..], &["--trace", pipe.to_str().unwrap()]].concat());
    assert_eq!(interrupt_until_it_ends(&mut running.child).code(), Some(130));
    assert!(!running.end().0.contains("passed"));
}

#[test]
fn the_first_and_last_line_contain_the_seed_and_the_last_line_the_hash() {
    let text = output_of(&["sim", "original-1", "--seed", "7"]);
    let (first, last) = (text.lines().next().unwrap(), text.lines().last().unwrap());
    assert!(first.starts_with("original-1  seed 7, 3 towers, 1h"), "{first}");
    let hash = last.strip_prefix("seed 7  trace ").unwrap();
    assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn output_to_a_file_has_no_escape_sequences() {
    let alone = &["sim", "original-1"][..];
    for args in [alone, &["sim", "original-1", "--seeds", "0..3"], &["sim", "--list"]] {
        let output = run(args);
        let text = stdout(&output);
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        assert_eq!(stderr(&output), "", "no progress bar");
    }
}

#[test]
fn a_scenario_is_found_by_its_path() {
    let folder = tempdir().unwrap();
    let file = |name: &str, towers: u32| {
        let text = format!("name = \"mine\"\ntowers = {towers}\ntime = \"1m\"\n");
        fs::write(folder.path().join(name), text).unwrap();
    };
    file("mine", 4);
    file("dotted.toml", 5);
    file("churn", 6);
    for (name, towers) in [
        ("./mine", 4),
        ("mine", 4),
        ("dotted.toml", 5),
        ("./dotted.toml", 5),
        ("./churn", 6),
        ("churn", 100),
    ] {
        let output = clacks(&["sim", name, "--show"]).current_dir(&folder).output().unwrap();
        let shown = stdout(&output);
        assert!(
            shown.contains(&format!("towers = {towers}\n")),
            "{name}: {shown}{}",
            stderr(&output)
        );
    }
}

#[test]
fn an_error_in_a_file_is_reported_with_the_file_name() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let name = file.to_str().unwrap();
    for (text, sentence) in [
        ("name = 1\ntowers", "line 2 is not TOML"),
        ("name = \"mine\"\ntowers = 3", "time is missing"),
    ] {
        fs::write(&file, text).unwrap();
        let output = run(&["sim", name]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(&format!("{name}: {sentence}")), "{}", stderr(&output));
    }
}

#[test]
fn show_prints_the_source_of_an_unchanged_bundled_scenario() {
    for bundled in Scenario::bundled() {
        assert_eq!(output_of(&["sim", bundled.name, "--show"]), bundled.toml);
    }
    let same = output_of(&["sim", "churn", "--show", "--seed", "1"]);
    assert!(same.contains("# "), "seed 1 is the seed of the scenario: {same}");
    for change in
        [["--set", "link.latency=80ms"], ["--towers", "70"], ["--time", "7h"], ["--seed", "7"]]
    {
        let shown = output_of(&[&["sim", "churn", "--show"][..], &change].concat());
        assert!(!shown.contains("# "), "{shown}");
        assert_ne!(Scenario::from_toml(&shown).unwrap(), Scenario::named("churn").unwrap());
    }
}

#[test]
fn each_seed_of_swarm_is_a_different_scenario_and_can_be_replayed() {
    let mut sweep = events(&["sim", "swarm", "--json", "--seeds", "0..3", "--time", "1m"]);
    assert_eq!(sweep.pop().unwrap()["passed"], 3);
    let last = sweep.pop().unwrap();
    assert_eq!(last["replay"], "clacks sim swarm --time 1m --seed 2");
    let alone = events(&["sim", "swarm", "--json", "--time", "1m", "--seed", "2"]).pop().unwrap();
    assert_eq!(alone["hash"], last["hash"]);
    let shown = |seed| output_of(&["sim", "swarm", "--show", "--seed", seed]);
    assert_eq!(Scenario::from_toml(&shown("2")).unwrap(), Scenario::swarm(2));
    assert_ne!(shown("2"), shown("3"));
}

#[test]
fn a_shorter_time_removes_later_faults() {
    let shown = output_of(&["sim", "rough", "--show", "--time", "12m"]);
    let scenario = Scenario::from_toml(&shown).unwrap();
    assert_eq!((scenario.time.as_secs(), scenario.faults.len()), (720, 3));
    assert!(output_of(&["sim", "million", "--show", "--time", "30s"]).contains("time = \"30s\""));
}

#[test]
fn an_output_file_that_cannot_be_written_fails_before_the_run() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let (taken, inside) = (file.to_str().unwrap(), file.join("x"));
    let inside = inside.to_str().unwrap();
    for args in [["--report", inside], ["--trace", inside], ["--csv", inside], ["--csv", taken]] {
        let output = run(&[&["sim", "original-1"][..], &args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains("can't be written"), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
    for option in ["--trace", "--report"] {
        let output = run(&["sim", "original-1", "--set", "link.broken=2", option, taken]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(fs::read_to_string(&file).unwrap(), "text", "{option}: the file is unchanged");
    }
    let unread = "link.latency={ samples = \"/no/such.csv\" }";
    let output = run(&["sim", "original-1", "--set", unread, "--report", taken]);
    assert!(stderr(&output).contains("/no/such.csv"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "text", "the old report is unchanged");
}

#[test]
fn an_output_file_that_cannot_be_written_after_the_run_fails() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    for option in ["--trace", "--report"] {
        let output = run(&["sim", "original-1", option, "/dev/full"]);
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(stderr(&output).contains("/dev/full can't be written"), "{}", stderr(&output));
    }
}

/// Each path is another name of a file that is already in use.
#[cfg(unix)]
#[test]
fn a_file_has_one_use_in_a_run() {
    use std::os::unix::fs::symlink;
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = output_of(&["sim", "original-1", "--show"])
        .replace("shape = \"none\"", "shape = \"file\"\nfile = \"pairs.csv\"");
    assert!(text.contains("pairs.csv"), "{text}");
    fs::write(at("mine.toml"), &text).unwrap();
    fs::write(at("pairs.csv"), "0,1\n").unwrap();
    fs::hard_link(at("mine.toml"), at("hard")).unwrap();
    symlink(at("mine.toml"), at("link")).unwrap();
    symlink(at("new"), at("dangling")).unwrap();
    symlink(folder.path(), at("folder")).unwrap();
    let run = |command: &mut Command, options: &[&str]| {
        let output = command.args(options).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {}", stdout(&output));
        assert_eq!(fs::read_to_string(at("mine.toml")).unwrap(), text, "{options:?}");
        assert_eq!(fs::read_to_string(at("pairs.csv")).unwrap(), "0,1\n", "{options:?}");
        assert!(!at("new").exists(), "{options:?}");
        stderr(&output).to_owned()
    };
    let sim = || clacks(&["sim", "mine.toml"]);
    for options in [
        ["--trace", "mine.toml"],
        ["--report", "./mine.toml"],
        ["--report", "hard"],
        ["--trace", "link"],
        ["--trace", "folder/mine.toml"],
        ["--trace", "pairs.csv"],
    ] {
        let error = run(&mut sim(), &options);
        assert!(error.contains("would overwrite"), "{options:?}: {error}");
    }
    for options in [
        &["--trace", "new", "--report", "new"][..],
        &["--trace", "new", "--report", "folder/new"],
        &["--trace", "new", "--report", "dangling"],
        &["--report", "dangling", "--trace", "new"],
        &["--csv", "tables", "--trace", "tables/series.csv"],
        &["--trace", "/dev/stdout"],
    ] {
        let error = run(&mut sim(), options);
        assert!(error.contains("is the same file as"), "{options:?}: {error}");
    }
    assert!(run(&mut sim(), &["--trace", "-"]).contains("standard output"));
    let append = || OpenOptions::new().append(true).create(true).open(at("out")).unwrap();
    let error = run(sim().stdout(append()), &["--report", "out"]);
    assert!(error.contains("is the same file as standard output"), "{error}");
    let own = || OpenOptions::new().append(true).open(at("mine.toml")).unwrap();
    let error = run(sim().stdout(own()), &[]);
    assert!(error.contains("which this command reads"), "{error}");

    // The null device holds nothing that could be lost.
    let null = ["--trace", "/dev/null", "--report", "/dev/null"];
    let output = sim().args(null).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    let folder = tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_clacks");
    for option in ["--trace t", "--report t", "--csv .", "--json --seeds 0..200 >t"] {
        let script = format!("ulimit -f 8 && exec '{program}' sim original-1 {option}");
        let mut command = Command::new("sh");
        let output = command.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{option}: {}", stderr(&output));
        assert!(stderr(&output).contains("File too large"), "{option}: {}", stderr(&output));
    }
}

#[test]
fn invalid_arguments_have_an_error_message_and_exit_code_2() {
    for (args, words) in [
        (&["sim"][..], "SCENARIO"),
        (
            &["sim", "nope"],
            "there is no scenario \"nope\", and no file of that name: `clacks sim --list`",
        ),
        (&["sim", "orignal-1"], "did you mean original-1? `clacks sim --list`"),
        (&["sim", "/no/such/file.toml"], "can't read /no/such/file.toml"),
        (&["sim", "./nope"], "can't read ./nope"),
        (&["sim", "lossy", "--show", "--set", "link.broken=1.5"], "it must be from 0 to 1"),
        (&["sim", "--list", "--json"], "cannot be used with"),
        (&["sim", "lossy", "--show", "--json"], "cannot be used with"),
        (&["sim", "lossy", "--set", "link.broken=1.5"], "it must be from 0 to 1"),
        (&["sim", "lossy", "--set", "link.brokn=1"], "link.brokn is no key"),
        (&["sim", "lossy", "--set", "nonsense"], "KEY=VALUE"),
        (&["sim", "lossy", "--towers", "0"], "towers is 0; it must be from 1 to 4000000"),
        (&["sim", "lossy", "--towers", "-5"], "from 1 to 4000000"),
        (&["sim", "lossy", "--towers", "99999999999"], "from 1 to 4000000"),
        (&["sim", "lossy", "--towers", "4000001"], "from 1 to 4000000"),
        (&["sim", "lossy", "--seed", "-1"], "from 0 to 18446744073709551615"),
        (&["sim", "lossy", "--time", "400days"], "from 1ms to 366days"),
        (&["sim", "lossy", "--seeds", "0..2", "--jobs", "0"], "0 is not in 1..=1024"),
        (&["sim", "lossy", "--jobs", "2"], "--seeds"),
        (&["sim", "original-1", "--seeds", "4..4"], "the end must be more"),
        (&["sim", "diff", "/no/such", "/file"], "can't be read"),
        (&["sim", "diff", "/", "/"], "can't be read"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}

/// A crowd of newcomers, of which the well-known tower learns half.
const CROWD: [&str; 10] = [
    "sim",
    "crowd",
    "--time",
    "1m",
    "--set",
    "tower.newcomers=replace_dead",
    "--set",
    "tower.strangers.burst=64",
    "--set",
    "tower.strangers.every=4s",
];

#[test]
fn a_missed_target_is_listed_and_fails_with_check_only() {
    let output = run(&CROWD);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let row = text.lines().find(|line| line.contains("newcomers that tower 0 knows")).unwrap();
    assert!(row.contains(" % ") && row.ends_with("missed"), "{row}");
    assert!(text.contains("passed: "), "a missed target is no violation: {text}");

    assert_eq!(run(&[&CROWD[..], &["--check"]].concat()).status.code(), Some(1));
    let met = ["--set", "target.0.at_least=0.1", "--set", "target.1.at_least=0.0"];
    let met = [&CROWD[..], &["--towers", "20", "--check"], &met].concat();
    assert!(run(&met).status.success(), "{}", stdout(&run(&met)));
}

#[test]
fn check_without_targets_is_refused() {
    for (args, sentence) in [
        (&["sim", "original-1"][..], "--check needs targets, and \"original-1\" has no targets"),
        (
            &["sim", "swarm", "--seeds", "0..2"],
            "--check needs targets, and \"swarm\" has no targets",
        ),
        (&["sim", "claims", "--time", "9s"], "and \"claims\" has none within --time"),
    ] {
        let output = run(&[args, &["--check"]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(sentence), "{}", stderr(&output));
    }
}

#[test]
fn targets_after_the_end_are_named() {
    for seeds in [&[][..], &["--seeds", "1..3"]] {
        let output = run(&[&["sim", "crowd", "--time", "20s"], seeds].concat());
        let note =
            "note: --time ends before the target \"newcomers that tower 0 knows after 30 s\".\n";
        assert_eq!(stderr(&output).matches(note).count(), 1, "{}", stderr(&output));
        assert!(stdout(&output).contains("seconds until tower 0 knows all"));
    }
}

#[test]
fn a_scenario_can_be_read_from_a_pipe() {
    // A large network makes the command start again with huge pages, if the system has them.
    let text = "name = \"piped\"\ntowers = 2000\ntime = \"1ms\"\nchecks = \"off\"\n";
    let mut child = clacks(&["sim", "/dev/stdin"])
        .env_remove("GLIBC_TUNABLES")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("piped  seed 0, 2 000 towers"), "{}", stdout(&output));
}

#[test]
fn a_run_that_is_stopped_while_it_settles_is_shown_as_whole() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("hermits.toml");
    let text = "name = \"hermits\"\ntowers = 2\ntime = \"1s\"\ncontacts.shape = \"none\"\n\
                checks = { settle_within = \"366days\" }\n";
    fs::write(&file, text).unwrap();
    let text = output_of(&["sim", file.to_str().unwrap(), "--wall", "1s"]);
    let row = text.lines().find(|line| line.contains("of the whole run")).unwrap();
    assert!(row.ends_with(" 100.0 %"), "{row}");
}

#[test]
fn targets_are_part_of_the_json() {
    let result = events(&[&CROWD[..], &["--json"]].concat()).pop().unwrap();
    let target = &result["targets"][0];
    assert!(target["number"].as_f64().is_some_and(|share| share < 0.6), "{target}");
    assert_eq!((&target["at_least"], &target["met"]), (&1.0.into(), &false.into()), "{target}");
}

#[test]
fn a_sweep_has_the_mean_of_each_target_and_its_confidence_interval() {
    let sweep = [&CROWD[..], &["--seeds", "1..4"]].concat();
    let text = output_of(&sweep);
    let row = text.lines().find(|line| line.contains("newcomers that tower 0 knows")).unwrap();
    assert!(row.contains(" ± ") && row.ends_with("missed"), "{row}");
    assert_eq!(run(&[&sweep[..], &["--check"]].concat()).status.code(), Some(1));

    let events = events(&[&sweep[..], &["--json"]].concat());
    let numbers: Vec<f64> = events
        .iter()
        .filter(|event| event["event"] == "run")
        .map(|event| event["targets"][0]["number"].as_f64().unwrap())
        .collect();
    let mean = events.last().unwrap()["targets"][0]["mean"].as_f64().unwrap();
    assert_eq!(numbers.len(), 3);
    assert!((numbers.iter().sum::<f64>() / 3.0 - mean).abs() < 1e-12, "{numbers:?}, {mean}");

    let rows = output_of(&[&sweep[..], &["--markdown"]].concat());
    assert!(rows.starts_with("| newcomers that tower 0 knows after 30 s | 3 | "), "{rows}");
    assert!(rows.lines().count() == 2 && rows.ends_with("| missed |\n"), "{rows}");
}

#[test]
fn the_calm_twin_is_run_for_targets_that_need_it() {
    let args = ["sim", "split", "--towers", "8", "--time", "19m", "--json"];
    let mut result = events(&args).pop().unwrap();
    let target = result["targets"][0].take();
    let [number, measured, calm] =
        ["number", "measured", "calm"].map(|key| target[key].as_f64().unwrap());
    assert!(calm > 0.0 && (measured / calm - number).abs() < 1e-3, "{target}");
}
