//! `clacks sim`, as a person and as a script use it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test has no better answer to a surprise"
)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use clacks_sim::Scenario;
use common::{DEADLINE, clacks, interrupt_until_it_ends, lines_of, run, stderr, stdout};
use serde_json::Value;
use tempfile::tempdir;

/// A run that goes on for longer than anybody waits.
const ENDLESS: [&str; 4] = ["sim", "original-1", "--time", "366days"];

/// What a command says on standard output.
fn said(args: &[&str]) -> String {
    stdout(&run(args)).to_owned()
}

/// The JSON objects that a command wrote, one a line.
fn events(args: &[&str]) -> Vec<Value> {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_list_names_every_scenario_and_each_can_be_shown() {
    let list = said(&["sim", "--list"]);
    assert!(list.contains("200 towers      20m  The messages in flight"), "{list}");
    assert!(list.contains(" 2 to 60 towers  3 - 15m  A random scenario"), "{list}");
    for name in ["original-1", "capacity", "discovery", "churn", "netsplit", "lossy", "million"] {
        assert!(list.contains(&format!("{name} ")), "{list}");
        assert!(said(&["sim", name, "--show"]).contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_hash_and_another_one_another() {
    let hash = |seed| {
        events(&["sim", "original-1", "--json", "--seed", seed]).pop().unwrap()["hash"].clone()
    };
    assert_eq!(hash("7"), hash("7"));
    assert_ne!(hash("7"), hash("8"));
}

#[test]
fn a_sweep_says_the_same_on_one_thread_and_on_two() {
    let sweep = |jobs| {
        let mut events =
            events(&["sim", "original-1", "--json", "--seeds", "3..9", "--jobs", jobs]);
        let result = events.pop().unwrap();
        (events, result["hash"].clone(), result["passed"].clone())
    };
    let (runs, hash, held) = sweep("1");
    assert_eq!((runs.len(), held.as_u64()), (7, Some(6)), "what is started, and six runs");
    assert_eq!(sweep("2"), (runs, hash, held));
}

#[test]
fn a_seed_that_fails_says_why_and_how_to_see_it_again() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("hermits.toml");
    let text = "name = \"hermits\"\ntowers = 3\ntime = \"1m\"\ncontacts.shape = \"none\"\n\
                checks = { oracle = \"discovery\", liveness = false }\n";
    fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let output = run(&["sim", name, "--seeds", "4..6"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{}", stderr(&output));
    let first = "the first that failed: ";
    let replay = |seed| format!("clacks sim {name} --seed {seed}\n");
    for words in [
        "everybody knows everybody after: measured inf",
        &format!("repeat with: {}", replay(5)),
        "0 of 2 passed in ",
        &format!("{first}{}", replay(4)),
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let alone = run(&["sim", name]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(stdout(&alone).contains("; 1 prediction, 1 missed\n"), "{}", stdout(&alone));
}

#[test]
fn a_scenario_that_is_shown_can_be_run_from_a_file() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, said(&["sim", "original-1", "--show", "--seed", "4"])).unwrap();
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
    let (said, names) = (stdout(&different), format!("(- {first}, + {second}):\n"));
    assert!(said.contains("differs") && said.contains(&names), "{said}");
    let page = fs::read_to_string(&report).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    assert!(
        fs::read_to_string(folder.path().join("tables/series.csv")).unwrap().lines().count() > 10
    );
}

#[test]
fn text_and_json_show_the_same_figures_and_the_checks_that_ran() {
    let args = ["sim", "original-1", "--seed", "4"];
    let text = said(&args);
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
fn a_trace_is_cut_at_its_limit_and_the_run_goes_on() {
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
fn a_run_that_is_stopped_says_how_far_it_came() {
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
    let whole = said(&["sim", "original-1"]);
    assert!(!whole.contains("so far") && !whole.contains("stopped"), "{whole}");
}

/// A command that runs. Killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts one, and waits until its first line is there.
    fn start(args: &[&str]) -> Self {
        let mut child = clacks(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
        let running = Self { child, lines };
        assert!(running.lines.recv_timeout(DEADLINE).unwrap().contains("original-1"));
        running
    }

    fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end. All lines after the first, and whether it was content.
    fn end(&mut self) -> (String, bool) {
        let mut rest = String::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => rest.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    return (rest, self.child.wait().unwrap().success());
                }
                Err(RecvTimeoutError::Timeout) => panic!("it never ended: {rest}"),
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
    let (said, is_content) = running.end();
    assert!(said.contains("a signal\n") && said.contains("trace so far "), "{said}");
    assert!(is_content);
}

#[test]
fn the_first_ctrl_c_ends_a_sweep_with_its_summary() {
    let mut running = Running::start(&[&ENDLESS[..], &["--seeds", "0..9", "--json"]].concat());
    running.interrupt();
    let (said, is_content) = running.end();
    assert!(is_content, "{said}");
    let result: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(result["event"], "result");
    assert_eq!(
        (&result["complete"], &result["runs"], &result["asked"]),
        (&false.into(), &0.into(), &9.into())
    );
    assert_eq!(result["hash"], Value::Null, "a part of a sweep has none");
}

#[test]
fn the_second_ctrl_c_ends_it_at_once() {
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
fn the_seed_comes_first_and_last_and_the_hash_last() {
    let said = said(&["sim", "original-1", "--seed", "7"]);
    let (first, last) = (said.lines().next().unwrap(), said.lines().last().unwrap());
    assert!(first.starts_with("original-1  seed 7, 3 towers, 1h"), "{first}");
    let hash = last.strip_prefix("seed 7  trace ").unwrap();
    assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn what_goes_into_a_file_is_bare_text() {
    let alone = &["sim", "original-1"][..];
    for args in [alone, &["sim", "original-1", "--seeds", "0..3"], &["sim", "--list"]] {
        let output = run(args);
        let said = stdout(&output);
        assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
        assert!(said.lines().all(|line| line == line.trim_end()), "{said:?}");
        assert_eq!(stderr(&output), "", "no bar");
    }
}

#[test]
fn a_scenario_in_any_file_is_found_by_its_path() {
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
fn a_mistake_in_a_file_is_told_with_its_name() {
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
fn a_bundled_scenario_is_shown_as_it_was_written_unless_it_is_changed() {
    for bundled in Scenario::bundled() {
        assert_eq!(said(&["sim", bundled.name, "--show"]), bundled.toml);
    }
    let same = said(&["sim", "churn", "--show", "--seed", "1"]);
    assert!(same.contains("# "), "that is its seed anyway: {same}");
    for change in
        [["--set", "link.latency=80ms"], ["--towers", "70"], ["--time", "7h"], ["--seed", "7"]]
    {
        let shown = said(&[&["sim", "churn", "--show"][..], &change].concat());
        assert!(!shown.contains("# "), "{shown}");
        assert_ne!(Scenario::from_toml(&shown).unwrap(), Scenario::named("churn").unwrap());
    }
}

#[test]
fn each_seed_of_swarm_is_another_scenario_that_can_be_run_again() {
    let mut sweep = events(&["sim", "swarm", "--json", "--seeds", "0..3", "--time", "1m"]);
    assert_eq!(sweep.pop().unwrap()["passed"], 3);
    let last = sweep.pop().unwrap();
    assert_eq!(last["replay"], "clacks sim swarm --time 1m --seed 2");
    let alone = events(&["sim", "swarm", "--json", "--time", "1m", "--seed", "2"]).pop().unwrap();
    assert_eq!(alone["hash"], last["hash"]);
    let shown = |seed| said(&["sim", "swarm", "--show", "--seed", seed]);
    assert_eq!(Scenario::from_toml(&shown("2")).unwrap(), Scenario::swarm(2));
    assert_ne!(shown("2"), shown("3"));
}

#[test]
fn a_shorter_time_cuts_a_scenario() {
    let shown = said(&["sim", "rough", "--show", "--time", "12m"]);
    let scenario = Scenario::from_toml(&shown).unwrap();
    assert_eq!((scenario.time.as_secs(), scenario.faults.len()), (720, 3));
    assert!(said(&["sim", "million", "--show", "--time", "30s"]).contains("time = \"30s\""));
}

#[test]
fn a_file_that_cannot_be_written_is_found_out_before_anything_runs() {
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
        assert_eq!(fs::read_to_string(&file).unwrap(), "text", "{option}: nor is it touched");
    }
    let unread = "link.latency={ samples = \"/no/such.csv\" }";
    let output = run(&["sim", "original-1", "--set", unread, "--report", taken]);
    assert!(stderr(&output).contains("/no/such.csv"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "text", "a report stays until there is another");
}

#[test]
fn a_result_that_cannot_be_written_in_the_end_fails() {
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

#[test]
fn what_makes_no_sense_has_a_sentence_and_exit_code_2() {
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
const CROWD: [&str; 4] = ["sim", "crowd", "--time", "1m"];

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
fn targets_are_part_of_the_json() {
    let result = events(&[&CROWD[..], &["--json"]].concat()).pop().unwrap();
    let target = &result["targets"][0];
    assert!(target["number"].as_f64().is_some_and(|share| share < 0.6), "{target}");
    assert_eq!((&target["at_least"], &target["met"]), (&1.0.into(), &false.into()), "{target}");
}

#[test]
fn a_sweep_has_the_mean_of_each_target_and_its_confidence_interval() {
    let sweep = [&CROWD[..], &["--seeds", "1..4"]].concat();
    let text = said(&sweep);
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

    let rows = said(&[&sweep[..], &["--markdown"]].concat());
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
