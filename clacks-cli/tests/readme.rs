//! The commands in the READMEs are commands.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use common::{run, stderr};

/// The command lines that a README shows, without what the shell does around them.
fn commands(readme: &str) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| {
        // A prompt is `$` or `name$`.
        let line = line.trim_start();
        let (prompt, after) = line.split_once("$ ").unwrap_or(("", line));
        let line = if prompt.chars().all(char::is_alphanumeric) { after } else { line };
        line.strip_prefix("clacks ").filter(|_| !line.contains('…'))
    });
    lines
        .map(|line| line.split(['#', '<', '|', '>']).next().unwrap_or(line).trim().to_owned())
        .collect()
}

/// Returns the words of a command line. Single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let joined: String = parts
        .map(|(number, part)| if number % 2 == 1 { part.replace(' ', "_") } else { part.into() })
        .collect();
    joined.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_command_line_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let docs =
        ["networks", "operating", "dashboard", "files"].map(|page| format!("../docs/{page}.md"));
    for readme in docs.iter().map(String::as_str).chain(["README.md", "../README.md"]) {
        // Only the README of the crate is in the package.
        let Ok(text) = std::fs::read_to_string(folder.join(readme)) else { continue };
        for command in commands(&text) {
            let words = words(&command);
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            // Options and values before it are checked, and then nothing is done.
            words.push("--help");
            let output = run(&words);
            assert!(output.status.success(), "{readme}: clacks {command}: {}", stderr(&output));
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} command lines found");
    let mistaken = run(&["tower", "--lisen", "127.0.0.1:8001", "--help"]);
    assert!(!mistaken.status.success(), "the check can fail");
    let mistaken = run(&["tower", "--listen", "8001", "--help"]);
    assert!(!mistaken.status.success(), "for values too");
}

#[test]
fn the_script_sends_a_message_from_one_tower_to_the_other() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    // It is not in the package.
    let Ok(text) = std::fs::read_to_string(readme) else { return };
    let (_, rest) = text.split_once("<!-- The tests run this. -->\n```sh\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    // Ports that no other program uses. Another one may take them before the towers do.
    let deadline = Instant::now() + common::DEADLINE;
    loop {
        let ports: Vec<_> = (0..2)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .map(|listener| listener.local_addr().unwrap().port().to_string())
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let script = script.replace("8001", &ports[0]).replace("8002", &ports[1]);
        // The script would wait for a tower that has no port.
        let check = "[ $(jobs -r | wc -l) = 2 ] || { kill $(jobs -p); exit 9; }; sleep 1;";
        let script = script.replace("sleep 1;", check);
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("PATH", path())
            .env("TMPDIR", dir.path())
            .env_remove("CLACKS_CONTROL")
            .output()
            .unwrap();
        // Another program may have taken a port.
        if output.status.code() != Some(9) {
            assert!(output.status.success(), "{output:?}");
            assert!(common::stdout(&output).contains("Hello Discworld!"), "{output:?}");
            return;
        }
        assert!(Instant::now() < deadline, "{output:?}");
    }
}

/// Returns the path of programs, with the folder of the command first.
fn path() -> std::ffi::OsString {
    let command = Path::new(env!("CARGO_BIN_EXE_clacks")).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    std::env::join_paths([command].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

/// A machine of the private network in the README.
struct Machine {
    home: PathBuf,
    port: String,
    towers: Vec<(Child, Receiver<String>)>,
}

impl Machine {
    fn new(folder: &Path, name: &str) -> Self {
        let home = folder.join(name);
        std::fs::create_dir(&home).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        Self { home, port, towers: Vec::new() }
    }

    /// Returns a shell that runs a line.
    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-c", line]).env_clear().env("PATH", path()).env("HOME", &self.home);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for (tower, _) in &mut self.towers {
            let _ = tower.kill();
            let _ = tower.wait();
        }
    }
}

#[test]
fn the_private_network_delivers_a_message() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    // It is not in the package.
    let Ok(text) = std::fs::read_to_string(readme) else { return };
    let (_, rest) = text.split_once("## A private network\n").unwrap();
    let (_, rest) = rest.split_once("```console\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let deadline = Instant::now() + common::DEADLINE;
    while !runs(block, deadline) {
        assert!(Instant::now() < deadline, "other programs take the ports");
    }
}

#[test]
fn a_file_is_got_after_the_tower_that_took_it_was_killed() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    // It is not in the package.
    let Ok(text) = std::fs::read_to_string(readme) else { return };
    let (_, section) = text.split_once("## Files in flight\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let lines: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let [first, second, third, put, get] = lines[..] else { panic!("{lines:?}") };
    let deadline = Instant::now() + common::DEADLINE;
    while !puts_and_gets([first, second, third], put, get, deadline) {
        assert!(Instant::now() < deadline, "other programs take the ports");
    }
}

/// Runs three towers, puts a file, kills the first tower and gets the file. Returns false if
/// another program has taken a port.
fn puts_and_gets(towers: [&str; 3], put: &str, get: &str, deadline: Instant) -> bool {
    let folder = tempfile::tempdir().unwrap();
    // Each tower has its own folder, and the last machine is that of the person.
    let names = ["1", "2", "3", "person"];
    let mut machines = names.map(|name| Machine::new(folder.path(), name));
    let ports = [0, 1, 2].map(|tower: usize| machines[tower].port.clone());
    let with_ports = |line: &str| {
        let places = ["8001", "8002", "8003"].iter().zip(&ports);
        places.fold(line.to_owned(), |line, (place, port)| line.replace(place, port))
    };
    for (machine, line) in machines.iter_mut().zip(towers) {
        let line = format!("exec {} --json", with_ports(line));
        let mut tower = machine.shell(&line).stdin(Stdio::piped()).spawn().unwrap();
        let lines = common::lines_of(std::io::BufReader::new(tower.stdout.take().unwrap()));
        machine.towers.push((tower, lines));
        let lines = &machine.towers[0].1;
        if !lines.recv_timeout(common::DEADLINE).is_ok_and(|line| line.contains("listening")) {
            return false;
        }
    }
    // A person types more slowly than towers meet.
    for machine in &machines[..3] {
        let mut alive = std::collections::BTreeSet::new();
        while alive.len() < 2 {
            let line = machine.towers[0].1.recv_timeout(common::DEADLINE).unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["event"] == "tower_updated" && event["to"] == "alive" {
                alive.insert(event["peer"].to_string());
            }
        }
    }
    let person = &machines[3];
    let photo: Vec<u8> = (0..300_000u32).flat_map(u32::to_be_bytes).collect();
    std::fs::write(person.home.join("photo.jpg"), &photo).unwrap();
    let run = |line: &str| {
        let mut shell = person.shell(line);
        let command = shell.current_dir(&person.home).spawn().unwrap();
        String::from_utf8(finish(command, line, deadline)).unwrap()
    };
    let link = run(&with_ports(put));
    assert!(link.starts_with("clacks1"), "{link}");
    machines[0].towers[0].0.kill().unwrap();
    let person = &machines[3];
    let get = with_ports(get).replace("LINK", link.trim());
    let mut shell = person.shell(&get);
    finish(shell.current_dir(&person.home).spawn().unwrap(), &get, deadline);
    assert!(std::fs::read(person.home.join("copy.jpg")).unwrap() == photo);
    true
}

/// Waits for the end of a command, which must succeed. Returns its standard output.
fn finish(mut command: Child, line: &str, deadline: Instant) -> Vec<u8> {
    while command.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            command.kill().unwrap();
            panic!("{line} does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = command.wait_with_output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    output.stdout
}

/// Runs the lines of two machines. Returns false if another program has taken a port.
fn runs(block: &str, deadline: Instant) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut machines = ["anna", "bob"].map(|name| (name, Machine::new(folder.path(), name)));
    let places: Vec<_> = machines
        .iter()
        .map(|(name, it)| (format!("{name}.example:8001"), format!("127.0.0.1:{}", it.port)))
        .collect();
    let mut last = Vec::new();
    for line in block.lines() {
        let (name, line) = line.split_once("$ ").unwrap();
        let machine = machines.iter_mut().find(|(machine, _)| *machine == name).unwrap();
        let machine = &mut machine.1;
        // The firewall of this machine stays as it is.
        if line.starts_with("sudo ") {
            continue;
        }
        let mut line = line.replace("0.0.0.0:8001", &format!("127.0.0.1:{}", machine.port));
        for (place, address) in &places {
            line = line.replace(place, address);
        }
        if line.starts_with("clacks tower ") {
            let mut tower = machine.shell(&format!("exec {line}")).spawn().unwrap();
            let output = std::io::BufReader::new(tower.stdout.take().unwrap());
            let lines = common::lines_of(output);
            let first = lines.recv_timeout(common::DEADLINE);
            // A tower whose output is closed would end.
            machine.towers.push((tower, lines));
            if !first.is_ok_and(|line| line.contains("listening")) {
                return false;
            }
            continue;
        }
        let mut shell = machine.shell(&line);
        // The person pastes the line of the invitation.
        let mut command = shell.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut command.stdin.take().unwrap(), &last).unwrap();
        last = finish(command, &line, deadline);
    }
    assert_eq!(String::from_utf8(last).unwrap(), "Hello Anna!\n");
    true
}
