//! The effect of link conditions on bytes: latency, limits, and faults.

use std::sync::Arc;

use clacks_proto::{CloseMode, IoCause, LinkId, StateMachine};

use super::connection::{Content, EndId, NO_TOWER};
use super::{Due, Network, NetworkObserver, nanos};
use crate::observation::{Fault, TowerId};
use crate::plan::{LinkConditions, LinkOverrides, PartitionEffect};
use crate::rng::Purpose;

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Returns the conditions on the path from one tower to another.
    pub(super) fn conditions(&self, from: TowerId, to: TowerId) -> Arc<LinkConditions> {
        let path = self.plan.paths.iter().find(|path| path.from.has(from) && path.to.has(to));
        let conditions = path.map_or(&self.conditions, |path| &path.conditions);
        let are_faults_over = self.now >= self.faults_end;
        Arc::clone(match are_faults_over {
            true => &conditions.after_faults,
            false => &conditions.until_faults_end,
        })
    }

    /// Begins a change of the conditions of all links without a path.
    pub(super) fn change_conditions(&mut self, id: u32, link: &LinkOverrides) {
        let place = self.overrides.partition_point(|(other, _)| *other < id);
        self.overrides.insert(place, (id, link.clone()));
        self.update_conditions();
    }

    /// Ends a change of conditions.
    pub(super) fn restore_conditions(&mut self, id: u32) {
        self.overrides.retain(|(other, _)| *other != id);
        self.update_conditions();
    }

    fn update_conditions(&mut self) {
        let start = self.plan.conditions.clone();
        let link = self.overrides.iter().fold(start, |link, (_, change)| link.with(change));
        self.conditions = link.into();
        self.condition_changes += 1;
        self.see_fault(None, Fault::LinkConditions);
    }

    /// Returns how long bytes take from one tower to another, before jitter. It is always the same
    /// for a pair.
    fn latency(&self, from: TowerId, to: TowerId) -> u64 {
        let pair = u64::from(from.0) << 32 | u64::from(to.0);
        let latency = &self.conditions(from, to).latency;
        nanos(latency.sample(&mut self.random.stream(Purpose::Latency, pair)))
    }

    /// Returns how long bytes that leave an end now take, before jitter. It is drawn again only
    /// after the conditions have changed.
    fn latency_from(&mut self, end: EndId) -> u64 {
        let changes = self.condition_changes;
        let flow = &self.connections.end(end).flow;
        if flow.conditions == changes {
            return flow.latency;
        }
        let (from, to) = self.connections.towers(end);
        let latency = self.latency(from, to);
        let flow = self.connections.flow(end);
        (flow.latency, flow.conditions) = (latency, changes);
        latency
    }

    /// Sends a dial from an address of a tower to an address of another one.
    pub(super) fn send_dial(
        &mut self,
        (tower, ip, link): (TowerId, u32, LinkId),
        (to, to_ip): (TowerId, u32),
    ) {
        let dial = self.node(tower).dials;
        let end = self.connections.open((tower, ip, link), (to, to_ip), dial);
        self.set_end(tower, link, Some(end));
        for (end, from, to) in [(end, tower, to), (end.other(), to, tower)] {
            let (latency, changes) = (self.latency(from, to), self.condition_changes);
            let flow = self.connections.flow(end);
            (flow.latency, flow.conditions) = (latency, changes);
        }
        let subject = self.connections.get(end.connection).subject();
        let conditions = self.conditions(tower, to);
        if self.happens(Purpose::Refused, subject, 0, conditions.refused) {
            self.see_fault(Some(tower), Fault::Refused);
            return self.send_control(end.other(), Content::Refusal(IoCause::Refused));
        }
        if self.happens(Purpose::Unanswered, subject, 0, conditions.unanswered) {
            return self.see_fault(Some(tower), Fault::Unanswered);
        }
        match self.partition_effect(tower, to).or_else(|| self.partition_effect(to, tower)) {
            Some(PartitionEffect::Silent) => self.see_fault(Some(tower), Fault::Blocked),
            Some(PartitionEffect::Reset) => {
                self.see_fault(Some(tower), Fault::Blocked);
                self.send_control(end.other(), Content::Refusal(IoCause::Unreachable));
            }
            None if to == NO_TOWER => {
                self.send_control(end.other(), Content::Refusal(IoCause::Refused));
            }
            None => self.send_control(end, Content::Syn),
        }
    }

    /// Sends bytes from an end, or keeps them until there is room on the path.
    pub(super) fn send_bytes(&mut self, end: EndId, bytes: &[u8]) {
        let (from, to) = self.connections.towers(end);
        let conditions = self.conditions(from, to);
        let flow = &self.connections.end(end).flow;
        let is_full = conditions.capacity.is_some_and(|capacity| {
            flow.bytes > 0 && flow.bytes.saturating_add(length(bytes)) > capacity
        });
        // Waiting bytes go first, even if there is no limit any more.
        if is_full || flow.has_backlog() {
            // The tower has handed the messages over. When they arrive is not known yet.
            let soonest = self.now.saturating_add(self.latency_from(end));
            let messages = self.see_messages(end, bytes, soonest);
            let shaping = self.connections.flow(end).shaping.get_or_insert_default();
            return shaping.backlog.push_back((bytes.to_vec(), messages));
        }
        self.send_segment(end, bytes, None, &conditions);
    }

    /// Sends a segment. The number of `messages` in it is given if they were observed already.
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
        if self.connections.end(end).link.is_none() {
            return;
        }
        let (from, to) = self.connections.towers(end);
        let severed = self.partition_effect(from, to);
        let length = length(bytes);
        let flow = self.connections.flow(end);
        flow.segments += 1;
        let number = u64::from(flow.segments) << 1 | end.side as u64;
        let mut leaves = now;
        if let Some(bandwidth) = conditions.bandwidth {
            let takes = u128::from(length) * 1_000_000_000 / u128::from(bandwidth.max(1));
            let shaping = flow.shaping.get_or_insert_default();
            leaves = shaping.free_at.max(now);
            leaves = leaves.saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
            shaping.free_at = leaves;
        }
        let mut arrives = leaves.saturating_add(latency);
        if let Some(jitter) = &conditions.jitter {
            let mut draws = self.random.stream_at(Purpose::Jitter, subject, number << 8);
            arrives = arrives.saturating_add(nanos(jitter.sample(&mut draws)));
        }
        let flow = self.connections.flow(end);
        arrives = arrives.max(flow.arrives);
        flow.arrives = arrives;
        let vanishes = flow.vanishes;
        let is_silenced =
            !vanishes && self.happens(Purpose::Silenced, subject, number, conditions.silenced);
        if is_silenced {
            self.see_fault(Some(from), Fault::Silenced);
        }
        if severed.is_some() && !vanishes {
            self.see_fault(Some(from), Fault::Blocked);
        }
        let messages = messages.unwrap_or_else(|| self.see_messages(end, bytes, arrives));
        if vanishes || is_silenced || severed == Some(PartitionEffect::Silent) {
            self.connections.flow(end).vanishes = true;
            return;
        }
        if severed == Some(PartitionEffect::Reset) {
            return self.break_connection(end, arrives);
        }
        let breaks = self.happens(Purpose::Broken, subject, number, conditions.broken);
        let is_corrupted = self.happens(Purpose::Corrupted, subject, number, conditions.corrupted);
        let mut kept = bytes.len();
        if breaks {
            self.see_fault(Some(from), Fault::Broken);
            let mut draws = self.random.stream_at(Purpose::Cut, subject, number << 8);
            kept = usize::try_from(draws.below(u64::from(length))).unwrap_or(0);
        }
        let mut content = Content::Bytes;
        if is_corrupted && kept > 0 {
            self.see_fault(Some(from), Fault::Corrupted);
            content = Content::Corrupted;
        }
        self.account_wire();
        self.snapshot.on_the_wire += u64::from(messages);
        self.connections.flow(end).bytes += length;
        let (index, segment) = self.segments.add(end.other(), epoch, content);
        segment.messages = messages;
        segment.bytes.extend_from_slice(&bytes[..kept]);
        self.event_queue.push(arrives, Due::Arrival(index));
        if breaks {
            self.break_connection(end, arrives);
        }
    }

    /// Sends something other than bytes, behind all that was sent from this end.
    pub(super) fn send_control(&mut self, end: EndId, content: Content) {
        let latency = self.latency_from(end);
        let (from, to) = self.connections.towers(end);
        let now = self.now;
        let flow = self.connections.flow(end);
        let arrives = now.max(flow.free_at()).saturating_add(latency).max(flow.arrives);
        flow.arrives = arrives;
        if flow.vanishes {
            return;
        }
        // A refusal by the network itself passes every partition.
        let is_parted = content != Content::Refusal(IoCause::Unreachable)
            && self.partition_effect(from, to).is_some();
        if is_parted {
            self.see_fault(Some(from), Fault::Blocked);
            self.connections.flow(end).vanishes = true;
            return;
        }
        let epoch = self.connections.get(end.connection).epoch;
        let (index, _) = self.segments.add(end.other(), epoch, content);
        self.event_queue.push(arrives, Due::Arrival(index));
    }

    /// Handles that the bytes of a segment have left the path to `end`.
    pub(super) fn on_bytes_left_path(&mut self, end: EndId, index: u32, length: u32) {
        self.forget_messages(index);
        let epoch = self.segments.get(index).epoch;
        let flow = self.connections.flow(end.other());
        flow.bytes = flow.bytes.saturating_sub(length);
        if flow.has_backlog() {
            let at = self.now.saturating_add(self.latency_from(end));
            let (index, _) = self.segments.add(end.other(), epoch, Content::Room);
            self.event_queue.push(at, Due::Arrival(index));
        }
    }

    /// Sends bytes that waited, because there is room on the path again.
    pub(super) fn on_room(&mut self, end: EndId) {
        let (from, to) = self.connections.towers(end);
        let conditions = self.conditions(from, to);
        let capacity = conditions.capacity.unwrap_or(u32::MAX);
        loop {
            let flow = self.connections.flow(end);
            let on_path = flow.bytes;
            let Some(shaping) = &mut flow.shaping else { return };
            let fits = shaping.backlog.front().is_some_and(|(first, _)| {
                on_path == 0 || on_path.saturating_add(length(first)) <= capacity
            });
            if !fits {
                break;
            }
            let Some((bytes, messages)) = shaping.backlog.pop_front() else { break };
            self.send_segment(end, &bytes, Some(messages), &conditions);
        }
        let is_paused = self.node(from).is_paused();
        let epoch = self.connections.get(end.connection).epoch;
        let Some(shaping) = &mut self.connections.flow(end).shaping else { return };
        if shaping.closes && shaping.backlog.is_empty() {
            if is_paused {
                // The tower learns that the connection is closed when it is resumed.
                let (index, _) = self.segments.add(end, epoch, Content::Room);
                return self.node(from).park(Due::Arrival(index));
            }
            shaping.closes = false;
            self.close_end(end, CloseMode::Flush);
        }
    }

    /// Drops a segment that no tower gets.
    pub(super) fn drop_segment(&mut self, index: u32) {
        self.forget_messages(index);
        let bytes = self.segments.take_bytes(index);
        self.segments.remove(index, bytes);
    }

    fn forget_messages(&mut self, index: u32) {
        let messages = self.segments.take_messages(index);
        if messages > 0 {
            self.account_wire();
            self.snapshot.on_the_wire -= u64::from(messages);
        }
    }

    /// Returns whether something with a probability happens.
    fn happens(&self, purpose: Purpose, subject: u64, counter: u64, probability: f64) -> bool {
        probability > 0.0 && self.random.stream_at(purpose, subject, counter).chance(probability)
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
