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

fn fault(seconds: u64, fault: Fault) -> Observation {
    seen(seconds, Observed::Fault(fault))
}

fn hand_over(attempt: Attempt) -> Observed {
    Observed::HandedOver { to: TowerId(2), message: None, attempt, arrives: at(9) }
}

fn queued(origin: Origin) -> Observed {
    Observed::Queued { message: Some(MessageId(1)), origin }
}

fn anything() -> impl Strategy<Value = Observed> {
    let status = prop::sample::select(vec![
        Status::New,
        Status::Alive,
        Status::Lost,
        Status::Dead,
        Status::Ignored,
    ]);
    prop_oneof![
        prop::sample::select(vec![Attempt::First, Attempt::Retry]).prop_map(hand_over),
        (0..9_000_u32).prop_map(|bytes| Observed::Sent { to: TowerId(2), bytes }),
        Just(Observed::Received { from: None, sender: None, message: None }),
        prop::sample::select(vec![Origin::Local, Origin::Peer, Origin::Returned]).prop_map(queued),
        Just(Observed::Delivered { to: None, message: None }),
        Just(Observed::Enqueued { message: MessageId(1) }),
        Just(Observed::EnqueueRefused),
        Just(Observed::Dialled { to: None }),
        Just(Observed::Broke { with: TowerId(2) }),
        Just(Observed::Discovered { peer: None }),
        status.prop_map(|to| Observed::StatusChanged {
            peer: None,
            from: Status::New,
            to,
            reason: StatusReason::Success,
        }),
        (0..9_u64).prop_map(|count| Observed::Missed { count }),
        prop::sample::select(Fault::ALL.to_vec()).prop_map(Observed::Fault),
        Just(Observed::TimerFired),
    ]
}

/// Of everything in a list, how often a column counts it: one question per column, as slow as it is plain.
fn recount(all: &[Observed], column: Column) -> u64 {
    let weigh = |what: &Observed| match (column, what) {
        (Column::HandOvers, Observed::HandedOver { .. })
        | (Column::Retries, Observed::HandedOver { attempt: Attempt::Retry, .. })
        | (Column::Received, Observed::Received { .. })
        | (Column::QueuedFromPeer, Observed::Queued { origin: Origin::Peer, .. })
        | (Column::Returned, Observed::Queued { origin: Origin::Returned, .. })
        | (Column::Deliveries, Observed::Delivered { .. })
        | (Column::Enqueued, Observed::Enqueued { .. })
        | (Column::EnqueueRefused, Observed::EnqueueRefused)
        | (Column::Dials, Observed::Dialled { .. })
        | (Column::Broken, Observed::Broke { .. })
        | (Column::Discovered, Observed::Discovered { .. })
        | (Column::StatusChanges, Observed::StatusChanged { .. })
        | (Column::BecameAlive, Observed::StatusChanged { to: Status::Alive, .. })
        | (Column::BecameLost, Observed::StatusChanged { to: Status::Lost, .. })
        | (Column::BecameDead, Observed::StatusChanged { to: Status::Dead, .. }) => 1,
        (Column::BytesSent, Observed::Sent { bytes, .. }) => u64::from(*bytes),
        (Column::Missed, Observed::Missed { count }) => *count,
        _ => 0,
    };
    all.iter().map(weigh).sum()
}

proptest! {
    #[test]
    fn counts_agree_with_a_recount_whatever_was_merged(
        intervals in prop::collection::vec(prop::collection::vec(anything(), 0..8), 1..24),
        capacity in 2..9_usize,
    ) {
        let mut series = Series::new(capacity, None);
        let mut all = Vec::new();
        for (second, interval) in (1..).zip(&intervals) {
            for what in interval {
                series.see(&seen(second, *what));
            }
            all.extend_from_slice(interval);
            let events = all.len() as u64;
            series.sample(at(second), &Gauges { events, ..Gauges::default() });
            prop_assert!(series.samples().len() <= capacity + capacity % 2);
        }
        let counted = Column::ALL.into_iter().filter(|column| column.kept() == Kept::Sum);
        for column in counted.filter(|column| !matches!(column, Column::Coalesced | Column::Events)) {
            let expected = recount(&all, column);
            prop_assert_eq!(series.total(column), expected, "{:?}", column);
            let rows = series.samples().iter().filter_map(|sample| sample.value(column));
            prop_assert_eq!(rows.sum::<f64>(), number(expected), "{:?}", column);
        }
        for fault in Fault::ALL {
            let expected = all.iter().filter(|what| **what == Observed::Fault(fault)).count() as u64;
            prop_assert_eq!(series.total_faults(fault), expected);
            let rows = series.samples().iter().map(|sample| sample.faults(fault));
            prop_assert_eq!(rows.sum::<u64>(), expected);
        }
        prop_assert_eq!(series.total(Column::Events), all.len() as u64);
        let time: Duration = series.samples().iter().map(|sample| sample.interval).sum();
        prop_assert_eq!(time, Duration::from_secs(intervals.len() as u64));
        prop_assert_eq!(series.samples().last().unwrap().at, at(intervals.len() as u64));
    }
}

#[test]
fn faults_are_numbered_as_they_are_listed() {
    for (place, fault) in Fault::ALL.iter().enumerate() {
        assert_eq!(*fault as usize, place);
    }
}

#[test]
fn merged_rows_keep_the_last_gauge_and_the_peaks_of_queues() {
    let mut series = Series::new(2, None);
    let lengths = |min, p99, max| Some(QueueLengths { min, median: 5, p99, max });
    let rows = [(10, lengths(3, 8, 90)), (20, lengths(1, 9, 40)), (30, None), (40, None)];
    for (second, (running, queues)) in (1..).zip(rows) {
        series.sample(at(second), &Gauges { running, queues, ..Gauges::default() });
    }
    let rows = series.samples();
    assert_eq!(rows.iter().map(|row| row.at).collect::<Vec<_>>(), [at(2), at(4)]);
    let values = |column| rows.iter().map(|row| row.value(column)).collect::<Vec<_>>();
    assert_eq!(values(Column::Running), [Some(20.0), Some(40.0)]);
    assert_eq!(values(Column::QueueMin), [Some(1.0), None]);
    assert_eq!(values(Column::QueueP99), [Some(9.0), None]);
    assert_eq!(values(Column::QueueMax), [Some(90.0), None]);
}

#[test]
fn what_was_received_and_not_queued_was_coalesced_even_across_a_sample() {
    let mut series = Series::new(8, None);
    let received = Observed::Received { from: None, sender: None, message: None };
    series.see(&seen(1, received));
    series.sample(at(1), &Gauges::default());
    series.see(&seen(1, queued(Origin::Peer)));
    series.see(&seen(2, received));
    series.see(&seen(2, received));
    series.see(&seen(2, queued(Origin::Peer)));
    series.see(&seen(2, queued(Origin::Local)));
    series.sample(at(2), &Gauges::default());
    let coalesced: Vec<_> = series.samples().iter().map(|s| s.value(Column::Coalesced)).collect();
    assert_eq!(coalesced, [Some(1.0), Some(0.0)]);
    assert_eq!(series.total(Column::Coalesced), 1);
}

#[test]
fn derived_gauges() {
    let mut series = Series::new(8, None);
    for _ in 0..10 {
        series.see(&seen(1, Observed::Enqueued { message: MessageId(0) }));
    }
    let gauges = Gauges {
        running: 5,
        pairs_alive: 15,
        messages: 7,
        in_doubt: 1,
        copies: 9,
        waiting: 8,
        ..Gauges::default()
    };
    series.sample(at(2), &gauges);
    let row = &series.samples()[0];
    assert_eq!(row.value(Column::Discovery), Some(0.75));
    assert_eq!(row.value(Column::Surplus), Some(2.0));
    assert_eq!(row.value(Column::Lost), Some(2.0));
    assert_eq!(row.value(Column::QueueMean), Some(1.6));
    assert_eq!((row.value(Column::Enqueued), row.rate(Column::Enqueued)), (Some(10.0), Some(5.0)));
}

#[test]
fn a_second_look_at_the_same_moment_is_no_row_of_its_own() {
    let mut series = Series::new(8, None);
    let enqueue = |series: &mut Series| {
        series.see(&seen(1, Observed::Enqueued { message: MessageId(0) }));
    };
    enqueue(&mut series);
    series.sample(at(2), &Gauges { running: 3, ..Gauges::default() });
    enqueue(&mut series);
    series.sample(at(2), &Gauges { running: 4, ..Gauges::default() });
    let [row] = series.samples() else { panic!("{:?}", series.samples()) };
    assert_eq!((row.value(Column::Running), row.rate(Column::Enqueued)), (Some(4.0), Some(1.0)));
    assert_eq!(series.total(Column::Enqueued), 2);
}

#[test]
fn what_cannot_be_known_is_unknown() {
    let mut series = Series::new(8, None);
    series.sample(at(0), &Gauges { running: 1, ..Gauges::default() });
    series.sample(at(1), &Gauges::default());
    let [first, second] = series.samples() else { panic!("two rows") };
    assert_eq!(first.value(Column::Discovery), None);
    assert_eq!(first.rate(Column::HandOvers), None);
    assert_eq!(second.value(Column::QueueMean), None);
    assert_eq!(second.rate(Column::HandOvers), Some(0.0));
}

#[test]
fn overlapping_partitions_are_one_span() {
    let mut series = Series::new(8, Some(at(50)));
    let steps = [
        (1, Fault::Partition),
        (2, Fault::Partition),
        (3, Fault::Heal),
        (4, Fault::Heal),
        (5, Fault::Heal),
        (6, Fault::Partition),
    ];
    for (second, what) in steps {
        series.see(&fault(second, what));
    }
    let spans = [Span { from: at(1), until: Some(at(4)) }, Span { from: at(6), until: None }];
    assert_eq!(series.partitions(), spans);
    assert_eq!(series.calm_from(), Some(at(50)));
    assert_eq!(series.marks().len(), 6);
}

#[test]
fn marks_are_for_what_the_scenario_does_and_are_bounded() {
    let mut series = Series::new(8, None);
    for faults in [Fault::Refused, Fault::Broken, Fault::Corrupted, Fault::Parted] {
        series.see(&fault(1, faults));
    }
    assert!(series.marks().is_empty());
    for _ in 0..Series::MAX_MARKS + 3 {
        series.see(&fault(1, Fault::Crash));
    }
    assert_eq!((series.marks().len(), series.marks_left_out()), (Series::MAX_MARKS, 3));
    for second in 0..Series::MAX_PARTITIONS as u64 + 2 {
        series.see(&fault(second, Fault::Partition));
        series.see(&fault(second, Fault::Heal));
    }
    assert_eq!(series.partitions().len(), Series::MAX_PARTITIONS);
    assert_eq!(series.partitions_left_out(), 2);
}
