//! What the network does to bytes: it takes time, has limits, and fails where the weather says so.

use std::sync::Arc;

use clacks_proto::{CloseMode, IoCause, LinkId, StateMachine};

use super::connection::{EndId, FlowState, Load, Side};
use super::{Due, Network, Observer, nanos};
use crate::observation::{Fault, TowerId};
use crate::plan::{LinkConditions, Severance};
use crate::rng::Purpose;

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// The weather on the way from one tower to another.
    fn conditions(&self, from: TowerId, to: TowerId) -> Arc<LinkConditions> {
        let path = self.plan.paths.iter().find(|path| path.from.has(from) && path.to.has(to));
        let is_calm = self.now >= self.plan.faults_end.as_nanos();
        match path {
            Some(path) if is_calm => Arc::clone(&path.calm),
            Some(path) => Arc::clone(&path.conditions),
            None => Arc::clone(&self.conditions),
        }
    }

    /// How long bytes take from one tower to another, before jitter: always the same for a pair.
    fn latency(&self, from: TowerId, to: TowerId) -> u64 {
        let pair = u64::from(from.0) << 32 | u64::from(to.0);
        let latency = &self.conditions(from, to).latency;
        nanos(latency.sample(&mut self.random.stream(Purpose::Latency, pair)))
    }

    /// How long bytes that leave an end now take, before jitter. It is drawn again only when the weather has changed meanwhile.
    fn latency_from(&mut self, end: EndId) -> u64 {
        let changes = self.weather_changes;
        let connection = self.connections.get(end.connection);
        let flow = &connection.at(end.side).flow;
        if flow.conditions == changes {
            return flow.latency;
        }
        let (from, to) = (connection.at(end.side).tower, connection.at(end.side.other()).tower);
        let latency = self.latency(from, to);
        let flow = &mut self.connections.get(end.connection).end(end.side).flow;
        (flow.latency, flow.conditions) = (latency, changes);
        latency
    }

    pub(super) fn send_dial(&mut self, tower: TowerId, link: LinkId, to: TowerId) {
        let dial = self.nodes[tower.0 as usize].dials;
        let place = self.connections.open(tower, link, to, dial);
        let end = EndId { connection: place, side: Side::Dialler };
        self.set_end(tower, link, Some(end));
        let (out, back) = (self.latency(tower, to), self.latency(to, tower));
        let changes = self.weather_changes;
        let connection = self.connections.get(place);
        let [own, other] = &mut connection.ends;
        (own.flow.latency, own.flow.conditions) = (out, changes);
        (other.flow.latency, other.flow.conditions) = (back, changes);
        let subject = connection.subject();
        let conditions = self.conditions(tower, to);
        if self.happens(Purpose::Refused, subject, 0, conditions.refused) {
            self.see_fault(Some(tower), Fault::Refused);
            return self.answer_dial(end, IoCause::Refused);
        }
        if self.happens(Purpose::Unanswered, subject, 0, conditions.unanswered) {
            return self.see_fault(Some(tower), Fault::Unanswered);
        }
        match self.severance(tower, to).or_else(|| self.severance(to, tower)) {
            Some(Severance::Silent) => self.see_fault(Some(tower), Fault::Parted),
            Some(Severance::Reset) => {
                self.see_fault(Some(tower), Fault::Parted);
                self.answer_dial(end, IoCause::Unreachable);
            }
            None => self.send_control(end, Load::Syn),
        }
    }

    /// The network itself refuses a dial.
    fn answer_dial(&mut self, end: EndId, cause: IoCause) {
        let dialled = EndId { connection: end.connection, side: Side::Dialled };
        self.send_control(dialled, Load::Refusal(cause));
    }

    /// Sends bytes from an end, or keeps them until there is room on the path.
    pub(super) fn send_bytes(&mut self, end: EndId, bytes: &[u8]) {
        let connection = self.connections.get(end.connection);
        let (from, to) = (connection.at(end.side).tower, connection.at(end.side.other()).tower);
        let conditions = self.conditions(from, to);
        let latency = self.latency_from(end);
        let flow = &mut self.connections.get(end.connection).end(end.side).flow;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let is_full = conditions
            .capacity
            .is_some_and(|capacity| flow.bytes > 0 && flow.bytes.saturating_add(length) > capacity);
        // Waiting bytes go first, even if there is no limit any more.
        if is_full || flow.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty()) {
            // The tower has handed the messages over. When they arrive is not known yet.
            let soonest = self.now.saturating_add(latency);
            let messages = self.tap(end, bytes, soonest);
            let flow = &mut self.connections.get(end.connection).end(end.side).flow;
            flow.backlog.get_or_insert_default().push_back((bytes.to_vec(), messages));
            return;
        }
        self.send_segment(end, bytes, None, &conditions);
    }

    /// Sends a segment. How many `messages` are in it is known when they have been told of already.
    fn send_segment(
        &mut self,
        end: EndId,
        bytes: &[u8],
        messages: Option<u32>,
        conditions: &LinkConditions,
    ) {
        let now = self.now;
        let latency = self.latency_from(end);
        let connection = self.connections.get(end.connection);
        let (epoch, subject) = (connection.epoch, connection.subject());
        let (from, to) = (connection.at(end.side).tower, connection.at(end.side.other()).tower);
        let severed = self.severance(from, to);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let own = self.connections.get(end.connection).end(end.side);
        let Some(_) = own.link else { return };
        let flow = &mut own.flow;
        flow.segments += 1;
        let number = u64::from(flow.segments) << 1 | u64::from(end.side == Side::Dialled);
        let mut leaves = now;
        if let Some(bandwidth) = conditions.bandwidth {
            let takes = u128::from(length) * 1_000_000_000 / u128::from(bandwidth.max(1));
            leaves = flow.free_at.max(now).saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
            flow.free_at = leaves;
        }
        let mut arrives = leaves.saturating_add(latency);
        if let Some(jitter) = &conditions.jitter {
            let mut draws = self.random.stream_at(Purpose::Jitter, subject, number << 8);
            arrives = arrives.saturating_add(nanos(jitter.sample(&mut draws)));
        }
        let flow = &mut self.connections.get(end.connection).end(end.side).flow;
        arrives = arrives.max(flow.arrives);
        flow.arrives = arrives;
        let vanishes = flow.state == FlowState::Vanishes;
        let silenced =
            !vanishes && self.happens(Purpose::Silenced, subject, number, conditions.silenced);
        if silenced {
            self.see_fault(Some(from), Fault::Silenced);
        }
        if severed.is_some() && !vanishes {
            self.see_fault(Some(from), Fault::Parted);
        }
        let messages = messages.unwrap_or_else(|| self.tap(end, bytes, arrives));
        if vanishes || silenced || severed == Some(Severance::Silent) {
            self.connections.get(end.connection).end(end.side).flow.state = FlowState::Vanishes;
            return;
        }
        if severed == Some(Severance::Reset) {
            return self.break_connection(end, arrives);
        }
        let breaks = self.happens(Purpose::Broken, subject, number, conditions.broken);
        let altered = self.happens(Purpose::Corrupted, subject, number, conditions.corrupted);
        let kept = if breaks {
            self.see_fault(Some(from), Fault::Broken);
            let mut draws = self.random.stream_at(Purpose::Cut, subject, number << 8);
            usize::try_from(draws.below(u64::from(length))).unwrap_or(0)
        } else {
            bytes.len()
        };
        self.account_wire();
        self.snapshot.on_the_wire += u64::from(messages);
        self.connections.get(end.connection).end(end.side).flow.bytes += length;
        let (place, segment) =
            self.segments.add(end.connection, epoch, end.side.other(), Load::Bytes);
        segment.messages = messages;
        segment.bytes.extend_from_slice(&bytes[..kept]);
        if altered && kept > 0 {
            let mut draws = self.random.stream_at(Purpose::Altered, subject, number << 8);
            let at = usize::try_from(draws.below(kept as u64)).unwrap_or(0);
            // Never the value that it was.
            let change = 1 + draws.below(255);
            segment.bytes[at] ^= u8::try_from(change).unwrap_or(1);
            self.see_fault(Some(from), Fault::Corrupted);
        }
        self.event_queue.push(arrives, Due::Arrival(place));
        if breaks {
            self.break_connection(end, arrives);
        }
    }

    /// Both ends learn at some moment that the connection is broken; what they send until then vanishes.
    pub(super) fn break_connection(&mut self, end: EndId, at: u64) {
        let connection = self.connections.get(end.connection);
        let epoch = connection.epoch;
        for side in [Side::Dialler, Side::Dialled] {
            connection.end(side).flow.state = FlowState::Vanishes;
        }
        for side in [Side::Dialler, Side::Dialled] {
            let (place, _) = self.segments.add(end.connection, epoch, side, Load::Reset);
            self.event_queue.push(at, Due::Arrival(place));
        }
    }

    /// Sends something that is not bytes, behind all that has been sent from this end.
    pub(super) fn send_control(&mut self, end: EndId, load: Load) {
        let now = self.now;
        let latency = self.latency_from(end);
        let connection = self.connections.get(end.connection);
        let epoch = connection.epoch;
        let (from, to) = (connection.at(end.side).tower, connection.at(end.side.other()).tower);
        let flow = &mut connection.end(end.side).flow;
        let arrives = now.max(flow.free_at).saturating_add(latency).max(flow.arrives);
        flow.arrives = arrives;
        if flow.state == FlowState::Vanishes {
            return;
        }
        // A refusal by the network itself comes through in any case.
        let is_parted = !matches!(load, Load::Refusal(IoCause::Unreachable))
            && self.severance(from, to).is_some();
        if is_parted {
            self.see_fault(Some(from), Fault::Parted);
            self.connections.get(end.connection).end(end.side).flow.state = FlowState::Vanishes;
            return;
        }
        let (place, _) = self.segments.add(end.connection, epoch, end.side.other(), load);
        self.event_queue.push(arrives, Due::Arrival(place));
    }

    /// Bytes have left the path.
    pub(super) fn arrived(&mut self, end: EndId, place: u32, length: u32) {
        self.forget_messages(place);
        let sender = EndId { connection: end.connection, side: end.side.other() };
        let segment_epoch = self.segments.get(place).epoch;
        let connection = self.connections.get(end.connection);
        if connection.epoch != segment_epoch {
            return;
        }
        let flow = &mut connection.end(sender.side).flow;
        flow.bytes = flow.bytes.saturating_sub(length);
        if flow.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty()) {
            let back = self.latency_from(end);
            let (place, _) =
                self.segments.add(end.connection, segment_epoch, sender.side, Load::Room);
            self.event_queue.push(self.now.saturating_add(back), Due::Arrival(place));
        }
    }

    /// There is room on the path again: what waited may leave.
    pub(super) fn on_room(&mut self, end: EndId) {
        let connection = self.connections.get(end.connection);
        let (from, to) = (connection.at(end.side).tower, connection.at(end.side.other()).tower);
        let conditions = self.conditions(from, to);
        let capacity = conditions.capacity.unwrap_or(u32::MAX);
        loop {
            let flow = &mut self.connections.get(end.connection).end(end.side).flow;
            let Some(backlog) = &mut flow.backlog else { break };
            let fits = backlog.front().is_some_and(|(first, _)| {
                let length = u32::try_from(first.len()).unwrap_or(u32::MAX);
                flow.bytes == 0 || flow.bytes.saturating_add(length) <= capacity
            });
            if !fits {
                break;
            }
            let Some((bytes, messages)) = backlog.pop_front() else { break };
            self.send_segment(end, &bytes, Some(messages), &conditions);
        }
        let connection = self.connections.get(end.connection);
        let epoch = connection.epoch;
        let flow = &mut connection.end(end.side).flow;
        if flow.closes && flow.backlog.as_ref().is_none_or(|backlog| backlog.is_empty()) {
            if self.nodes[from.0 as usize].is_paused {
                // Its machine has sent all; it hears of it when it goes on.
                let (place, _) = self.segments.add(end.connection, epoch, end.side, Load::Room);
                return self.nodes[from.0 as usize].park(Due::Arrival(place));
            }
            flow.closes = false;
            self.finish(end, CloseMode::Flush);
        }
    }

    /// A segment that nobody gets.
    pub(super) fn drop_segment(&mut self, place: u32) {
        self.forget_messages(place);
        let bytes = self.segments.take_bytes(place);
        self.segments.remove(place, bytes);
    }

    fn forget_messages(&mut self, place: u32) {
        let messages = self.segments.get(place).messages;
        if messages > 0 {
            self.account_wire();
            self.snapshot.on_the_wire -= u64::from(messages);
            self.segments.clear_messages(place);
        }
    }

    /// Whether something with this probability happens.
    fn happens(&self, purpose: Purpose, subject: u64, counter: u64, share: f64) -> bool {
        share > 0.0 && self.random.stream_at(purpose, subject, counter).chance(share)
    }
}
