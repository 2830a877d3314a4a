//! Contacts: messages go over open links alone. Named peers are contacted again, and a tick finds a
//! suitable peer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello};
use clacks_proto::{
    Claims, Config, LinkId, Notice, Odds, SendRate, ShutdownProgress, Status, Tower,
};
use common::harness::{Harness, SentFrame, hello};
use common::{address, config_with_messages_on_dials, fast_config, seconds};

const TICK: Duration = Duration::from_millis(50);

/// Returns the texts of the messages that the tower sent on a link since the last call, and
/// confirms them.
fn take_and_confirm(harness: &mut Harness, link: LinkId) -> Vec<String> {
    let messages = harness.take_messages(link);
    if let Some((last, ..)) = messages.last() {
        harness.confirm(link, *last);
    }
    messages.into_iter().map(|(.., text)| text).collect()
}

// A message never rides on a dial.

/// Dials three peers that never answer. Returns how many of ten messages the only alive peer gets.
fn arrive_beside_silent_peers(config: &Config) -> usize {
    let mut harness = Harness::new(config);
    let link = harness.accept_alive(1);
    (2..5).for_each(|n| harness.expand(n));
    harness.enqueue_many(10, "message");
    harness.advance(seconds(1));
    let arrived = take_and_confirm(&mut harness, link).len();
    assert_eq!(harness.dialled.len(), 3, "all peers are contacted");
    assert_eq!(harness.tower.queue_usage().messages, 10 - arrived);
    arrived
}

#[test]
fn rule_1_a_message_never_rides_on_a_dial() {
    assert_eq!(arrive_beside_silent_peers(&fast_config()), 10);
}

#[test]
fn without_rule_1_silent_addresses_hold_up_messages() {
    assert_eq!(arrive_beside_silent_peers(&config_with_messages_on_dials()), 7);
}

#[test]
fn a_contact_announces_and_makes_the_peer_alive() {
    let mut harness = Harness::new(&fast_config());
    let alive = harness.accept_alive(1);
    harness.expand(2);
    harness.enqueue("message");
    assert!(harness.run_until_dial(seconds(1)));
    assert_eq!(take_and_confirm(&mut harness, alive), ["message"], "in the same tick");
    let link = harness.connect_dial_alive();
    assert_eq!(harness.status(2), Some(Status::Alive));
    assert!(harness.take_messages(link).is_empty());
}

#[test]
fn a_peer_with_an_open_link_that_is_not_alive_gets_an_announce() {
    let mut harness = Harness::new(&fast_config());
    let alive = harness.accept_alive(1);
    let link = harness.accept_from(2);
    harness.enqueue("message");
    harness.advance(TICK);
    harness.take_announce(link);
    assert_eq!(take_and_confirm(&mut harness, alive), ["message"]);
    assert!(harness.dialled.is_empty());
}

#[test]
fn one_tick_without_an_open_link_is_owed() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue_many(3, "message");
    harness.advance(seconds(2));
    let link = harness.connect_dial_with_hello();
    let transfer = harness.take_announce(link);
    assert_eq!(harness.tower.queue_usage().waiting, 3, "the peer is not alive yet");
    harness.confirm(link, transfer);
    assert_eq!(harness.take_messages(link).len(), 1, "one of forty ticks is owed");
    harness.advance(TICK);
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn rule_1_a_message_goes_to_the_only_peer_on_the_link_of_a_contact() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.send_goodbye(link);
    for text in ["first", "second"] {
        harness.enqueue(text);
        assert!(harness.run_until_dial(2 * TICK));
        let link = harness.connect_dial_with_hello();
        assert_eq!(take_and_confirm(&mut harness, link), [text], "without a further tick");
        harness.send_goodbye(link);
    }
}

#[test]
fn rule_1_a_message_waits_while_the_only_peer_refuses_dials() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.send_goodbye(link);
    harness.enqueue("waits");
    for _ in 0..5 {
        assert!(harness.run_until_dial(seconds(120)));
        harness.refuse_dial();
        assert_eq!(
            (harness.texts(), harness.status(1)),
            (vec!["waits".into()], Some(Status::Lost))
        );
    }
    assert!(harness.run_until_dial(seconds(120)));
    let link = harness.connect_dial_alive();
    harness.advance(TICK);
    assert_eq!(take_and_confirm(&mut harness, link), ["waits"]);
}

#[test]
fn the_rate_of_contacts_is_limited_at_every_send_rate() {
    for rate in [SendRate::Unlimited, SendRate::per_second(1_000)] {
        let mut config = fast_config();
        config.send_rate = rate;
        config.max_probes = 1_000;
        let mut harness = Harness::new(&config);
        (1..100).for_each(|n| harness.expand(n));
        harness.enqueue("message");
        harness.advance(seconds(4));
        let dials = harness.dialled.len();
        assert!((45..=50).contains(&dials), "{dials} dials in four seconds");
    }
}

#[test]
fn messages_of_contacts_go_to_peers_that_this_tower_dialled() {
    // The tower dialled `dialled` peers. Eight more have dialled the tower. Each tick draws another
    // alive peer without a link.
    let run = |dialled: usize| {
        let mut config = fast_config();
        config.strangers.every = Duration::ZERO;
        let mut harness = Harness::new(&config);
        let mut links = Vec::new();
        for n in 1..=dialled {
            harness.with(|tower, now| tower.announce(&address(n), now)).unwrap();
            links.push(harness.connect_dial_alive());
        }
        links.extend((20..28).map(|n| harness.accept_alive(n)));
        for n in 30..210 {
            let link = harness.accept_alive(n);
            harness.send_goodbye(link);
        }
        harness.enqueue_many(150, "message");
        let mut to_callers = 0;
        let mut all = 0;
        for _ in 0..150 {
            harness.advance(TICK);
            for (position, link) in links.iter().enumerate() {
                let count = take_and_confirm(&mut harness, *link).len();
                all += count;
                to_callers += if position >= dialled { count } else { 0 };
            }
        }
        assert_eq!(all, 150);
        to_callers
    };
    let (few, enough) = (run(7), run(8));
    assert!(few > 50, "{few} of 150 messages with seven links that the tower dialled");
    assert!(enough < 20, "{enough} of 150 messages with eight");
}

#[test]
fn a_link_that_closes_or_opens_changes_the_recipients() {
    let mut harness = Harness::new(&fast_config());
    let [first, second] = [1, 2].map(|n| harness.accept_alive(n));
    harness.send_goodbye(first);
    harness.enqueue_many(10, "message");
    harness.advance(seconds(1));
    assert_eq!(take_and_confirm(&mut harness, second).len(), 10);
    let first = harness.connect_dial_alive();
    harness.send_goodbye(second);
    harness.enqueue_many(10, "message");
    harness.advance(seconds(1));
    assert_eq!(take_and_confirm(&mut harness, first).len(), 10);
}

/// Refuses the dials to five alive peers. Returns how many follow from one tick.
fn refused_after_one_tick(mut config: Config) -> u32 {
    config.send_rate = SendRate::Every(seconds(10));
    let mut harness = Harness::new(&config);
    for n in 1..6 {
        let link = harness.accept_alive(n);
        harness.send_goodbye(link);
    }
    harness.enqueue("message");
    assert!(harness.run_until_dial(seconds(10)));
    let mut dials = 0;
    while !harness.dialled.is_empty() {
        assert_eq!(harness.dialled.len(), 1);
        harness.refuse_dial();
        dials += 1;
    }
    assert_eq!(harness.tower.status_counts().lost, dials);
    dials
}

#[test]
fn rule_2_another_alive_peer_is_contacted_when_one_is_found_lost() {
    assert_eq!(refused_after_one_tick(fast_config()), 5);
}

#[test]
fn without_rule_2_each_contact_needs_a_tick() {
    assert_eq!(refused_after_one_tick(config_with_messages_on_dials()), 1);
}

#[test]
fn rule_2_another_lost_peer_is_contacted_when_one_returns() {
    let mut config = fast_config();
    config.send_rate = SendRate::Every(seconds(100));
    config.max_probe_backoff = Duration::ZERO;
    config.odds = Odds { alive: 1_000_000, lost: 1, dead: 1 };
    let mut harness = Harness::new(&config);
    for n in 1..6 {
        let link = harness.accept_alive(n);
        harness.send_goodbye(link);
    }
    harness.enqueue("message");
    while harness.tower.status_counts().lost < 5 {
        assert!(harness.run_until_dial(seconds(100)));
        harness.refuse_dial();
    }
    harness.advance(seconds(2));
    assert!(harness.dialled.is_empty());
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    for alive in 1..5 {
        assert_eq!(harness.tower.status_counts().alive, alive);
        assert_eq!(harness.dialled.len(), 1, "no tick was needed");
        harness.connect_dial_alive();
    }
    assert_eq!(harness.tower.status_counts().alive, 5);
    assert!(harness.dialled.is_empty());
}

// Shutdown.

#[test]
fn a_shutdown_dials_without_an_announce_and_hands_over_when_the_link_opens() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.send_goodbye(link);
    harness.enqueue_many(3, "message");
    harness.with(Tower::shutdown);
    let link = harness.connect_dial();
    assert_eq!(harness.tower.queue_usage().waiting, 3);
    harness.send_hello(link, None);
    let frames = harness.take_frames(link);
    let messages: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            SentFrame::Message { transfer, .. } => Some(*transfer),
            SentFrame::Announce { .. } => panic!("{frames:?}"),
            _ => None,
        })
        .collect();
    assert_eq!(messages.len(), 3, "all at once");
    harness.confirm(link, messages[2]);
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Done);
    assert!(harness.notices.contains(&Notice::ShutDown { left: 0 }));
}

#[test]
fn a_shutdown_ends_at_once_when_the_last_dial_is_refused() {
    let mut harness = Harness::new(&fast_config());
    for n in 1..4 {
        let link = harness.accept_alive(n);
        harness.send_goodbye(link);
    }
    harness.enqueue("stays");
    let began = harness.now;
    harness.with(Tower::shutdown);
    for left in (0..3).rev() {
        assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
        harness.run_until_dial(seconds(1));
        harness.refuse_dial();
        assert_eq!(harness.tower.status_counts().alive, left);
    }
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Done);
    assert!(harness.now.duration_since(began) < seconds(1));
}

// Suitable peers only.

/// Connects an alive peer that takes bodies of at most `max_message` bytes.
fn accept_alive_with_limit(harness: &mut Harness, n: usize, max_message: u32) -> LinkId {
    let link = harness.accept();
    harness.send_frame(link, &Frame::Hello(Hello { max_message, ..hello(Some(address(n))) }));
    harness.send_announce(link, 1_000);
    harness.take_frames(link);
    link
}

/// Returns how many of twenty messages leave in twenty ticks if one of fifty peers takes them.
fn sent_to_the_only_suitable_peer(config: &Config) -> usize {
    let mut harness = Harness::new(config);
    let wide = harness.accept_alive(1);
    (2..52).for_each(|n| _ = accept_alive_with_limit(&mut harness, n, 1));
    harness.enqueue_many(20, "message");
    let mut sent = 0;
    for _ in 0..20 {
        harness.advance(TICK);
        sent += take_and_confirm(&mut harness, wide).len();
    }
    sent
}

#[test]
fn rule_9_a_tick_finds_the_only_suitable_peer() {
    assert_eq!(sent_to_the_only_suitable_peer(&fast_config()), 20);
}

#[test]
fn without_rule_9_ticks_are_spent_on_peers_that_take_no_message() {
    let mut config = fast_config();
    config.tried_messages = 0;
    assert!(sent_to_the_only_suitable_peer(&config) < 20);
}

#[test]
fn rule_9_a_tick_tries_four_messages() {
    let mut harness = Harness::new(&fast_config());
    let narrow = accept_alive_with_limit(&mut harness, 1, 10);
    for _ in 0..3 {
        harness.enqueue("longer than ten bytes");
    }
    harness.enqueue("short");
    harness.advance(TICK);
    assert_eq!(take_and_confirm(&mut harness, narrow), ["short"]);
    // With four long messages before it, a short one leaves on the second tick.
    harness.enqueue("longer than ten bytes");
    harness.enqueue("short");
    let mut ticks = 0;
    while take_and_confirm(&mut harness, narrow).is_empty() {
        harness.advance(TICK);
        ticks += 1;
        assert!(ticks <= 3);
    }
    assert!(ticks >= 1);
}

#[test]
fn the_end_of_a_peer_that_no_message_suits_is_noticed() {
    let mut harness = Harness::new(&fast_config());
    let wide = harness.accept_alive(1);
    let narrow = accept_alive_with_limit(&mut harness, 2, 1);
    // The link is closed as unused. From then on, the peer answers no dial.
    let mut peer_is_lost = false;
    for _ in 0..90 * 20 {
        harness.enqueue("message");
        harness.advance(TICK);
        take_and_confirm(&mut harness, wide);
        while !harness.dialled.is_empty() {
            harness.refuse_dial();
        }
        peer_is_lost |= harness.status(2) == Some(Status::Lost);
    }
    assert!(harness.closed.contains_key(&narrow));
    assert!(harness.take_frames(narrow).contains(&SentFrame::Goodbye(Farewell::Idle)));
    assert!(peer_is_lost);
}

// The odds over the recipients at a tower.

fn chi_square(seen: &[u64], expected: &[f64]) -> f64 {
    seen.iter().zip(expected).map(|(seen, e)| (*seen as f64 - e).powi(2) / e).sum()
}

/// Counts the messages to ten alive peers, and the attempts to reach two lost ones, in `ticks`
/// ticks.
fn count_recipients(mut config: Config, ticks: u32) -> (Vec<u64>, u64) {
    let SendRate::Every(tick) = config.send_rate else { panic!() };
    config.claims = Claims::Believe;
    config.heartbeat = None;
    config.timeouts.idle = seconds(100_000);
    config.kill_timeout = seconds(100_000);
    let mut harness = Harness::new(&config);
    for n in 11..13 {
        let link = harness.accept_alive(n);
        harness.send_goodbye(link);
    }
    harness.enqueue("probe");
    while harness.tower.status_counts().lost < 2 {
        harness.run_until_dial(seconds(1));
        harness.refuse_dial();
    }
    let links: BTreeMap<LinkId, usize> =
        (0..10).map(|n| (harness.accept_alive(n + 1), n)).collect();
    let (mut messages, mut dials) = (vec![0; 10], 0);
    for _ in 0..ticks {
        harness.enqueue("message");
        harness.advance(tick);
        for (link, n) in &links {
            messages[*n] += take_and_confirm(&mut harness, *link).len() as u64;
        }
        while !harness.dialled.is_empty() {
            dials += 1;
            harness.refuse_dial();
        }
        harness.actions.clear();
        harness.notices.clear();
    }
    (messages, dials)
}

#[test]
fn recipients_at_a_tower_are_drawn_by_the_odds() {
    let ticks = 20_000;
    let odds = |odds: Odds, dials: u64| {
        let expected = f64::from(ticks) * f64::from(odds.lost) / f64::from(odds.alive + odds.lost);
        let others = f64::from(ticks) - expected;
        chi_square(&[dials, u64::from(ticks) - dials], &[expected, others])
    };
    // 99.9th percentiles: 27.9 with nine degrees of freedom, 10.8 with one.
    let mut ours = Config::default();
    (ours.probe_backoff, ours.max_probe_backoff) = (Duration::from_nanos(1), Duration::ZERO);
    (ours.send_rate, ours.contact_rate) = (SendRate::per_second(1_000), 1_000_000);
    // A back-off of one tick, as at the default rate.
    let mut original = Config::original();
    (original.send_rate, original.probe_backoff) =
        (SendRate::per_second(100), Duration::from_millis(10));
    for (config, holds_messages) in [(ours, false), (original, true)] {
        let config_odds = config.odds;
        let (messages, dials) = count_recipients(config, ticks);
        let sent: u64 = messages.iter().sum();
        let each = sent as f64 / 10.0;
        assert!(chi_square(&messages, &[each; 10]) < 27.9, "{messages:?}");
        assert!(odds(config_odds, dials) < 10.8, "{dials} dials to lost peers");
        // In the original, a tick that draws a lost peer moves no message.
        let lost_ticks = if holds_messages { dials } else { 0 };
        assert!(sent.abs_diff(u64::from(ticks) - lost_ticks) <= 12, "{sent} messages");
    }
}
