//! The ways of messages, the lives of towers and the partitions of a small network, for its map.

use clacks_proto::Instant;

use super::underway::{Journey, Underway};
use crate::observation::{MessageId, Observation, Observed, TowerId};

/// Who handed what to whom, who was up, and who was parted from whom.
///
/// Memory is bounded. When there are too many flights, every second one is dropped, and from then on only each second one is kept,
/// again and again: what stays is spread evenly over the run's hand-overs. When there are too many turns or partings, the later ones are
/// left out, and [`turns_left_out`](Self::turns_left_out) and [`partings_left_out`](Self::partings_left_out) say how many.
#[derive(Clone, Debug)]
pub struct Flights {
    towers: u32,
    capacity: usize,
    flights: Vec<Flight>,
    underway: Underway,
    /// Each so many-th hand-over is kept.
    stride: u64,
    seen: u64,
    turns: Vec<Turn>,
    turns_left_out: u64,
    partings: Vec<Parting>,
    partings_left_out: u64,
}

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// From whom.
    pub from: TowerId,
    /// To whom.
    pub to: TowerId,
    /// Which; `None` is none of this run's.
    pub message: Option<MessageId>,
    /// When it was sent.
    pub departs: Instant,
    /// When it arrives, if it does.
    pub arrives: Instant,
    /// When it stopped on its way, since its connection ended. Of what never arrived on one that had fallen silent nobody knows when: it is half-way then.
    pub broke: Option<Instant>,
}

/// A turn in a tower's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: Instant,
    /// Whose.
    pub tower: TowerId,
    /// How it is from then on.
    pub state: State,
}

/// How a tower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// Its process is stopped.
    Paused,
    /// It is about to leave, and hands its queue to others.
    Leaving,
    /// It has died, has left, or has not come up yet.
    Down,
}

/// Some towers parted from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The number of the partition.
    pub id: u32,
    /// From when.
    pub from: Instant,
    /// Until when; `None` is the end of the run.
    pub until: Option<Instant>,
    /// Who is on one side, in ascending order.
    pub inside: Vec<TowerId>,
}

impl Flights {
    /// The largest network of which a map still shows something.
    pub const MAX_TOWERS: u32 = 400;

    /// How many flights are kept unless told otherwise: about 3 MB in a report.
    pub const DEFAULT_CAPACITY: usize = 50_000;

    /// How many turns are kept.
    pub const MAX_TURNS: usize = 50_000;

    /// How many partings are kept.
    pub const MAX_PARTINGS: usize = 256;

    /// An empty record of at most `capacity` flights (at least 2) for a network of so many towers; `None` when it has too many to show.
    #[must_use]
    pub fn new(towers: u32, capacity: usize) -> Option<Self> {
        (towers <= Self::MAX_TOWERS).then(|| Self {
            towers,
            capacity: capacity.max(2),
            flights: Vec::new(),
            underway: Underway::new(towers),
            stride: 1,
            seen: 0,
            turns: Vec::new(),
            turns_left_out: 0,
            partings: Vec::new(),
            partings_left_out: 0,
        })
    }

    /// Takes in something that happened.
    pub fn see(&mut self, observation: &Observation) {
        let Some(tower) = observation.tower else { return };
        let at = observation.at;
        match observation.what {
            Observed::HandedOver { to, message, arrives, .. } => {
                let broke = None;
                self.fly(Flight { from: tower, to, message, departs: at, arrives, broke });
            }
            Observed::Started { .. } | Observed::Resumed => self.turn(at, tower, State::Running),
            Observed::Paused => self.turn(at, tower, State::Paused),
            Observed::Leaving => self.turn(at, tower, State::Leaving),
            Observed::Crashed | Observed::Left { .. } => self.turn(at, tower, State::Down),
            _ => {}
        }
        let (flights, stride) = (&mut self.flights, self.stride);
        self.underway.see(observation, |number, broke| {
            let place = usize::try_from(number / stride).ok();
            let flight = place.and_then(|place| flights.get_mut(place));
            if let Some(flight) = flight.filter(|_| number.is_multiple_of(stride)) {
                flight.broke = broke;
            }
        });
    }

    /// The network is parted: these towers, in ascending order, from the others.
    pub fn part(&mut self, at: Instant, id: u32, inside: Vec<TowerId>) {
        if self.partings.len() < Self::MAX_PARTINGS {
            self.partings.push(Parting { id, from: at, until: None, inside });
        } else {
            self.partings_left_out += 1;
        }
    }

    /// The partition with this number heals. Nothing changes when there is none.
    pub fn heal(&mut self, at: Instant, id: u32) {
        let mut open = self.partings.iter_mut().rev();
        if let Some(parting) = open.find(|parting| parting.id == id && parting.until.is_none()) {
            parting.until = Some(at);
        }
    }

    /// How many towers there are, up or not.
    #[must_use]
    pub fn towers(&self) -> u32 {
        self.towers
    }

    /// The flights, in the order of their departures.
    #[must_use]
    pub fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// One of how many hand-overs is kept.
    #[must_use]
    pub fn one_of(&self) -> u64 {
        self.stride
    }

    /// How many hand-overs there were.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The turns in towers' lives, in the order of time. Before its first one a tower is down.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// How many turns had no room.
    #[must_use]
    pub fn turns_left_out(&self) -> u64 {
        self.turns_left_out
    }

    /// The partitions, in the order of time.
    #[must_use]
    pub fn partings(&self) -> &[Parting] {
        &self.partings
    }

    /// How many partitions had no room.
    #[must_use]
    pub fn partings_left_out(&self) -> u64 {
        self.partings_left_out
    }

    fn fly(&mut self, flight: Flight) {
        let number = self.seen;
        self.seen += 1;
        if !number.is_multiple_of(self.stride) {
            return;
        }
        if self.flights.len() >= self.capacity {
            // The hand-overs 0, stride, 2 stride, ... are here: of those every second one stays.
            let mut place = 0_usize;
            self.flights.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride = self.stride.saturating_mul(2);
            self.underway.keep(|number| number.is_multiple_of(self.stride));
            if !number.is_multiple_of(self.stride) {
                return;
            }
        }
        self.flights.push(flight);
        let Flight { from, message, departs, arrives, .. } = flight;
        let journey = Journey { number, from, message, departs, arrives, is_broken: false };
        self.underway.depart(flight.to, journey);
    }

    fn turn(&mut self, at: Instant, tower: TowerId, state: State) {
        if self.turns.len() < Self::MAX_TURNS {
            self.turns.push(Turn { at, tower, state });
        } else {
            self.turns_left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clacks_proto::wire::Attempt;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn hand_over(number: u32) -> Observation {
        let departs = at(number.into());
        let arrives = departs + Duration::from_millis(40);
        let message = Some(MessageId(number));
        let attempt = Attempt::First;
        let what = Observed::HandedOver { to: TowerId(1), message, attempt, arrives };
        Observation { at: departs, tower: Some(TowerId(0)), what }
    }

    #[test]
    fn a_full_record_keeps_every_so_many_th_flight_from_the_first_on() {
        for capacity in [2, 3, 8, 50] {
            let mut flights = Flights::new(2, capacity).unwrap();
            for number in 0..1_000 {
                flights.see(&hand_over(number));
                let kept = flights.flights().iter().map(|flight| flight.message.unwrap().0);
                let one_of = usize::try_from(flights.one_of()).unwrap();
                let expected: Vec<_> = (0..=number).step_by(one_of).collect();
                assert_eq!(kept.collect::<Vec<_>>(), expected, "{capacity}");
                assert!(expected.len() <= capacity);
                assert!(flights.underway.len() <= expected.len(), "none of them has arrived");
            }
            assert_eq!(flights.seen(), 1_000);
        }
    }

    /// Tower 0 sends tower 1 a message at 0 ms that arrives at 40 ms, and then this happens. When did it break?
    fn broke(then: &[(u64, u32, Observed)]) -> Option<Instant> {
        let mut flights = Flights::new(4, 10).unwrap();
        flights.see(&hand_over(0));
        for (millis, tower, what) in then {
            flights.see(&Observation {
                at: at(*millis),
                tower: Some(TowerId(*tower)),
                what: *what,
            });
        }
        flights.flights()[0].broke
    }

    const ARRIVED: Observed = Observed::Arrived { from: TowerId(0), bytes: 100 };
    const TAKEN: Observed = Observed::Received {
        from: Some(TowerId(0)),
        sender: Some(TowerId(0)),
        message: Some(MessageId(0)),
    };
    const BROKE_THERE: Observed = Observed::Broke { with: TowerId(0) };
    const BROKE_HERE: Observed = Observed::Broke { with: TowerId(1) };
    const CLOSED_HERE: Observed = Observed::Closed { with: Some(TowerId(1)) };

    #[test]
    fn a_flight_ends_where_its_connection_does() {
        assert_eq!(broke(&[]), None);
        assert_eq!(broke(&[(40, 1, ARRIVED)]), None);
        for (tower, what) in [(0, BROKE_HERE), (1, BROKE_THERE), (1, Observed::Crashed)] {
            assert_eq!(broke(&[(10, tower, what)]), Some(at(10)), "{what:?}");
            assert_eq!(broke(&[(40, 1, ARRIVED), (50, tower, what)]), None, "{what:?}");
            assert_eq!(broke(&[(10, tower, what), (50, 0, BROKE_HERE)]), Some(at(10)));
        }
        // That of others does not matter, and neither what its sender does when it is on its way.
        let strangers =
            [(2, BROKE_HERE), (1, Observed::Broke { with: TowerId(2) }), (3, Observed::Crashed)];
        for (tower, what) in strangers.into_iter().chain([(0, CLOSED_HERE), (0, Observed::Crashed)])
        {
            assert_eq!(broke(&[(10, tower, what), (40, 1, ARRIVED)]), None, "{what:?}");
        }
    }

    #[test]
    fn what_arrives_all_the_same_was_on_another_connection() {
        assert_eq!(broke(&[(10, 0, BROKE_HERE), (40, 1, ARRIVED)]), None);
        assert_eq!(broke(&[(10, 0, BROKE_HERE), (60, 1, ARRIVED)]), Some(at(10)), "a later one");
        assert_eq!(broke(&[(60, 1, ARRIVED)]), None, "it waited for room on the path");
    }

    #[test]
    fn what_fell_silent_is_somewhere_on_the_way() {
        assert_eq!(broke(&[(9_000, 0, CLOSED_HERE)]), Some(at(20)));
        assert_eq!(broke(&[(9_000, 0, BROKE_HERE)]), Some(at(20)));
    }

    #[test]
    fn a_connection_breaks_in_the_middle_of_a_message() {
        assert_eq!(broke(&[(40, 1, ARRIVED), (40, 1, BROKE_THERE)]), Some(at(40)));
        assert_eq!(broke(&[(40, 1, ARRIVED), (40, 0, BROKE_HERE)]), Some(at(40)));
        assert_eq!(broke(&[(40, 1, ARRIVED), (40, 1, TAKEN), (40, 1, BROKE_THERE)]), None);
        let other = [(40, 1, ARRIVED), (40, 1, BROKE_THERE), (40, 1, TAKEN)];
        assert_eq!(broke(&other), None, "it was on another connection");
        assert_eq!(broke(&[(40, 1, ARRIVED), (41, 1, BROKE_THERE)]), None, "it was refused");
    }

    #[test]
    fn what_comes_to_a_stopped_tower_waits_there() {
        let stopped = [(5, 1, Observed::Paused), (90, 0, BROKE_HERE)];
        assert_eq!(broke(&stopped), None);
        let goes_on = [(95, 1, Observed::Resumed), (95, 1, ARRIVED)];
        assert_eq!(broke(&[&stopped[..], &goes_on].concat()), None);
        assert_eq!(broke(&[stopped[0], (10, 0, BROKE_HERE), goes_on[0]]), Some(at(10)));
        assert_eq!(broke(&[stopped[0], (95, 1, Observed::Crashed)]), Some(at(20)));
    }

    #[test]
    fn the_right_flights_break_when_some_were_dropped() {
        let mut flights = Flights::new(2, 4).unwrap();
        for number in 0..30 {
            flights.see(&hand_over(number));
        }
        flights.see(&Observation { at: at(50), tower: Some(TowerId(1)), what: ARRIVED });
        flights.see(&Observation { at: at(60), tower: Some(TowerId(1)), what: BROKE_THERE });
        // Each that had not arrived by the arrival at 50 ms, which all until then share.
        let seen: Vec<_> = flights.flights().iter().map(|one| (one.departs, one.broke)).collect();
        let expected = [(0, None), (8, None), (16, Some(at(36))), (24, Some(at(60)))];
        assert_eq!(seen, expected.map(|(departs, broke)| (at(departs), broke)));
    }

    #[test]
    fn turns_and_partings_are_kept() {
        let mut flights = Flights::new(400, 10).unwrap();
        let tower = Some(TowerId(3));
        flights.see(&Observation { at: at(1), tower, what: Observed::Started { life: 0 } });
        flights.see(&Observation { at: at(2), tower, what: Observed::Paused });
        flights.see(&Observation { at: at(3), tower, what: Observed::Resumed });
        flights.see(&Observation { at: at(4), tower, what: Observed::Leaving });
        flights.see(&Observation { at: at(5), tower, what: Observed::Left { undelivered: 0 } });
        let states: Vec<_> = flights.turns().iter().map(|turn| turn.state).collect();
        use State::{Down, Leaving, Paused, Running};
        assert_eq!(states, [Running, Paused, Running, Leaving, Down]);

        flights.part(at(1), 7, vec![TowerId(0)]);
        flights.part(at(2), 8, vec![TowerId(1)]);
        flights.heal(at(3), 7);
        flights.heal(at(4), 99);
        let ends: Vec<_> = flights.partings().iter().map(|parting| parting.until).collect();
        assert_eq!(ends, [Some(at(3)), None]);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut flights = Flights::new(1, 10).unwrap();
        for _ in 0..=Flights::MAX_TURNS {
            flights.see(&Observation {
                at: at(0),
                tower: Some(TowerId(0)),
                what: Observed::Crashed,
            });
        }
        for id in 0..300 {
            flights.part(at(0), id, Vec::new());
        }
        assert_eq!((flights.turns().len(), flights.turns_left_out()), (Flights::MAX_TURNS, 1));
        assert_eq!((flights.partings().len(), flights.partings_left_out()), (256, 44));
    }

    #[test]
    fn a_large_network_has_no_map() {
        assert!(Flights::new(401, 10).is_none());
    }
}
