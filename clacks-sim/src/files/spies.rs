//! Spies: towers that follow the protocol, have the keep links of all files, and guess who puts and
//! gets each one.

use std::collections::{BTreeMap, BTreeSet};

use clacks_proto::Instant;
use clacks_store::protocol::{Body, Datagram};
use clacks_store::{ChunkKeys, Tag};

use super::recognition::Recognition;
use crate::observation::TowerId;
use crate::scenario::{Guess, JobKind};

/// The time within which a client checks a put after the last piece that a spy saw (guess).
const CHECK_WITHIN: u64 = 2_000_000_000;
/// Lists of a guest after a pause of this length are a new survey.
const PAUSE: u64 = 5_000_000_000;

/// What all spies together know of the requests that reached them.
#[derive(Debug)]
pub(super) struct Spies {
    recognition: Recognition,
    /// The requests for pieces of each file: those of puts, and those of gets.
    requests: Vec<[Requests; 2]>,
    /// The tower that asked each spy for its inventory last.
    listers: BTreeMap<TowerId, TowerId>,
    surveys: Surveys,
}

/// The neighbour that sent a request to a spy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) tower: TowerId,
    /// Guests pass on no requests of others.
    pub(super) is_guest: bool,
}

impl Spies {
    pub(super) fn new(keys: Vec<ChunkKeys>) -> Self {
        let requests = keys.iter().map(|_| <[Requests; 2]>::default()).collect();
        let recognition = Recognition::new(keys);
        let (listers, surveys) = (BTreeMap::new(), Surveys::default());
        Self { recognition, requests, listers, surveys }
    }

    /// Sees a datagram that reached a spy.
    pub(super) fn see(&mut self, spy: TowerId, from: Neighbour, datagram: &[u8], now: Instant) {
        let Ok(Datagram { body, .. }) = Datagram::decode(datagram) else { return };
        let (request, hops) = match body {
            Body::Relay { hops, inner, .. } => match Body::decode_inner(inner) {
                Ok(request) => (request, hops),
                Err(_) => return,
            },
            request => (request, 0),
        };
        match request {
            Body::List { .. } => {
                if hops == 0 {
                    self.listers.insert(spy, from.tower);
                }
                if from.is_guest {
                    self.surveys.on_list(spy, from.tower, now);
                }
            }
            Body::Publish(chunk) => {
                if let Some(tag) = chunk.first_chunk() {
                    self.see_piece(JobKind::Put, spy, from, hops, Tag::new(*tag), now);
                }
            }
            Body::Fetch(tags) => {
                for tag in tags.iter() {
                    self.see_piece(JobKind::Get, spy, from, hops, tag, now);
                }
            }
            _ => {}
        }
    }

    fn see_piece(
        &mut self,
        job: JobKind,
        spy: TowerId,
        from: Neighbour,
        hops: u8,
        tag: Tag,
        now: Instant,
    ) {
        let Some((file, piece)) = self.recognition.piece(tag) else { return };
        let requests = &mut self.requests[file as usize][place(job)];
        requests.see(from, hops, piece, now);
        if job == JobKind::Get
            && hops == 0
            && let Some(lister) = self.listers.get(&spy)
        {
            requests.of(*lister).takes_after_list += 1;
        }
    }

    /// Returns the guess about a job with a file, if there is one.
    pub(super) fn guess(&self, job: JobKind, file: usize, by: Guess) -> Option<TowerId> {
        let requests = &self.requests[file][place(job)];
        match by {
            Guess::Check => requests.guest().or_else(|| self.surveys.after(requests.last?)),
            _ => requests.guess(by),
        }
    }
}

fn place(job: JobKind) -> usize {
    match job {
        JobKind::Put => 0,
        JobKind::Get => 1,
    }
}

/// The requests for pieces of a file that reached spies.
#[derive(Debug, Default)]
struct Requests {
    by_neighbour: BTreeMap<TowerId, FromNeighbour>,
    last: Option<Instant>,
}

/// The requests for pieces of a file from one neighbour.
#[derive(Debug, Default)]
struct FromNeighbour {
    is_guest: bool,
    requests: u64,
    pieces: BTreeSet<u32>,
    /// The most hops that a request had to go. Zero if none was to be passed on.
    hops: u8,
    /// The pieces that were taken from a spy that this neighbour listed last.
    takes_after_list: u64,
}

impl Requests {
    fn of(&mut self, neighbour: TowerId) -> &mut FromNeighbour {
        self.by_neighbour.entry(neighbour).or_default()
    }

    fn see(&mut self, from: Neighbour, hops: u8, piece: u32, now: Instant) {
        self.last = Some(now);
        let seen = self.of(from.tower);
        seen.is_guest |= from.is_guest;
        seen.requests += 1;
        seen.pieces.insert(piece);
        seen.hops = seen.hops.max(hops);
    }

    /// Returns the guest that sent the most requests. It has no requests but its own.
    fn guest(&self) -> Option<TowerId> {
        let guests = self.by_neighbour.iter().filter(|(_, seen)| seen.is_guest);
        guests.max_by_key(|(_, seen)| seen.requests).map(|(guest, _)| *guest)
    }

    fn guess(&self, by: Guess) -> Option<TowerId> {
        let key = |seen: &FromNeighbour| match by {
            Guess::Requests => (seen.requests, 0),
            Guess::Pieces => (seen.pieces.len() as u64, seen.requests),
            Guess::Lister => (seen.takes_after_list, 0),
            Guess::Hops | Guess::Check => (u64::from(seen.hops), seen.requests),
        };
        if by == Guess::Hops
            && let Some(guest) = self.guest()
        {
            return Some(guest);
        }
        let all = self.by_neighbour.iter().map(|(neighbour, seen)| (key(seen), *neighbour));
        let (key, best) = all.max()?;
        (key.0 > 0).then_some(best)
    }
}

/// The surveys of guests of which a spy is the first hop: when each one began.
#[derive(Debug, Default)]
struct Surveys {
    began: BTreeMap<Instant, TowerId>,
    /// When each guest asked a spy for an inventory last.
    last: BTreeMap<(TowerId, TowerId), Instant>,
}

impl Surveys {
    fn on_list(&mut self, spy: TowerId, guest: TowerId, now: Instant) {
        let last = self.last.insert((spy, guest), now);
        if last.is_none_or(|last| now.duration_since(last).as_nanos() >= u128::from(PAUSE)) {
            self.began.insert(now, guest);
        }
    }

    /// Returns the guest that began a survey first after a time.
    fn after(&self, time: Instant) -> Option<TowerId> {
        let (at, guest) = self.began.range(time..).next()?;
        (at.as_nanos() - time.as_nanos() <= CHECK_WITHIN).then_some(*guest)
    }
}

#[cfg(test)]
mod tests {
    use clacks_store::protocol::Tags;
    use clacks_store::{Path, SHARD, Secret, seal};

    use super::*;

    const SPY: TowerId = TowerId(0);
    const GUEST: TowerId = TowerId(100);

    fn tower(number: u32) -> Neighbour {
        Neighbour { tower: TowerId(number), is_guest: false }
    }

    fn guest() -> Neighbour {
        Neighbour { tower: GUEST, is_guest: true }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn each_guess_names_the_neighbour_with_the_most() {
        let mut requests = Requests::default();
        assert_eq!(requests.guess(Guess::Requests), None);
        // The end of the stem scatters each piece, and one of them again and again.
        (0..5).for_each(|_| requests.see(tower(1), 0, 7, at(1)));
        // Two relays: the one that is nearer to the origin has more hops to go.
        (0..3).for_each(|piece| requests.see(tower(2), 1, piece, at(2)));
        (0..2).for_each(|piece| requests.see(tower(3), 2, piece, at(3)));
        requests.of(TowerId(4)).takes_after_list = 1;
        for (by, expected) in
            [(Guess::Requests, 1), (Guess::Pieces, 2), (Guess::Hops, 3), (Guess::Lister, 4)]
        {
            assert_eq!(requests.guess(by), Some(TowerId(expected)), "{by:?}");
        }
        // A guest is certain to ask for itself.
        requests.see(guest(), 1, 1, at(4));
        assert_eq!(requests.guess(Guess::Hops), Some(GUEST));
        assert_eq!(requests.guess(Guess::Requests), Some(TowerId(1)));
    }

    #[test]
    fn nobody_is_guessed_without_evidence() {
        let mut requests = Requests::default();
        requests.see(tower(1), 0, 7, at(1));
        assert_eq!(requests.guess(Guess::Lister), None);
        assert_eq!(requests.guess(Guess::Hops), None, "no request was to be passed on");
        assert_eq!(requests.guest(), None);
    }

    #[test]
    fn the_survey_after_the_last_piece_is_that_of_the_check() {
        let mut surveys = Surveys::default();
        surveys.on_list(SPY, TowerId(101), at(1_000));
        surveys.on_list(SPY, GUEST, at(2_500));
        // Not a new survey.
        surveys.on_list(SPY, TowerId(101), at(2_200));
        assert_eq!(surveys.after(at(2_000)), Some(GUEST));
        assert_eq!(surveys.after(at(900)), Some(TowerId(101)));
        assert_eq!(surveys.after(at(2_501)), None);
        surveys.on_list(SPY, TowerId(101), at(60_000));
        assert_eq!(surveys.after(at(2_501)), None, "too late");
        assert_eq!(surveys.after(at(55_000)), Some(TowerId(101)));
    }

    #[test]
    fn spies_recognise_the_pieces_in_requests() {
        let keys = |byte| Secret::new([byte; 16]).keep().chunk_keys();
        let chunk = seal(&keys(1), 5, &[0; SHARD], &Path::default(), 9, [3; 12]);
        let tag = Tag::new(*chunk.first_chunk().unwrap());
        let mut spies = Spies::new(vec![keys(0), keys(1)]);
        let see = |spies: &mut Spies, from, hops, body: Body<'_>| {
            let inner = body.encode_inner();
            let relay = Body::Relay { hops, target: None, inner: &inner };
            let body = if hops > 0 { relay } else { body };
            spies.see(SPY, from, &Datagram { number: 1, body }.encode(), at(1));
        };
        see(&mut spies, tower(1), 2, Body::Publish(&chunk));
        let bytes = [*tag.bytes(), [9; Tag::LEN]];
        let fetch = || Body::Fetch(Tags::new(&bytes).unwrap());
        see(&mut spies, tower(2), 0, Body::List { after: Tag::new([0; Tag::LEN]) });
        see(&mut spies, tower(3), 0, fetch());
        assert_eq!(spies.guess(JobKind::Put, 1, Guess::Pieces), Some(TowerId(1)));
        assert_eq!(spies.guess(JobKind::Put, 0, Guess::Pieces), None);
        assert_eq!(spies.guess(JobKind::Get, 1, Guess::Requests), Some(TowerId(3)));
        assert_eq!(spies.guess(JobKind::Get, 1, Guess::Lister), Some(TowerId(2)));
        let seen = &spies.requests[1][1].by_neighbour[&TowerId(3)];
        assert_eq!((seen.requests, seen.pieces.len()), (1, 1), "the other tag is of no file");
    }
}
