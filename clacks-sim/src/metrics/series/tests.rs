use clacks_proto::StatusReason;
use proptest::prelude::*;

use super::*;
use crate::observation::MessageId;

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

fn seen(seconds: u64, what: Observed) -> Observation {
    Observation { at: at(seconds), tower: Some(TowerId(1)), what }
}

fn received(sender: u32) -> Observed {
    Observed::Received { from: None, sender: Some(TowerId(sender)), message: None }
}

fn queued(origin: Origin) -> Observed {
    Observed::Queued { message: Some(MessageId(1)), origin }
}

fn hand_over(attempt: Attempt) -> Observed {
    Observed::HandedOver { to: TowerId(2), message: None, attempt, arrives: at(9) }
}

fn status(to: Status) -> Observed {
    let reason = StatusReason::Success;
    Observed::StatusChanged { peer: None, from: Status::New, to, reason }
}

/// Observations, and the metrics that count each of them.
fn counted() -> Vec<(Observed, Vec<Metric>)> {
    vec![
        (hand_over(Attempt::First), vec![Metric::HandOvers]),
        (hand_over(Attempt::Retry), vec![Metric::HandOvers, Metric::Retries]),
        (received(2), vec![Metric::Hops, Metric::HonestHops]),
        (queued(Origin::Peer), vec![Metric::Stored]),
        (Observed::CopyKept { message: MessageId(1) }, vec![Metric::Stored]),
        (Observed::Swallowed { sender: None, message: MessageId(1) }, vec![Metric::Swallowed]),
        (queued(Origin::Local), vec![]),
        (queued(Origin::Returned), vec![Metric::Returned, Metric::HonestHandOvers]),
        (
            Observed::Delivered { to: None, message: None },
            vec![Metric::Deliveries, Metric::HonestHandOvers, Metric::HonestDeliveries],
        ),
        (
            Observed::Enqueued { message: MessageId(1) },
            vec![Metric::Enqueued, Metric::HonestEnqueues],
        ),
        (Observed::EnqueueRefused, vec![Metric::EnqueueRefused, Metric::HonestEnqueues]),
        (Observed::Dialled { to: None }, vec![Metric::Dials]),
        (Observed::Broke { with: TowerId(2) }, vec![Metric::Broken]),
        (Observed::Discovered { peer: None }, vec![Metric::Discovered]),
        (status(Status::Alive), vec![Metric::StatusChanges, Metric::BecameAlive]),
        (status(Status::Lost), vec![Metric::StatusChanges, Metric::BecameLost]),
        (status(Status::Dead), vec![Metric::StatusChanges, Metric::BecameDead]),
        (Observed::Missed { count: 1 }, vec![Metric::Missed]),
        (Observed::Sent { to: TowerId(2), bytes: 1 }, vec![Metric::BytesSent]),
        (Observed::TimerFired, vec![]),
    ]
}

proptest! {
    #[test]
    fn rows_and_totals_agree_with_a_recount_however_often_rows_were_merged(
        intervals in prop::collection::vec(
            prop::collection::vec(prop::sample::select(counted()), 0..8), 1..24),
        capacity in 2..9_usize,
    ) {
        let mut series = Series::new(capacity, None);
        for (second, interval) in (1..).zip(&intervals) {
            for (what, _) in interval {
                series.observe(&seen(second, *what));
            }
            series.sample(at(second), &Gauges::default());
            prop_assert!(series.samples().len() <= capacity + capacity % 2);
        }
        let all = || intervals.iter().flatten();
        let derived = [Metric::Coalesced, Metric::Events];
        for metric in Metric::ALL.iter().filter(|metric| !derived.contains(metric)) {
            if metric.aggregate() != Aggregate::Sum {
                continue;
            }
            let expected = all().filter(|(_, metrics)| metrics.contains(metric)).count() as u64;
            prop_assert_eq!(series.total(*metric), expected, "{:?}", metric);
            let rows = series.samples().iter().filter_map(|sample| sample.value(*metric));
            prop_assert_eq!(rows.sum::<f64>(), number(expected), "{:?}", metric);
        }
        let time: Duration = series.samples().iter().map(|sample| sample.interval).sum();
        prop_assert_eq!(time, Duration::from_secs(intervals.len() as u64));
    }
}

#[test]
fn faults_are_numbered_as_they_are_listed_and_counted_in_rows_and_totals() {
    let mut series = Series::new(2, None);
    for (place, fault) in Fault::ALL.into_iter().enumerate() {
        assert_eq!(fault as usize, place);
        series.observe(&seen(1, Observed::Fault(fault)));
        series.sample(at(place as u64), &Gauges::default());
    }
    for fault in Fault::ALL {
        assert_eq!(series.total_faults(fault), 1);
        assert_eq!(series.samples().iter().map(|sample| sample.faults(fault)).sum::<u64>(), 1);
    }
}

#[test]
fn merged_rows_keep_the_last_gauge_and_the_peaks_of_queues() {
    let mut series = Series::new(2, None);
    let lengths = |p99, max| Some(QueueLengths { median: 5, p99, max });
    let rows = [(10, lengths(8, 90)), (20, lengths(9, 40)), (30, None), (40, None)];
    for (second, (running, queues)) in (1..).zip(rows) {
        series.sample(at(second), &Gauges { running, queues, ..Gauges::default() });
    }
    let rows = series.samples();
    assert_eq!(rows.iter().map(|row| row.at).collect::<Vec<_>>(), [at(2), at(4)]);
    let values = |metric| rows.iter().map(|row| row.value(metric)).collect::<Vec<_>>();
    assert_eq!(values(Metric::Running), [Some(20.0), Some(40.0)]);
    assert_eq!(values(Metric::QueueP99), [Some(9.0), None]);
    assert_eq!(values(Metric::QueueMax), [Some(90.0), None]);
    assert_eq!(series.value(Metric::QueueMax), Some(90.0));
    assert_eq!(series.value(Metric::Running), Some(40.0));
}

#[test]
fn a_hop_that_is_not_queued_was_coalesced_even_across_a_sample() {
    let mut series = Series::new(8, None);
    series.observe(&seen(1, received(2)));
    series.sample(at(1), &Gauges::default());
    series.observe(&seen(1, queued(Origin::Peer)));
    series.observe(&seen(2, received(2)));
    series.observe(&seen(2, received(2)));
    series.observe(&seen(2, queued(Origin::Peer)));
    series.sample(at(2), &Gauges::default());
    let coalesced: Vec<_> = series.samples().iter().map(|s| s.value(Metric::Coalesced)).collect();
    assert_eq!(coalesced, [Some(1.0), Some(0.0)]);
    assert_eq!(series.total(Metric::Coalesced), 1);
}

#[test]
fn derived_gauges() {
    let mut series = Series::new(8, None);
    for _ in 0..10 {
        series.observe(&seen(1, Observed::Enqueued { message: MessageId(0) }));
    }
    let gauges = Gauges {
        running: 5,
        pairs_alive: 15,
        messages: 7,
        copies: 9,
        waiting: 8,
        ..Gauges::default()
    };
    series.sample(at(2), &gauges);
    let row = &series.samples()[0];
    assert_eq!(row.value(Metric::Discovery), Some(0.75));
    assert_eq!(row.value(Metric::Surplus), Some(2.0));
    assert_eq!(row.value(Metric::Lost), Some(3.0));
    assert_eq!(row.value(Metric::QueueMean), Some(1.6));
    assert_eq!((row.value(Metric::Enqueued), row.rate(Metric::Enqueued)), (Some(10.0), Some(5.0)));
}

#[test]
fn hops_and_returned_messages_are_counted_for_each_role() {
    let mut series = Series::new(2, None);
    series.set_role(TowerId(1), "hole");
    series.set_role(TowerId(4), "liar");
    for second in 1..4 {
        series.observe(&seen(second, received(2)));
        series.observe(&seen(second, queued(Origin::Returned)));
        for tower in [2, 9] {
            let honest = Observation { tower: Some(TowerId(tower)), ..seen(second, received(1)) };
            series.observe(&honest);
        }
        series.sample(at(second), &Gauges::default());
    }
    assert_eq!(series.roles(), ["none", "hole", "liar"]);
    let [none, hole, liar] =
        [(4, 0), (2, 2), (0, 0)].map(|(hops, returned)| RoleCounts { hops, returned });
    assert_eq!(series.samples()[0].roles, [none, hole, liar], "two merged rows");
    assert_eq!(series.total(Metric::Hops), 9);
}

#[test]
fn hops_between_the_sides_of_the_latest_partition_are_counted() {
    let mut series = Series::new(8, None);
    series.observe(&seen(1, received(0)));
    series.set_partition(&[true, false, false]);
    series.observe(&seen(1, received(0)));
    series.observe(&seen(1, received(2)));
    series.observe(&seen(1, received(2)));
    series.sample(at(1), &Gauges::default());
    assert_eq!(series.total(Metric::HopsCrossing), 1);
    assert_eq!(series.samples()[0].value(Metric::CrossingShare), Some(0.25));
    assert_eq!(series.value(Metric::CrossingShare), Some(0.25));
}

#[test]
fn a_second_sample_at_the_same_moment_joins_the_row() {
    let mut series = Series::new(8, None);
    let enqueued = seen(1, Observed::Enqueued { message: MessageId(0) });
    series.observe(&enqueued);
    series.sample(at(2), &Gauges { running: 3, ..Gauges::default() });
    series.observe(&enqueued);
    series.sample(at(2), &Gauges { running: 4, ..Gauges::default() });
    let [row] = series.samples() else { panic!("{:?}", series.samples()) };
    assert_eq!((row.value(Metric::Running), row.rate(Metric::Enqueued)), (Some(4.0), Some(1.0)));
    assert_eq!(series.total(Metric::Enqueued), 2);
}

#[test]
fn a_value_that_cannot_be_computed_is_unknown() {
    let mut series = Series::new(8, None);
    series.sample(at(0), &Gauges { running: 1, ..Gauges::default() });
    series.sample(at(1), &Gauges::default());
    let [first, second] = series.samples() else { panic!("two rows") };
    assert_eq!(first.value(Metric::Discovery), None);
    assert_eq!(first.rate(Metric::HandOvers), None);
    assert_eq!(second.value(Metric::QueueMean), None);
    assert_eq!(second.rate(Metric::HandOvers), Some(0.0));
    assert_eq!(second.value(Metric::HopsCrossing), None, "there was no partition");
    assert_eq!(series.value(Metric::CrossingShare), None);
}

#[test]
fn overlapping_partitions_are_one_span() {
    let mut series = Series::new(8, Some(at(50)));
    use Fault::{Heal, Partition};
    for (second, fault) in (1..).zip([Partition, Partition, Heal, Heal, Heal, Partition]) {
        series.observe(&seen(second, Observed::Fault(fault)));
    }
    let spans = [Span { from: at(1), until: Some(at(4)) }, Span { from: at(6), until: None }];
    assert_eq!(series.partitions(), spans);
    assert_eq!((series.faults_end(), series.marks().len()), (Some(at(50)), 6));
}

#[test]
fn marks_are_kept_for_scheduled_faults_up_to_a_number() {
    let mut series = Series::new(8, None);
    for fault in [Fault::Refused, Fault::Broken, Fault::Corrupted, Fault::Blocked] {
        series.observe(&seen(1, Observed::Fault(fault)));
    }
    assert!(series.marks().is_empty());
    for _ in 0..Series::MAX_MARKS + 3 {
        series.observe(&seen(1, Observed::Fault(Fault::Crash)));
    }
    assert_eq!((series.marks().len(), series.marks_left_out()), (Series::MAX_MARKS, 3));
}

#[test]
fn what_roles_do_is_not_honest() {
    let mut series = Series::new(8, None);
    series.set_role(TowerId(2), "flood");
    let by = |tower, what| Observation { at: at(1), tower: Some(TowerId(tower)), what };
    let received = |message| Observed::Received {
        from: None,
        sender: Some(TowerId(2)),
        message: Some(MessageId(message)),
    };
    let delivered = |to| Observed::Delivered { to: Some(TowerId(to)), message: None };
    for observation in [
        by(1, Observed::Enqueued { message: MessageId(0) }),
        by(2, Observed::Enqueued { message: MessageId(5) }),
        by(1, received(0)),
        by(1, received(5)),
        by(2, received(0)),
        by(1, delivered(2)),
        by(1, delivered(0)),
        by(2, delivered(1)),
    ] {
        series.observe(&observation);
    }
    series.sample(at(1), &Gauges::default());
    for (metric, count) in [
        (Metric::HonestEnqueues, 1),
        (Metric::HonestHops, 1),
        (Metric::Hops, 3),
        (Metric::HonestHandOvers, 2),
        (Metric::HonestDeliveries, 2),
        (Metric::DeliveriesToRoles, 1),
    ] {
        assert_eq!(series.total(metric), count, "{metric:?}");
    }
}
