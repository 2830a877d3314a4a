//! Private networks by invitation, with real commands and towers.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests panic on errors")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Instant;

use common::{DEADLINE, Tower, clacks, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

const RUNTIMES: [&str; 2] = ["smol", "mio"];

/// A machine with a state folder of its own.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = clacks(args);
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command with `--json`, which must succeed.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_str(stdout(&output)).unwrap()
    }

    /// Runs a command that must fail with a sentence.
    fn refused(&self, args: &[&str], code: i32, words: &str) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stdout(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }

    /// Returns the folder of a network.
    fn folder(&self, network: &str) -> PathBuf {
        self.0.path().join("clacks/networks").join(network)
    }

    /// Starts the tower of the network `home`.
    fn tower(&self, listen: &str, runtime: &str) -> Tower {
        let folder = self.folder("home");
        let args = ["--state", folder.to_str().unwrap(), "--runtime", runtime];
        Tower::start_again(listen, &[&args[..], &["--send-rate", "50"]].concat())
    }
}

/// Returns an address with a port that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Returns the machine of a founder, and the address of its tower.
fn founder() -> (Machine, String) {
    let (machine, address) = (Machine::new(), free_address());
    let created = machine.json(&["network", "new", "home", "--address", &address]);
    assert_eq!(created["event"], "network_created");
    (machine, address)
}

/// Returns a machine that has joined.
fn member(founder: &Machine, name: &str) -> Machine {
    let (machine, invited) = (Machine::new(), founder.json(&["invite", "--for", name]));
    let joined = machine.json(&["join", invited["line"].as_str().unwrap()]);
    assert_eq!(joined["event"], "joined");
    assert_eq!((&joined["network"], &joined["member"]), (&"home".into(), &name.into()));
    assert_eq!(joined["fingerprint"], invited["fingerprint"]);
    machine
}

/// Waits until a tower has closed a link for a reason.
fn wait_for_refusal(tower: &mut Tower, reason: &str) {
    tower.wait_for("link_closed", |event| event.to_string().contains(reason));
}

#[test]
fn three_towers_exchange_a_message_and_know_each_other() {
    for runtime in RUNTIMES {
        let (anna, address) = founder();
        let (bob, carol) = (member(&anna, "bob"), member(&anna, "carol"));
        let mut first = anna.tower(&address, runtime);
        let [mut second, mut third] =
            [&bob, &carol].map(|machine| machine.tower("127.0.0.1:0", runtime));
        second.wait_for_status(&third.address, "alive");
        third.wait_for_status(&second.address, "alive");
        first.say("enqueue Hello!");
        for tower in [&mut second, &mut third] {
            let is_it = |event: &Value| event["message"]["body"] == "Hello!";
            tower.wait_for("message_received", is_it);
        }
        let members = anna.json(&["members"]);
        let prints: Vec<_> =
            members["members"].as_array().unwrap().iter().map(|it| &it["fingerprint"]).collect();
        assert_eq!(prints, [&second.fingerprint, &third.fingerprint, &first.fingerprint]);
    }
}

#[test]
fn strangers_are_refused_with_a_reason_at_both_ends() {
    for runtime in RUNTIMES {
        let (anna, address) = founder();
        let mut first = anna.tower(&address, runtime);
        // A tower of an open network with the same name, and a member of another private one.
        let options = ["--network", "home", "--open", "--announce", &address, "--runtime", runtime];
        let mut open = Tower::start(&options);
        wait_for_refusal(&mut open, "unknown_issuer");
        wait_for_refusal(&mut first, "unknown_issuer");

        let (other, elsewhere) = founder();
        let stranger = member(&other, "mallory");
        let mut stranger = stranger.tower("127.0.0.1:0", runtime);
        stranger.say(&format!("announce {address}"));
        wait_for_refusal(&mut stranger, "unknown_issuer");
        wait_for_refusal(&mut first, "unknown_issuer");
        drop(elsewhere);
        assert!(first.told().iter().all(|event| event["event"] != "message_received"));
    }
}

#[test]
fn a_member_pings_a_private_network() {
    let (anna, address) = founder();
    let (bob, carol) = (member(&anna, "bob"), member(&anna, "carol"));
    let first = anna.tower(&address, "smol");
    // A busy machine may take longer than the limit of a ping.
    let ping = |machine: &Machine, args: &[&str], words: &str| {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = machine.run(&[&["ping"], args].concat());
            let text = [stdout(&output), stderr(&output)].concat();
            if text.contains(words) {
                return;
            }
            assert!(Instant::now() < deadline, "{args:?}: {text}");
        }
    };
    let key = first.fingerprint.as_str().unwrap();
    let folder = bob.folder("home");
    ping(&bob, &[&address, "--network", "home"], key);
    ping(&bob, &[&address, "--state", folder.to_str().unwrap()], key);
    ping(&bob, &[&address], "is a member of home: add --network home");
    ping(&Machine::new(), &[&address], "join it (`clacks join`)");

    let line = anna.json(&["revoke", "carol"])["line"].as_str().unwrap().to_owned();
    bob.json(&["join", &line]);
    let second = carol.tower("127.0.0.1:0", "mio");
    ping(&bob, &[&second.address, "--network", "home"], "excluded from the private");
}

#[test]
fn a_revoked_member_is_refused_by_towers_that_have_the_list() {
    for runtime in RUNTIMES {
        let (anna, address) = founder();
        let (bob, carol) = (member(&anna, "bob"), member(&anna, "carol"));
        let revoked = anna.json(&["revoke", "bob"]);
        assert_eq!(revoked["revoked"], 1);
        let line = revoked["line"].as_str().unwrap();
        assert_eq!(anna.json(&["revoke"])["revoked"], 1);
        let updated = carol.json(&["join", line]);
        assert_eq!((&updated["event"], &updated["revoked"]), (&"updated".into(), &1.into()));
        assert_eq!(updated["own_membership_revoked"], false);

        let mut first = anna.tower(&address, runtime);
        let mut third = carol.tower("127.0.0.1:0", runtime);
        first.wait_for_status(&third.address, "alive");
        // Bob dials Anna, and Carol dials Bob.
        let mut second = bob.tower("127.0.0.1:0", runtime);
        wait_for_refusal(&mut second, "certificate_revoked");
        wait_for_refusal(&mut first, "certificate_revoked");
        third.say(&format!("announce {}", second.address));
        wait_for_refusal(&mut third, "certificate_revoked");
        wait_for_refusal(&mut second, "certificate_revoked");

        let updated = bob.json(&["join", line]);
        assert_eq!(updated["own_membership_revoked"], true);
        let folder = bob.folder("home");
        let start = ["tower", "--listen", "127.0.0.1:0", "--state", folder.to_str().unwrap()];
        bob.refused(&start, 1, "was revoked");
        let later = anna.json(&["invite", "--for", "dave"]);
        let late = Machine::new();
        late.json(&["join", later["line"].as_str().unwrap()]);
        assert!(late.folder("home").join("revoked.pem").exists());
    }
}

#[cfg(unix)]
#[test]
fn sighup_applies_a_list_of_revoked_members_and_a_renewed_certificate() {
    for runtime in RUNTIMES {
        let (anna, address) = founder();
        let (bob, carol) = (member(&anna, "bob"), Machine::new());
        let invited = anna.json(&["invite", "--for", "carol", "--days", "20"]);
        carol.json(&["join", invited["line"].as_str().unwrap()]);
        let mut first = anna.tower(&address, runtime);
        let [mut second, mut third] =
            [&bob, &carol].map(|machine| machine.tower("127.0.0.1:0", runtime));
        for other in [&second.address.clone(), &third.address.clone()] {
            first.wait_for_status(other, "alive");
        }
        let reload = |tower: &mut Tower| {
            tower.signal("-HUP");
            tower.wait_for("reloaded", |_| true)["renewed"].clone()
        };
        assert_eq!(reload(&mut first), false);

        let revoked = anna.json(&["revoke", "bob"]);
        assert_eq!(reload(&mut first), true);
        assert_eq!(reload(&mut first), false);
        // Bob has a ticket of an earlier session.
        second.say(&format!("announce {address}"));
        wait_for_refusal(&mut second, "certificate_revoked");
        wait_for_refusal(&mut first, "certificate_revoked");
        carol.json(&["join", revoked["line"].as_str().unwrap()]);
        assert_eq!(reload(&mut third), true);
        first.wait_for_status(&third.address, "alive");

        // A tower that was revoked itself goes on with the old list.
        bob.json(&["join", revoked["line"].as_str().unwrap()]);
        second.signal("-HUP");
        let error = second.wait_for("error", |_| true)["message"].to_string();
        assert!(error.contains("stays as it was") && error.contains("was revoked"), "{error}");
        assert!(!error.contains("--renew"), "{error}");

        let control = third.told()[0]["control"].as_str().unwrap().to_owned();
        let warns = || {
            let status = carol.json(&["status", "--control", &control]);
            status["troubles"].to_string().contains("expires on")
        };
        assert!(warns());
        let renewed = anna.json(&["invite", "--renew", "carol"]);
        carol.json(&["join", renewed["line"].as_str().unwrap()]);
        assert_eq!(reload(&mut third), true);
        assert!(!warns());
    }
}

#[test]
fn a_tower_finds_its_network_by_name() {
    let (anna, address) = founder();
    let bob = member(&anna, "bob");
    for (machine, network) in [(&anna, "home"), (&bob, "home")] {
        let args = ["tower", "--json", "--listen", "127.0.0.1:0", "--network", network];
        let mut tower = machine
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut tower.stdin.take().unwrap(), b"quit\n").unwrap();
        let output = tower.wait_with_output().unwrap();
        let listening: Value =
            serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
        let members = anna.json(&["members"]).to_string();
        let own = listening["fingerprint"].as_str().unwrap();
        assert!(members.contains(own), "{network}: {members}");
        assert!(!stderr(&output).contains("is open"), "{network}");
    }
    // A mistyped name must not start an open tower.
    bob.refused(
        &["tower", "--listen", "127.0.0.1:0", "--network", "hom"],
        2,
        "no member of a private network hom",
    );
    drop(address);
    // A network of the default name would take over each tower without --network.
    bob.refused(&["network", "new", "clacks", "--address", "127.0.0.1:1"], 2, "the open network");
    let clear = ["tower", "--listen", "127.0.0.1:0", "--network", "home", "--clear"];
    bob.refused(&clear, 2, "leave out --clear");
    let folder = bob.folder("home");
    let other = ["tower", "--listen", "127.0.0.1:0", "--network", "other", "--state"];
    bob.refused(&[&other[..], &[folder.to_str().unwrap()]].concat(), 2, "leave out --network");
}

#[test]
fn existing_networks_are_never_overwritten() {
    let (anna, _) = founder();
    let bob = member(&anna, "bob");
    let content = |machine: &Machine| -> Vec<_> {
        let files = fs::read_dir(machine.folder("home")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (fs::read(&file).ok(), file)).collect()
    };
    let line = anna.json(&["invite"])["line"].as_str().unwrap().to_owned();
    let (own, others) = (content(&anna), content(&bob));
    let new = ["network", "new", "home", "--address", "127.0.0.1:1"];
    for machine in [&anna, &bob] {
        machine.refused(&new, 1, "stays as it is");
        machine.refused(&["join", &line], 1, "stays as it is");
    }
    assert_eq!((content(&anna), content(&bob)), (own, others));
    // A second membership can have a folder of its own.
    let folder = bob.0.path().join("second");
    bob.json(&["join", &line, "--dir", folder.to_str().unwrap()]);
    assert!(folder.join("network.toml").exists());
    let used = anna.0.path().join("used");
    fs::create_dir(&used).unwrap();
    fs::write(used.join("file"), "").unwrap();
    anna.refused(&[&new[..], &["--dir", used.to_str().unwrap()]].concat(), 1, "stays as it is");
    assert_eq!(fs::read_dir(&used).unwrap().count(), 1);
}

#[test]
fn commands_that_change_a_network_at_the_same_time_wait_for_each_other() {
    let (anna, _) = founder();
    let members: Vec<_> = (0..12).map(|number| format!("m{number}")).collect();
    let all = |verb: &[&str]| {
        let commands = members.iter().map(|name| {
            let args = [verb, &[name]].concat();
            let command = anna.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            command.unwrap()
        });
        let commands: Vec<_> = commands.collect();
        for command in commands {
            let output = command.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
        }
    };
    all(&["invite", "--for"]);
    all(&["revoke"]);
    let bob = member(&anna, "bob");
    // The list on the disk, which no command has written again since.
    let list = fs::read(anna.folder("home").join("revoked.pem")).unwrap();
    assert_eq!(fs::read(bob.folder("home").join("revoked.pem")).unwrap(), list);
    let line = anna.json(&["revoke"]);
    assert_eq!(line["revoked"], 12);
    assert_eq!(bob.json(&["join", line["line"].as_str().unwrap()])["revoked"], Value::Null);

    // One of several that join with the same line has the folder.
    let line = anna.json(&["invite"])["line"].as_str().unwrap().to_owned();
    let carol = Machine::new();
    let joins: Vec<_> = (0..8)
        .map(|_| {
            let mut command = carol.command(&["join", &line]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let joined = joins.into_iter().filter_map(|mut join| join.wait().ok());
    assert_eq!(joined.filter(ExitStatus::success).count(), 1);
    assert!(carol.folder("home").join("network.toml").exists());
}

#[test]
fn the_first_of_several_state_folders_of_systemd_is_used() {
    let machine = Machine::new();
    let (first, second) = (machine.0.path().join("a"), machine.0.path().join("b"));
    let folders = format!("{}:{}", first.display(), second.display());
    let new = ["network", "new", "home", "--address", "127.0.0.1:1"];
    let output = machine.command(&new).env("STATE_DIRECTORY", &folders).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(first.join("networks/home/network.toml").exists());
    let invite = machine.command(&["invite"]).env("STATE_DIRECTORY", &folders).output().unwrap();
    assert!(invite.status.success(), "{}", stderr(&invite));
}

#[test]
fn names_that_could_leave_the_folder_are_refused() {
    let machine = Machine::new();
    for name in ["../x", "", ".", "..", "/x", "a/b", "a b", "-x"] {
        let new = ["network", "new", "--address", "127.0.0.1:1", "--", name];
        machine.refused(&new, 2, "write letters, digits");
    }
    let (anna, _) = founder();
    anna.refused(&["invite", "--for", "../x"], 2, "write letters, digits");
    anna.refused(&["revoke", "../x"], 2, "write letters, digits");
}

#[test]
fn mistakes_are_explained() {
    let (anna, bob) = (founder().0, Machine::new());
    let line = anna.json(&["invite", "--for", "bob"])["line"].as_str().unwrap().to_owned();
    let cut = &line[..line.len() - 1];
    let damaged = line.replacen("clacks-join-1:B", "clacks-join-1:C", 1);
    for text in [cut, &damaged] {
        bob.refused(&["join", text], 1, "damaged or incomplete");
    }
    bob.refused(&["join", "hello"], 1, "no line of clacks");
    bob.refused(&["join", &line.replace("-1:", "-2:")], 1, "another version");
    assert!(!bob.folder("home").exists());
    bob.refused(&["invite"], 1, "in no network");
    bob.refused(&["members", "--network", "home"], 1, "no member of a network home");
    anna.refused(&["revoke"], 1, "No member is revoked");
    anna.refused(&["revoke", "carol"], 1, "has no member carol");
    anna.refused(&["revoke", "founder"], 1, "cannot be revoked");
    anna.refused(&["invite", "--for", "bob"], 1, "was invited before");
    anna.refused(&["invite", "--days", "0"], 2, "1..=36500");
    bob.json(&["join", &line]);
    bob.refused(&["invite"], 1, "Only the founder");
    bob.refused(&["members"], 1, "founder of the network home");
    anna.json(&["network", "new", "work", "--address", "127.0.0.1:1"]);
    anna.refused(&["invite"], 2, "add --network NAME, one of home, work");
    anna.json(&["invite", "--network", "work"]);
}

#[test]
fn an_update_of_another_network_or_an_older_one_changes_nothing() {
    let anna = founder().0;
    let other = founder().0;
    let (bob, _, _) = (member(&anna, "bob"), member(&anna, "carol"), member(&anna, "dave"));
    let _mallory = member(&other, "mallory");
    let line = |machine: &Machine, name: &str| {
        machine.json(&["revoke", name])["line"].as_str().unwrap().to_owned()
    };
    bob.refused(&["join", &line(&other, "mallory")], 1, "of another network");
    assert!(!bob.folder("home").join("revoked.pem").exists());
    let (older, newer) = (line(&anna, "carol"), line(&anna, "dave"));
    assert_eq!(bob.json(&["join", &newer])["revoked"], 2);
    assert_eq!(bob.json(&["join", &newer])["revoked"], Value::Null);
    bob.refused(&["join", &older], 1, "is older than");
    bob.refused(&["join", &line(&other, "mallory")], 1, "older");
    assert_eq!(bob.json(&["join", &newer])["revoked"], Value::Null);
    Machine::new().refused(&["join", &newer], 1, "ask the founder for an invitation");
}

#[test]
fn a_renewed_member_keeps_its_key() {
    let anna = founder().0;
    let (bob, carol) = (member(&anna, "bob"), member(&anna, "carol"));
    let renewed = anna.json(&["invite", "--renew", "bob", "--days", "1000"]);
    let line = renewed["line"].as_str().unwrap();
    assert!(line.starts_with("clacks-update-1:"), "{line}");
    carol.refused(&["join", line], 1, "for another member");
    let certificate = || fs::read(bob.folder("home").join("cert.pem")).unwrap();
    let key = || fs::read(bob.folder("home").join("key.pem")).unwrap();
    let (old, old_key) = (certificate(), key());
    assert_eq!(bob.json(&["join", line])["renewed"], true);
    assert!(certificate() != old && key() == old_key);
    let members = anna.json(&["members"]);
    assert_eq!(members["members"][0]["fingerprint"], renewed["fingerprint"]);
    anna.json(&["revoke", "bob"]);
    anna.refused(&["invite", "--renew", "bob"], 1, "was revoked");
}

#[test]
fn a_certificate_that_expires_soon_is_reported() {
    let (anna, address) = founder();
    let _first = anna.tower(&address, "smol");
    let (bob, carol) = (Machine::new(), member(&anna, "carol"));
    let invited = anna.json(&["invite", "--for", "bob", "--days", "30"]);
    bob.json(&["join", invited["line"].as_str().unwrap()]);
    let started = |machine: &Machine| {
        let tower = machine.tower("127.0.0.1:0", "smol");
        let control = tower.told()[0]["control"].as_str().unwrap().to_owned();
        let status = machine.json(&["status", "--control", &control]);
        let troubles = status["troubles"].as_array().unwrap().iter();
        let is_it = |trouble: &&Value| trouble["what"].as_str().unwrap().contains("expires on");
        troubles.filter(is_it).map(|it| it["remedy"].as_str().unwrap().to_owned()).next()
    };
    let remedy = started(&bob).unwrap();
    assert!(remedy.contains("clacks invite --renew") && remedy.contains("clacks join"), "{remedy}");
    assert_eq!(started(&carol), None);
    let members = anna.run(&["members"]);
    let members = stdout(&members);
    assert!(members.contains(" days left)"), "{members}");
    assert!(members.contains("clacks invite --renew bob\n"), "{members}");
    assert!(!members.contains("--renew carol"), "{members}");

    let renewed = anna.json(&["invite", "--renew", "bob"]);
    bob.json(&["join", renewed["line"].as_str().unwrap()]);
    assert_eq!(started(&bob), None);
    assert!(!stdout(&anna.run(&["members"])).contains("--renew"));
}

#[test]
fn an_invitation_goes_through_a_pipe_and_its_warning_does_not() {
    let (anna, bob) = (founder().0, Machine::new());
    let output = anna.run(&["invite", "--for", "bob"]);
    let line = stdout(&output).trim_end();
    assert!(line.starts_with("clacks-join-1:") && !line.contains(char::is_whitespace), "{line}");
    assert!(stderr(&output).contains("Secret:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("clacks revoke bob"), "{}", stderr(&output));
    let mut join =
        bob.command(&["join", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut join.stdin.take().unwrap(), &output.stdout).unwrap();
    let joined = join.wait_with_output().unwrap();
    assert!(joined.status.success());
    assert!(stdout(&joined).contains("clacks tower --network home"), "{}", stdout(&joined));
    assert!(stdout(&joined).contains("Nothing was started"), "{}", stdout(&joined));
    let code = anna.run(&["invite", "--qr"]);
    let rows: Vec<_> = stdout(&code).lines().map(|row| row.chars().count()).collect();
    assert!(rows.len() > 40 && rows.iter().all(|width| *width == rows[0]), "{rows:?}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_keys() {
    use std::os::unix::fs::PermissionsExt;
    let anna = founder().0;
    let bob = member(&anna, "bob");
    for (machine, file) in [(&anna, "network-key.pem"), (&anna, "key.pem"), (&bob, "key.pem")] {
        let meta = fs::metadata(machine.folder("home").join(file)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{file}");
        let folder = fs::metadata(machine.folder("home")).unwrap();
        assert_eq!(folder.permissions().mode() & 0o077, 0, "{file}");
    }
    assert!(!bob.folder("home").join("network-key.pem").exists());
}

#[test]
fn root_updates_the_folder_of_a_service_for_its_user() {
    use std::os::unix::fs::{MetadataExt, chown};
    let (anna, _) = founder();
    member(&anna, "bob");
    let folder = anna.folder("home");
    if fs::metadata(&folder).unwrap().uid() != 0 {
        eprintln!("passed over: only root can give files to others");
        return;
    }
    let service = 65_534;
    chown(&folder, Some(service), Some(service)).unwrap();
    anna.json(&["revoke", "bob"]);
    let list = fs::metadata(folder.join("revoked.pem")).unwrap();
    assert_eq!((list.uid(), list.gid()), (service, service));
    // A network that root joins belongs to the service as a whole.
    let carol = Machine::new();
    chown(carol.0.path(), Some(service), Some(service)).unwrap();
    let line = anna.json(&["invite"])["line"].as_str().unwrap().to_owned();
    carol.json(&["join", &line]);
    let joined = carol.folder("home");
    let files = fs::read_dir(&joined).unwrap().map(|file| file.unwrap().path());
    let folders = joined.ancestors().take(3).map(PathBuf::from);
    for file in files.chain(folders) {
        assert_eq!(fs::metadata(&file).unwrap().uid(), service, "{}", file.display());
    }
}
