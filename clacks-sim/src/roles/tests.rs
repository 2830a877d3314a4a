//! The effect of each role on towers that follow the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clacks_proto::{CloseReason, Instant, ProtocolError, Tower};

use super::FirstHops;
use crate::network::tests::Witness;
use crate::network::{self, Network};
use crate::observation::{MessageId, Observed, TowerId};
use crate::scenario::Scenario;

/// Runs ten towers that know each other. The first eight enqueue 16 messages in the first second.
/// Returns the state after a time.
fn run(time: &str, section: &str) -> Run {
    let text = format!(
        "name = \"roles\"\ntowers = 10\ntime = \"{time}\"\n{section}
        [contacts]\nshape = \"full\"
        [messages]\ncount = 16\nat = \"1s\"\ntowers = {{ range = [0, 7] }}
        [checks]\nconvergence = false\n"
    );
    let plan = Scenario::from_toml(&text).unwrap().plan(".".as_ref()).unwrap();
    Run(network::tests::run(plan))
}

struct Run(Network<Tower, Witness>);

fn role(keys: &str) -> String {
    format!("[[role]]\ntowers = {{ range = [8, 9] }}\n{keys}\n")
}

/// The towers 8 and 9 have a role.
fn is_honest(tower: TowerId) -> bool {
    tower.0 < 8
}

impl Run {
    /// Returns how often each of the 16 messages is held by all towers together.
    fn copies(&mut self) -> BTreeMap<MessageId, usize> {
        let enqueued = self.0.observer.seen.iter().filter_map(|seen| match seen.what {
            Observed::Enqueued { message } if is_honest(seen.tower?) => Some(message),
            _ => None,
        });
        let enqueued: BTreeSet<_> = enqueued.collect();
        let (view, _) = self.0.view();
        let mut copies = BTreeMap::new();
        for held in view.running().flat_map(|(_, tower)| tower.peek()) {
            if let Some(number) =
                view.message_numbers().number_of(held.nonce).filter(|it| enqueued.contains(it))
            {
                *copies.entry(number).or_default() += 1;
            }
        }
        copies
    }

    /// Returns the number of observations at towers without a role.
    fn count(&self, test: impl Fn(&Observed) -> bool) -> usize {
        let seen = self.0.observer.seen.iter().filter(|seen| seen.tower.is_some_and(is_honest));
        seen.filter(|seen| test(&seen.what)).count()
    }

    fn honest(&mut self) -> Vec<&Tower> {
        let (view, _) = self.0.view();
        view.running().filter(|(tower, _)| is_honest(*tower)).map(|(_, tower)| tower).collect()
    }

    /// Returns the number of messages that towers without a role handed over to each other, and
    /// to roles.
    fn hops(&self) -> (usize, usize) {
        let to = |test: fn(TowerId) -> bool| {
            self.count(|what| matches!(what, Observed::Delivered { to: Some(to), .. } if test(*to)))
        };
        (to(is_honest), to(|tower| !is_honest(tower)))
    }
}

fn is_closed_for(test: impl Fn(&CloseReason) -> bool) -> impl Fn(&Observed) -> bool {
    move |what| matches!(what, Observed::LinkClosed { reason, .. } if test(reason))
}

#[test]
fn towers_that_follow_the_protocol_lose_no_message() {
    let mut network = run("10m", &role("kind = \"spy\""));
    assert_eq!(network.copies().len(), 16);
    assert!(network.copies().values().all(|copies| *copies <= 2));
}

#[test]
fn holes_drop_their_share_of_messages() {
    let left = |keys: &str| run("10m", &role(&format!("kind = \"hole\"\n{keys}"))).copies().len();
    assert_eq!(left("share = 0.0"), 16);
    assert_eq!(left("from = \"10m\""), 16);
    assert!(left("") == 0);
    let some = left("share = 0.005");
    assert!((1..16).contains(&some), "{some}");
}

#[test]
fn messages_that_rest_make_fewer_hops_and_are_dropped_by_fewer_holes() {
    let left = |keys: &str| run("5m", &format!("{keys}{}", role("kind = \"hole\"\nshare = 0.05")));
    let mut held = left("hold = \"1m\"\n");
    let mut moving = left("");
    let hops = |network: &Run| network.hops().0;
    assert!(hops(&held) > 16 && hops(&moving) > 10 * hops(&held));
    assert!(held.copies().len() > moving.copies().len());
}

#[test]
fn colluders_take_messages_and_pass_them_to_each_other_only() {
    let mut network = run("10m", &role("kind = \"colluder\""));
    assert_eq!(network.copies().len(), 0);
    let hand_overs = network.0.observer.seen.iter().filter_map(|seen| match seen.what {
        Observed::HandedOver { to, .. } => Some((seen.tower?, to)),
        _ => None,
    });
    let receivers: Vec<_> =
        hand_overs.filter(|(from, _)| !is_honest(*from)).map(|(_, to)| to).collect();
    assert!(receivers.len() > 3 && !receivers.iter().any(|to| is_honest(*to)), "{receivers:?}");
    // Without dropping, they keep all that they get.
    assert_eq!(run("10m", &role("kind = \"colluder\"\nshare = 0.0")).copies().len(), 16);
}

#[test]
fn liars_multiply_messages() {
    let constant_backoff = "[tower]\nmax_busy_backoff = \"0s\"\n";
    let mut network = run("10m", &format!("{}{constant_backoff}", role("kind = \"liar\"")));
    let copies = network.copies();
    assert_eq!(copies.len(), 16);
    assert!(copies.values().sum::<usize>() > 20, "{copies:?}");
    let mut honest = run("10m", &role("kind = \"liar\"\nshare = 0.0"));
    assert!(honest.copies().values().sum::<usize>() <= 17);
}

#[test]
fn floods_fill_the_queues_of_others() {
    let config = "tower = { send_rate = 50.0 }";
    let mut network = run("1m", &role(&format!("kind = \"flood\"\nrate = 50.0\n{config}")));
    let queues = network.honest().iter().map(|tower| tower.queue_usage().messages).min();
    assert!(queues > Some(100), "{queues:?}");
    assert!(network.copies().len() == 16, "they drop nothing");
}

#[test]
fn forged_addresses_hold_back_messages_that_ride_on_dials() {
    let messages_on_dials = "[tower]\ncontact_rate = 0\nmax_probe_backoff = \"0s\"\n";
    let baseline = run("10m", messages_on_dials);
    let (baseline_hops, _) = baseline.hops();
    for (names, rate) in [("silent", 1.0), ("refusing", 1.0)] {
        let keys = format!("kind = \"forge\"\nnames = \"{names}\"\nrate = {rate:?}");
        let mut network = run("10m", &format!("{}{messages_on_dials}", role(&keys)));
        let (hops, _) = network.hops();
        assert!(hops < baseline_hops / 2, "{names}: {hops} of {baseline_hops}");
        let lost = network.honest().iter().map(|tower| tower.status_counts().lost).min();
        assert!(lost > Some(50), "{names}: {lost:?}");
        assert_eq!(network.copies().len(), 16);
    }
}

#[test]
fn a_forged_claim_gets_messages_only_in_clear_text_and_if_it_is_believed() {
    let keys = "kind = \"forge\"\nnames = { tower = 0 }\nrate = 0.5";
    let config = "[tower]\ntimeouts = { idle = \"3s\" }\n";
    for (is_clear, prefix, claims) in [
        (true, "keys = false\n", "believe"),
        (true, "keys = false\n", "dial_back"),
        (false, "", "believe"),
    ] {
        let config = format!("{config}claims = \"{claims}\"\n");
        let mut network = run("10m", &format!("{prefix}{}{config}", role(keys)));
        let left = network.copies().len();
        assert_eq!(left < 16, is_clear && claims == "believe", "{left}");
        let disproved: u64 =
            network.honest().iter().map(|tower| tower.stats().claims_disproved).sum();
        assert_eq!(disproved == 0, is_clear);
    }
}

#[test]
fn sybils_are_taken_for_towers_and_swallow_messages() {
    let mut network = run("10m", &role("kind = \"sybil\"\nrate = 0.25"));
    assert_eq!(network.copies().len(), 0);
    assert!(network.hops().1 >= 16);
    let alive = network.honest().iter().map(|tower| tower.status_counts().alive).min();
    assert!(alive > Some(10), "{alive:?}");
    // Each has a key of its own.
    for tower in network.honest() {
        let pins: Vec<_> = tower.survey().filter_map(|peer| peer.fingerprint).collect();
        let different: BTreeSet<_> = pins.iter().collect();
        assert!(pins.len() > 10 && different.len() == pins.len());
    }
}

#[test]
fn spies_see_first_hops() {
    let network = run("2m", &role("kind = \"spy\""));
    let mut first_hops = FirstHops::default();
    for observation in &network.0.observer.seen {
        first_hops.see(observation, |tower| !is_honest(tower));
    }
    let precision = first_hops.precision().unwrap();
    assert!(precision > 0.05 && precision < 0.9, "{precision}");
    assert_eq!(FirstHops::default().precision(), None);
}

#[test]
fn framers_are_found_to_misbehave_and_lose_nothing() {
    for (frames, reason) in [
        ("malformed", is_wire as fn(&CloseReason) -> bool),
        ("unexpected", is_protocol as fn(&CloseReason) -> bool),
    ] {
        let keys = format!("kind = \"framer\"\nframes = \"{frames}\"\nrate = 0.2");
        let mut network = run("10m", &role(&keys));
        assert!(network.count(is_closed_for(reason)) > 100, "{frames}");
        assert!(network.honest().iter().all(|tower| tower.stats().links_misbehaved > 0));
        assert_eq!(network.copies().len(), 16);
    }
}

fn is_wire(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Wire(_))
}

fn is_protocol(reason: &CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Protocol(ProtocolError::HelloTwice | ProtocolError::UnknownTransfer)
    )
}

#[test]
fn deaf_towers_never_confirm() {
    let mut network = run("10m", &role("kind = \"deaf\""));
    let is_timeout = |reason: &CloseReason| *reason == CloseReason::ConfirmTimeout;
    assert!(network.count(is_closed_for(is_timeout)) > 10);
    assert_eq!(network.copies().len(), 16);
    assert_eq!(run("10m", "").count(is_closed_for(is_timeout)), 0);
}

/// Returns the times from hand-overs to roles, made from a second on, to their confirmations.
fn confirmation_times(network: &Run, from: u64) -> Vec<Duration> {
    let mut handed_over = BTreeMap::new();
    let mut times = Vec::new();
    let from = Instant::ORIGIN + Duration::from_secs(from);
    for seen in network.0.observer.seen.iter().filter(|seen| seen.at >= from) {
        match seen.what {
            Observed::HandedOver { to, message, .. } if !is_honest(to) => {
                handed_over.insert((seen.tower, to, message), seen.at);
            }
            Observed::Delivered { to: Some(to), message } => {
                let since = handed_over.remove(&(seen.tower, to, message));
                times.extend(since.map(|since| seen.at.duration_since(since)));
            }
            _ => {}
        }
    }
    times.retain(|time| !time.is_zero());
    times
}

#[test]
fn slow_towers_answer_late() {
    let shortest =
        |section: &str| confirmation_times(&run("10m", section), 0).into_iter().min().unwrap();
    let second = Duration::from_secs(1);
    assert!(shortest("") < second);
    assert!(shortest(&role("kind = \"slow\"\ndelay = \"5s\"")) >= 5 * second);
}

#[test]
fn slow_towers_stop_at_their_end_under_dense_traffic() {
    // Something arrives at a slow tower at any time.
    let tower = "[tower]\nsend_rate = 100\nheartbeat = \"20ms\"\n";
    let slow = role("kind = \"slow\"\ndelay = \"5s\"\nuntil = \"20s\"");
    let network = run("30s", &format!("{slow}{tower}"));
    let times = confirmation_times(&network, 20);
    assert!(times.len() > 100, "{}", times.len());
    assert!(times.iter().all(|time| *time < Duration::from_secs(1)), "{:?}", times.iter().max());
    assert!(confirmation_times(&network, 0).into_iter().max() >= Some(Duration::from_secs(5)));
}

#[test]
fn a_slowloris_takes_the_unproved_links() {
    let keys = "kind = \"slowloris\"\nconnections = 40";
    let network = run("5m", &role(keys));
    let displaced =
        |what: &Observed| matches!(what, Observed::LinkClosed { reason: CloseReason::Evicted, .. });
    assert!(network.count(displaced) > 100);
    assert_eq!(run("5m", "").count(displaced), 0);
}

#[test]
fn a_slowloris_can_keep_the_links_of_silent_guests() {
    let keys = "kind = \"slowloris\"\nconnections = 40\nhello = true";
    let network = run("5m", &role(keys));
    let is_timed_out = |what: &Observed| {
        matches!(what, Observed::LinkClosed { reason: CloseReason::HandshakeTimeout, .. })
    };
    assert_eq!(network.count(is_timed_out), 0, "the handshakes are complete");
    let displaced =
        |what: &Observed| matches!(what, Observed::LinkClosed { reason: CloseReason::Evicted, .. });
    assert!(network.count(displaced) > 100);
}

#[test]
fn a_slowloris_renews_dials_that_are_not_answered() {
    let keys = "kind = \"slowloris\"\nconnections = 4";
    let network = run("5m", &format!("{}[link]\nunanswered = 0.9\n", role(keys)));
    let last_minute = Instant::ORIGIN + Duration::from_secs(240);
    let seen = network.0.observer.seen.iter().filter(|seen| seen.at > last_minute);
    let dials = seen.filter(|seen| {
        matches!(seen.what, Observed::Dialled { .. }) && seen.tower == Some(TowerId(8))
    });
    assert!(dials.count() > 32, "each connection is dialled every 11 s");
}

#[test]
fn a_run_with_roles_follows_from_its_seed() {
    let seen = |seed: u32| {
        let hole = "[[role]]\nkind = \"hole\"\nshare = 0.5\ntowers = 8";
        let framer = "[[role]]\nkind = \"framer\"\nrate = 1.0\ntowers = 9";
        run("1m", &format!("seed = {seed}\n{hole}\n{framer}")).0.observer.seen
    };
    assert!(seen(1) == seen(1));
    assert!(seen(1) != seen(2));
}
