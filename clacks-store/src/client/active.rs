//! A job that runs: what all kinds of jobs do in the same way.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use clacks_proto::{Address, Instant, LinkId, Tower};
use rand::{Rng, RngExt};

use super::collector::{Collector, Scope, Wanted, Wish};
use super::get::Get;
use super::job::{Job, JobError, JobEvent, Phase, Progress};
use super::keep::{HealthCheck, Keep};
use super::publisher::Publisher;
use super::put::{MAX_HOURS, Put};
use super::requests::{Ask, ContactId, Failure, MAX_FAILURES, NotSent, PUBLISH_RATE, Way};
use super::survey::{Survey, TowerId};
use super::{Env, FirstHop, Route};
use crate::address_group::AddressGroup;
use crate::chunk::Chunk;
use crate::code::{Group, GroupRoots};
use crate::deck::Deck;
use crate::estimate::{AliveShare, Basis, NetworkEstimate, WINDOW, safe_share, share_needed};
use crate::link::KeepLink;
use crate::protocol::{Body, Datagram, MAX_HOPS, MAX_TAGS, Outcome, Tags};

/// The first hops whose stems are remembered.
const MAX_STEMS: usize = 64;
/// The visits before a forecast.
pub(crate) const FORECAST_VISITS: u32 = 16;
/// The most towers to which pieces are published directly (guess: a quarter of the links of a
/// tower).
const MAX_TARGETS: usize = 64;
/// The time without progress after which a job ends (guess: a person would have stopped it).
const MAX_STALL: Duration = Duration::from_secs(600);
/// How often addresses are asked for before a first hop is given up.
const MAX_PEER_TRIES: u8 = 4;
/// The time of a visit or an answer before one was measured (guess).
const GUESSED_TIME: Duration = Duration::from_millis(300);

/// What differs between jobs.
pub(super) enum Kind {
    Put(Put),
    Get(Get),
    Health(HealthCheck),
    Keep(Keep),
}

/// A job that runs.
pub(super) struct Active {
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) link: KeepLink,
    /// The hops of the stem behind each first hop. A job draws them once: a hop that saw several
    /// lengths on one link could tell the origin from a relay. It draws them for each first hop: if
    /// all stems of a job were long, hostile hops would be in most of them. They fall while the
    /// stem breaks.
    stems: BTreeMap<ContactId, u8>,
    /// The first hop of what is published, and of surveys unless another one is verified.
    pub(super) hop: ContactId,
    /// How many of the configured first hops were given up.
    given_up: usize,
    /// The first hops that were used.
    pub(super) used: BTreeSet<Address>,
    /// The towers that the first hop knows. Other first hops are drawn from them.
    pub(super) table: Vec<Address>,
    pub(super) survey: Option<Survey>,
    peer_tries: u8,
    /// The rounds of visits in which no tower answered.
    pub(super) unanswered: u8,
    pub(super) collector: Collector,
    pub(super) publisher: Option<Publisher>,
    pub(super) network: NetworkEstimate,
    /// Towers to which pieces are published directly.
    targets: Vec<(AddressGroup, Address)>,
    /// The targets whose turn it is to get a piece.
    deck: Deck,
    /// The time of the next step, if the job waits for it.
    pub(super) wake_at: Option<Instant>,
    last_failure: Option<Failure>,
    /// The difference of clocks that the first survey with one has shown, and its first hop.
    clock: Option<(ContactId, i32)>,
    /// The pieces proved and published.
    moved: u64,
    /// How far the job was when it last made progress, and when that was.
    mark: Mark,
    moved_at: Instant,
    is_over: bool,
}

/// How far a job is. It changes with each progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    phase: Phase,
    pieces: u64,
    /// The towers whose visits ended or answered.
    visits: u32,
}

impl Active {
    /// Returns a job that begins. Reports an error if it can't.
    pub(super) fn new(job: Job, env: &mut Env) -> Option<Self> {
        let (kind, link, scope, proved) = match job {
            Job::Put(link) => (Kind::Put(Put::default()), link, Scope::None, Vec::new()),
            Job::Get { link, proved } => (Kind::Get(Get::default()), link, Scope::All, proved),
            Job::Health(link) => {
                (Kind::Health(HealthCheck::default()), link, Scope::None, Vec::new())
            }
            Job::Keep(link) => (Kind::Keep(Keep::default()), link, Scope::None, Vec::new()),
        };
        let Some(first) = env.config.first.first().cloned() else {
            env.push(JobEvent::Failed(JobError::Unreachable));
            return None;
        };
        let mut collector = Collector::new(&link, scope);
        proved.into_iter().for_each(|index| _ = collector.set_proved(index));
        let hop = env.requests.contact(&first);
        env.requests.forgive(hop);
        let mut active = Self {
            kind,
            phase: Phase::Estimating,
            link,
            stems: BTreeMap::new(),
            hop,
            given_up: 0,
            used: BTreeSet::from([first]),
            table: Vec::new(),
            survey: None,
            peer_tries: 0,
            unanswered: 0,
            collector,
            publisher: None,
            network: NetworkEstimate::default(),
            targets: Vec::new(),
            deck: Deck::default(),
            wake_at: None,
            last_failure: None,
            clock: None,
            moved: 0,
            mark: Mark::default(),
            moved_at: env.now,
            is_over: false,
        };
        match active.kind {
            Kind::Put(_) | Kind::Get(_) => active.begin_survey(env, hop, FORECAST_VISITS),
            Kind::Health(_) | Kind::Keep(_) => {
                let hop = active.hop;
                active.begin_check(env, hop);
            }
        }
        Some(active)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let stall = Some(self.moved_at + MAX_STALL).filter(|_| self.may_stall());
        [self.wake_at, stall].into_iter().flatten().min()
    }

    /// Returns whether the job waits for towers, and not for its application or a time.
    fn may_stall(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Agreeing | Phase::Waiting)
    }

    /// Ends a job that makes no progress although towers answer.
    fn check_stall(&mut self, env: &mut Env) {
        let visits = self.survey.as_ref().map_or(0, Survey::ended);
        let mark = Mark { phase: self.phase, pieces: self.moved, visits };
        let waits_for_group = self.publisher.as_ref().is_some_and(|it| it.needed().is_some());
        let is_still = self.may_stall() && !waits_for_group && env.events.is_empty();
        if mark != self.mark || !is_still {
            (self.mark, self.moved_at) = (mark, env.now);
        } else if self.moved_at + MAX_STALL <= env.now {
            match self.kind {
                Kind::Keep(_) => self.on_keep_trouble(env, JobError::Stalled),
                _ => self.fail(env, JobError::Stalled),
            }
        }
    }

    /// Ends the job with its last event.
    pub(super) fn end(&mut self, env: &mut Env, event: JobEvent) {
        self.note_clock(env);
        env.push(event);
        self.is_over = true;
    }

    pub(super) fn fail(&mut self, env: &mut Env, error: JobError) {
        self.end(env, JobEvent::Failed(error));
    }

    /// Handles time-outs, lets the job change its state, and sends what there is to send.
    pub(super) fn turn(&mut self, env: &mut Env, tower: &mut Tower) {
        while let Some(ask) = env.requests.next_timeout(env.now) {
            self.on_failure(env, ask, Failure::TimedOut);
        }
        env.requests.begin_turn();
        if let Some(survey) = &mut self.survey {
            survey.want_of_large(self.collector.geometry().total());
            survey.end_visits(env.now);
        }
        self.check_hop(env);
        if !self.is_over {
            self.check_stall(env);
        }
        if !self.is_over {
            self.step(env);
        }
        if !self.is_over {
            self.drive_survey(env, tower);
            self.drive_publisher(env, tower);
        }
    }

    fn step(&mut self, env: &mut Env) {
        match self.kind {
            Kind::Put(_) => self.step_put(env),
            Kind::Get(_) => self.step_get(env),
            Kind::Health(_) => self.step_health(env),
            Kind::Keep(_) => self.step_keep(env),
        }
    }

    pub(super) fn proceed(&mut self, env: &mut Env) {
        if self.phase != Phase::Agreeing {
            return;
        }
        match self.kind {
            Kind::Put(_) => self.begin_put(env),
            Kind::Get(_) => self.begin_get(env),
            Kind::Health(_) | Kind::Keep(_) => {}
        }
    }

    pub(super) fn supply(&mut self, env: &mut Env, group: Group, roots: &GroupRoots) {
        let number = group.number();
        let Some(publisher) = &mut self.publisher else { return };
        if publisher.needed() != Some(number) {
            return;
        }
        let is_right = roots.file_root() == self.link.file().root
            && roots.group_root(number) == Some(&group.root());
        if is_right {
            let top = roots.top(number);
            publisher.supply(group, top, &mut env.rng);
        } else {
            self.fail(env, JobError::Changed);
            env.has_changed = true;
        }
    }

    // First hops.

    /// Uses the next first hop if the one in use has failed too often.
    fn check_hop(&mut self, env: &mut Env) {
        let hop = match (&self.survey, self.phase) {
            (Some(survey), phase) if phase != Phase::Publishing => survey.hop,
            _ => self.publishing_hop(env),
        };
        let is_lost = env.requests.failures(hop) >= MAX_FAILURES;
        // Another address of the same tower shows nothing new.
        let is_verifier = hop != self.hop && self.phase != Phase::Publishing;
        let is_same = is_verifier && env.requests.address(hop) == env.requests.address(self.hop);
        if self.is_over || !(is_lost || is_same || self.peer_tries >= MAX_PEER_TRIES) {
            return;
        }
        self.peer_tries = 0;
        if is_verifier {
            self.on_verifier_lost(env);
        } else if !self.next_hop(env) {
            self.on_unreachable(env);
        }
    }

    /// Returns the tower without which nothing can be published.
    fn publishing_hop(&self, env: &mut Env) -> ContactId {
        match (env.config.route, &self.targets[..]) {
            (Route::Direct, [(_, last)]) => env.requests.contact(last),
            _ => self.hop,
        }
    }

    fn on_verifier_lost(&mut self, env: &mut Env) {
        match self.kind {
            Kind::Put(_) => self.verify_put_elsewhere(env),
            Kind::Get(_) => self.on_get_verifier_lost(env),
            Kind::Health(_) => self.verify_health(env),
            Kind::Keep(_) => {}
        }
    }

    /// Uses the next configured first hop. Returns false if there is none.
    fn next_hop(&mut self, env: &mut Env) -> bool {
        self.given_up += 1;
        let Some(next) = env.config.first.get(self.given_up).cloned() else { return false };
        self.hop = env.requests.contact(&next);
        env.requests.forgive(self.hop);
        self.used.insert(next);
        // Pieces that are under way to the old one time out by themselves.
        if self.survey.is_some() && self.phase != Phase::Publishing {
            let limit = match self.phase {
                Phase::Estimating | Phase::Agreeing => FORECAST_VISITS,
                _ => u32::MAX,
            };
            self.begin_survey(env, self.hop, limit);
        }
        true
    }

    fn on_unreachable(&mut self, env: &mut Env) {
        let error = match self.last_failure {
            Some(Failure::NotTaken) => JobError::NoStore,
            Some(Failure::Lost) => JobError::NoRelay,
            _ => JobError::Unreachable,
        };
        if matches!(self.kind, Kind::Keep(_)) {
            // Begin again with the first one at the next check.
            self.given_up = 0;
            if let Some(first) = env.config.first.first().cloned() {
                self.hop = env.requests.contact(&first);
                env.requests.forgive(self.hop);
            }
            self.on_keep_trouble(env, error);
        } else {
            self.fail(env, error);
        }
    }

    /// Remembers the towers that the first hop knows, if the survey goes through it.
    pub(super) fn note_table(&mut self) {
        let survey = self.survey.as_ref().filter(|survey| survey.hop == self.hop);
        let table = survey.map(Survey::table).unwrap_or_default();
        if !table.is_empty() {
            self.table = table;
        }
    }

    /// Notes how the clocks of the towers in the survey differ from that of this machine. A first
    /// hop can change all answers that it passes on, so a difference is reported when surveys
    /// through two first hops show it, or when the towers were asked directly.
    pub(super) fn note_clock(&mut self, env: &mut Env) {
        let Some(survey) = &self.survey else { return };
        let Some(minutes) = survey.clock_difference() else { return };
        let is_confirmed = match self.clock {
            _ if env.config.route == Route::Direct => true,
            Some((hop, before)) => hop != survey.hop && before.signum() == minutes.signum(),
            None => false,
        };
        self.clock = self.clock.or(Some((survey.hop, minutes)));
        if is_confirmed && !core::mem::replace(&mut env.is_clock_reported, true) {
            env.push(JobEvent::ClockDiffers { minutes });
        }
    }

    /// Returns the error of a job whose pieces end at no hour that towers take.
    pub(super) fn clock_error(&mut self, env: &mut Env) -> JobError {
        self.note_clock(env);
        JobError::Clock { minutes: self.clock.map(|(_, minutes)| minutes) }
    }

    // Surveys.

    /// Begins a round of visits through a first hop. Requests of an earlier round are forgotten.
    pub(super) fn begin_survey(&mut self, env: &mut Env, hop: ContactId, limit: u32) {
        let bad = match &self.survey {
            Some(survey) if survey.hop == hop => survey.bad_addresses(),
            _ => BTreeSet::new(),
        };
        let address = env.requests.address(hop).cloned();
        let first = match env.config.route {
            Route::Stem => None,
            Route::Direct => address,
        };
        self.note_table();
        self.note_clock(env);
        env.requests.clear();
        self.collector.begin_round();
        self.collector.latest = env.hour().saturating_add(MAX_HOURS + 1);
        self.peer_tries = 0;
        self.wake_at = None;
        self.survey = Some(Survey::new(hop, first, limit, bad, env.now));
        env.has_changed = true;
    }

    /// Returns whether the job takes pieces now.
    fn takes(&self) -> bool {
        matches!(self.phase, Phase::Visiting | Phase::Verifying)
    }

    fn drive_survey(&mut self, env: &mut Env, tower: &mut Tower) {
        let takes = self.takes();
        let Some(survey) = &mut self.survey else { return };
        let route = env.config.route;
        if survey.knows_no_tower() {
            env.requests.shrink(tower, &[self.hop, survey.hop], env.now);
            if self.stems.len() > MAX_STEMS {
                let kept = [self.hop, survey.hop];
                self.stems.retain(|hop, _| kept.contains(hop));
            }
        }
        let hops = hops_of(&mut self.stems, survey.hop, env);
        let hop = Way { route, contact: survey.hop, hops, target: None };
        if let Some(at) = survey.peers_wanted_at(env.now) {
            env.requests.wake_at(at);
        }
        if let Some(cursor) = survey.wanted_peers(env.now) {
            let body = Body::Peers { cursor };
            match env.requests.send(tower, hop, Ask::Peers, &body, &mut env.rng, env.now) {
                Ok(()) => survey.on_peers_asked(),
                Err(NotSent::Later) => {}
                Err(NotSent::Failed(failure)) => {
                    self.peer_tries += 1;
                    self.last_failure = Some(failure);
                    env.has_changed = true;
                }
            }
        }
        if survey.wants_near() {
            let near = Way { hops: 1, ..hop };
            match env.requests.send(
                tower,
                near,
                Ask::Near,
                &Body::Peers { cursor: 0 },
                &mut env.rng,
                env.now,
            ) {
                Ok(()) => survey.on_near_asked(),
                Err(NotSent::Later) => {}
                Err(NotSent::Failed(_)) => survey.on_near_failed(),
            }
        }
        loop {
            match survey.start_visit(&mut env.rng, env.now) {
                Ok(()) => {}
                Err(Some(at)) => break env.requests.wake_at(at),
                Err(None) => break,
            }
        }
        while let Some((id, after)) = survey.next_list() {
            let body = Body::List { after };
            let Some(way) = survey.way(id, hop) else { break };
            let ask = Ask::List { tower: id };
            match env.requests.send(tower, way, ask, &body, &mut env.rng, env.now) {
                Ok(()) => survey.on_list_asked(id),
                Err(NotSent::Later) => break,
                Err(NotSent::Failed(failure)) => {
                    self.last_failure = Some(failure);
                    survey.on_list_failed(id, failure, env.now);
                    env.has_changed = true;
                }
            }
        }
        if takes {
            let visits: Vec<TowerId> = survey.visits.keys().copied().collect();
            for id in visits {
                while Self::fetch(survey, &mut self.collector, env, tower, hop, id) {}
            }
        }
    }

    /// Asks a tower for pieces that are wanted. Returns whether there may be more to ask for.
    fn fetch(
        survey: &mut Survey,
        collector: &mut Collector,
        env: &mut Env,
        tower: &mut Tower,
        hop: Way<'_>,
        id: TowerId,
    ) -> bool {
        let under_way = env.requests.chunks() + env.pieces;
        let most = survey.credit(id).min(WINDOW.saturating_sub(under_way));
        let most = (most as usize).min(MAX_TAGS);
        let Some(visit) = survey.visits.get_mut(&id).filter(|visit| !visit.wanted.is_empty())
        else {
            return false;
        };
        let mut wanted = Vec::new();
        let before = visit.wanted.len();
        for _ in 0..before {
            if wanted.len() >= most {
                break;
            }
            let Some(piece) = visit.wanted.pop_front() else { break };
            match collector.wish(piece.index) {
                Wish::Now => {
                    collector.on_asked(piece.index);
                    wanted.push(piece);
                }
                Wish::Later => visit.wanted.push_back(piece),
                Wish::Never => {}
            }
        }
        // A visit without wanted tags may end, or read its next page.
        env.has_changed |= wanted.is_empty() && visit.wanted.len() < before;
        let flat: Vec<_> = wanted.iter().map(|piece| *piece.tag.bytes()).collect();
        let Some(tags) = Tags::new(&flat) else { return false };
        let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let ask = Ask::Fetch { tower: id, wanted: wanted.clone() };
        let sent = survey.way(id, hop).map(|way| {
            env.requests.send(tower, way, ask, &Body::Fetch(tags), &mut env.rng, env.now)
        });
        let Some(visit) = survey.visits.get_mut(&id) else { return false };
        if sent == Some(Ok(())) {
            visit.owed += count;
            return true;
        }
        for piece in wanted {
            collector.on_not_asked(piece.index);
            visit.wanted.push_front(piece);
        }
        if matches!(sent, Some(Err(NotSent::Failed(_)))) {
            for piece in visit.give_up() {
                collector.on_trial(id, &piece, false);
            }
            env.has_changed = true;
        }
        false
    }

    // Publishing.

    fn drive_publisher(&mut self, env: &mut Env, tower: &mut Tower) {
        let Some(publisher) = &mut self.publisher else { return };
        let route = env.config.route;
        while publisher.has_next() && env.requests.chunks() < WINDOW {
            let requests = &mut env.requests;
            let contact = match route {
                Route::Direct if !self.targets.is_empty() => {
                    let mut is_ready = |address: &Address| {
                        let contact = requests.contact(address);
                        requests.is_ready(contact, true, env.now)
                    };
                    let target = self.deck.draw(&self.targets, &mut is_ready, &mut env.rng);
                    let Some(target) = target else { break };
                    requests.contact(&target)
                }
                _ => self.hop,
            };
            if !env.requests.is_ready(contact, true, env.now) {
                break;
            }
            let Some((group, place, chunk)) = publisher.next(self.collector.keys(), &mut env.rng)
            else {
                break;
            };
            let hops = hops_of(&mut self.stems, contact, env);
            let way = Way { route, contact, hops, target: None };
            let ask = Ask::Publish { group, place, contact };
            match env.requests.send(tower, way, ask, &Body::Publish(&chunk), &mut env.rng, env.now)
            {
                Ok(()) => {}
                Err(NotSent::Later) => {
                    publisher.put_back(group, place);
                    break;
                }
                Err(NotSent::Failed(failure)) => {
                    publisher.put_back(group, place);
                    self.last_failure = Some(failure);
                    env.has_changed = true;
                    break;
                }
            }
        }
    }

    /// Draws the towers to which pieces are published directly.
    pub(super) fn set_targets(&mut self, rng: &mut impl Rng) {
        let Some(survey) = &self.survey else { return };
        let known = survey.towers.iter().filter(|known| !known.is_bad && !known.has_failed);
        let known = known.filter_map(|known| known.address.as_ref());
        let mut all: Vec<_> =
            known.map(|address| (AddressGroup::of(address), address.clone())).collect();
        all.sort_unstable();
        all.dedup();
        if all.len() > MAX_TARGETS {
            let mut drawn = BTreeSet::new();
            let mut deck = Deck::default();
            while drawn.len() < MAX_TARGETS
                && let Some(address) = deck.draw(&all, |it| !drawn.contains(it), rng)
            {
                drawn.insert(address);
            }
            all.retain(|(_, address)| drawn.contains(address));
        }
        self.targets = all;
    }

    /// Publishes no more to a tower, unless it is the only one.
    fn drop_target(&mut self, address: &Address) {
        if self.targets.len() > 1 {
            self.targets.retain(|(_, target)| target != address);
        }
    }

    // Answers.

    pub(super) fn on_datagram(&mut self, env: &mut Env, link: LinkId, bytes: &[u8]) {
        let Ok(Datagram { number, body }) = Datagram::decode(bytes) else { return };
        let Some(ask) = env.requests.asked(link, number) else { return };
        match (ask, body) {
            (_, Body::Lost) => {
                if let Some(ask) = env.requests.lose(number, env.now) {
                    self.on_failure(env, ask, Failure::Lost);
                }
            }
            (Ask::Peers, Body::Towers { next, addresses, .. }) => {
                env.requests.complete(number, env.now);
                self.peer_tries = 0;
                let (requests, route) = (&mut env.requests, env.config.route);
                if let Some(survey) = &mut self.survey {
                    let hop = survey.hop;
                    survey.on_towers(next, &addresses, |address| match route {
                        Route::Stem => hop,
                        Route::Direct => requests.contact(address),
                    });
                }
            }
            (Ask::Near, Body::Towers { addresses, .. }) => {
                env.requests.complete(number, env.now);
                if let Some(survey) = &mut self.survey {
                    survey.on_near(addresses);
                }
            }
            (Ask::List { tower }, Body::Inventory { has_more, minute, held, room, entries }) => {
                let tower = *tower;
                env.requests.complete(number, env.now);
                let Some(survey) = &mut self.survey else { return };
                let tags = entries.iter().map(|(tag, _)| tag);
                let clocks = (minute, env.minute());
                if !survey.on_inventory(tower, tags, has_more, held, room, clocks) {
                    return;
                }
                let rng = &mut env.rng;
                for (tag, until) in entries.iter() {
                    let draw = || rng.random_range(0.0..1.0);
                    let seen = self.collector.see(tag, until, tower, draw);
                    if let Some((group, piece, take)) = seen.filter(|_| !survey.is_bad(tower))
                        && let Some(visit) = survey.visits.get_mut(&tower)
                    {
                        visit.on_listed(group, piece, take, rng);
                    }
                }
            }
            (Ask::Fetch { .. }, Body::Chunk(chunk)) => {
                let Some(tag) = chunk.first_chunk().map(|tag| crate::Tag::new(*tag)) else {
                    return;
                };
                let received = env.requests.receive(number, tag, env.config.route, env.now);
                if let Some((tower, piece)) = received {
                    self.on_chunk(env, tower, &piece, &chunk[..]);
                }
            }
            (Ask::Fetch { .. }, Body::Gone(tags)) => {
                for tag in tags.iter() {
                    let received = env.requests.receive(number, tag, env.config.route, env.now);
                    if let (Some((tower, piece)), Some(survey)) = (received, &mut self.survey) {
                        self.collector.on_not_asked(piece.index);
                        self.collector.on_trial(tower, &piece, false);
                        survey.on_chunk(tower, false);
                        if self.collector.is_liar(tower)
                            && let Some(visit) = survey.visits.get_mut(&tower)
                        {
                            let _others = visit.give_up();
                            env.has_changed = true;
                        }
                    }
                }
            }
            (Ask::Publish { group, place, contact }, Body::Published(outcome)) => {
                let (group, place, contact) = (*group, *place, *contact);
                env.requests.complete(number, env.now);
                self.moved += u64::from(outcome == Outcome::Queued);
                match outcome {
                    Outcome::TooFast => env.requests.pause(contact, env.now),
                    _ => env.requests.end_pauses(contact),
                }
                if let Some(publisher) = &mut self.publisher {
                    publisher.on_outcome(group, place, outcome);
                }
            }
            // An answer to another request.
            _ => {}
        }
    }

    fn on_chunk(&mut self, env: &mut Env, tower: TowerId, wanted: &Wanted, bytes: &[u8]) {
        let Some(survey) = &mut self.survey else { return };
        let index = wanted.index;
        self.collector.on_not_asked(index);
        let opened = self.collector.open(bytes, index);
        // A chunk with the right id is what the tower was given. Another owner of the keys may have
        // sealed it. But its hour is not the one that the tower listed if the tower lies.
        let is_honest = Chunk::parse(bytes).is_some_and(|chunk| chunk.until() == wanted.until);
        self.collector.on_trial(tower, wanted, is_honest && opened.is_some());
        survey.on_chunk(tower, opened.is_some());
        if !is_honest {
            survey.set_bad(tower);
        }
        let Some((piece, group_root)) = opened else { return };
        if !self.collector.set_proved(index) {
            return;
        }
        self.moved += 1;
        match &mut self.kind {
            Kind::Get(get) => {
                get.on_piece();
                env.push(JobEvent::Piece { piece, group_root });
            }
            Kind::Keep(keep) => keep.on_piece(self.collector.geometry(), piece, group_root),
            Kind::Put(_) | Kind::Health(_) => {}
        }
    }

    /// Handles a request that has no answer.
    pub(super) fn on_failure(&mut self, env: &mut Env, ask: Ask, failure: Failure) {
        env.has_changed = true;
        self.last_failure = Some(failure);
        // The link to the first hop says nothing about the towers behind it.
        let is_hop = env.config.route == Route::Stem && failure == Failure::LinkEnded;
        match ask {
            Ask::Peers => {
                // An own tower asks by itself only if there is no other one.
                let is_alone = self.survey.as_ref().is_some_and(Survey::is_alone);
                let least = if is_alone { 1 } else { least_hops(env) };
                let hop = self.survey.as_ref().map_or(self.hop, |survey| survey.hop);
                let hops = self.stems.get_mut(&hop).filter(|hops| **hops > least);
                let mut ask_at = env.now;
                if let Some(hops) = hops.filter(|_| failure == Failure::Lost) {
                    // The network is too small for a stem of this length. Hops see this of each
                    // other as of the origin.
                    *hops -= 1;
                } else {
                    if failure == Failure::Lost {
                        // The next hop may have just ended: the first one notices it soon.
                        ask_at = ask_at + Duration::from_secs(1 << self.peer_tries);
                    }
                    self.peer_tries += 1;
                }
                if let Some(survey) = &mut self.survey {
                    survey.on_peers_failed(ask_at);
                    // Later pages may be missing.
                    if self.peer_tries >= MAX_PEER_TRIES && !survey.knows_no_tower() {
                        survey.end_peers();
                        self.peer_tries = 0;
                    }
                }
            }
            Ask::Near => {
                if let Some(survey) = &mut self.survey {
                    survey.on_near_failed();
                }
            }
            Ask::List { tower } => {
                if let Some(survey) = &mut self.survey {
                    if is_hop {
                        survey.on_list_unsent(tower);
                    } else {
                        survey.on_list_failed(tower, failure, env.now);
                    }
                }
            }
            Ask::Fetch { tower, wanted } => {
                let Some(survey) = &mut self.survey else { return };
                for piece in wanted {
                    self.collector.on_not_asked(piece.index);
                    survey.on_chunk(tower, false);
                    if let Some(visit) = survey.visits.get_mut(&tower) {
                        visit.wanted.push_back(piece);
                    }
                }
                if let Some(visit) = survey.visits.get_mut(&tower).filter(|_| !is_hop) {
                    for piece in visit.on_fetch_failed() {
                        self.collector.on_trial(tower, &piece, false);
                    }
                }
            }
            Ask::Publish { group, place, contact } => {
                if let Some(publisher) = &mut self.publisher {
                    publisher.put_back(group, place);
                }
                if let Some(address) = env.requests.address(contact).cloned() {
                    self.drop_target(&address);
                }
            }
        }
    }

    // Numbers.

    /// Returns what a forecast starts from.
    pub(super) fn basis(&self, env: &Env) -> Basis {
        let visit_time = self.survey.as_ref().and_then(Survey::visit_time);
        Basis {
            geometry: self.collector.geometry(),
            network: self.network,
            visit_time: visit_time.unwrap_or(GUESSED_TIME),
            round_trip: env.requests.round_trip().unwrap_or(GUESSED_TIME),
        }
    }

    /// Returns whether a tower does not count: it lied, or proved less than half of what was taken
    /// from it as a sample.
    pub(super) fn is_out(&self, tower: TowerId) -> bool {
        self.collector.is_liar(tower) || self.survey.as_ref().is_some_and(|it| it.is_bad(tower))
    }

    /// Returns the share that is alive of each group, by the visits of this round.
    pub(super) fn alive_shares(&self) -> Vec<AliveShare> {
        let Some(survey) = &self.survey else { return Vec::new() };
        let seen = self.collector.seen_in_groups(|tower| self.is_out(tower));
        self.collector.alive(&seen, survey.visited_share())
    }

    pub(super) fn progress(&self, env: &Env) -> Progress {
        let geometry = self.collector.geometry();
        let (visited, known) =
            self.survey.as_ref().map_or((0, 0), |survey| (survey.answered(), survey.known()));
        let (pieces, needed, groups_full) = match &self.publisher {
            Some(publisher) => {
                let (published, total) = publisher.progress();
                (published, total, published / geometry.total())
            }
            None => {
                let (proved, full) = self.collector.progress();
                (proved, geometry.groups() * geometry.data(), full)
            }
        };
        Progress {
            phase: self.phase,
            pieces,
            needed,
            groups_full,
            groups: geometry.groups(),
            visited,
            known,
            remaining: self.remaining(env, pieces, needed),
        }
    }

    fn remaining(&self, env: &Env, pieces: u32, needed: u32) -> Option<Duration> {
        let missing = needed.saturating_sub(pieces);
        let round_trip = env.requests.round_trip()?;
        let taking = round_trip * missing.div_ceil(WINDOW);
        match (self.phase, &self.survey) {
            (Phase::Publishing, _) => {
                let paced = Duration::from_secs(1) * missing / PUBLISH_RATE.per_second;
                let is_paced = needed > PUBLISH_RATE.burst;
                Some(if is_paced { paced.max(taking) } else { taking })
            }
            (Phase::Visiting, Some(survey)) => {
                let geometry = self.collector.geometry();
                let share = match self.kind {
                    // What is alive is as much as was seen in the share that was visited.
                    Kind::Get(_) => {
                        let worst = worst(&self.alive_shares()).map_or(1.0, |it| it.share);
                        (share_needed(geometry, 0.5) / worst.max(0.01)).min(1.0)
                    }
                    _ => 1.0,
                };
                let visits = crate::estimate::floor(f64::from(survey.known()) * share);
                Some(survey.remaining(visits, env.now)?.max(taking))
            }
            (Phase::Verifying, Some(survey)) => survey.remaining(survey.known(), env.now),
            _ => None,
        }
    }
}

/// Returns the hops of the stem behind a first hop: the least, and one more with each coin that
/// shows heads.
fn hops_of(stems: &mut BTreeMap<ContactId, u8>, first: ContactId, env: &mut Env) -> u8 {
    if env.config.route == Route::Direct {
        return 1;
    }
    *stems.entry(first).or_insert_with(|| {
        let coins = u8::try_from(env.rng.next_u32().trailing_zeros()).unwrap_or(MAX_HOPS);
        coins.saturating_add(least_hops(env)).min(MAX_HOPS)
    })
}

/// Returns the hops of the shortest stem.
fn least_hops(env: &Env) -> u8 {
    match env.config.first_hop {
        FirstHop::Foreign => 1,
        FirstHop::Own => 2,
    }
}

/// Returns the group of which the least is alive.
pub(super) fn worst(shares: &[AliveShare]) -> Option<AliveShare> {
    shares.iter().copied().min_by(|one, other| one.share.total_cmp(&other.share))
}

/// Returns the share that is safe, and the share that a group needs.
pub(super) fn limits(link: &KeepLink) -> (f64, f64) {
    let geometry = link.file().geometry;
    (safe_share(geometry), f64::from(geometry.data()) / f64::from(geometry.total()))
}
