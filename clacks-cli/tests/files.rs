//! Files in a network of real towers: `put`, `get`, `health`, `keep` and `link`.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests panic on errors")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clacks_store::{FileId, Geometry, ReadLink, Root, Secret};
use common::{ClosedPort, DEADLINE, Tower, clacks, stderr, stdout};
use nix::pty::openpty;
use serde_json::Value;
use tempfile::TempDir;

const RUNTIMES: [&str; 2] = ["smol", "mio"];

/// The bytes of a record in a part file.
const RECORD: u64 = 11_952;

/// Returns bytes without a pattern. The seed makes files of one length different.
fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut word = seed;
    let next = |_| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// Towers that know each other.
struct Network(Vec<Tower>);

impl Network {
    fn start(count: usize, args: &[&str]) -> Self {
        // Heartbeats spread the addresses.
        let args = &[args, &["--heartbeat=1s"]].concat();
        let first = Tower::start(args);
        let announce = format!("--announce={}", first.address);
        let with_first = [&args[..], &[announce.as_str()]].concat();
        let mut towers = vec![first];
        towers.extend((1..count).map(|_| Tower::start(&with_first)));
        let mut network = Self(towers);
        network.wait_until_all_are_known();
        network
    }

    fn wait_until_all_are_known(&mut self) {
        let others = self.0.len() - 1;
        let deadline = Instant::now() + DEADLINE;
        for tower in &mut self.0 {
            while alive(tower) < others {
                assert!(Instant::now() < deadline, "the towers do not meet: {:#?}", tower.told());
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn address(&self, number: usize) -> &str {
        &self.0[number - 1].address
    }

    fn tower(&mut self, number: usize) -> &mut Tower {
        &mut self.0[number - 1]
    }
}

fn alive(tower: &mut Tower) -> usize {
    let survey = tower.ask("survey");
    let towers = survey["towers"].as_array().unwrap();
    towers.iter().filter(|tower| tower["status"] == "alive").count()
}

/// A person with a folder and a state of its own.
struct Person(TempDir);

impl Person {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Returns the names of the files in the folder, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.retain(|name| name != "state");
        names.sort();
        names
    }

    fn command(&self, tower: &str, args: &[&str]) -> Command {
        let mut command = clacks(args);
        command.current_dir(self.0.path()).env("XDG_STATE_HOME", self.path("state"));
        command.env("CLACKS_TOWER", tower);
        // No tower that other tests run is found.
        command.env("XDG_RUNTIME_DIR", self.path("state"));
        command
    }

    fn run(&self, tower: &str, args: &[&str]) -> Output {
        self.command(tower, args).output().unwrap()
    }

    fn run_with(&self, tower: &str, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(tower, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // The command may end before it has read everything.
        let writer = thread::spawn(move || _ = stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Puts a file, and returns its link.
    fn put(&self, tower: &str, args: &[&str]) -> String {
        let output = self.run(tower, &[&["put"], args].concat());
        succeeded(&output);
        let link = stdout(&output).trim_end().to_owned();
        assert_eq!(stdout(&output), format!("{link}\n"), "nothing but the link");
        assert!(link.starts_with("clacks1") && link.len() == 101, "{link}");
        link
    }

    /// Gets a file, which must be equal.
    fn get(&self, tower: &str, link: &str, expected: &[u8]) {
        let name = format!("got-{}", expected.len());
        let output = self.run(tower, &["get", link, "-o", &name]);
        succeeded(&output);
        assert_eq!(stdout(&output), "");
        assert!(self.read(&name) == expected, "the content differs");
        fs::remove_file(self.path(&name)).unwrap();
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}\n{}", stdout(output), stderr(output));
}

fn failed(output: &Output, code: i32, words: &str) {
    let all = format!("{}\n{}", stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(stderr(output).contains(words), "{all}");
}

/// Returns the events of `--json`.
fn events(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn find<'a>(events: &'a [Value], name: &str) -> &'a Value {
    events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("{events:#?}"))
}

/// Returns a link of a file that was never put.
fn foreign_link() -> ReadLink {
    let geometry = Geometry::new(2, 93).unwrap();
    let file = FileId { geometry, until: 4_000_000, root: Root::new([3; 32]) };
    ReadLink::new(Secret::new([7; 16]), file)
}

#[test]
fn a_file_outlives_its_tower_and_others() {
    for runtime in RUNTIMES {
        let mut network = Network::start(10, &["--runtime", runtime]);
        let (anna, bob) = (Person::new(), Person::new());
        let content = random(1 << 20, 1);
        anna.write("photo.jpg", &content);
        let link = anna.put(network.address(1), &["photo.jpg"]);
        network.tower(1).kill();
        bob.get(network.address(7), &link, &content);
        network.tower(2).kill();
        network.tower(3).kill();
        bob.get(network.address(8), &link, &content);
        for number in 4..=8 {
            network.tower(number).signal("-TERM");
            assert!(network.tower(number).ended().success());
        }
        bob.get(network.address(9), &link, &content);
        let health = bob.run(network.address(10), &["health", "--json", &link]);
        succeeded(&health);
        let events = events(&health);
        let health = find(&events, "health");
        assert_eq!(health["needed"], 0.5);
        assert!(health["alive"].as_f64().unwrap() > 0.5, "{health}");
        assert_eq!(health["proved"], health["sampled"], "{health}");
    }
}

#[test]
fn an_interrupted_get_takes_only_the_rest() {
    for runtime in RUNTIMES {
        let network = Network::start(3, &["--runtime", runtime]);
        let person = Person::new();
        let content = random(6 << 20, 2);
        person.write("film.mp4", &content);
        let link = person.put(network.address(1), &["film.mp4"]);
        let id = link.parse::<ReadLink>().unwrap().file();
        let root: String = id.root.bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let part = person.path(&format!(".clacks-{root}.clacks-part"));
        let needed = u64::from(id.geometry.data() * id.geometry.groups());
        let mut child = person.command(network.address(2), &["get", &link, "-o", "copy"]);
        let mut child = child.stderr(Stdio::null()).spawn().unwrap();
        kill_when(&mut child, || {
            fs::metadata(&part).is_ok_and(|it| it.len() > needed / 2 * RECORD)
        });
        assert!(!person.path("copy").exists());
        let file = fs::metadata(&part).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600);
        // The last record may be torn.
        let torn = [fs::read(&part).unwrap(), vec![7; 100]].concat();
        fs::write(&part, torn).unwrap();
        let output = person.run(network.address(3), &["get", &link, "-o", "copy", "--json"]);
        succeeded(&output);
        let events = events(&output);
        let pieces = find(&events, "forecast")["pieces"].as_u64().unwrap();
        assert!(pieces * 100 < needed * 60, "{pieces} of {needed} are taken again");
        assert_eq!(find(&events, "done")["bytes"], content.len());
        assert!(person.read("copy") == content);
        assert_eq!(person.names(), ["copy", "film.mp4"], "the part file is removed");
    }
}

/// Presses Ctrl-C once, and waits for the end. A second one would end the command with another exit
/// code.
fn interrupt(child: &mut Child) -> ExitStatus {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the command does not end");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Kills a command with SIGKILL when a condition holds. The command must still run then.
fn kill_when(child: &mut Child, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(child.try_wait().unwrap().is_none(), "the command has ended");
        assert!(Instant::now() < deadline, "it never happens");
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it ended before it was killed");
}

#[test]
fn a_get_ends_at_the_first_signal_while_its_output_takes_no_bytes() {
    let network = Network::start(2, &[]);
    let person = Person::new();
    // A pipe takes 64 KiB.
    person.write("film.mp4", &random(300_000, 8));
    let link = person.put(network.address(1), &["film.mp4"]);
    nix::unistd::mkfifo(&person.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for output in ["-", "pipe"] {
        let mut command = person.command(network.address(2), &["get", &link, "-o", output]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut reader: Box<dyn Read> = match output {
            "-" => Box::new(child.stdout.take().unwrap()),
            name => Box::new(fs::File::open(person.path(name)).unwrap()),
        };
        // The command writes now, and the pipe fills.
        reader.read_exact(&mut [0]).unwrap();
        assert_eq!(interrupt(&mut child).code(), Some(130), "{output}");
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("The output is incomplete"), "{text}");
    }
    assert_eq!(person.names(), ["film.mp4", "pipe"]);
}

#[test]
fn a_listener_gets_a_file_that_no_tower_lists() {
    for runtime in RUNTIMES {
        let person = Person::new();
        let socket = person.path("socket");
        let control = format!("--control={}", path(&socket));
        let plain = ["--no-store", "--send-rate=20", "--heartbeat=1s", "--runtime", runtime];
        let mut network = Network::start(2, &["--runtime", runtime]);
        let announce = format!("--announce={}", network.address(1));
        let plain = [&plain[..], &[announce.as_str()]].concat();
        for args in [&[][..], &[], &[control.as_str()]] {
            network.0.push(Tower::start(&[&plain[..], args].concat()));
        }
        network.wait_until_all_are_known();
        let content = random(1 << 20, 7);
        person.write("photo.jpg", &content);
        let link = person.put(network.address(1), &["photo.jpg"]);
        // The stores hand all pieces to the others, which list nothing.
        for number in [1, 2] {
            network.tower(number).signal("-TERM");
            assert!(network.tower(number).ended().success());
        }
        let output = person.run(network.address(5), &["get", &link, "-o", "copy"]);
        failed(&output, 4, "no tower with a store");
        let listen = ["get", "--listen", "--json", &control];
        let get = [&listen[..], &[&link, "-o", "copy"]].concat();
        let output = common::run_to_deadline(person.command("", &get));
        succeeded(&output);
        assert!(person.read("copy") == content);
        let events = events(&output);
        // The tower may not know yet that the stores are gone.
        assert!(find(&events, "forecast")["towers"].as_u64() >= Some(2), "{events:#?}");
        assert_eq!(find(&events, "done")["verb"], "get");

        // A file of which no piece comes.
        let link = foreign_link().to_string();
        let mut child = spawn_listener(&person, &[&listen[..], &[&link]].concat());
        assert_eq!(interrupt(&mut child).code(), Some(130));
        assert_eq!(person.names(), ["copy", "photo.jpg", "socket", "socket.lock"]);
    }
}

#[test]
fn a_listener_needs_a_tower_and_a_file_that_lasts() {
    let person = Person::new();
    let link = foreign_link().to_string();
    let output = person.run("", &["get", "--listen", &link]);
    failed(&output, 1, "No tower runs here: start one");
    failed(&person.run("", &["get", "--listen", "--direct", &link]), 2, "cannot be used with");
    let socket = person.path("socket");
    let control = format!("--control={}", path(&socket));
    let mut tower = Tower::start(&[&control]);
    let old = FileId { until: 1_000, ..foreign_link().file() };
    let old = ReadLink::new(Secret::new([7; 16]), old).to_string();
    let output = person.run("", &["get", "--listen", &control, &old]);
    failed(&output, 3, "The file is over: 0 of 93 needed pieces came");
    let child = spawn_listener(&person, &["get", "--listen", "--json", &control, &link]);
    tower.signal("-TERM");
    assert!(tower.ended().success());
    failed(&child.wait_with_output().unwrap(), 1, "The tower ended. Start it again");
}

/// Starts a get that listens, and waits until it does.
fn spawn_listener(person: &Person, args: &[&str]) -> Child {
    let mut command = person.command("", args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = common::lines_of(std::io::BufReader::new(child.stdout.take().unwrap()));
    let next = || lines.recv_timeout(DEADLINE).unwrap();
    let mut events = std::iter::repeat_with(|| serde_json::from_str::<Value>(&next()).unwrap());
    let progress = events.find(|event| event["event"] == "progress").unwrap();
    assert_eq!((&progress["phase"], &progress["pieces"]), (&"listening".into(), &0.into()));
    // The pipe must stay open until the end of the command.
    thread::spawn(move || lines.iter().count());
    child
}

#[test]
fn a_file_that_was_never_put_is_gone() {
    for runtime in RUNTIMES {
        let network = Network::start(3, &["--runtime", runtime]);
        let person = Person::new();
        let link = foreign_link().to_string();
        let output = person.run(network.address(1), &["get", &link]);
        failed(&output, 3, "The file is gone: 0 of 93 needed pieces were found");
        assert_eq!(person.names(), [""; 0], "no part file is left");
        let output = person.run(network.address(1), &["health", &link, "--json"]);
        assert_eq!(output.status.code(), Some(3));
        let events = events(&output);
        assert_eq!(find(&events, "health")["state"], "lost");
        assert_eq!(find(&events, "error")["kind"], "gone");
    }
}

#[test]
fn a_full_network_refuses_a_file() {
    for runtime in RUNTIMES {
        // 60 % of each queue is room for 26 chunks.
        let network = Network::start(2, &["--max-queue-bytes=512KiB", "--runtime", runtime]);
        let person = Person::new();
        person.write("file", &random(1 << 20, 3));
        let output = person.run(network.address(1), &["put", "file"]);
        failed(&output, 4, "The network has room for");
        let output = person.run(network.address(1), &["put", "file", "--patient", "--json"]);
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert_eq!(find(&events(&output), "error")["kind"], "refused");
    }
}

#[test]
fn towers_without_a_store_refuse_a_file() {
    let network = Network::start(2, &["--no-store"]);
    let person = Person::new();
    person.write("file", b"x");
    let output = person.run(network.address(1), &["put", "file"]);
    failed(&output, 4, "no tower with a store");
}

#[test]
fn no_tower_is_an_error_that_says_what_to_do() {
    let (person, closed) = (Person::new(), ClosedPort::new());
    person.write("file", b"x");
    let output = person.run(&closed.address, &["put", "file"]);
    failed(&output, 1, "`clacks ping 127.0.0.1");
    let other = ["put", "file", "--network", "other", "--clear"];
    let output = person.run(&closed.address, &other);
    failed(&output, 1, &format!("`clacks ping {} --network other --clear`", closed.address));
    let link = foreign_link().to_string();
    let output = person.run(&closed.address, &["get", &link]);
    failed(&output, 1, "No tower answers");
    assert_eq!(person.names(), ["file"]);
}

#[test]
fn files_travel_through_standard_input_and_output() {
    let network = Network::start(2, &[]);
    let (tower, person) = (network.address(1), Person::new());
    for (len, name) in [(0, "empty"), (70_000, "../.bashrc")] {
        let content = random(len, 4);
        let output = person.run_with(tower, &["put", "-", "--name", name], &content);
        succeeded(&output);
        let link = stdout(&output).to_owned();
        let output = person.run_with(tower, &["get", "-", "-o", "-"], link.as_bytes());
        succeeded(&output);
        assert!(output.stdout == content);
        let output = person.run_with(tower, &["get"], link.as_bytes());
        succeeded(&output);
    }
    assert_eq!(person.names(), ["bashrc", "empty"], "the name is made safe");
    // Without a name, and with a name of which nothing is left.
    for args in [&["put", "-"][..], &["put", "-", "--name", ".."]] {
        let output = person.run_with(tower, args, b"x");
        let link = stdout(&output).trim().to_owned();
        succeeded(&person.run(tower, &["get", &link]));
        let name = person.names().into_iter().find(|name| name.starts_with("clacks-")).unwrap();
        assert_eq!(person.read(&name), b"x");
        fs::remove_file(person.path(&name)).unwrap();
    }
}

#[test]
fn an_existing_file_stays_unless_it_may_be_replaced() {
    let network = Network::start(2, &[]);
    let (tower, person) = (network.address(1), Person::new());
    person.write("photo.jpg", b"new");
    let link = person.put(tower, &["photo.jpg"]);
    person.write("photo.jpg", b"mine");
    // The name in the stream is known at the end, and no piece is lost.
    let output = person.run(tower, &["get", &link]);
    failed(&output, 1, "photo.jpg exists and stays as it is");
    let output = person.run(tower, &["get", &link, "-o", "photo.jpg"]);
    failed(&output, 1, "replace it with -f");
    assert_eq!(person.read("photo.jpg"), b"mine");
    succeeded(&person.run(tower, &["get", &link, "-f"]));
    assert_eq!((person.read("photo.jpg"), person.names().len()), (b"new".to_vec(), 1));
    // A link is replaced, and not followed.
    person.write("target", b"mine");
    symlink("target", person.path("link")).unwrap();
    failed(&person.run(tower, &["get", &link, "-o", "link"]), 1, "link exists");
    succeeded(&person.run(tower, &["get", &link, "-o", "link", "-f"]));
    assert_eq!((person.read("link"), person.read("target")), (b"new".into(), b"mine".into()));
    // A folder, a device and a pipe.
    fs::create_dir(person.path("folder")).unwrap();
    succeeded(&person.run(tower, &["get", &link, "-o", "folder"]));
    assert_eq!(person.read("folder/photo.jpg"), b"new");
    succeeded(&person.run(tower, &["get", &link, "-o", "/dev/null", "-f"]));
    let output = person.run(tower, &["get", &link, "-o", "missing/photo.jpg"]);
    failed(&output, 1, "choose a folder that you may write to");
    let output = person.run(tower, &["get", &link, "-o", "missing/"]);
    failed(&output, 1, "There is no folder missing/: create it");
    let output = person.run(tower, &["get", &link, "-o", "/dev/full"]);
    failed(&output, 1, "It takes all pieces again");
}

/// Runs a command in a terminal, and types each answer when its question was written. Returns the
/// exit code and all that was written.
fn run_in_terminal(mut command: Command, answers: &[(&str, &str)]) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let side = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    // The terminal ends when the command has closed its side.
    drop((command, pty.slave));
    let mut screen = fs::File::from(pty.master);
    let (mut seen, mut answers) = (String::new(), answers.iter().peekable());
    let mut chunk = [0; 4_096];
    while let Ok(count @ 1..) = screen.read(&mut chunk) {
        seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        if let Some((_, answer)) = answers.next_if(|(question, _)| seen.contains(question)) {
            screen.write_all(answer.as_bytes()).unwrap();
        }
    }
    (child.wait().unwrap().code(), seen)
}

#[test]
fn a_terminal_is_asked_for_a_link_and_before_a_file_is_replaced() {
    let network = Network::start(2, &[]);
    let (tower, person) = (network.address(1), Person::new());
    person.write("photo.jpg", b"new");
    let link = person.put(tower, &["photo.jpg"]);
    let run = |args: &[&str], answers: &[(&str, &str)]| {
        person.write("photo.jpg", b"mine");
        let (code, seen) = run_in_terminal(person.command(tower, args), answers);
        assert_eq!(seen.matches("exists. Replace it?").count(), 1, "{seen}");
        (code, person.read("photo.jpg"))
    };
    let question = "photo.jpg exists. Replace it? [y/N] ";
    let get = ["get", &link, "-o", "photo.jpg"];
    assert_eq!(run(&get, &[(question, "n\n")]), (Some(1), b"mine".to_vec()));
    assert_eq!(run(&get, &[(question, "y\n")]), (Some(0), b"new".to_vec()));
    let typed = format!("{link}\n");
    let answers = [("Link: ", typed.as_str()), (question, "y\n")];
    assert_eq!(run(&["get"], &answers), (Some(0), b"new".to_vec()));
}

#[test]
fn a_full_disk_loses_no_piece() {
    for runtime in RUNTIMES {
        let network = Network::start(2, &["--runtime", runtime]);
        let (tower, person) = (network.address(1), Person::new());
        let content = random(1 << 20, 5);
        person.write("photo.jpg", &content);
        let link = person.put(tower, &["photo.jpg"]);
        let run = |args: &[&str]| {
            // The limit on the size of files is in blocks of 512 or 1 024 bytes.
            let mut shell = Command::new("sh");
            let command = person.command(tower, args);
            shell.args(["-c", "ulimit -f 600; exec \"$@\"", "sh"]).arg(command.get_program());
            shell.args(command.get_args()).current_dir(person.0.path());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            shell.stdin(fs::File::open("/dev/zero").unwrap()).output().unwrap()
        };
        // Temporary files are not kept.
        failed(&run(&["get", &link, "-o", "-"]), 1, "set TMPDIR to a folder with more space");
        failed(&run(&["put", "-"]), 1, "set TMPDIR to a folder with more space");
        let output = run(&["get", &link, "-o", "copy"]);
        failed(&output, 1, "It takes only the rest");
        let part = person.names().into_iter().find(|name| name.ends_with(".clacks-part")).unwrap();
        let held = (fs::metadata(person.path(&part)).unwrap().len() - 52) / RECORD;
        assert!(held > 20, "{held}");
        let output = person.run(tower, &["get", &link, "-o", "copy", "--json"]);
        succeeded(&output);
        assert_eq!(find(&events(&output), "forecast")["pieces"], 93 - held);
        assert!(person.read("copy") == content);
    }
}

#[test]
fn a_part_file_that_is_not_ones_own_is_refused() {
    let person = Person::new();
    let link = foreign_link();
    let part = person.path(".clacks-03030303.clacks-part");
    symlink("victim", &part).unwrap();
    let output = person.run("127.0.0.1:1", &["get", &link.to_string()]);
    failed(&output, 1, "is in the way");
    assert!(!person.path("victim").exists());
    fs::remove_file(&part).unwrap();
    fs::write(&part, "my notes").unwrap();
    let output = person.run("127.0.0.1:1", &["get", &link.to_string()]);
    failed(&output, 1, "belongs to another link");
    assert_eq!(fs::read(&part).unwrap(), b"my notes");
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let person = Person::new();
    let run = |args: &[&str]| person.run("127.0.0.1:1", args);
    let link = foreign_link().to_string();
    let foreign = format!("{}b{}", &link[..20], &link[21..]);
    failed(&run(&["get", &foreign]), 2, "'b' at place 21");
    failed(&run(&["get", &link[..80]]), 2, "mistyped");
    let keep = foreign_link().keep().to_string();
    failed(&run(&["get", &keep]), 2, "use the read link");
    failed(&run(&["get"]), 2, "There is no link");
    failed(&run(&["put", "missing"]), 1, "check the path");
    failed(&run(&["put", "."]), 2, "is a folder");
    person.write("file", b"x");
    failed(&run(&["put", "file", "--for", "25h"]), 2, "at most 24h");
    failed(&run(&["put", "file", "--for", "30m"]), 2, "from 1h to 24h");
    failed(&run(&["put", "file", "--redundancy", "9"]), 2, "2..=8");
    failed(&run(&["put", "file", "--name", &"a".repeat(256)]), 2, "at most 255 bytes");
    failed(&run(&["get", &link, "-o", "-", "--json"]), 2, "leave out --json");
}

#[test]
fn a_link_gives_the_keep_link_without_a_tower() {
    let person = Person::new();
    let link = foreign_link();
    let output = person.run("127.0.0.1:1", &["link", "--keep", &link.to_string()]);
    succeeded(&output);
    assert_eq!(stdout(&output), format!("{}\n", link.keep()));
    let output = person.run("127.0.0.1:1", &["link", &link.to_string()]);
    assert!(stdout(&output).contains("186; any 93 of the 186"), "{}", stdout(&output));
    let output = person.run("127.0.0.1:1", &["link", &link.keep().to_string(), "--json"]);
    let event = &events(&output)[0];
    assert_eq!((&event["read"], &event["pieces"]), (&Value::Null, &186.into()));
    let output = person.run("127.0.0.1:1", &["link", "--keep", "--json", &link.to_string()]);
    assert!(!stdout(&output).contains("clacks1"), "{}", stdout(&output));
    assert_eq!(events(&output)[0]["keep"], link.keep().to_string());
    failed(&person.run_with("", &["link"], b"\xFF"), 2, "Standard input is no text");
    let output = person.run("127.0.0.1:1", &["link", "--qr", &link.to_string()]);
    assert!(stdout(&output).lines().count() > 20);
}

#[test]
fn a_keeper_with_a_keep_link_counts_the_pieces_until_it_is_stopped() {
    let network = Network::start(3, &[]);
    let person = Person::new();
    person.write("note.txt", b"hello");
    let link: ReadLink = person.put(network.address(1), &["note.txt"]).parse().unwrap();
    let keep = link.keep().to_string();
    let mut command = person.command(network.address(2), &["keep", &keep, "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = common::lines_of(std::io::BufReader::new(child.stdout.take().unwrap()));
    loop {
        let line = lines.recv_timeout(DEADLINE).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "health" {
            assert_eq!(event["state"], "safe", "{event}");
            break;
        }
    }
    assert!(interrupt(&mut child).success());
    // A file that was never put.
    let keep = foreign_link().keep().to_string();
    let mut command = person.command(network.address(2), &["keep", &keep, "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = common::lines_of(std::io::BufReader::new(child.stdout.take().unwrap()));
    while !lines.recv_timeout(DEADLINE).unwrap().contains("\"lost\"") {}
    assert_eq!(interrupt(&mut child).code(), Some(3));
}

#[test]
fn a_put_that_keeps_the_file_prints_the_link_first() {
    let network = Network::start(3, &[]);
    let person = Person::new();
    person.write("note.txt", b"hello");
    // One of several towers is asked first, and is asked again by the next command.
    let towers = format!("{},{}", network.address(1), network.address(2));
    let mut command = person.command(&towers, &["put", "note.txt", "--keep", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = common::lines_of(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &Value| event["event"] != "health") {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{seen:#?}"));
        seen.push(serde_json::from_str(&line).unwrap());
    }
    let link = find(&seen, "link")["read"].as_str().unwrap();
    assert_eq!(find(&seen, "done")["pieces"], 32);
    assert!(interrupt(&mut child).success());
    let order = fs::read(person.path("state/clacks/first-hop.json")).unwrap();
    person.get(&towers, link, b"hello");
    assert_eq!(fs::read(person.path("state/clacks/first-hop.json")).unwrap(), order);
}

#[test]
fn a_link_that_cannot_be_written_goes_to_standard_error() {
    let network = Network::start(2, &[]);
    let (tower, person) = (network.address(1), Person::new());
    person.write("note.txt", b"hello");
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for stdout in [Stdio::from(closed), full.into()] {
        let output = person.command(tower, &["put", "note.txt"]).stdout(stdout).output().unwrap();
        failed(&output, 1, "the line above is its link");
        assert!(stderr(&output).contains("\nclacks1"), "{}", stderr(&output));
    }
}

/// A machine in a private network.
fn joined(line: Option<&str>, address: &str) -> Person {
    let person = Person::new();
    let output = match line {
        Some(line) => person.run("", &["join", line]),
        None => person.run("", &["network", "new", "home", "--address", address]),
    };
    succeeded(&output);
    person
}

#[test]
fn only_members_of_a_private_network_put_and_get() {
    for runtime in RUNTIMES {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = address.to_string();
        let founder = joined(None, &address);
        let member = |name: &str| {
            let invited = founder.run("", &["invite", "--for", name]);
            succeeded(&invited);
            joined(Some(stdout(&invited).trim()), "")
        };
        let (bob, carol) = (member("bob"), member("carol"));
        let tower = |person: &Person, listen: &str| {
            let folder = person.path("state/clacks/networks/home");
            Tower::start_again(listen, &["--state", path(&folder), "--runtime", runtime])
        };
        let first = tower(&founder, &address);
        let second = tower(&bob, "127.0.0.1:0");
        let mut network = Network(vec![first, second]);
        network.wait_until_all_are_known();
        let content = random(100_000, 6);
        bob.write("secret.pdf", &content);
        // Bob asks the own tower, which has the same key. Carol asks the founder's.
        let put = ["--network", "home", "secret.pdf"];
        let link = bob.put(network.address(2), &put);
        let output = carol.run("", &["get", &link, "--network", "home"]);
        succeeded(&output);
        assert!(carol.read("secret.pdf") == content);
        let stranger = Person::new();
        let output = stranger.run(&address, &["get", &link]);
        failed(&output, 1, "No tower answers");
        let output = stranger.run(&address, &["get", &link, "--network", "home"]);
        failed(&output, 1, "No tower answers");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns the bytes of a link.
fn bytes_of(link: &str) -> Vec<u8> {
    let value = |character| "qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(character).unwrap();
    let bits = link[7..95].chars().flat_map(|character| {
        let value = value(character);
        (0..5).rev().map(move |bit| value >> bit & 1)
    });
    let bits: Vec<usize> = bits.collect();
    let byte = |bits: &[usize]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit == 1));
    bits.chunks_exact(8).map(byte).collect()
}

#[test]
fn the_tower_that_runs_here_is_found_and_learns_no_link() {
    let person = Person::new();
    fs::create_dir(person.path("state")).unwrap();
    let start = |args: &[&str]| {
        let mut command = clacks(&["tower", "--json", "--listen", "127.0.0.1:0", "--log=trace"]);
        command.args(args).env("XDG_RUNTIME_DIR", person.path("state"));
        command
    };
    let mut log = fs::File::options().create(true).append(true).open(person.path("log")).unwrap();
    let mut command = start(&["--network", "test", "--open"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log.try_clone().unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + DEADLINE;
    while fs::read_dir(person.path("state/clacks")).map_or(0, Iterator::count) == 0 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(20));
    }
    person.write("note.txt", b"hello");
    // No tower is named, and the network is that of the tower.
    let run = |args: &[&str], input: &[u8]| {
        let mut command = person.command("", args);
        command.env("RUST_LOG", "trace").stdin(Stdio::piped());
        let mut child =
            command.stdout(Stdio::piped()).stderr(log.try_clone().unwrap()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        succeeded(&output);
        stdout(&output).to_owned()
    };
    let link = run(&["put", "note.txt"], b"");
    assert_eq!(run(&["get", "-", "-o", "-"], link.as_bytes()), "hello");
    child.kill().unwrap();
    child.wait().unwrap();
    log.flush().unwrap();
    let log = fs::read_to_string(person.path("log")).unwrap();
    assert!(log.contains("listening") && log.contains("reads it"), "{log}");
    // The secrets of both links as text, in hexadecimal digits, and as Rust prints bytes.
    let link: ReadLink = link.parse().unwrap();
    for text in [link.to_string(), link.keep().to_string()] {
        let secret = &bytes_of(&text)[1..17];
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{secret:?}");
        for found in [&text[7..33], &hex, &list[1..list.len() - 1]] {
            assert!(!log.contains(found), "{found}");
        }
    }
}
