use super::*;
use crate::args::{TowerArgs, Verb};
use std::fs;
use tempfile::TempDir;

/// A configuration file.
struct File(TempDir);

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tower.toml"), text).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tower.toml")
    }

    fn parse(&self, flags: &[&str]) -> Result<Invocation, Refusal> {
        let path = self.path();
        let line = ["clacks", "tower", "--config", path.to_str().unwrap()];
        parse_from(line.iter().chain(flags).map(OsString::from).collect())
    }

    fn sentence(&self, flags: &[&str]) -> String {
        let failure = Failure::from(self.parse(flags).unwrap_err());
        failure.sentence().unwrap().to_owned()
    }
}

fn tower(invocation: Invocation) -> (TowerArgs, Settings) {
    match invocation.cli.verb {
        Verb::Tower(args) => (*args, invocation.settings.unwrap()),
        other => panic!("{other:?}"),
    }
}

fn source(settings: &Settings, name: &str) -> Source {
    settings.options.iter().find(|setting| setting.name == name).unwrap().source
}

#[test]
fn the_file_has_the_names_of_the_flags() {
    let file = File::new(
        r#"
        listen = "127.0.0.1:8001"
        announce = ["a:1", "b:2"]
        send-rate = 0.5
        max-queue = 7
        heartbeat = "off"
        json = true
        no-http = false
        state = "here"
        "#,
    );
    let (args, settings) = tower(file.parse(&[]).unwrap());
    assert_eq!(args.listen.unwrap().port, 8001);
    assert_eq!(args.announce.len(), 2);
    assert_eq!(args.tuning.max_queue, 7);
    assert!(args.json && !args.trust.no_http);
    assert_eq!(args.trust.state, Some(file.0.path().join("here")));
    assert_eq!(source(&settings, "send-rate"), Source::File);
    assert_eq!(source(&settings, "max-message"), Source::Default);
    assert_eq!(settings.file(), Some(&*file.path()));
}

#[test]
fn a_flag_replaces_the_file() {
    let file = File::new("listen = \"a:1\"\nannounce = [\"b:2\", \"c:3\"]\nmax-queue = 7");
    let (args, settings) = tower(file.parse(&["--announce", "d:4", "--max-queue=8"]).unwrap());
    assert_eq!(args.announce, ["d:4".parse().unwrap()]);
    assert_eq!(args.tuning.max_queue, 8);
    assert_eq!(source(&settings, "announce"), Source::CommandLine);
    assert_eq!(source(&settings, "listen"), Source::File);
}

#[test]
fn a_flag_replaces_what_it_excludes() {
    let file = File::new("listen = \"a:1\"\nstate = \"b\"\nroots = \"c\"");
    let (args, _) = tower(file.parse(&["--ephemeral"]).unwrap());
    assert!(args.trust.ephemeral && args.trust.state.is_none() && args.trust.roots.is_some());
    let (args, _) = tower(file.parse(&["--clear"]).unwrap());
    assert!(args.trust.clear && args.trust.state.is_none() && args.trust.roots.is_none());
}

#[test]
fn a_mistake_in_the_file_names_the_file() {
    for (text, words) in [
        ("lisen = \"a:1\"", "did you mean listen?"),
        ("send_rate = 1", "did you mean send-rate?"),
        ("config = \"x\"", "is no option"),
        ("zzz = 1", "lists them"),
        ("listen = ", "no TOML"),
        ("send-rate = \"fast\"", "--send-rate"),
        ("send-rate = -1", "--send-rate"),
        ("send-rate = true", "a text in quotation marks or a number"),
        ("json = 1", "true or false"),
        ("listen = [\"a:1\"]", "one value"),
        ("announce = [[1]]", "a text in quotation marks or a number"),
        ("key = \"x\"", "--cert"),
        ("[listen]", "a text in quotation marks or a number"),
    ] {
        let file = File::new(text);
        let sentence = file.sentence(&[]);
        assert!(sentence.contains(words), "{text}: {sentence}");
        if words != "--cert" {
            assert!(sentence.contains("tower.toml"), "{text}: {sentence}");
        }
    }
    let flag = File::new("send-rate = 1").sentence(&["--max-queue=x"]);
    assert!(!flag.contains("tower.toml") && flag.contains("--max-queue"), "{flag}");
}

#[test]
fn every_option_of_a_tower_has_a_variable() {
    let command = command();
    for arg in command.find_subcommand("tower").unwrap().get_arguments() {
        let variable = arg.get_env().and_then(|variable| variable.to_str());
        assert!(variable.is_some_and(|it| it.starts_with("CLACKS_")), "{arg}: {variable:?}");
    }
    assert_eq!(variable_of("max-queue-bytes"), "CLACKS_MAX_QUEUE_BYTES");
    let status = command.find_subcommand("status").unwrap();
    let control = option(status, "control").and_then(Arg::get_env);
    assert_eq!(control.and_then(|it| it.to_str()), Some("CLACKS_CONTROL"));
    // Other commands must not change their meaning by a variable.
    for arg in command.find_subcommand("sim").unwrap().get_arguments() {
        assert_eq!(arg.get_env(), None, "{arg}");
    }
}

#[test]
fn the_default_file_is_in_the_configuration_folder() {
    let file = |variables: &[(&str, &str)]| {
        default_file_in(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| PathBuf::from(value))
        })
    };
    let path = |path: &str| Some(PathBuf::from(path));
    assert_eq!(file(&[("HOME", "/h")]), path("/h/.config/clacks/tower.toml"));
    assert_eq!(file(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), path("/x/clacks/tower.toml"));
    assert_eq!(
        file(&[("HOME", "/h"), ("CONFIGURATION_DIRECTORY", "/etc/clacks:/etc/b")]),
        path("/etc/clacks/tower.toml")
    );
    assert_eq!(file(&[]), None);
}

#[test]
fn a_change_of_a_value_is_noticed() {
    let settings = |text| tower(File::new(text).parse(&[]).unwrap()).1;
    let (one, other) = (settings("send-rate = 1"), settings("send-rate = 2\nlisten = \"a:1\""));
    let changed: Vec<_> = one.changed(&other).collect();
    assert!(changed.contains(&"listen") && changed.contains(&"send-rate"), "{changed:?}");
    assert!(!changed.contains(&"max-queue"), "{changed:?}");
}
