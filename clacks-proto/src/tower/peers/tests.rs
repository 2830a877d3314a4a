use super::*;
use crate::ids::Epoch;
use alloc::collections::BTreeSet;
use proptest::prelude::*;

const STATUSES: [Status; 5] =
    [Status::New, Status::Alive, Status::Lost, Status::Dead, Status::Ignored];

fn address(number: usize) -> Address {
    Address::new("127.0.0.1", 8_000 + u16::try_from(number).unwrap()).unwrap()
}

fn pin(number: usize) -> Fingerprint {
    Fingerprint([u8::try_from(number).unwrap(); 32])
}

/// One peer of the model.
#[derive(Clone, Debug)]
struct Known {
    id: PeerId,
    number: usize,
    status: Status,
    busy: u16,
    is_full: bool,
    is_resting: bool,
    has_link: bool,
    pin: Option<usize>,
    is_named: bool,
    was_alive: bool,
    /// The list of peers to be forgotten, and since which step.
    listed: (Option<usize>, usize),
}

impl Known {
    fn is_eligible(&self) -> bool {
        match self.status {
            Status::Ignored => false,
            Status::Alive => !self.is_resting && !self.is_full,
            Status::New | Status::Lost | Status::Dead => !self.is_resting && self.busy == 0,
        }
    }

    /// The lists in their order: never alive, dead, lost, alive.
    fn list(&self, newcomers: Newcomers) -> Option<usize> {
        let is_free = self.busy == 0 && !self.has_link && self.status != Status::Ignored;
        let list = match self.status {
            _ if newcomers == Newcomers::ReplaceDead => {
                Some(1).filter(|_| self.status == Status::Dead)
            }
            _ if self.is_named => None,
            _ if !self.was_alive => Some(0),
            Status::Dead => Some(1),
            Status::Lost => Some(2),
            _ => Some(3),
        };
        list.filter(|_| is_free)
    }

    fn is_probe(&self) -> bool {
        self.busy > 0 && !matches!(self.status, Status::Alive | Status::Ignored)
    }
}

fn ids<'a>(known: impl Iterator<Item = &'a Known>) -> BTreeSet<PeerId> {
    known.map(|known| known.id).collect()
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn a_table_does_as_a_naive_one(
        steps in proptest::collection::vec((0u8..10, 0usize..10, 0usize..5), 0..200),
        makes_room in any::<bool>(),
    ) {
        let newcomers = if makes_room { Newcomers::MakeRoom } else { Newcomers::ReplaceDead };
        let mut peers = Peers::new(5, newcomers, Hasher::default());
        let mut model: Vec<Known> = Vec::new();
        let mut gone: Vec<PeerId> = Vec::new();
        for (now, (step, place, number)) in steps.into_iter().enumerate() {
            let status = STATUSES[number];
            let unknown = model.iter().all(|known| known.number != place);
            let taken = model.iter().any(|known| known.pin == Some(number));
            match (step, model.get_mut(place)) {
                (0 | 1, _) if unknown => {
                    let free = |known: &&Known| known.listed.0.is_some();
                    let oldest = model.iter().filter(free).min_by_key(|known| known.listed);
                    let oldest = oldest.filter(|_| model.len() == 5).map(|known| known.id);
                    let inserted = peers.insert(address(place), status, Instant::ORIGIN);
                    if model.len() == 5 && oldest.is_none() {
                        prop_assert!(inserted.is_err());
                    } else {
                        let (id, forgotten) = inserted.unwrap();
                        prop_assert_eq!(forgotten.map(|(id, _)| id), oldest);
                        model.retain(|known| Some(known.id) != oldest);
                        gone.extend(oldest);
                        prop_assert!(!gone.contains(&id), "an old id again");
                        model.push(Known {
                            id, number: place, status, busy: 0, is_full: false, is_resting: false,
                            has_link: false, pin: None, is_named: false, was_alive: false,
                            listed: (None, now),
                        });
                    }
                }
                (2 | 3, Some(known)) => {
                    known.was_alive |= status == Status::Alive;
                    let before = peers.update(known.id, |peer| {
                        (peer.status, peer.was_alive) = (status, known.was_alive);
                    });
                    prop_assert_eq!(before, Some(known.status));
                    known.status = status;
                }
                (4, Some(known)) => {
                    known.busy = u16::try_from(number).unwrap() / 2;
                    peers.update(known.id, |peer| peer.busy_links = known.busy);
                }
                (5, Some(known)) => {
                    (known.is_full, known.has_link) = (number % 2 == 0, number > 2);
                    let link = LinkId { index: 0, epoch: Epoch::FIRST };
                    match known.has_link {
                        true => peers.add_link(known.id, link),
                        false => peers.remove_link(known.id, link),
                    }
                    peers.update(known.id, |peer| peer.is_full = known.is_full);
                }
                (6, Some(known)) if number == 0 => {
                    known.is_resting = false;
                    peers.on_backoff_over(known.id.index);
                }
                (6, Some(known)) => {
                    known.is_resting = true;
                    peers.update(known.id, |peer| peer.is_resting = true);
                }
                (7, Some(known)) if number == 0 || !taken => {
                    known.pin = Some(number).filter(|number| *number > 0);
                    peers.set_pin(known.id, known.pin.map(pin));
                }
                (8, Some(known)) => {
                    let id = known.id;
                    peers.remove(id);
                    gone.push(id);
                    model.retain(|known| known.id != id);
                }
                (9, Some(known)) => {
                    known.is_named = number > 2;
                    peers.update(known.id, |peer| peer.is_named = known.is_named);
                }
                _ => {}
            }
            for known in &mut model {
                let list = known.list(newcomers);
                if list != known.listed.0 {
                    known.listed = (list, now);
                }
            }

            prop_assert_eq!(peers.len(), model.len());
            prop_assert_eq!(peers.iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), ids(model.iter()));
            for number in 0..10 {
                let known = model.iter().find(|known| known.number == number);
                prop_assert_eq!(peers.find(&address(number)), known.map(|known| known.id));
            }
            for number in 1..5 {
                let known = model.iter().find(|known| known.pin == Some(number));
                prop_assert_eq!(peers.find_pin(&pin(number)), known.map(|known| known.id));
            }
            prop_assert_eq!(peers.pins.as_ref().map_or(0, |pins| pins.by_key.len()), model.iter().filter(|known| known.pin.is_some()).count());
            let all = peers.eligible(usize::MAX);
            let counts = [all.new, all.alive, all.lost, all.dead];
            for (status, count) in STATUSES.into_iter().zip(counts) {
                let drawn: BTreeSet<_> = (0..count).filter_map(|n| peers.eligible_at(status, n)).filter_map(|index| peers.id(index)).collect();
                let expected = ids(model.iter().filter(|k| k.status == status && k.is_eligible()));
                prop_assert_eq!(drawn.len(), count as usize, "each once");
                prop_assert_eq!(drawn, expected);
                prop_assert_eq!(peers.eligible_at(status, count), None);
            }
            let probes = model.iter().filter(|known| known.is_probe()).count();
            let only_alive = Eligible { alive: all.alive, ..Eligible::default() };
            prop_assert_eq!(peers.eligible(probes), only_alive);
            prop_assert_eq!(peers.eligible(probes + 1), all);

            let count = |status| {
                let all = model.iter().filter(|known| known.status == status).count();
                u32::try_from(all).unwrap()
            };
            let counts = StatusCounts {
                new: count(Status::New),
                alive: count(Status::Alive),
                lost: count(Status::Lost),
                dead: count(Status::Dead),
                ignored: count(Status::Ignored),
            };
            prop_assert_eq!(peers.counts(), counts);

            let alive = ids(model.iter().filter(|known| known.status == Status::Alive));
            for except in model.iter().map(|known| Some(known.id)).chain([None]) {
                let mut others = alive.clone();
                except.into_iter().for_each(|id| _ = others.remove(&id));
                let drawn: BTreeSet<_> = (0..u32::try_from(others.len()).unwrap())
                    .filter_map(|n| peers.draw_alive(except, |count| n.min(count - 1)))
                    .filter_map(|peer| peers.find(&peer.address))
                    .collect();
                let mut told = None;
                peers.draw_alive(except, |count| *told.insert(count) - 1);
                prop_assert_eq!(told.unwrap_or(0) as usize, others.len());
                prop_assert_eq!(drawn, others);
            }
            for list in 0..4 {
                let mut listed: Vec<_> =
                    model.iter().filter(|known| known.listed.0 == Some(list)).collect();
                listed.sort_by_key(|known| known.listed);
                let listed: Vec<_> = listed.into_iter().map(|known| known.id.index).collect();
                let found: Vec<_> = peers.evictable.iter(list).collect();
                prop_assert_eq!(found, listed, "the first one is forgotten first");
            }
            for id in &gone {
                prop_assert!(peers.get(*id).is_none());
                prop_assert_eq!(peers.update(*id, |peer| peer.busy_links = 9), None);
                peers.set_pin(*id, Some(pin(9)));
                prop_assert_eq!(peers.find_pin(&pin(9)), None);
            }
        }
    }
}

#[test]
fn lists_that_are_wrong_are_found() {
    let wrong = |spoil: fn(&mut Peers)| {
        let mut peers = Peers::new(9, Newcomers::MakeRoom, Hasher::default());
        for (number, status) in (0..).zip(STATUSES) {
            peers.insert(address(number), status, Instant::ORIGIN).unwrap();
        }
        assert!(peers.lists_are_right());
        spoil(&mut peers);
        assert!(!peers.lists_are_right());
    };
    wrong(|peers| peers.probes += 1);
    wrong(|peers| peers.counts.alive += 1);
    wrong(|peers| peers.alive.push(0));
    wrong(|peers| peers.alive[0] = 0);
    wrong(|peers| peers.eligible[0].insert(0, Reach::Dialled, |_, _| ()));
    wrong(|peers| peers.eligible[2].remove(0, |_, _| ()));
    wrong(|peers| _ = peers.evictable.front(0).map(|index| peers.evictable.remove(0, index)));
}
