//! Tests of the scenario format, its error messages, and the plans of scenarios.

use std::path::Path as FilePath;
use std::time::Duration;

use clacks_proto::SendRate;

use super::*;
use crate::distribution::Distribution;
use crate::metrics::Metric;
use crate::plan::{Group, Plan, Step, WithContacts};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn planned(scenario: &Scenario) -> Plan {
    scenario.plan(FilePath::new(".")).unwrap()
}

fn network(towers: u32) -> Scenario {
    Scenario::new("network", towers, secs(100_000))
}

mod format {
    use super::*;

    #[test]
    fn a_minimal_scenario_has_all_defaults() {
        let text = "name = \"x\"\ntowers = 2\ntime = \"2h\"\n";
        assert_eq!(Scenario::from_toml(text).unwrap(), Scenario::new("x", 2, secs(7_200)));
    }

    #[test]
    fn a_file_and_the_builder_make_equal_scenarios() {
        let text = r#"
            name = "x"
            towers = 9
            time = "1h"
            [contacts]
            shape = "ring"
            verb = "expand"
            [tower]
            send_rate = 4
            heartbeat = "off"
            screening = { on = { max_offers = 1, timeout = "2s", default = "reject" } }
            [link]
            latency = "10ms"
            [[path]]
            from = { range = [0, 3] }
            to = { share = 0.5 }
            link = { broken = 0.5 }
            [[fault]]
            kind = "crash"
            at = "1m"
            lasts = "2m"
            towers = { count = 3 }
            repeat = { every = "5m", times = 2 }
            [[target]]
            name = "hops"
            kind = "rate"
            metric = "honest_hops"
            until = "1m"
            of_calm = true
            at_least = 0.5
        "#;
        let (from, until) = (Duration::ZERO, secs(60));
        let hops = Measure::Rate { metric: Metric::HonestHops, from, until };
        let built = Scenario::new("x", 9, secs(3_600))
            .contacts(|contacts| {
                contacts.shape = Shape::Ring;
                contacts.verb = ContactVerb::Expand;
            })
            .tower(|config| {
                config.send_rate = SendRate::per_second(4);
                config.heartbeat = None;
                config.screening = clacks_proto::Screening::On {
                    max_offers: 1,
                    timeout: secs(2),
                    default: clacks_proto::DefaultVerdict::Reject,
                };
            })
            .link(|link| link.latency = Distribution::Constant(Duration::from_millis(10)))
            .path(Path::new(Towers::Range(0, 3), Towers::Share(0.5), |link| {
                link.broken = Some(0.5);
            }))
            .fault(Fault::crash(secs(60), Towers::Count(3)).lasts(secs(120)).repeat(secs(300), 2))
            .target(Target::new("hops", hops).of_calm().at_least(0.5));
        assert_eq!(Scenario::from_toml(text).unwrap(), built);
        assert_eq!(Scenario::from_toml(&built.to_toml()).unwrap(), built);
    }

    /// Checks that each TOML example in the documentation of the crate is a valid scenario.
    #[test]
    fn every_documented_example_is_valid() {
        let sources = [
            include_str!("mod.rs"),
            include_str!("faults.rs"),
            include_str!("link.rs"),
            include_str!("../distribution.rs"),
            include_str!("../../README.md"),
        ];
        let mut examples = 0;
        for source in sources {
            let docs: String = source
                .lines()
                .map(|line| {
                    let line = line.trim_start();
                    let doc = line.strip_prefix("//!").or(line.strip_prefix("///"));
                    format!("{}\n", doc.unwrap_or(line).trim_start())
                })
                .collect();
            for example in docs.split("```toml\n").skip(1) {
                let text = example.split("```").next().unwrap();
                let scenario =
                    Scenario::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                scenario.check().unwrap_or_else(|error| panic!("{error}\n{text}"));
                examples += 1;
            }
        }
        assert_eq!(examples, 9);
    }

    #[test]
    fn set_changes_a_single_key() {
        let mut scenario = network(9).fault(Fault::crash(secs(1), Towers::One(3)));
        for (key, value) in [
            ("link.latency", "80ms"),
            ("link.jitter", "{ uniform = { from = \"1ms\", to = \"2ms\" } }"),
            ("fault.0.at", "90s"),
            ("fault.0.towers", "{ range = [3, 5] }"),
            ("name", "42"),
            ("tower.friends.every", "1s"),
            ("tower.heartbeat", "off"),
            ("checks", "off"),
        ] {
            scenario.set(key, value).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        assert_eq!(scenario.link.latency, Distribution::Constant(Duration::from_millis(80)));
        assert_eq!(scenario.faults[0].at, secs(90));
        assert_eq!(scenario.faults[0].kind.groups(), [("towers", &Towers::Range(3, 5))]);
        assert_eq!((&*scenario.name, scenario.tower.friends.every), ("42", secs(1)));
        assert_eq!(scenario.tower.heartbeat, None);
        assert_eq!(scenario.checks, Checks::off());
    }

    #[test]
    fn a_failed_set_changes_nothing() {
        let mut scenario = network(9).fault(Fault::crash(secs(1), Towers::One(3)));
        let before = scenario.clone();
        for (key, value, said) in [
            ("link.speed", "1", "link.speed is no key; the keys here are latency, jitter, "),
            ("link.brokn", "1", "link.brokn is no key; did you mean broken? the keys here are "),
            ("fault.1.at", "1s", "fault.1.at can't be set: fault has the numbers from 0 to 0"),
            ("name.x", "1", "name.x can't be set: name is a single value"),
            (
                "towers",
                "many",
                "towers is \"many\"; it must be a whole number from 0 to 4294967295",
            ),
            ("fault.0.at", "soon", "fault.0.at is \"soon\"; it must be a duration like \"90s\""),
            ("churn.session", "1m", "churn.absence is missing"),
        ] {
            let error = scenario.set(key, value).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        assert_eq!(scenario, before);
    }

    #[test]
    fn a_shorter_time_removes_later_actions() {
        let minutes = |count: u64| secs(60 * count);
        let mut scenario = Scenario::new("x", 9, minutes(60))
            .contacts(|contacts| contacts.spread = minutes(2))
            .messages(|messages| {
                (messages.count, messages.at) = (5, Some(minutes(20)));
                messages.over = minutes(3);
            })
            .fault(Fault::pause(minutes(5), minutes(10), Towers::One(1)))
            .fault(Fault::crash(minutes(6), Towers::One(1)).repeat(minutes(1), 20))
            .fault(Fault::crash(minutes(40), Towers::One(2)))
            .fault(Fault::new(
                minutes(9),
                FaultKind::Clock {
                    towers: Towers::All,
                    forward: Duration::ZERO,
                    back: minutes(2),
                    drift_ppm: 0,
                },
            ))
            .churn(Churn::new(
                Distribution::Constant(secs(5)),
                Distribution::Constant(secs(5)),
                minutes(50),
            ));
        scenario.sample = Some(minutes(1));
        scenario.set_time(minutes(10));
        scenario.check().unwrap();
        assert_eq!(scenario.sample, Some(secs(10)), "as many samples as before");
        assert_eq!((scenario.contacts.spread, scenario.messages.at), (minutes(2), None));
        let [pause, crash] = &scenario.faults[..] else { panic!("{:?}", scenario.faults) };
        assert_eq!(pause.lasts, Some(minutes(5)));
        assert_eq!(crash.repeat, Some(Repeat { every: minutes(1), times: 5 }));
        assert_eq!(scenario.churn.unwrap().until, minutes(10));

        let mut longer = network(3);
        longer.set_time(secs(200_000));
        assert_eq!(longer, Scenario { time: secs(200_000), ..network(3) });
    }
}

mod errors {
    use super::*;

    const HEAD: &str = "name = \"x\"\ntowers = 10\ntime = \"100h\"\n";

    fn error(text: &str) -> String {
        let scenario = Scenario::from_toml(text);
        let planned = scenario.and_then(|it| it.plan(FilePath::new("/nowhere")).map(|_| ()));
        planned.expect_err(text).to_string()
    }

    #[test]
    fn the_contacts_of_all_towers_are_bounded() {
        let check = |towers, change: fn(&mut Contacts)| network(towers).contacts(change).check();
        assert!(check(10_000, |contacts| contacts.shape = Shape::Full).is_ok());
        for (towers, change, field) in [
            (10_002, (|it| it.shape = Shape::Full) as fn(&mut Contacts), "shape"),
            (4_000_000, |it| it.known = 26, "known"),
            (4_000_000, |it| (it.shape, it.degree) = (Shape::Regular, 26), "degree"),
        ] {
            let error = check(towers, change).unwrap_err().to_string();
            assert!(error.starts_with(&format!("contacts.{field} gives {towers} towers ")));
            assert!(error.ends_with(" each; there must be at most 100000000 in all"), "{error}");
        }
    }

    fn assert_errors(head: &str, cases: &[(&str, &str)]) {
        for (text, sentence) in cases {
            let error = error(&format!("{head}{text}"));
            assert!(error.starts_with(sentence), "{text}\n{error}");
            assert!(!error.contains(['\n', '\t']), "{error}");
        }
    }

    #[test]
    fn targets_have_a_name_a_bound_and_a_measure_that_can_be_made() {
        let head = "name = \"x\"\ntowers = 3\ntime = \"1h\"\n[[target]]\nname = \"t\"\n";
        let hops = "kind = \"rate\"\nmetric = \"hops\"\nuntil = \"1m\"\n";
        let met = "at_least = 1.0\n";
        for (text, sentence) in [
            (hops.to_owned(), "target.0.at_least is missing, and so is at_most; "),
            (format!("{met}kind = \"rat\""), "target.0.kind is \"rat\"; it must be one of rate, "),
            (
                format!("{met}kind = \"rate\"\nmetric = \"hop\"\nuntil = \"1m\""),
                "target.0.metric is \"hop\"; it must be one of running, ",
            ),
            (
                format!("{met}kind = \"value\"\nmetric = \"hops\"\nat = \"1m\""),
                "target.0.metric is hops; it must be a metric that does not count",
            ),
            (
                format!("{met}{hops}from = \"2m\""),
                "target.0.from is 2m; it must be earlier than until",
            ),
            (
                format!("{met}kind = \"alive\"\nat = \"2h\""),
                "target.0.at is 2h; it must be from 0s to 1h",
            ),
            (
                format!("{met}kind = \"alive\"\nat = \"1h\"\nn = 4\nk = 5"),
                "target.0.k is 5; it must be from 1 to 4",
            ),
            (
                format!("{met}{hops}[[target]]\nname = \"t\"\n{met}{hops}"),
                "target.1.name is \"t\"; it must be a name of its own",
            ),
        ] {
            assert_errors(head, &[(&text, sentence)]);
        }
        let mut scenario = Scenario::from_toml(&format!("{head}{met}{hops}")).unwrap();
        scenario.set_time(secs(60));
        assert_eq!(scenario.targets.len(), 1);
        scenario.set_time(secs(59));
        assert_eq!(scenario.targets.len(), 0, "it ends after the new end");
    }

    #[test]
    fn each_syntax_error_has_a_message() {
        assert_errors(
            "",
            &[
                ("towers = 3", "name is missing"),
                ("name = \"x\"\ntowers = = 3", "line 2 is not TOML: "),
            ],
        );
        assert_errors(
            HEAD,
            &[
                (
                    "[contacts]\nshape = \"star\"",
                    "contacts.shape is \"star\"; it must be one of well-known, ring, regular, full, file, none",
                ),
                (
                    "[messages]\ncount = 99_999_999_999_999_999_999",
                    "line 5 is not TOML: 99999999999999999999 is too large; a number is from",
                ),
                ("[\"a.b\"]\nc = 1", "a.b is no key; the keys here are name, "),
                ("[fault]\nkind = \"cut\"", "fault is a table; it must be a list"),
                (
                    "[link]\nlatency = { uniform = \"1s\" }",
                    "link.latency must be a duration like \"50ms\", { uniform = { from, to } }, ",
                ),
                ("[link]\nlatency = {}", "link.latency must be a duration like \"50ms\", "),
                (
                    "colour = 3",
                    "colour is no key; the keys here are name, about, seed, towers, time, ",
                ),
                (
                    "[tower]\nsendrate = 3",
                    "tower.sendrate is no key; did you mean send_rate? the keys here are network, send_rate, ",
                ),
                ("[tower.timeouts]\nconfirm = 3", "tower.timeouts.confirm is 3; it must be a text"),
                (
                    "[tower]\nheartbeat = \"never\"",
                    "tower.heartbeat is \"never\"; it must be a duration, or \"off\"",
                ),
                (
                    "[tower]\nsend_rate = \"fast\"",
                    "tower.send_rate is \"fast\"; it must be a number of messages a second that is more than 0, or \"unlimited\"",
                ),
                (
                    "[tower]\nsend_rate = 0",
                    "tower.send_rate is 0; it must be a number of messages ",
                ),
                ("[link]\nbroken = \"often\"", "link.broken is \"often\"; it must be a number"),
                (
                    "[link]\nbandwidth = -1",
                    "link.bandwidth is -1; it must be a whole number from 0",
                ),
                (
                    "[messages]\ncount = -1",
                    "messages.count is -1; it must be a whole number from 0 to 4294967295",
                ),
                (
                    "[messages]\ntowers = \"some\"",
                    "messages.towers must be \"all\", a number, a list",
                ),
                ("[messages]\nat = 5", "messages.at is 5; it must be a duration like \"90s\""),
                ("[checks]\nconvergence = 1", "checks.convergence is 1; it must be true or false"),
                ("[[fault]]\nat = \"1s\"", "fault.0.kind is missing"),
                ("[[fault]]\nkind = 1\nat = \"1s\"", "fault.0.kind is integer; it must be a text"),
                (
                    "[[fault]]\nkind = \"flood\"\nat = \"1s\"",
                    "fault.0.kind is \"flood\"; it must be one of partition, crash, ",
                ),
                ("[[fault]]\nkind = \"crash\"\ntowers = 1", "fault.0.at is missing"),
                ("[[fault]]\nkind = \"crash\"\nat = \"1s\"", "fault.0.towers is missing"),
                (
                    "[[fault]]\nkind = \"crash\"\nat = \"1s\"\ntowers = 1\nback = \"1s\"",
                    "fault.0.back is no key; the keys here are towers, mode, contacts",
                ),
                (
                    "[[fault]]\nkind = \"crash\"\nat = \"1s\"\ntowers = 1\nmode = \"silent\"",
                    "fault.0.mode is \"silent\"; it must be one of process, machine",
                ),
                (
                    "[[fault]]\nkind = \"conditions\"\nat = \"1s\"\nlink = { broke = 1 }",
                    "fault.0.link.broke is no key; did you mean broken? the keys here are latency, ",
                ),
                (
                    "[[fault]]\nkind = \"partition\"\nat = \"1s\"\nshape = \"thirds\"",
                    "fault.0.shape is \"thirds\"; it must be one of halves, random, group, isolate",
                ),
                (
                    "[[fault]]\nkind = \"clock\"\nat = \"1s\"\ntowers = 1\nback = 5",
                    "fault.0.back is 5; it must be a duration like \"90s\"",
                ),
                (
                    "[[fault]]\nkind = \"cut\"\nat = \"1s\"\ntowers = 1\nrepeat = { every = \"1s\" }",
                    "fault.0.repeat.times is missing",
                ),
                ("[churn]\nsession = \"1s\"\nabsence = \"1s\"", "churn.until is missing"),
                ("[[path]]\nfrom = 1\nlink = {}", "path.0.to is missing"),
            ],
        );
    }

    #[test]
    fn each_invalid_value_has_a_message() {
        assert_errors(
            HEAD,
            &[
                ("seed = -1", "seed is -1; it must be a whole number from 0"),
                ("[tower]\nburst = 0", "tower.burst is 0; the burst must be at least 1"),
                (
                    "[tower]\nmax_unproved = 0",
                    "tower.max_unproved is 0; the number of unproved links must be ",
                ),
                (
                    "[tower]\nheartbeat = \"1ms\"",
                    "tower.heartbeat is \"1ms\"; the heartbeat must be off or at least 10 ms",
                ),
                (
                    "[contacts]\nshape = \"regular\"\ndegree = 10",
                    "contacts.degree is 10; it must be from 2 to 9",
                ),
                ("[contacts]\nknown = 11\n", "contacts.known is 11; it must be from 1 to 10"),
                ("[contacts]\nshape = \"file\"", "contacts.file is missing; "),
                ("[contacts]\nshape = \"file\"\nfile = \"no.csv\"", "can't read /nowhere/no.csv: "),
                (
                    "[contacts]\nspread = \"100h\"",
                    "contacts.spread is 4days 4h; it must be less than the time, 4days 4h",
                ),
                ("[messages]\nsize = 7", "messages.size is 7; it must be from 8 to 65536"),
                (
                    "[contacts]\nspread = \"1m\"\n[messages]\ncount = 1\nat = \"1s\"",
                    "messages.at is 1s; it must be at least contacts.spread, 1m: towers start until then",
                ),
                (
                    "[messages]\nat = \"99h\"\nover = \"2h\"",
                    "messages ends after 4days 5h; it must end within the time, 4days 4h",
                ),
                (
                    "[messages]\ncount = 100_000_001",
                    "messages.count is 100000001; it must be at most 100000000 with all repetitions",
                ),
                (
                    "[messages]\nrepeat = { every = \"0s\", times = 2 }",
                    "messages.repeat.every is 0s; it must be more than 0s",
                ),
                ("[messages]\ntowers = 10", "messages.towers is 10; it must be from 0 to 9"),
                (
                    "[messages]\ntowers = { range = [5, 3] }",
                    "messages.towers.range is [5, 3]; the first must not be greater than the last",
                ),
                ("[link]\nbroken = 1.5", "link.broken is 1.5; it must be from 0 to 1"),
                ("[link]\nrefused = nan", "link.refused is NaN; it must be from 0 to 1"),
                (
                    "[link]\nrefused = 0.75\nunanswered = 0.5",
                    "link.refused and link.unanswered are 1.25 together; they must be at most 1",
                ),
                ("[link]\nbandwidth = 0", "link.bandwidth is 0; it must be at least 1"),
                (
                    "[link]\nlatency = { samples = \"no.csv\" }",
                    "link.latency names /nowhere/no.csv, which can't be read: ",
                ),
                (
                    "[link]\nlatency = \"25h\"",
                    "link.latency is 1day 1h; a duration must be from 0s to ",
                ),
                (
                    "[[path]]\nfrom = 0\nto = { share = 2.0 }\nlink = {}",
                    "path.0.to.share is 2; it must be from 0 to 1",
                ),
                (
                    "[[fault]]\nkind = \"cut\"\nat = \"100h\"\ntowers = 1",
                    "fault.0.at is 4days 4h; it must be less than the time, 4days 4h",
                ),
                (
                    "[[fault]]\nkind = \"pause\"\nat = \"1h\"\ntowers = 1",
                    "fault.0.lasts is missing; a pause fault must have a duration",
                ),
                (
                    "[[fault]]\nkind = \"cut\"\nat = \"1h\"\nlasts = \"1h\"\ntowers = 1",
                    "fault.0.lasts is not allowed in a fault of the kind cut",
                ),
                (
                    "[[fault]]\nkind = \"crash\"\nat = \"1h\"\ntowers = { count = 11 }",
                    "fault.0.towers.count is 11; it must be from 0 to 10",
                ),
                (
                    "[[fault]]\nkind = \"pause\"\nat = \"99h\"\nlasts = \"2h\"\ntowers = 1",
                    "fault.0 ends after 4days 5h; it must end within the time, 4days 4h",
                ),
                (
                    "[[fault]]\nkind = \"pause\"\nat = \"1h\"\nlasts = \"2h\"\ntowers = 1\nrepeat = { every = \"1h\", times = 2 }",
                    "fault.0.repeat.every is 1h; it must be at least the duration of one repetition, 2h",
                ),
                (
                    "[[fault]]\nkind = \"clock\"\nat = \"1h\"\nlasts = \"2h\"\ntowers = 1\ndrift_ppm = 1_000_001",
                    "fault.0.drift_ppm is 1000001; it must be from -500000 to 1000000",
                ),
                (
                    "[[fault]]\nkind = \"enqueue\"\nat = \"1h\"\ntowers = 1\ncount = 0",
                    "fault.0.count is 0; it must be from 1 to 1000000",
                ),
                (
                    "[[fault]]\nkind = \"partition\"\nshape = { random = 0.9 }\nat = \"1h\"\nlasts = \"1ms\"\nrepeat = { every = \"1ms\", times = 1_000_000 }\n[[fault]]\nkind = \"partition\"\nshape = { random = 0.5 }\nat = \"1h\"\nlasts = \"1ms\"\nrepeat = { every = \"1ms\", times = 1_000_000 }",
                    "fault has 28000000 steps (towers, times repetitions); it must be at most 20000000",
                ),
                (
                    "[[fault]]\nkind = \"crash\"\nat = \"1h\"\ntowers = []",
                    "fault.0.towers is empty; it must have at least one tower",
                ),
                (
                    "[[fault]]\nkind = \"announce\"\nat = \"1h\"\ntowers = 3\npeers = { share = 0.0 }",
                    "fault.0.peers is empty; it must have at least one tower",
                ),
                (
                    "[[fault]]\nkind = \"partition\"\nat = \"1h\"\nlasts = \"1s\"\nshape = { random = 1.0 }",
                    "fault.0.shape has a group without towers; both groups must have some",
                ),
                (
                    "[churn]\nsession = \"0s\"\nabsence = { uniform = { from = \"0s\", to = \"1ms\" } }\nuntil = \"1h\"",
                    "churn.session and churn.absence are 500us together on average; they must be at least 1ms",
                ),
                (
                    "[churn]\ntowers = []\nsession = \"1s\"\nabsence = \"1s\"\nuntil = \"1h\"",
                    "churn.towers is empty; it must have at least one tower",
                ),
                (
                    "[link]\nlatency = \"0s\"\n[tower]\nsend_rate = \"unlimited\"",
                    "link.latency is 0s; it must be more than 0s with tower.send_rate = \"unlimited\"",
                ),
                (
                    "[[fault]]\nkind = \"conditions\"\nat = \"1h\"\nlasts = \"1s\"\nlink = { latency = \"0s\" }\n[tower]\nsend_rate = \"unlimited\"",
                    "fault.0.link.latency is 0s; it must be more than 0s with ",
                ),
                (
                    "[link]\nlatency = \"0s\"\n[[role]]\nkind = \"spy\"\ntowers = 1\n\
                     tower = { send_rate = \"unlimited\" }",
                    "link.latency is 0s; it must be more than 0s with role.0.tower.send_rate = ",
                ),
                (
                    "[[path]]\nfrom = 1\nto = 2\nlink = { latency = \"0s\" }\n[tower]\nsend_rate = \"unlimited\"",
                    "path.0.link.latency is 0s; it must be more than 0s with ",
                ),
                ("[checks]\nsettle_within = \"400days\"", "checks.settle_within is 1year 1month "),
                (
                    "[checks]\nsurvival = { n = 4, k = 5, share = 1.0 }",
                    "checks.survival.k is 5; it must be from 1 to 4",
                ),
                ("hold = \"30h\"\n[files]", "hold is not allowed with [files]: set files.hold"),
                (
                    "[tower]\nmax_message = 100\n[files]",
                    "tower.max_message is 100; it must be at least 12000 with [files]: pieces have so many bytes",
                ),
                ("[files]\nverify = 4", "files.verify is 4; it must be from 0 to 3"),
                (
                    "[churn]\nsession = \"1s\"\nabsence = \"1s\"\nfrom = \"2h\"\nuntil = \"1h\"",
                    "churn.until is 1h; it must be after churn.from, 2h, and not after the time, 4days 4h",
                ),
                (
                    "[churn]\nsession = \"1s\"\nabsence = \"1s\"\nuntil = \"1h\"\ngraceful = 2",
                    "churn.graceful is 2; it must be from 0 to 1",
                ),
            ],
        );
        assert_errors(
            "",
            &[
                (
                    "name = \"\"\ntowers = 1\ntime = \"1h\"",
                    "name is \"\"; it must be at least one letter",
                ),
                (
                    "name = \"x\"\ntowers = 0\ntime = \"1h\"",
                    "towers is 0; it must be from 1 to 4000000",
                ),
                ("name = \"x\"\ntowers = 1\ntime = \"400days\"", "time is 1year 1month "),
                (
                    "name = \"x\"\ntowers = 3\ntime = \"10h\"\nsample = \"0s\"",
                    "sample is 0s; it must be from 1ms to 10h",
                ),
            ],
        );
    }
}

mod plans {
    use super::*;
    use clacks_proto::Instant;

    /// Returns the steps of a plan as text, without the first start of each tower.
    fn texts(plan: &Plan) -> Vec<String> {
        let first_start =
            |step: &Step| matches!(step, Step::Start { contacts: WithContacts::Added, .. });
        let steps = plan.steps.iter().filter(|(_, step)| !first_start(step));
        steps.map(|(at, step)| format!("{} {step:?}", at.as_nanos() / 1_000_000)).collect()
    }

    fn busy(seed: u64) -> Scenario {
        network(50)
            .seed(seed)
            .fault(Fault::crash(secs(10), Towers::Count(5)).lasts(secs(5)).repeat(secs(10), 3))
            .fault(Fault::pause(secs(20), secs(3), Towers::Share(0.2)))
            .fault(Fault::partition(secs(30), secs(4), PartitionShape::Random(0.3)))
            .fault(Fault::new(secs(40), FaultKind::Cut { towers: Towers::Count(7) }))
    }

    #[test]
    fn a_plan_is_determined_by_its_seed() {
        assert_eq!(texts(&planned(&busy(1))), texts(&planned(&busy(1))));
        assert_ne!(texts(&planned(&busy(1))), texts(&planned(&busy(2))));
    }

    #[test]
    fn a_removed_fault_does_not_change_the_towers_of_other_faults() {
        let texts = |scenario: &Scenario| -> Vec<String> {
            // Partitions are numbered.
            let texts = texts(&planned(scenario));
            texts.iter().map(|it| it.replace("id: 0", "id: _").replace("id: 1", "id: _")).collect()
        };
        let whole = busy(1)
            .fault(Fault::partition(secs(5), secs(1), PartitionShape::Random(0.5)))
            .fault(Fault::crash(secs(50), Towers::Count(5)))
            .fault(Fault::crash(secs(50), Towers::Count(6)));
        let all = texts(&whole);
        for number in 0..whole.faults.len() {
            let mut less = whole.clone();
            less.faults.remove(number);
            let rest = texts(&less);
            assert!(rest.len() < all.len());
            assert!(rest.iter().all(|step| all.contains(step)), "without fault {number}");
        }
    }

    #[test]
    fn each_repetition_draws_a_group_of_the_same_size() {
        let plan = planned(&busy(1));
        let crashed_at = |second: u64| -> Vec<u32> {
            let crashes = plan.steps.iter().filter_map(|(at, step)| match step {
                Step::Crash { tower, .. } if at.as_nanos() == second * 1_000_000_000 => {
                    Some(tower.0)
                }
                _ => None,
            });
            crashes.collect()
        };
        let [first, second, third] = [10, 20, 30].map(crashed_at);
        assert_eq!([first.len(), second.len(), third.len()], [5, 5, 5]);
        assert!(first != second && second != third);
        let paused = plan.steps.iter().filter(|(_, step)| matches!(step, Step::Pause { .. }));
        assert_eq!(paused.count(), 10);
    }

    #[test]
    fn two_equal_faults_select_different_towers() {
        let crash = || Fault::crash(secs(10), Towers::Count(5));
        let plan = planned(&network(50).fault(crash()).fault(crash()));
        let crashed: std::collections::BTreeSet<String> = texts(&plan).into_iter().collect();
        assert!(crashed.len() > 5, "{crashed:?}");
    }

    #[test]
    fn each_kind_of_fault_has_its_steps() {
        let steps = |kind: FaultKind, lasts: Option<u64>| {
            let mut fault = Fault::new(secs(1), kind);
            fault.lasts = lasts.map(secs);
            texts(&planned(&network(4).fault(fault)))
        };
        let towers = || Towers::One(2);
        let crash =
            FaultKind::Crash { towers: towers(), mode: CrashKind::Machine, contacts: false };
        let crashes = "1000 Crash { tower: TowerId(2), how: Machine }";
        assert_eq!(steps(crash.clone(), None), [crashes]);
        let restarts = "3000 Start { tower: TowerId(2), contacts: NotAdded }";
        assert_eq!(steps(crash, Some(2)), [crashes, restarts]);
        assert_eq!(
            steps(FaultKind::Leave { towers: towers(), contacts: false }, Some(2)),
            ["1000 Leave { tower: TowerId(2) }", restarts]
        );
        assert_eq!(
            steps(FaultKind::Pause { towers: towers() }, Some(2)),
            ["1000 Pause { tower: TowerId(2) }", "3000 Resume { tower: TowerId(2) }"]
        );
        let (forward, back) = (Duration::from_nanos(2), Duration::from_nanos(7));
        assert_eq!(
            steps(FaultKind::Clock { towers: towers(), forward, back, drift_ppm: 7 }, Some(2)),
            [
                "1000 Clock { tower: TowerId(2), step: -5, drift_ppm: 7 }",
                "3000 Clock { tower: TowerId(2), step: 0, drift_ppm: 0 }"
            ]
        );
        assert_eq!(
            steps(FaultKind::Cut { towers: towers() }, None),
            ["1000 Cut { tower: TowerId(2) }"]
        );
        assert_eq!(
            steps(FaultKind::Enqueue { towers: towers(), count: 3 }, None),
            ["1000 Enqueue { tower: TowerId(2), count: 3 }"]
        );
        let (towers, peers) = (Towers::List(vec![3, 2]), Towers::Range(1, 2));
        type Kind = fn(Towers, Towers) -> FaultKind;
        let kinds: [(&str, Kind); 4] = [
            ("Expand", |towers, peers| FaultKind::Expand { towers, peers }),
            ("Announce", |towers, peers| FaultKind::Announce { towers, peers }),
            ("Ignore", |towers, peers| FaultKind::Ignore { towers, peers }),
            ("Unignore", |towers, peers| FaultKind::Unignore { towers, peers }),
        ];
        for (name, kind) in kinds {
            let expected = [(2, 1), (3, 1), (3, 2)].map(|(tower, peer)| {
                format!("1000 {name} {{ tower: TowerId({tower}), peer: TowerId({peer}) }}")
            });
            assert_eq!(steps(kind(towers.clone(), peers.clone()), None), expected);
        }
    }

    #[test]
    fn restarts_are_counted() {
        let asked = |fault| {
            let asked = planned(&network(9).fault(fault)).planned_faults();
            asked.iter().find(|(fault, _)| *fault == crate::Fault::Restart).map(|(_, count)| *count)
        };
        let crash = || Fault::crash(secs(1), Towers::Count(3));
        assert_eq!(asked(crash()), None);
        assert_eq!(asked(crash().lasts(secs(9)).repeat(secs(20), 2)), Some(Some(6)));
        assert_eq!(asked(Fault::leave(secs(1), Towers::One(3)).lasts(secs(9))), Some(Some(1)));
    }

    #[test]
    fn each_shape_of_partition_begins_and_ends() {
        let insides = |shape: PartitionShape| {
            let plan = planned(&network(10).fault(Fault::partition(secs(1), secs(1), shape)));
            let (mut insides, mut healed) = (Vec::new(), Vec::new());
            for (at, step) in &plan.steps {
                match step {
                    Step::Partition { id, partition } => {
                        insides.push((*id, partition.inside.clone()));
                    }
                    Step::Heal { id } if at.as_nanos() == 2_000_000_000 => healed.push(*id),
                    _ => {}
                }
            }
            assert_eq!(healed, insides.iter().map(|(id, _)| *id).collect::<Vec<_>>());
            let towers = |group: &Group| group::members(group, 10).collect::<Vec<_>>();
            insides.iter().map(|(_, inside)| towers(inside)).collect::<Vec<_>>()
        };
        assert_eq!(insides(PartitionShape::Halves), [[0, 1, 2, 3, 4]]);
        assert_eq!(insides(PartitionShape::Group(Towers::List(vec![7, 3, 3]))), [[3, 7]]);
        assert_eq!(insides(PartitionShape::Isolate(Towers::Range(8, 9))), [[8], [9]]);
        assert_eq!(insides(PartitionShape::Random(0.3))[0].len(), 3);
    }

    #[test]
    fn messages_are_spread_evenly() {
        let enqueued = |scenario: Scenario| {
            let plan = planned(&scenario);
            let steps = plan.steps.iter().filter_map(|(at, step)| match step {
                Step::Enqueue { tower, count } => {
                    Some((at.as_nanos() / 1_000_000, tower.0, *count))
                }
                _ => None,
            });
            steps.collect::<Vec<_>>()
        };
        let with = |change: fn(&mut Messages)| enqueued(network(4).messages(change));
        assert_eq!(with(|it| it.count = 6), [(0, 0, 1), (0, 1, 2), (0, 2, 1), (0, 3, 2)]);
        assert_eq!(with(|it| it.count = 2), [(0, 1, 1), (0, 3, 1)]);
        let repeated = with(|it| {
            it.count = 2;
            it.at = Some(secs(1));
            it.over = secs(1);
            it.repeat = Some(Repeat { every: secs(10), times: 2 });
        });
        assert_eq!(repeated, [(1_000, 0, 1), (1_500, 2, 1), (11_000, 0, 1), (11_500, 2, 1)]);
        let few = with(|it| {
            it.count = 3;
            it.over = secs(3);
            it.towers = Towers::List(vec![1, 3]);
        });
        assert_eq!(few, [(0, 1, 1), (1_000, 3, 1), (2_000, 1, 1)]);
        let spread = network(4).contacts(|it| it.spread = secs(8)).messages(|it| it.count = 1);
        assert_eq!(enqueued(spread), [(8_000, 3, 1)], "when all towers have started");
    }

    #[test]
    fn each_repetition_of_conditions_begins_and_ends() {
        let fault = Fault::conditions(secs(1), secs(2), |link| link.broken = Some(0.5));
        let plan = planned(&network(2).fault(fault.repeat(secs(5), 2)));
        let changes = plan.steps.iter().filter_map(|(at, step)| match step {
            Step::ChangeConditions { id, link } => Some((*at, *id, link.broken)),
            Step::RestoreConditions { id } => Some((*at, *id, None)),
            _ => None,
        });
        let at = |second| Instant::ORIGIN + secs(second);
        let expected =
            [(at(1), 0, Some(0.5)), (at(3), 0, None), (at(6), 1, Some(0.5)), (at(8), 1, None)];
        assert!(changes.eq(expected));
    }

    #[test]
    fn random_faults_stop_when_the_network_must_settle() {
        let end = Instant::ORIGIN + secs(100_000);
        let path = Path::new(Towers::All, Towers::All, |link| link.broken = Some(0.25));
        let lossy = network(2).path(path);
        let plan = planned(&lossy);
        assert_eq!((plan.faults_end, plan.time), (end, secs(100_000 + 24 * 3_600)));
        let conditions = &plan.paths[0].conditions;
        let broken = (conditions.until_faults_end.broken, conditions.after_faults.broken);
        assert_eq!(broken, (0.25, 0.0));
        let endless = planned(&lossy.checks(|checks| checks.convergence = false));
        assert_eq!((endless.faults_end, endless.time), (end, secs(100_000)));
    }

    #[test]
    fn towers_start_at_equal_intervals() {
        let plan = planned(&network(4).contacts(|contacts| contacts.spread = secs(2)));
        let starts: Vec<_> = plan.steps.iter().map(|(at, _)| at.as_nanos() / 1_000_000).collect();
        assert_eq!(starts, [0, 500, 1_000, 1_500]);
    }

    #[test]
    fn a_plan_contains_the_churn() {
        let session = Distribution::Exponential { mean: secs(60) };
        let mut churn = Churn::new(session.clone(), Distribution::Constant(secs(5)), secs(1_000));
        churn.towers = Towers::Share(0.5);
        churn.contacts = false;
        let churn = planned(&network(10).churn(churn)).churn.unwrap();
        assert_eq!((churn.session, churn.contacts), (session, WithContacts::NotAdded));
        assert_eq!(group::members(&churn.towers, 10).count(), 5);
    }

    #[test]
    fn samples_from_a_file_are_validated() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("zero.csv"), "0\n0\n").unwrap();
        let zero = || {
            let text = "name = \"x\"\ntowers = 3\ntime = \"100h\"\n[link]\nlatency = { samples = \"zero.csv\" }\n";
            Scenario::from_toml(text).unwrap()
        };
        let error =
            |scenario: &Scenario| scenario.plan(folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(zero().plan(folder.path()).is_ok(), "a send rate lets time pass");
        let unlimited = zero().tower(|config| config.send_rate = SendRate::Unlimited);
        assert!(error(&unlimited).starts_with("link.latency is 0s; it must be more than 0s"));
        let never = zero().link.latency;
        let churn = Churn::new(never.clone(), never, secs(10));
        assert!(error(&zero().churn(churn)).starts_with("churn.session and churn.absence are 0s"));
    }

    #[test]
    fn paths_of_files_are_relative_to_the_scenario() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("contacts.csv"), "from,to\n0,1\n1,2\n").unwrap();
        std::fs::write(folder.path().join("delays.csv"), "latency_ms\n10\n30\n").unwrap();
        let text = "name = \"x\"\ntowers = 3\ntime = \"100h\"\n[contacts]\nshape = \"file\"\n\
                    file = \"contacts.csv\"\n[link]\nlatency = { samples = \"delays.csv\" }\n";
        std::fs::write(folder.path().join("x.toml"), text).unwrap();
        let plan =
            Scenario::load(&folder.path().join("x.toml")).unwrap().plan(folder.path()).unwrap();
        assert_eq!(plan.contacts.of(crate::TowerId(1)), [crate::TowerId(2)]);
        assert_eq!(plan.conditions.latency.mean(), Duration::from_millis(20));
        let missing = Scenario::load(FilePath::new("/nowhere/x.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("can't read /nowhere/x.toml: "), "{missing}");
    }
}
