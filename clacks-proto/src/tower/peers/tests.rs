use super::*;
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
    load: u32,
    is_full: bool,
    is_resting: bool,
    has_link: bool,
    pin: Option<usize>,
    /// When it died, in steps.
    died: usize,
}

impl Known {
    fn is_eligible(&self) -> bool {
        match self.status {
            Status::Ignored => false,
            Status::Alive => !self.is_resting && !self.is_full,
            Status::New | Status::Lost | Status::Dead => !self.is_resting && self.load == 0,
        }
    }

    fn is_probe(&self) -> bool {
        self.load > 0 && !matches!(self.status, Status::Alive | Status::Ignored)
    }
}

fn ids<'a>(known: impl Iterator<Item = &'a Known>) -> BTreeSet<PeerId> {
    known.map(|known| known.id).collect()
}

proptest! {
    #[test]
    fn a_table_does_as_a_naive_one(
        steps in proptest::collection::vec((0u8..9, 0usize..10, 0usize..5), 0..200),
    ) {
        let mut peers = Peers::new(5, PeerDigest::for_tests());
        let mut model: Vec<Known> = Vec::new();
        let mut gone: Vec<PeerId> = Vec::new();
        for (now, (step, place, number)) in steps.into_iter().enumerate() {
            let status = STATUSES[number];
            let unknown = model.iter().all(|known| known.number != place);
            let taken = model.iter().any(|known| known.pin == Some(number));
            match (step, model.get_mut(place)) {
                (0 | 1, _) if unknown => {
                    let free = |k: &&Known| k.status == Status::Dead && k.load == 0 && !k.has_link;
                    let oldest = model.iter().filter(free).min_by_key(|known| known.died);
                    let oldest = oldest.filter(|_| model.len() == 5).map(|known| known.id);
                    let inserted = peers.insert(address(place), status, Instant::ORIGIN);
                    if model.len() == 5 && oldest.is_none() {
                        prop_assert_eq!(inserted, Err(TableFull));
                    } else {
                        let (id, forgotten) = inserted.unwrap();
                        prop_assert_eq!(forgotten, oldest);
                        model.retain(|known| Some(known.id) != oldest);
                        gone.extend(oldest);
                        prop_assert!(!gone.contains(&id), "an old id again");
                        model.push(Known {
                            id, number: place, status, load: 0, is_full: false, is_resting: false,
                            has_link: false, pin: None, died: now,
                        });
                    }
                }
                (2 | 3, Some(known)) => {
                    let before = peers.change(known.id, |peer| peer.status = status);
                    prop_assert_eq!(before, Some(known.status));
                    if known.status != status {
                        (known.status, known.died) = (status, now);
                    }
                }
                (4, Some(known)) => {
                    known.load = u32::try_from(number).unwrap() / 2;
                    peers.change(known.id, |peer| peer.load = known.load);
                }
                (5, Some(known)) => {
                    (known.is_full, known.has_link) = (number % 2 == 0, number > 2);
                    let link = known.has_link.then_some(LinkId { index: 0, epoch: Epoch::FIRST });
                    peers.change(known.id, |peer| (peer.is_full, peer.link) = (known.is_full, link));
                }
                (6, Some(known)) if number == 0 => {
                    known.is_resting = false;
                    peers.rested(known.id.index);
                }
                (6, Some(known)) => {
                    known.is_resting = true;
                    peers.change(known.id, |peer| peer.is_resting = true);
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
                _ => {}
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
            let indexed = peers.pins.as_ref().map_or(0, |pins| pins.by_pin.len());
            prop_assert_eq!(indexed, model.iter().filter(|known| known.pin.is_some()).count());
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
            let standing = Standing {
                new: count(Status::New),
                alive: count(Status::Alive),
                lost: count(Status::Lost),
                dead: count(Status::Dead),
                ignored: count(Status::Ignored),
            };
            prop_assert_eq!(peers.standing(), standing);

            let alive = ids(model.iter().filter(|known| known.status == Status::Alive));
            prop_assert_eq!(peers.alive_count() as usize, alive.len());
            for except in model.iter().map(|known| Some(known.id)).chain([None]) {
                let mut others = alive.clone();
                except.into_iter().for_each(|id| _ = others.remove(&id));
                let count = u32::try_from(others.len()).unwrap();
                let drawn: BTreeSet<_> = (0..count).filter_map(|n| peers.alive_peer(n, except)).collect();
                prop_assert_eq!(drawn, others);
            }
            let mut dead: Vec<_> = model.iter().filter(|known| known.status == Status::Dead).collect();
            dead.sort_by_key(|known| known.died);
            let dead: Vec<_> = dead.into_iter().map(|known| known.id.index).collect();
            prop_assert_eq!(peers.dead().collect::<Vec<_>>(), dead, "the longest dead first");
            for id in &gone {
                prop_assert!(peers.get(*id).is_none());
                prop_assert_eq!(peers.change(*id, |peer| peer.load = 9), None);
                peers.set_pin(*id, Some(pin(9)));
                prop_assert_eq!(peers.find_pin(&pin(9)), None);
            }
        }
    }
}

#[test]
fn what_was_taken_belongs_to_one_incarnation_and_is_not_held_empty() {
    let mut peers = Peers::new(1, PeerDigest::for_tests());
    let (id, _) = peers.insert(address(1), Status::Alive, Instant::ORIGIN).unwrap();
    let link = LinkId { index: 0, epoch: Epoch::FIRST };
    let remember = |peers: &mut Peers, incarnation, transfer| {
        peers.with_taken(id, incarnation, |taken| {
            taken.remember(transfer, link, Instant::ORIGIN, 4);
        });
    };
    let recalls = |peers: &Peers| -> Vec<u64> {
        let taken = peers.get(id).unwrap().taken.as_ref();
        (0..10).filter(|transfer| taken.is_some_and(|taken| taken.recalls(*transfer))).collect()
    };
    (1..3).for_each(|transfer| remember(&mut peers, 7, transfer));
    assert_eq!(recalls(&peers), [1, 2]);
    remember(&mut peers, 8, 9);
    assert_eq!(recalls(&peers), [9], "another incarnation numbers anew");
    peers.trim_taken(id.index, |taken| taken.forget_link(link));
    assert!(peers.get(id).unwrap().taken.is_none());
}

#[test]
fn another_key_is_remembered_beside_a_pinned_one_until_that_changes() {
    let mut peers = Peers::new(9, PeerDigest::for_tests());
    let [one, other] =
        [1, 2].map(|n| peers.insert(address(n), Status::Alive, Instant::ORIGIN).unwrap().0);
    peers.set_other_key(one, pin(2));
    assert_eq!(peers.other_key(one), None, "nothing is pinned");
    peers.set_pin(one, Some(pin(1)));
    peers.set_other_key(one, pin(2));
    assert_eq!((peers.pin(one), peers.other_key(one)), (Some(pin(1)), Some(pin(2))));
    assert_eq!(peers.other_key(other), None);
    peers.set_pin(one, Some(pin(3)));
    assert_eq!(peers.other_key(one), None);
}

#[test]
fn whoever_looks_after_all_places_comes_to_each_and_begins_anew() {
    let mut peers = Peers::new(9, PeerDigest::for_tests());
    (0..3).for_each(|n| _ = peers.insert(address(n), Status::Alive, Instant::ORIGIN).unwrap());
    let places = core::iter::successors(Some(0), |place| Some(peers.next_place(*place)));
    assert_eq!(places.take(6).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1], "one past the end");
}

/// Debug builds ask for it after every change.
#[test]
fn lists_that_are_wrong_are_found() {
    let wrong = |spoil: fn(&mut Peers)| {
        let mut peers = Peers::new(9, PeerDigest::for_tests());
        for (number, status) in (0..).zip(STATUSES) {
            peers.insert(address(number), status, Instant::ORIGIN).unwrap();
        }
        assert!(peers.lists_are_right());
        spoil(&mut peers);
        assert!(!peers.lists_are_right());
    };
    wrong(|peers| peers.probes += 1);
    wrong(|peers| peers.standing.alive += 1);
    wrong(|peers| peers.alive.push(0));
    wrong(|peers| peers.alive[0] = 0);
    wrong(|peers| peers.eligible[0].push(0));
    wrong(|peers| peers.eligible[2][0] = 0);
    wrong(|peers| peers.oldest_dead = NOWHERE);
}
