//! The format, its errors, and what is worked out of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path as FilePath;
use std::time::Duration;

use clacks_proto::Instant;
use proptest::prelude::*;

use super::*;
use crate::distribution::Distribution;
use crate::plan::{Group, Plan, Step, WithContacts};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn planned(scenario: &Scenario) -> Plan {
    scenario.plan_within(FilePath::new("."), u64::MAX).unwrap()
}

/// A quick network: its calm phase is short.
fn quick(towers: u32) -> Scenario {
    Scenario::new("quick", towers, secs(100_000))
        .tower(|tower| tower.heartbeat = Heartbeat::Every(secs(1)))
        .checks(|checks| checks.calm = Calm::For(secs(10)))
}

mod format {
    use super::*;

    fn towers() -> impl Strategy<Value = Towers> {
        prop_oneof![
            Just(Towers::All),
            (0u32..100).prop_map(Towers::One),
            (0u32..50, 50u32..100).prop_map(|(from, to)| Towers::Range(from, to)),
            prop::collection::vec(0u32..100, 0..5).prop_map(Towers::List),
            (0.0..=1.0f64).prop_map(Towers::Share),
            (0u32..100).prop_map(Towers::Count),
        ]
    }

    fn time() -> impl Strategy<Value = Duration> {
        (0u64..100_000_000_000_000).prop_map(Duration::from_nanos)
    }

    fn distribution() -> impl Strategy<Value = Distribution> {
        let short = || (0u64..1_000_000_000).prop_map(Duration::from_nanos);
        prop_oneof![
            short().prop_map(Distribution::Constant),
            (short(), short())
                .prop_map(|(from, more)| Distribution::Uniform { from, to: from + more }),
            short().prop_map(|mean| Distribution::Exponential { mean }),
            (short(), 0.0..3.0f64)
                .prop_map(|(median, sigma)| Distribution::LogNormal { median, sigma }),
        ]
    }

    fn change() -> impl Strategy<Value = LinkChange> {
        (
            prop::option::of(distribution()),
            prop::option::of(distribution()),
            prop::option::of(limit()),
            prop::option::of(limit()),
            prop::option::of(0.0..0.5f64),
        )
            .prop_map(|(latency, jitter, bandwidth, capacity, share)| LinkChange {
                latency,
                jitter,
                bandwidth,
                capacity,
                refused: share,
                broken: share,
                ..LinkChange::default()
            })
    }

    fn limit() -> impl Strategy<Value = Limit> {
        prop_oneof![Just(Limit::Unlimited), (1u64..1 << 40).prop_map(Limit::Bytes)]
    }

    fn deed() -> impl Strategy<Value = Deed> {
        let parts = prop_oneof![
            Just(Parts::Halves),
            (0.0..=1.0f64).prop_map(Parts::Random),
            towers().prop_map(Parts::Group),
            towers().prop_map(Parts::Isolate),
        ];
        let way = prop_oneof![Just(OneWay::Both), Just(OneWay::Out), Just(OneWay::In)];
        let look = prop_oneof![Just(Look::Silent), Just(Look::Reset)];
        let death = prop_oneof![Just(CrashKind::Process), Just(CrashKind::Machine)];
        prop_oneof![
            (parts, way, look).prop_map(|(kind, direction, how)| Deed::Partition {
                kind,
                direction,
                how
            }),
            (towers(), death, any::<bool>()).prop_map(|(towers, how, contacts)| Deed::Crash {
                towers,
                how,
                contacts
            }),
            (towers(), any::<bool>())
                .prop_map(|(towers, contacts)| Deed::Leave { towers, contacts }),
            towers().prop_map(|towers| Deed::Pause { towers }),
            (towers(), any::<i32>(), any::<i32>()).prop_map(|(towers, step, drift)| Deed::Clock {
                towers,
                step: i64::from(step) * 1_000_003,
                drift
            }),
            change().prop_map(|link| Deed::LinkConditions { link }),
            towers().prop_map(|towers| Deed::Cut { towers }),
            (towers(), any::<u32>()).prop_map(|(towers, count)| Deed::Enqueue { towers, count }),
            (towers(), towers()).prop_map(|(towers, peers)| Deed::Expand { towers, peers }),
            (towers(), towers()).prop_map(|(towers, peers)| Deed::Announce { towers, peers }),
            (towers(), towers()).prop_map(|(towers, peers)| Deed::Ignore { towers, peers }),
            (towers(), towers()).prop_map(|(towers, peers)| Deed::Unignore { towers, peers }),
        ]
    }

    fn fault() -> impl Strategy<Value = Fault> {
        (
            time(),
            prop::option::of(time()),
            prop::option::of((time(), 1u32..9).prop_map(|(every, times)| Repeat { every, times })),
            deed(),
        )
            .prop_map(|(at, lasts, repeat, what)| Fault { at, lasts, repeat, what })
    }

    fn scenario() -> impl Strategy<Value = Scenario> {
        let basics = (".*", ".*", any::<u64>(), any::<u32>(), time(), prop::option::of(time()));
        let sections = (
            change(),
            prop::collection::vec((towers(), towers(), change()), 0..3),
            prop::collection::vec(fault(), 0..5),
            prop::option::of((towers(), distribution(), distribution(), time(), any::<bool>())),
            prop_oneof![Just(Calm::Auto), Just(Calm::Off), time().prop_map(Calm::For)],
            prop_oneof![
                Just(Rate::Unlimited),
                (0.0..1e6f64).prop_map(Rate::PerSecond),
                (1u32..9).prop_map(|rate| Rate::PerSecond(rate.into()))
            ],
            prop_oneof![Just(Heartbeat::Off), time().prop_map(Heartbeat::Every)],
            towers(),
        );
        (basics, sections).prop_map(|(basics, sections)| {
            let (name, about, seed, towers, time, sample) = basics;
            let (change, paths, faults, churn, calm, rate, heartbeat, holders) = sections;
            let mut scenario = Scenario::new(name, towers, time)
                .about(about)
                .seed(seed)
                .link(|link| *link = link.changed(&change))
                .tower(|tower| {
                    tower.send_rate = rate;
                    tower.heartbeat = heartbeat;
                })
                .messages(|messages| messages.towers = holders)
                .checks(|checks| checks.calm = calm);
            scenario.sample = sample;
            for (from, to, link) in paths {
                scenario = scenario.path(Path { from, to, link });
            }
            scenario.faults = faults;
            scenario.churn = churn.map(|(towers, session, absence, until, contacts)| Churn {
                towers,
                contacts,
                ..Churn::new(session, absence, until)
            });
            scenario
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(scenario in scenario()) {
            let text = scenario.to_toml();
            prop_assert_eq!(Scenario::from_toml(&text).map_err(|error| format!("{error}\n{text}")), Ok(scenario));
        }

        #[test]
        fn whatever_is_asked_for_is_planned_or_refused(scenario in scenario()) {
            let small = Scenario { towers: scenario.towers % 100, ..scenario };
            let _ = small.plan_within(FilePath::new("/nowhere"), 1 << 28);
            let _ = small.calm_bound();
        }
    }

    #[test]
    fn the_shortest_scenario_is_the_builders() {
        let text = "name = \"x\"\ntowers = 2\ntime = \"2h\"\n";
        assert_eq!(Scenario::from_toml(text).unwrap(), Scenario::new("x", 2, secs(7_200)));
    }

    #[test]
    fn a_file_says_what_the_builder_says() {
        let text = r#"
            name = "x"
            towers = 9
            time = "1h"
            [contacts]
            shape = "ring"
            verb = "expand"
            [link]
            latency = "10ms"
            [[path]]
            from = "0-3"
            to = { share = 0.5 }
            link = { broken = 0.5 }
            [[fault]]
            what = "crash"
            at = "1m"
            lasts = "2m"
            towers = { count = 3 }
            repeat = { every = "5m", times = 2 }
        "#;
        let built = Scenario::new("x", 9, secs(3_600))
            .contacts(|contacts| {
                contacts.shape = Shape::Ring;
                contacts.verb = Verb::Expand;
            })
            .link(|link| link.latency = Distribution::Constant(Duration::from_millis(10)))
            .path(Path::new(Towers::Range(0, 3), Towers::Share(0.5), |link| {
                link.broken = Some(0.5);
            }))
            .fault(Fault::crash(secs(60), Towers::Count(3)).lasts(secs(120)).repeat(secs(300), 2));
        assert_eq!(Scenario::from_toml(text).unwrap(), built);
    }

    #[test]
    fn keys_are_set_one_at_a_time() {
        let mut scenario = quick(9).fault(Fault::crash(secs(1), Towers::One(3)));
        for (key, value) in [
            ("link.latency", "80ms"),
            ("link.jitter", "{ uniform = [\"1ms\", \"2ms\"] }"),
            ("fault.0.at", "90s"),
            ("fault.0.towers", "3-5"),
            ("name", "42"),
            ("tower.friends.every", "1s"),
            ("seed", "0xffffffffffffffff"),
            ("churn.session", "1m"),
        ] {
            let set = scenario.set(key, value);
            if key.starts_with("churn") {
                let said = set.unwrap_err().to_string();
                assert_eq!(said, "churn.absence is missing");
            } else {
                set.unwrap_or_else(|error| panic!("{key}: {error}"));
            }
        }
        assert_eq!(scenario.link.latency, Distribution::Constant(Duration::from_millis(80)));
        assert_eq!(scenario.faults[0].at, secs(90));
        assert_eq!(scenario.faults[0].what.groups(), [("towers", &Towers::Range(3, 5))]);
        assert_eq!(scenario.name, "42");
        assert_eq!(scenario.tower.friends.every, secs(1));
        assert_eq!(scenario.seed, u64::MAX);
    }

    #[test]
    fn what_can_not_be_set_changes_nothing() {
        let mut scenario = quick(9).fault(Fault::crash(secs(1), Towers::One(3)));
        let before = scenario.clone();
        for (key, value, said) in [
            ("link.speed", "1", "link.speed is no key; the keys here are latency, jitter, "),
            ("fault.1.at", "1s", "fault.1.at can't be set: fault has the numbers from 0 to 0"),
            ("name.x", "1", "name.x can't be set: name is a single value"),
            (
                "towers",
                "many",
                "towers is \"many\"; it must be a whole number from 0 to 4294967295",
            ),
            ("fault.0.at", "soon", "fault.0.at can't be read: `soon` is no duration"),
        ] {
            let error = scenario.set(key, value).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        assert_eq!(scenario, before);
    }
}

mod errors {
    use super::*;

    const HEAD: &str = "name = \"x\"\ntowers = 10\ntime = \"100h\"\n";

    fn said(text: &str) -> String {
        let scenario = Scenario::from_toml(text);
        let error =
            scenario.and_then(|it| it.plan_within(FilePath::new("/nowhere"), 1 << 30).map(|_| ()));
        error.expect_err(text).to_string()
    }

    #[test]
    fn what_can_not_be_read_is_one_sentence() {
        for (text, sentence) in [
            ("towers = 3", "name is missing"),
            ("name = \"x\"\ntowers = = 3", "line 2 is not TOML: "),
            (
                "[contacts]\nshape = \"star\"",
                "contacts.shape is \"star\"; it must be one of well-known, ring, regular, full, file, none",
            ),
            (
                "[messages]\ncount = 99_999_999_999_999_999_999",
                "line 5 is not TOML: 99999999999999999999 is too large for a number",
            ),
            ("[\"a.b\"]\nc = 1", "a.b is no key; the keys here are name, "),
            ("[fault]\nwhat = \"cut\"", "fault is a table; it must be a list"),
            (
                "[link]\nlatency = { uniform = [\"1s\", \"2s\"], exponential = \"3s\" }",
                "link.latency must be a duration in quotes such as \"50ms\", or a table with one of the keys ",
            ),
            ("[link]\nlatency = {}", "link.latency must be a duration in quotes such as "),
            ("colour = 3", "colour is no key; the keys here are name, about, seed, towers, time, "),
            (
                "[tower]\nsendrate = 3",
                "tower.sendrate is no key; the keys here are network, send_rate, ",
            ),
            (
                "[tower.timeouts]\nconfirm = 3",
                "tower.timeouts.confirm is 3; it must be a duration in quotes, ",
            ),
            (
                "[tower]\nheartbeat = \"never\"",
                "tower.heartbeat is \"never\"; it must be a duration like \"60s\" or \"off\"",
            ),
            (
                "[tower]\nsend_rate = \"fast\"",
                "tower.send_rate is \"fast\"; it must be a number of messages a second or \"unlimited\"",
            ),
            ("[link]\nbroken = \"often\"", "link.broken is \"often\"; it must be a number"),
            (
                "[link]\nbandwidth = -1",
                "link.bandwidth is -1; it must be a number of bytes or \"unlimited\"",
            ),
            (
                "[messages]\ncount = -1",
                "messages.count is -1; it must be a whole number from 0 to 4294967295",
            ),
            (
                "[messages]\ntowers = \"some\"",
                "messages.towers is \"some\"; it must be towers: \"all\", a number, ",
            ),
            (
                "[messages]\ntowers = { part = 3 }",
                "messages.towers.part is no key; the keys here are share, count",
            ),
            ("[checks]\nliveness = 1", "checks.liveness is 1; it must be true or false"),
            (
                "[checks]\ncalm = \"long\"",
                "checks.calm is \"long\"; it must be \"auto\", \"off\" or a duration",
            ),
            ("[[fault]]\nat = \"1s\"", "fault.0.what is missing"),
            (
                "[[fault]]\nwhat = \"flood\"\nat = \"1s\"",
                "fault.0.what is \"flood\"; it must be one of partition, crash, ",
            ),
            ("[[fault]]\nwhat = \"crash\"\nat = \"1s\"", "fault.0.towers is missing"),
            (
                "[[fault]]\nwhat = \"crash\"\nat = \"1s\"\ntowers = 1\nstep = \"1s\"",
                "fault.0.step does not belong to this fault; its keys are what, at, repeat, towers, how, contacts, lasts",
            ),
            (
                "[[fault]]\nwhat = \"crash\"\nat = \"1s\"\ntowers = 1\nhow = \"silent\"",
                "fault.0.how must be \"process\" or \"machine\" in a crash",
            ),
            (
                "[[fault]]\nwhat = \"conditions\"\nat = \"1s\"\nlink = { broke = 1 }",
                "fault.0.link.broke is no key; the keys here are latency, ",
            ),
            (
                "[[fault]]\nwhat = \"partition\"\nat = \"1s\"\nkind = \"thirds\"",
                "fault.0.kind is \"thirds\"; it must be one of halves, random, group, isolate",
            ),
            (
                "[[fault]]\nwhat = \"clock\"\nat = \"1s\"\ntowers = 1\nstep = 5",
                "fault.0.step is 5; it must be a duration like \"5s\" or \"-5s\"",
            ),
            ("[churn]\nsession = \"1s\"\nabsence = \"1s\"", "churn.until is missing"),
            ("[[path]]\nfrom = 1\nlink = {}", "path.0.to is missing"),
        ] {
            let text = if text.contains("towers = 3") || text.contains("= =") {
                text.to_owned()
            } else {
                format!("{HEAD}{text}")
            };
            let said = said(&text);
            assert!(said.starts_with(sentence), "{text}\n{said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn what_is_out_of_its_limits_is_one_sentence() {
        for (text, sentence) in [
            ("[tower]\nsend_rate = 0", "tower.send_rate is 0; it must be from 0.0001 to 1000000"),
            ("[tower]\nburst = 0", "tower.burst is 0; the burst must be at least 1"),
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
                "messages.at is 1s; it must be not before all towers are up, after contacts.spread, 1m",
            ),
            (
                "[messages]\nat = \"99h\"\nover = \"2h\"",
                "messages goes on until 4days 5h; it must be over when the time is, after 4days 4h",
            ),
            (
                "[messages]\ncount = 100_000_001",
                "messages.count is 100000001; it must be at most 100000000 with all repetitions",
            ),
            (
                "[messages]\nrepeat = { every = \"0s\", times = 2 }",
                "messages.repeat.every is 0s; it must be more than 0s",
            ),
            (
                "[messages]\ntowers = 10",
                "messages.towers is 10; it must be from 0 to 9: the towers are numbered from 0",
            ),
            (
                "[messages]\ntowers = \"5-3\"",
                "messages.towers is \"5-3\"; the first must not be greater than the last",
            ),
            ("[link]\nbroken = 1.5", "link.broken is 1.5; it must be from 0 to 1"),
            ("[link]\nrefused = nan", "link.refused is NaN; it must be from 0 to 1"),
            (
                "[link]\nrefused = 0.75\nunanswered = 0.5",
                "link.refused and link.unanswered are 1.25 together; they must be at most 1",
            ),
            (
                "[link]\nbandwidth = 0",
                "link.bandwidth is 0; it must be 1 or more bytes a second, or \"unlimited\"",
            ),
            (
                "[link]\nlatency = { samples = \"no.csv\" }",
                "link.latency names samples that can't be read: ",
            ),
            (
                "[[path]]\nfrom = 0\nto = { share = 2.0 }\nlink = {}",
                "path.0.to.share is 2; it must be from 0 to 1",
            ),
            (
                "[[fault]]\nwhat = \"ignore\"\nat = \"1h\"\ntowers = 1\npeers = 2",
                "checks.calm can't be worked out, because some are ignored to the end",
            ),
            (
                "[[fault]]\nwhat = \"cut\"\nat = \"100h\"\ntowers = 1",
                "fault.0.at is 4days 4h; it must be less than the time, 4days 4h",
            ),
            (
                "[[fault]]\nwhat = \"pause\"\nat = \"1h\"\ntowers = 1",
                "fault.0.lasts is missing; a pause fault must say how long it lasts",
            ),
            (
                "[[fault]]\nwhat = \"crash\"\nat = \"1h\"\ntowers = { count = 11 }",
                "fault.0.towers.count is 11; it must be from 0 to 10, which is how many towers there are",
            ),
            (
                "[[fault]]\nwhat = \"pause\"\nat = \"99h\"\nlasts = \"2h\"\ntowers = 1",
                "fault.0 goes on until 4days 5h; it must be over when the time is, after 4days 4h",
            ),
            (
                "[[fault]]\nwhat = \"pause\"\nat = \"1h\"\nlasts = \"2h\"\ntowers = 1\nrepeat = { every = \"1h\", times = 2 }",
                "fault.0.repeat.every is 1h; it must be at least as long as one lasts, 2h",
            ),
            (
                "[[fault]]\nwhat = \"clock\"\nat = \"1h\"\nlasts = \"2h\"\ntowers = 1\ndrift = 1_000_001",
                "fault.0.drift is 1000001; it must be from -500000 to 1000000",
            ),
            (
                "[[fault]]\nwhat = \"enqueue\"\nat = \"1h\"\ntowers = 1\ncount = 0",
                "fault.0.count is 0; it must be from 1 to 1000000",
            ),
            (
                "[[fault]]\nwhat = \"partition\"\nkind = { random = 0.9 }\nat = \"1h\"\nlasts = \"1ms\"\nrepeat = { every = \"1ms\", times = 1_000_000 }\n[[fault]]\nwhat = \"partition\"\nkind = { random = 0.5 }\nat = \"1h\"\nlasts = \"1ms\"\nrepeat = { every = \"1ms\", times = 1_000_000 }",
                "fault takes 28000000 steps in all (towers, times repetitions); it must be at most 20000000",
            ),
            (
                "[[fault]]\nwhat = \"clock\"\nat = \"1h\"\ntowers = 1\nstep = \"367days\"",
                "fault.0.step is 1year 1day 18h; it must be from -366days to 366days",
            ),
            (
                "[[fault]]\nwhat = \"crash\"\nat = \"1h\"\ntowers = []",
                "fault.0.towers is nobody; it must be somebody",
            ),
            (
                "[[fault]]\nwhat = \"announce\"\nat = \"1h\"\ntowers = 3\npeers = { share = 0.0 }",
                "fault.0.peers is nobody; it must be somebody",
            ),
            (
                "[[fault]]\nwhat = \"partition\"\nat = \"1h\"\nlasts = \"1s\"\nkind = { random = 1.0 }",
                "fault.0.kind leaves nobody on one side; it must leave somebody on both",
            ),
            (
                "[[fault]]\nwhat = \"partition\"\nat = \"1h\"\nlasts = \"1s\"\nkind = { group = \"all\" }",
                "fault.0.kind leaves nobody on one side; it must leave somebody on both",
            ),
            (
                "[churn]\nsession = \"0s\"\nabsence = { uniform = [\"0s\", \"1ms\"] }\nuntil = \"1h\"",
                "churn.session and churn.absence are 500us together on average; they must be at least 1ms",
            ),
            (
                "[churn]\ntowers = []\nsession = \"1s\"\nabsence = \"1s\"\nuntil = \"1h\"",
                "churn.towers is nobody; it must be somebody",
            ),
            (
                "[link]\nlatency = \"0s\"\n[tower]\nsend_rate = \"unlimited\"",
                "link.latency is 0s; it must be more than 0s when tower.send_rate is \"unlimited\", for time stands still otherwise",
            ),
            (
                "[[fault]]\nwhat = \"conditions\"\nat = \"1h\"\nlasts = \"1s\"\nlink = { latency = \"0s\" }\n[tower]\nsend_rate = \"unlimited\"",
                "fault.0.link.latency is 0s; it must be more than 0s when ",
            ),
            (
                "[[path]]\nfrom = 1\nto = 2\nlink = { latency = \"0s\" }\n[tower]\nsend_rate = \"unlimited\"",
                "path.0.link.latency is 0s; it must be more than 0s when ",
            ),
            (
                "[checks]\noracle = \"capacity\"\nwarm_up = \"90h\"",
                "checks.oracle needs 41 samples after checks.warm_up, and there are 21; sample must be at most 14m 38s 48ms",
            ),
            (
                "[checks]\noracle = \"capacity\"\n[tower]\nsend_rate = \"unlimited\"",
                "tower.send_rate is \"unlimited\"; it must be a number with checks.oracle = \"capacity\"",
            ),
            (
                "[churn]\nsession = \"1s\"\nabsence = \"1s\"\nfrom = \"2h\"\nuntil = \"1h\"",
                "churn.until is 1h; it must be after churn.from, 2h, and not after the time, 4days 4h",
            ),
            (
                "[churn]\nsession = \"1s\"\nabsence = \"1s\"\nuntil = \"1h\"\ngraceful = 2",
                "churn.graceful is 2; it must be from 0 to 1",
            ),
            (
                "[tower]\nheartbeat = \"off\"",
                "checks.calm can't be worked out, because without tower.heartbeat",
            ),
            (
                "[tower]\nmax_peers = 8",
                "checks.calm can't be worked out, because a tower has no room for all others (tower.max_peers)",
            ),
            (
                "[tower]\nodds = { alive = 1, lost = 0, dead = 1 }\n[[fault]]\nwhat = \"cut\"\nat = \"1h\"\ntowers = 1",
                "checks.calm can't be worked out, because some would never be drawn",
            ),
            (
                "[[fault]]\nwhat = \"cut\"\nat = \"99h\"\ntowers = 1",
                "time is 4days 4h; it must be at least ",
            ),
        ] {
            let text = format!("{HEAD}{text}");
            let said = said(&text);
            assert!(said.starts_with(sentence), "{text}\n{said}");
        }
        for (head, sentence) in [
            (
                "name = \"\"\ntowers = 1\ntime = \"1h\"",
                "name is \"\"; it must be at least one letter",
            ),
            (
                "name = \"x\"\ntowers = 0\ntime = \"1h\"",
                "towers is 0; it must be from 1 to 4000000",
            ),
            (
                "name = \"x\"\ntowers = 4_000_001\ntime = \"1h\"",
                "towers is 4000001; it must be from 1 to 4000000",
            ),
            ("name = \"x\"\ntowers = 1\ntime = \"400days\"", "time is 1year 1month "),
            ("name = \"x\"\ntowers = 3_000_000\ntime = \"10h\"", "this scenario may take "),
            (
                "name = \"x\"\ntowers = 3\ntime = \"10h\"\nsample = \"0s\"",
                "sample is 0s; it must be from 1ms to the time, 10h",
            ),
        ] {
            let said = said(head);
            assert!(said.starts_with(sentence), "{said}");
        }
    }

    #[test]
    fn the_time_that_is_said_suffices() {
        let text = format!("{HEAD}[[fault]]\nwhat = \"cut\"\nat = \"99h\"\ntowers = 1");
        let mut scenario = Scenario::from_toml(&text).unwrap();
        let said = said(&text);
        let time = said.split("at least ").nth(1).unwrap().split(':').next().unwrap();
        scenario.set("time", time).unwrap();
        let plan = planned(&scenario);
        assert_eq!(plan.calm_from.as_nanos(), u64::try_from(secs(99 * 3_600).as_nanos()).unwrap());
    }
}

mod plans {
    use super::*;

    /// The steps that do something to a tower, as text, without its coming up at first.
    fn deeds(plan: &Plan) -> Vec<String> {
        let first_start =
            |step: &Step| matches!(step, Step::Start { contacts: WithContacts::Told, .. });
        let steps = plan.steps.iter().filter(|(_, step)| !first_start(step));
        steps.map(|(at, step)| format!("{} {step:?}", at.as_nanos() / 1_000_000)).collect()
    }

    fn busy(seed: u64) -> Scenario {
        quick(50)
            .seed(seed)
            .fault(Fault::crash(secs(10), Towers::Count(5)).lasts(secs(5)).repeat(secs(10), 3))
            .fault(Fault::pause(secs(20), secs(3), Towers::Share(0.2)))
            .fault(Fault::partition(secs(30), secs(4), Parts::Random(0.3)))
            .fault(Fault::new(secs(40), Deed::Cut { towers: Towers::Count(7) }))
    }

    #[test]
    fn the_same_seed_makes_the_same_plan_and_another_one_another() {
        let text = |seed| format!("{:?}", planned(&busy(seed)));
        assert_eq!(text(1), text(1));
        assert_ne!(deeds(&planned(&busy(1))), deeds(&planned(&busy(2))));
    }

    #[test]
    fn a_fault_taken_away_leaves_the_others_as_they_were() {
        let text = |plan: &Plan| -> Vec<String> {
            // Partitions are numbered through; that is no draw.
            deeds(plan)
                .iter()
                .map(|deed| deed.replace("id: 0", "id: _").replace("id: 1", "id: _"))
                .collect()
        };
        let whole = busy(1).fault(Fault::partition(secs(5), secs(1), Parts::Random(0.5)));
        let all = text(&planned(&whole));
        for number in 0..whole.faults.len() {
            let mut less = whole.clone();
            less.faults.remove(number);
            let rest = text(&planned(&less));
            assert!(rest.len() < all.len());
            assert!(rest.iter().all(|deed| all.contains(deed)), "without fault {number}");
        }
    }

    #[test]
    fn drawn_groups_are_as_large_as_said_and_drawn_anew() {
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
    fn two_faults_that_are_alike_hit_different_towers() {
        let crash = || Fault::crash(secs(10), Towers::Count(5));
        let plan = planned(&quick(50).fault(crash()).fault(crash()));
        let crashed: std::collections::BTreeSet<String> = deeds(&plan).into_iter().collect();
        assert!(crashed.len() > 5, "{crashed:?}");
    }

    #[test]
    fn steps_stand_in_the_order_of_time_and_faults_end() {
        let plan = planned(&busy(1));
        assert!(plan.steps.is_sorted_by_key(|(at, _)| *at));
        assert!(plan.steps.iter().all(|(at, _)| *at <= plan.calm_from));
        assert_eq!(plan.calm_from.as_nanos(), 40_000_000_000);
    }

    #[test]
    fn each_deed_becomes_its_steps() {
        let deeds_of = |deed: Deed, lasts: Option<u64>| {
            let mut fault = Fault::new(secs(1), deed);
            fault.lasts = lasts.map(secs);
            deeds(&planned(&quick(4).fault(fault)))
        };
        let one = || Towers::One(2);
        let crash = |contacts| Deed::Crash { towers: one(), how: CrashKind::Machine, contacts };
        let dies = "1000 Crash { tower: TowerId(2), how: Machine }";
        assert_eq!(deeds_of(crash(false), None), [dies]);
        let returns = "3000 Start { tower: TowerId(2), contacts: Untold }";
        assert_eq!(deeds_of(crash(false), Some(2)), [dies, returns]);
        assert_eq!(
            deeds_of(Deed::Leave { towers: one(), contacts: false }, Some(2)),
            ["1000 Leave { tower: TowerId(2) }", returns]
        );
        assert_eq!(
            deeds_of(Deed::Pause { towers: one() }, Some(2)),
            ["1000 Pause { tower: TowerId(2) }", "3000 Resume { tower: TowerId(2) }"]
        );
        assert_eq!(
            deeds_of(Deed::Clock { towers: one(), step: -5, drift: 7 }, Some(2)),
            [
                "1000 Clock { tower: TowerId(2), step: -5, drift_ppm: 7 }",
                "3000 Clock { tower: TowerId(2), step: 0, drift_ppm: 0 }"
            ]
        );
        assert_eq!(deeds_of(Deed::Cut { towers: one() }, None), ["1000 Cut { tower: TowerId(2) }"]);
        assert_eq!(
            deeds_of(Deed::Enqueue { towers: one(), count: 3 }, None),
            ["1000 Enqueue { tower: TowerId(2), count: 3 }"]
        );
        let pairs = || (Towers::List(vec![3, 2]), Towers::Range(1, 2));
        let expected = |verb: &str| {
            [(2, 1), (3, 1), (3, 2)].map(|(tower, peer)| {
                format!("1000 {verb} {{ tower: TowerId({tower}), peer: TowerId({peer}) }}")
            })
        };
        let (towers, peers) = pairs();
        assert_eq!(deeds_of(Deed::Expand { towers, peers }, None), expected("Expand"));
        let (towers, peers) = pairs();
        assert_eq!(deeds_of(Deed::Announce { towers, peers }, None), expected("Announce"));
        let (towers, peers) = pairs();
        assert_eq!(deeds_of(Deed::Ignore { towers, peers }, None), expected("Ignore"));
        let (towers, peers) = pairs();
        assert_eq!(deeds_of(Deed::Unignore { towers, peers }, None), expected("Unignore"));
    }

    #[test]
    fn a_short_pause_does_not_end_a_long_one() {
        let pause = |at, lasts, towers| Fault::pause(secs(at), secs(lasts), towers);
        let plan = planned(
            &quick(3)
                .fault(pause(10, 100, Towers::One(1)))
                .fault(pause(20, 10, Towers::Range(1, 2)))
                .fault(pause(110, 5, Towers::One(1))),
        );
        let seconds = |at: Instant| at.as_nanos() / 1_000_000_000;
        let of = |who| {
            let steps = plan.steps.iter().filter_map(move |(at, step)| match step {
                Step::Pause { tower } if tower.0 == who => Some((seconds(*at), true)),
                Step::Resume { tower } if tower.0 == who => Some((seconds(*at), false)),
                _ => None,
            });
            steps.collect::<Vec<_>>()
        };
        assert_eq!(of(1), [(10, true), (110, false), (110, true), (115, false)]);
        assert_eq!(of(2), [(20, true), (30, false)]);
    }

    #[test]
    fn who_is_to_come_back_is_asked_to() {
        let asked = |fault| {
            let asked = planned(&quick(9).fault(fault)).asked();
            asked.iter().find(|(fault, _)| *fault == crate::Fault::Restart).map(|(_, count)| *count)
        };
        let crash = || Fault::crash(secs(1), Towers::Count(3));
        assert_eq!(asked(crash()), None);
        assert_eq!(asked(crash().lasts(secs(9)).repeat(secs(20), 2)), Some(Some(6)));
        assert_eq!(asked(Fault::leave(secs(1), Towers::One(3)).lasts(secs(9))), Some(Some(1)));
    }

    #[test]
    fn partitions_part_and_heal() {
        let insides = |kind: Parts| {
            let plan = planned(&quick(10).fault(Fault::partition(secs(1), secs(1), kind)));
            let (mut insides, mut healed) = (Vec::new(), Vec::new());
            for (at, step) in &plan.steps {
                match step {
                    Step::Part { id, partition } => insides.push((*id, partition.inside.clone())),
                    Step::Heal { id } if at.as_nanos() == 2_000_000_000 => healed.push(*id),
                    _ => {}
                }
            }
            assert_eq!(healed, insides.iter().map(|(id, _)| *id).collect::<Vec<_>>());
            let towers = |group: &Group| towers::members(group, 10).collect::<Vec<_>>();
            insides.iter().map(|(_, inside)| towers(inside)).collect::<Vec<_>>()
        };
        assert_eq!(insides(Parts::Halves), [[0, 1, 2, 3, 4]]);
        assert_eq!(insides(Parts::Group(Towers::List(vec![7, 3, 3]))), [[3, 7]]);
        assert_eq!(insides(Parts::Isolate(Towers::Range(8, 9))), [[8], [9]]);
        assert_eq!(insides(Parts::Random(0.3))[0].len(), 3);
    }

    #[test]
    fn messages_are_dealt_out_evenly() {
        let dealt = |change: &dyn Fn(&mut Messages)| {
            let plan = planned(&quick(4).messages(|messages| change(messages)));
            let steps = plan.steps.iter().filter_map(|(at, step)| match step {
                Step::Enqueue { tower, count } => {
                    Some((at.as_nanos() / 1_000_000, tower.0, *count))
                }
                _ => None,
            });
            steps.collect::<Vec<_>>()
        };
        assert_eq!(dealt(&|it| it.count = 6), [(0, 0, 1), (0, 1, 2), (0, 2, 1), (0, 3, 2)]);
        assert_eq!(dealt(&|it| it.count = 2), [(0, 1, 1), (0, 3, 1)]);
        let over = |it: &mut Messages| {
            it.count = 2;
            it.at = Some(secs(1));
            it.over = secs(1);
            it.repeat = Some(Repeat { every: secs(10), times: 2 });
        };
        assert_eq!(dealt(&over), [(1_000, 0, 1), (1_500, 2, 1), (11_000, 0, 1), (11_500, 2, 1)]);
        let spread = quick(4).contacts(|it| it.spread = secs(8)).messages(|it| it.count = 1);
        let plan = planned(&spread);
        let Some((at, Step::Enqueue { .. })) = plan.steps.last() else { panic!("{plan:?}") };
        assert_eq!(at.as_nanos(), 8_000_000_000, "when all are up");
        let holders = |it: &mut Messages| {
            it.count = 3;
            it.over = secs(3);
            it.towers = Towers::List(vec![1, 3]);
        };
        assert_eq!(dealt(&holders), [(0, 1, 1), (1_000, 3, 1), (2_000, 1, 1)]);
    }

    #[test]
    fn overlapping_weather_adds_up_and_passes() {
        let scenario = quick(2)
            .fault(Fault::conditions(secs(1), secs(4), |link| link.broken = Some(0.5)))
            .fault(Fault::conditions(secs(2), secs(1), |link| link.refused = Some(0.25)));
        let plan = planned(&scenario);
        let conditions: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|(at, step)| match step {
                Step::LinkConditions { conditions } => {
                    let shares = conditions.as_ref().map(|it| (it.broken, it.refused));
                    Some((at.as_nanos() / 1_000_000_000, shares))
                }
                _ => None,
            })
            .collect();
        let expected =
            [(1, Some((0.5, 0.0))), (2, Some((0.5, 0.25))), (3, Some((0.5, 0.0))), (5, None)];
        assert_eq!(conditions, expected);
    }

    #[test]
    fn many_short_spells_of_weather_are_worked_out_one_by_one() {
        let spells = |at, share| {
            let spell = Fault::conditions(at, Duration::from_micros(500), |link| {
                link.broken = Some(share);
            });
            spell.repeat(Duration::from_millis(1), 100_000)
        };
        // Were each moment compared with each spell, this would take many minutes.
        let plan = planned(&quick(2).fault(spells(secs(1), 0.5)).fault(spells(secs(2), 0.25)));
        let weathers = plan.steps.iter().filter_map(|(at, step)| match step {
            Step::LinkConditions { conditions } => {
                Some((*at, conditions.as_ref().map(|it| it.broken)))
            }
            _ => None,
        });
        let at = |micros: u64| Instant::from_nanos(1_000 * micros);
        let weathers: Vec<_> = weathers.collect();
        // Both begin and end together from the second second to the hundred and first.
        assert_eq!(weathers.len(), 2 * (100_000 + 1_000));
        assert_eq!(weathers[0], (at(1_000_000), Some(0.5)));
        assert_eq!(weathers[2_000], (at(2_000_000), Some(0.25)), "the later fault counts");
        assert_eq!(weathers[2_001], (at(2_000_500), None));
    }

    #[test]
    fn mishaps_stop_when_the_calm_phase_begins() {
        let lossy = quick(2).link(|link| link.broken = 0.5);
        let plan = planned(&lossy);
        let calm_from = secs(100_000 - 10);
        assert_eq!(u128::from(plan.calm_from.as_nanos()), calm_from.as_nanos());
        let Some((at, Step::LinkConditions { conditions: Some(conditions) })) = plan.steps.last()
        else {
            panic!("{:?}", plan.steps.last())
        };
        assert_eq!((*at, conditions.broken), (plan.calm_from, 0.0));

        let path = Path::new(Towers::All, Towers::All, |link| link.broken = Some(0.25));
        let on_path = planned(&quick(2).path(path));
        assert_eq!(on_path.calm_from, plan.calm_from);
        assert_eq!((on_path.paths[0].conditions.broken, on_path.paths[0].calm.broken), (0.25, 0.0));

        let endless = planned(&lossy.checks(|checks| checks.calm = Calm::Off));
        assert_eq!(u128::from(endless.calm_from.as_nanos()), secs(100_000).as_nanos());
        assert!(!endless.steps.iter().any(|(_, step)| matches!(step, Step::LinkConditions { .. })));
    }

    #[test]
    fn towers_come_up_one_after_the_other() {
        let scenario = quick(4).contacts(|contacts| contacts.spread = secs(2));
        let plan = planned(&scenario);
        let starts: Vec<_> = plan.steps.iter().map(|(at, _)| at.as_nanos() / 1_000_000).collect();
        assert_eq!(starts, [0, 500, 1_000, 1_500]);
        assert_eq!(plan.calm_from.as_nanos(), 2_000_000_000);
    }

    #[test]
    fn churn_is_handed_on() {
        let stays = Distribution::Exponential { mean: secs(60) };
        let gone = Distribution::Constant(secs(5));
        let mut churn = Churn::new(stays.clone(), gone, secs(1_000));
        churn.towers = Towers::Share(0.5);
        churn.contacts = false;
        let plan = planned(&quick(10).churn(churn));
        let churn = plan.churn.unwrap();
        assert_eq!((churn.session, churn.contacts), (stays, WithContacts::Untold));
        assert_eq!(towers::members(&churn.towers, 10).count(), 5);
        // Leaving may take ten seconds, and closing twice five.
        assert_eq!(plan.calm_from, churn.until + secs(20));
    }

    #[test]
    fn samples_that_would_stop_time_are_refused_once_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("zero.csv"), "0\n0\n").unwrap();
        let zero = || {
            let text = "name = \"x\"\ntowers = 3\ntime = \"100h\"\n[link]\nlatency = { samples = \"zero.csv\" }\n";
            Scenario::from_toml(text).unwrap()
        };
        let said = |scenario: &Scenario| {
            scenario.plan_within(folder.path(), 1 << 30).map(|_| ()).unwrap_err().to_string()
        };
        assert!(zero().plan_within(folder.path(), 1 << 30).is_ok(), "ticks let time go on");
        let unlimited = zero().tower(|tower| tower.send_rate = Rate::Unlimited);
        assert!(said(&unlimited).starts_with("link.latency is 0s; it must be more than 0s"));
        let never = zero().link.latency;
        let churn = Churn::new(never.clone(), never, secs(10));
        assert!(said(&zero().churn(churn)).starts_with("churn.session and churn.absence are 0s"));
    }

    #[test]
    fn files_are_looked_for_beside_the_scenario() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("who.csv"), "from,to\n0,1\n1,2\n").unwrap();
        std::fs::write(folder.path().join("delays.csv"), "latency_ms\n10\n30\n").unwrap();
        let text = "name = \"x\"\ntowers = 3\ntime = \"100h\"\n[contacts]\nshape = \"file\"\n\
                    file = \"who.csv\"\n[link]\nlatency = { samples = \"delays.csv\" }\n";
        std::fs::write(folder.path().join("x.toml"), text).unwrap();
        let scenario = Scenario::load(&folder.path().join("x.toml")).unwrap();
        let plan = scenario.plan_within(folder.path(), 1 << 30).unwrap();
        assert_eq!(plan.contacts.of(crate::TowerId(1)), [crate::TowerId(2)]);
        assert_eq!(plan.conditions.latency.mean(), Duration::from_millis(20));
        let missing = Scenario::load(FilePath::new("/nowhere/x.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("can't read /nowhere/x.toml: "), "{missing}");
    }
}

#[test]
fn clocks_that_are_put_back_again_and_again_stand_still_for_all_of_it() {
    let back = |at, step: i64| {
        Fault::new(
            secs(at),
            Deed::Clock { towers: Towers::All, step: step * 1_000_000_000, drift: 0 },
        )
    };
    let of = |faults: Vec<Fault>| {
        let mut scenario = Scenario::new("any", 9, secs(1_000)).checks(|it| it.liveness = false);
        scenario.faults = faults;
        scenario.shortest_time()
    };
    assert_eq!(of(vec![back(10, -100)]), Some(secs(110)));
    assert_eq!(of(vec![back(20, -50), back(10, -100)]), Some(secs(160)));
    assert_eq!(of(vec![back(10, -1).repeat(secs(60), 3)]), Some(secs(131)));
    assert_eq!(of(vec![back(10, 100)]), Some(secs(10)));
}
