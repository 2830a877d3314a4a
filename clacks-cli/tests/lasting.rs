//! A tower that is restarted, reloaded and supervised, as processes of their own.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Tower, clacks, lines_of, run, stderr, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

const QUICK: [&str; 4] = ["--send-rate", "50", "--heartbeat", "500ms"];
const RUNTIMES: [&str; 2] = ["smol", "mio"];

/// A folder for the files of a test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn kept(folder: &Folder) -> Option<Value> {
    serde_json::from_slice(&fs::read(folder.path("peers.json")).ok()?).ok()
}

/// Waits until the kept peers are as they should be.
fn wait_until_kept(folder: &Folder, is_it: impl Fn(&Value) -> bool) {
    wait_until("the peers were not kept", || kept(folder).is_some_and(|file| is_it(&file)));
}

fn wait_until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_it() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn status_of<'a>(file: &'a Value, address: &str) -> Option<&'a str> {
    let mut peers = file["peers"].as_array()?.iter();
    peers.find(|peer| peer["address"] == address)?["status"].as_str()
}

#[test]
fn a_tower_that_was_killed_knows_its_peers_again() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let state = folder.text("");
        let options = [&QUICK[..], &["--runtime", runtime, "--state", &state]].concat();
        let mut peer = Tower::start(&[&QUICK[..], &["--runtime", runtime]].concat());
        let announce = ["--announce", &peer.address.clone(), "--ignore", "127.0.0.1:9"];
        let mut tower = Tower::start(&[&options[..], &announce].concat());
        tower.wait_for_status(&peer.address, "alive");
        wait_until_kept(&folder, |file| status_of(file, &peer.address) == Some("alive"));
        assert_eq!(
            status_of(&kept(&folder).unwrap(), "127.0.0.1:9"),
            Some("new"),
            "the configuration ignores it, not the state"
        );
        tower.kill();

        let address = tower.address.clone();
        let mut again = Tower::start_again(&address, &options);
        assert_eq!(again.fingerprint, tower.fingerprint, "the identity is kept");
        let towers = again.ask("survey")["towers"].as_array().unwrap().clone();
        let seen = towers.iter().find(|tower| tower["address"] == peer.address.as_str()).unwrap();
        assert_eq!(seen["fingerprint"], peer.fingerprint, "the key is kept");
        let mut changes = again.told().iter().filter(|event| event["event"] == "tower_updated");
        let first = changes.find(|event| event["peer"] == peer.address.as_str());
        if let Some(first) = first {
            assert_eq!(first["from"], "new", "an alive peer of an earlier start is a claim");
        }
        again.wait_for_status(&peer.address, "alive");
        peer.wait_for_status(&address, "alive");
    }
}

#[test]
fn a_tower_that_is_stopped_keeps_its_peers_at_once() {
    let folder = Folder::new();
    let state = folder.text("made/by/itself");
    let peer = Tower::start(&QUICK);
    let announce = ["--announce", &peer.address.clone(), "--state", &state];
    let mut tower = Tower::start(&[&QUICK[..], &announce].concat());
    tower.wait_for("announced", |_| true);
    tower.wait_for_status(&peer.address, "alive");
    tower.signal("-TERM");
    assert!(tower.ended().success());
    let file = fs::read(folder.path("made/by/itself/peers.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(status_of(&file, &peer.address), Some("alive"), "{file}");
    for (name, mode) in [("", 0o700), ("peers.json", 0o600), ("key.pem", 0o600), ("lock", 0o600)] {
        let metadata = fs::metadata(folder.path("made/by/itself").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn a_kept_key_is_believed_before_the_first_dial() {
    let folder = Folder::new();
    let state = folder.text("");
    let mut first = Tower::start(&QUICK);
    let announce = ["--announce", &first.address.clone(), "--state", &state];
    let mut tower = Tower::start(&[&QUICK[..], &announce].concat());
    tower.wait_for_status(&first.address, "alive");
    tower.signal("-TERM");
    assert!(tower.ended().success());
    first.kill();
    // Another tower takes the address.
    let address = first.address.clone();
    let impostor = Tower::start_again(&address, &QUICK);
    assert_ne!(impostor.fingerprint, first.fingerprint);
    let mut again = Tower::start(&[&QUICK[..], &["--state", &state]].concat());
    let changed = again.wait_for("key_changed", |event| event["peer"] == address.as_str());
    assert_eq!(changed["seen"], impostor.fingerprint);
    let survey = again.ask("survey")["towers"].clone();
    assert_eq!(survey[0]["fingerprint"], first.fingerprint);
    assert_ne!(survey[0]["status"], "alive");
}

#[test]
fn the_default_folder_is_one_for_each_address() {
    let home = Folder::new();
    // A port that is free, so that its number is known before the start.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut child = clacks(&["tower", "--json", "--listen", &address])
        .env("XDG_STATE_HOME", home.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = home.path("clacks/towers").join(&address);
    wait_until("no identity was made", || folder.join("cert.pem").exists());
    drop(child.stdin.take());
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs a tower that is asked to end at its start.
fn quit_at_once(line: &[&str]) -> Output {
    let mut command = clacks(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Fails if the tower has ended already.
    let _ = child.stdin.take().unwrap().write_all(b"quit\n");
    child.wait_with_output().unwrap()
}

#[test]
fn two_towers_cannot_share_a_state_folder() {
    let folder = Folder::new();
    let state = folder.text("");
    let mut first = Tower::start(&["--state", &state]);
    // It would end at once if it were not refused.
    let second = quit_at_once(&["tower", "--listen", "127.0.0.1:0", "--state", &state]);
    let sentence = stderr(&second);
    assert!(sentence.contains(&format!("(process {})", first.id())), "{sentence}");
    assert!(sentence.contains("--state DIR") && sentence.lines().count() == 1, "{sentence}");
    assert_eq!(second.status.code(), Some(1));
    // The first one goes on, and the folder is free after its end.
    first.ask("survey");
    first.kill();
    Tower::start(&["--state", &state]);
}

#[test]
fn kept_peers_that_cannot_be_used_are_set_aside() {
    for (content, words) in [
        ("{\"format\":\"clacks-peers\",\"vers", "damaged"),
        ("{\"format\":\"clacks-peers\",\"version\":99}", "version 99"),
        ("{\"format\":\"other\",\"version\":1}", "another program"),
    ] {
        let folder = Folder::new();
        fs::write(folder.path("peers.json"), content).unwrap();
        let output = quit_at_once(&["tower", "--listen=127.0.0.1:0", "--state", &folder.text("")]);
        assert!(output.status.success());
        let said = stdout(&output);
        assert!(said.contains(words) && said.contains("peers.json.aside"), "{said}");
        assert_eq!(fs::read_to_string(folder.path("peers.json.aside")).unwrap(), content);
        assert_eq!(kept(&folder).unwrap()["version"], 1, "a new file was written");
    }
}

/// `clacks config --json` with a file and variables.
fn config(file: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let file = file.to_str().unwrap();
    let mut command = clacks(&["config", "--json", "--config", file]);
    command.args(flags).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn flags_replace_the_environment_and_the_environment_replaces_the_file() {
    let folder = Folder::new();
    let file = folder.path("tower.toml");
    fs::write(&file, "send-rate = 1.5\nmax-queue = 100\nannounce = [\"a:1\", \"b:2\"]\n").unwrap();
    let variables = [
        ("CLACKS_MAX_QUEUE", "200"),
        ("CLACKS_ANNOUNCE", "c:3,d:4"),
        // Empty, so it counts as not set.
        ("CLACKS_HEARTBEAT", ""),
    ];
    let output = config(&file, &variables, &["--announce", "e:5"]);
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["file"], file.to_str().unwrap());
    let option = |name: &str| {
        let options = report["options"].as_array().unwrap();
        let it = options.iter().find(|it| it["name"] == name).unwrap();
        (it["values"].clone(), it["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(option("send-rate"), (json!(["1.5"]), "file".into()));
    assert_eq!(option("max-queue"), (json!(["200"]), "environment".into()));
    assert_eq!(option("announce"), (json!(["e:5"]), "command_line".into()));
    assert_eq!(option("heartbeat"), (json!(["60s"]), "default".into()));
    assert_eq!(option("listen"), (json!([]), "default".into()));
}

#[test]
fn a_tower_runs_as_its_file_says() {
    let folder = Folder::new();
    let config = folder.path("clacks/tower.toml");
    fs::create_dir(folder.path("clacks")).unwrap();
    fs::write(&config, "listen = \"127.0.0.1:0\"\nnetwork = \"mine\"\nopen = true\njson = true\n")
        .unwrap();
    let run = |variables: &[(&str, &str)]| {
        let mut child = clacks(&["tower", "--max-message", "4"])
            .env("XDG_CONFIG_HOME", folder.path(""))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut console = child.stdin.take().unwrap();
        let _ = console.write_all(b"enqueue 12345\nquit\n");
        drop(console);
        child.wait_with_output().unwrap()
    };
    let output = run(&[]);
    assert!(stdout(&output).starts_with("{\"event\":\"listening\""), "{}", stdout(&output));
    assert!(stdout(&output).contains("where 4 are allowed"), "{}", stdout(&output));
    let output = run(&[("CLACKS_JSON", "off")]);
    assert!(!stdout(&output).contains('{'), "{}", stdout(&output));
    let output = run(&[("CLACKS_LISTEN", "nowhere")]);
    assert_eq!(output.status.code(), Some(2), "the variable replaces the file");

    fs::write(&config, "lisen = \"127.0.0.1:0\"\n").unwrap();
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = stderr(&output);
    assert!(sentence.contains("did you mean listen?"), "{sentence}");
    assert!(sentence.contains(config.to_str().unwrap()), "{sentence}");
}

#[test]
fn the_example_of_a_file_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/tower.toml");
    // It is not in the package.
    let Ok(text) = fs::read_to_string(example) else { return };
    let folder = Folder::new();
    let file = folder.path("tower.toml");
    let output = |text: &str| {
        fs::write(&file, text).unwrap();
        config(&file, &[], &[])
    };
    assert!(output(&text).status.success(), "{}", stderr(&output(&text)));
    // Options in comments have no blank after the #.
    let all = text.lines().map(|line| match line.strip_prefix('#') {
        Some(option) if !option.starts_with(' ') => option,
        _ => line,
    });
    let all: Vec<_> = all.collect();
    assert!(all.iter().any(|line| line.starts_with("advertise = ")));
    let output = output(&all.join("\n"));
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn config_is_readable_by_people() {
    let output = run(&["config", "--listen", "127.0.0.1:8001"]);
    let text = stdout(&output);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("listen ").ends_with("command line"), "{text}");
    assert!(line("send-rate ").ends_with("default"), "{text}");
    assert!(line("advertise ").contains(" - "), "{text}");
}

#[test]
fn sighup_reads_the_configuration_again() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let config = folder.text("tower.toml");
        fs::write(&config, "ignore = [\"127.0.0.1:9\"]\n").unwrap();
        let mut peer = Tower::start(&QUICK);
        let options = ["--config", &config, "--runtime", runtime];
        let mut tower = Tower::start(&[&QUICK[..], &options].concat());
        assert_eq!(tower.ask("survey")["towers"][0]["status"], "ignored");

        let text = format!(
            "announce = [\"{}\"]\nignore = [\"127.0.0.1:8\"]\nmax-queue = 9\nlog = \"debug\"\n",
            peer.address
        );
        fs::write(&config, text).unwrap();
        tower.signal("-HUP");
        let reloaded = tower.wait_for("reloaded", |_| true);
        assert_eq!(reloaded["announce"], json!([peer.address]));
        assert_eq!(reloaded["ignore"], json!(["127.0.0.1:8"]));
        assert_eq!(reloaded["unignore"], json!(["127.0.0.1:9"]));
        assert_eq!(reloaded["at_restart"], json!(["max-queue"]));
        tower.wait_for("announced", |event| event["to"] == peer.address.as_str());
        peer.wait_for("tower_discovered", |event| event["peer"] == tower.address.as_str());
        let survey = tower.ask("survey")["towers"].clone();
        let status = |address: &str| {
            let mut towers = survey.as_array().unwrap().iter();
            towers.find(|tower| tower["address"] == address).unwrap()["status"].clone()
        };
        assert_eq!(status("127.0.0.1:8"), "ignored");
        assert_ne!(status("127.0.0.1:9"), "ignored");

        // A mistake changes nothing, and the tower goes on.
        fs::write(&config, "ignore = [\"nowhere\"]\n").unwrap();
        tower.signal("-HUP");
        let error = tower.wait_for("error", |_| true);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("stays as it was") && message.contains(&config), "{message}");
        assert_eq!(tower.wait_for_status("127.0.0.1:8", "ignored")["status"], "ignored");
    }
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    for runtime in RUNTIMES {
        let line = ["tower", "--json", "--listen", "127.0.0.1:0", "--runtime", runtime];
        // The shell ignores the signal, and the tower inherits that, as with `nohup`.
        let mut shell = shell("trap '' HUP; exec \"$0\" \"$@\"");
        shell.arg(clacks(&[]).get_program()).args(line);
        let mut tower = Tower::spawn_command(shell);
        tower.wait_for("listening", |_| true);
        #[cfg(target_os = "linux")]
        {
            let status = fs::read_to_string(format!("/proc/{}/status", tower.id())).unwrap();
            let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
            assert_eq!(ignored & 1, 1, "SIGHUP is signal 1");
        }
        tower.signal("-HUP");
        tower.ask("survey");
        tower.ask("survey");
        tower.signal("-TERM");
        assert!(tower.ended().success());
        assert!(!tower.told().iter().any(|event| event["event"] == "reloaded"));
    }
}

/// `script` (util-linux) runs a command in a terminal of its own, which ends with `script`.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_closed_stops_its_tower() {
    let folder = Folder::new();
    let state = folder.text("state");
    let tower =
        format!("exec '{}' tower --listen 127.0.0.1:0 --state", env!("CARGO_BIN_EXE_clacks"));
    let mut shell = shell("exec script -q -c \"$1 '$2'\" /dev/null");
    shell.args(["sh", &tower, &state]).env("SHELL", "/bin/sh");
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut terminal = shell.spawn().unwrap();
    let lines = lines_of(BufReader::new(terminal.stdout.take().unwrap()));
    let Ok(first) = lines.recv_timeout(DEADLINE) else {
        terminal.wait().unwrap();
        eprintln!("passed over: there is no `script`");
        return;
    };
    assert!(first.contains("listening"), "{first}");
    // A reload does not stop it.
    let process = fs::read_to_string(folder.path("state/lock")).unwrap();
    let hang_up = || Command::new("kill").args(["-HUP", process.trim()]).status().unwrap();
    assert!(hang_up().success());
    let reloaded = std::iter::from_fn(|| lines.recv_timeout(DEADLINE).ok());
    assert!(reloaded.take(20).any(|line| line.contains("reloaded")));
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    // The folder is free when the tower has ended.
    wait_until("the tower goes on", || {
        quit_at_once(&["tower", "--listen", "127.0.0.1:0", "--state", &state]).status.success()
    });
}

/// A shell with nothing of the caller's environment but the path.
fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).args(["-c", script]);
    shell
}

/// The socket of a service manager.
struct Manager {
    path: PathBuf,
    messages: Receiver<String>,
    told: Vec<String>,
}

impl Manager {
    /// Binds the socket. A thread reads it, because senders wait for a full socket.
    fn new(folder: &Folder) -> Self {
        let path = folder.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len) = socket.recv(&mut bytes) {
                let message = String::from_utf8(bytes[..len].to_vec()).unwrap();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { path, messages, told: Vec::new() }
    }

    /// Waits for a message with a line.
    fn wait_for(&mut self, line: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(message) = self.messages.recv_timeout(left) else {
                panic!("no {line}: {:?}", self.told)
            };
            self.told.push(message.clone());
            if message.lines().any(|it| it == line) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_is_told() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let mut manager = Manager::new(&folder);
        let line = ["tower", "--json", "--listen", "127.0.0.1:0", "--runtime", runtime];
        let mut command = clacks(&line);
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "150000");
        let mut tower = Tower::spawn_command(command);
        let address = tower.wait_for("listening", |_| true)["address"].as_str().unwrap().to_owned();
        let ready = manager.wait_for("READY=1");
        assert!(ready.contains(&format!("STATUS=Listens as {address}")), "{ready}");
        for _ in 0..3 {
            manager.wait_for("WATCHDOG=1");
        }
        tower.signal("-HUP");
        let reloading = manager.wait_for("RELOADING=1");
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        manager.wait_for("READY=1");
        manager.wait_for("WATCHDOG=1");
        tower.signal("-TERM");
        manager.wait_for("STOPPING=1");
        assert!(tower.ended().success());
    }
}

#[test]
fn a_service_manager_that_reads_nothing_holds_up_nothing() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let mut command = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000");
    let mut tower = Tower::spawn_command(command);
    tower.wait_for("listening", |_| true);
    // More messages than a socket takes.
    for _ in 0..300 {
        tower.signal("-HUP");
        tower.wait_for("reloaded", |_| true);
    }
    tower.signal("-TERM");
    assert!(tower.ended().success());
}

#[test]
fn without_a_watchdog_none_is_told() {
    let folder = Folder::new();
    let mut manager = Manager::new(&folder);
    let mut command = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager.path);
    // The watchdog waits for another process.
    command.env("WATCHDOG_PID", "1").env("WATCHDOG_USEC", "1000");
    let mut tower = Tower::spawn_command(command);
    manager.wait_for("READY=1");
    for _ in 0..20 {
        tower.ask("survey");
        tower.signal("-HUP");
        manager.wait_for("READY=1");
    }
    tower.signal("-TERM");
    manager.wait_for("STOPPING=1");
    assert!(!manager.told.iter().any(|message| message.contains("WATCHDOG")));
    assert!(tower.ended().success());
}

/// A supervisor reloads a tower, kills it and starts it again.
#[test]
fn a_supervised_tower_knows_its_peers_after_each_start() {
    let folder = Folder::new();
    let state = folder.text("");
    let mut peer = Tower::start(&QUICK);
    let announce = ["--state", &state, "--announce", &peer.address.clone()];
    let mut tower = Tower::start(&[&QUICK[..], &announce].concat());
    let address = tower.address.clone();
    tower.wait_for_status(&peer.address, "alive");
    wait_until_kept(&folder, |file| status_of(file, &peer.address) == Some("alive"));
    for _ in 0..5 {
        tower.say("enqueue Hello Discworld!");
        tower.wait_for("message_delivered", |_| true);
        tower.signal("-HUP");
        tower.wait_for("reloaded", |_| true);
        tower.kill();
        // Without --announce: the file is what it knows the peer from.
        let options = [&QUICK[..], &["--state", &state]].concat();
        tower = Tower::start_again(&address, &options);
        let survey = tower.ask("survey")["towers"].clone();
        assert_eq!(survey[0]["address"], peer.address.as_str(), "{survey}");
        tower.wait_for_status(&peer.address, "alive");
    }
    peer.ask("survey");
}

/// Memory does not grow with reloads. The ring of recent events has room for all of them.
#[cfg(target_os = "linux")]
#[test]
fn reloads_leave_no_memory_behind() {
    let folder = Folder::new();
    let config = folder.text("tower.toml");
    fs::write(&config, "").unwrap();
    let mut tower = Tower::start(&["--clear", "--config", &config]);
    let mut reload = |rounds: u32| {
        for number in 0..rounds {
            fs::write(&config, format!("ignore = [\"127.0.0.1:{}\"]", 1 + number % 2)).unwrap();
            tower.signal("-HUP");
            tower.wait_for("reloaded", |_| true);
        }
        resident_kib(tower.id())
    };
    let (early, late) = (reload(100), reload(900));
    // 2 KiB for each reload: an event takes less than 1 KiB.
    assert!(late < early + 1_800, "{early} KiB became {late} KiB");
}

/// Memory does not grow with reloads, messages and saved peers.
#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_a_tower_stays_flat() {
    let folder = Folder::new();
    let config = folder.text("tower.toml");
    let mut peer = Tower::start(&["--send-rate", "1000"]);
    let (state, announce) = (folder.text("state"), peer.address.clone());
    let options = ["--send-rate", "1000", "--config", &config, "--state", &state];
    fs::write(&config, "").unwrap();
    let mut tower = Tower::start(&[&options[..], &["--announce", &announce]].concat());
    tower.wait_for_status(&peer.address, "alive");
    let mut round = |number: u32| {
        for _ in 0..20 {
            tower.say("enqueue Hello Discworld!");
            tower.wait_for("message_delivered", |_| true);
            fs::write(&config, format!("ignore = [\"127.0.0.1:{}\"]", 1 + number % 2)).unwrap();
            tower.signal("-HUP");
            tower.wait_for("reloaded", |_| true);
        }
        resident_kib(tower.id())
    };
    let first = round(0).max(round(1));
    let last = (0..5).map(&mut round).last().unwrap();
    assert!(last < first + 4096, "{first} KiB became {last} KiB");
    peer.ask("survey");
}

#[cfg(target_os = "linux")]
fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_configuration_that_is_a_pipe_is_refused_at_the_start_and_at_a_reload() {
    let folder = Folder::new();
    let config = folder.path("tower.toml");
    fs::write(&config, "listen = \"127.0.0.1:0\"\n").unwrap();
    let args = ["tower", "--json", "--config", config.to_str().unwrap()];
    let mut tower = Tower::spawn_command(clacks(&args));
    tower.wait_for("listening", |_| true);
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    tower.signal("-HUP");
    tower.wait_for("error", |event| {
        event["message"].as_str().unwrap().contains("a pipe and not a file")
    });
    tower.signal("-TERM");
    assert!(tower.ended().success());
    let output = clacks(&args).output().unwrap();
    assert!(!output.status.success());
    let error = [stdout(&output), stderr(&output)].concat();
    assert!(error.contains("a pipe and not a file"), "{error}");
}
