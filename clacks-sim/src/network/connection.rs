//! The tables of connections and of segments on their way. Slots are reused.

use std::collections::VecDeque;

use clacks_proto::prefetch::prefetch;
use clacks_proto::{IoCause, LinkId};
use prefetch_index::prefetch_index;

use crate::observation::TowerId;

/// The other end of a connection to an address without a tower.
pub(super) const NO_TOWER: TowerId = TowerId(u32::MAX);

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Dialled,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Dialled,
            Self::Dialled => Self::Dialler,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Dialler => 0,
            Self::Dialled => 1,
        }
    }
}

/// The id of an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    pub(super) connection: u32,
    pub(super) side: Side,
}

impl EndId {
    pub(super) fn other(self) -> Self {
        Self { connection: self.connection, side: self.side.other() }
    }
}

/// A connection, from the dial until both ends are closed.
#[derive(Debug)]
pub(super) struct Connection {
    /// How often the slot was used before. Segments of an earlier connection are dropped.
    pub(super) epoch: u32,
    /// The number of the dial among all dials of the dialler.
    dial: u32,
    ends: [End; 2],
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) tower: TowerId,
    /// The address under which the tower takes part, as a number.
    pub(super) ip: u32,
    /// `None` before the tower has accepted the connection, and after it has closed it.
    pub(super) link: Option<LinkId>,
    /// The bytes that leave here.
    pub(super) flow: Flow,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// How long bytes take, without jitter, since the conditions changed for the
    /// `conditions`-th time.
    pub(super) latency: u64,
    /// When the last segment arrives. No later segment arrives earlier.
    pub(super) arrives: u64,
    /// What only paths with a bandwidth or a capacity need.
    pub(super) shaping: Option<Box<Shaping>>,
    /// The number of segments so far. It is the counter of the flow's random numbers.
    pub(super) segments: u32,
    /// Bytes on their way.
    pub(super) bytes: u32,
    pub(super) conditions: u32,
    /// All further bytes vanish: the connection is lost or fell silent. TCP would wait for the
    /// missing bytes for ever.
    pub(super) vanishes: bool,
}

/// The state of a flow on a path with limits.
#[derive(Debug, Default)]
pub(super) struct Shaping {
    /// When the last byte has left.
    pub(super) free_at: u64,
    /// The tower wants to close the connection when all bytes have left.
    pub(super) closes: bool,
    /// Segments that wait because the path is full, oldest first, each with its number of messages.
    pub(super) backlog: VecDeque<(Vec<u8>, u32)>,
}

impl Flow {
    /// Returns whether bytes wait for room on the path.
    pub(super) fn has_backlog(&self) -> bool {
        self.shaping.as_ref().is_some_and(|shaping| !shaping.backlog.is_empty())
    }

    /// Returns when the last byte has left.
    pub(super) fn free_at(&self) -> u64 {
        self.shaping.as_ref().map_or(0, |shaping| shaping.free_at)
    }
}

impl Connection {
    pub(super) fn end(&self, side: Side) -> &End {
        &self.ends[side.index()]
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side.index()]
    }

    /// Returns the subject of the connection's random numbers.
    pub(super) fn subject(&self) -> u64 {
        u64::from(self.ends[0].tower.0) << 32 | u64::from(self.dial)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slots: Vec<Connection>,
    free: Vec<u32>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a connection that only its dialler knows of.
    pub(super) fn open(
        &mut self,
        (from, from_ip, link): (TowerId, u32, LinkId),
        (to, to_ip): (TowerId, u32),
        dial: u32,
    ) -> EndId {
        let end = |tower, ip, link| End { tower, ip, link, flow: Flow::default() };
        let ends = [end(from, from_ip, Some(link)), end(to, to_ip, None)];
        let connection = match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                (slot.dial, slot.ends) = (dial, ends);
                index
            }
            None => {
                self.slots.push(Connection { epoch: 0, dial, ends });
                index_of_last(&self.slots)
            }
        };
        EndId { connection, side: Side::Dialler }
    }

    pub(super) fn get(&self, connection: u32) -> &Connection {
        &self.slots[connection as usize]
    }

    /// Starts to load a connection into the cache.
    #[inline]
    pub(super) fn prefetch(&self, connection: u32) {
        if let Some(connection) = self.slots.get(connection as usize) {
            prefetch(connection, &connection.ends[0].flow.latency);
        }
    }

    pub(super) fn end(&self, end: EndId) -> &End {
        self.get(end.connection).end(end.side)
    }

    pub(super) fn end_mut(&mut self, end: EndId) -> &mut End {
        self.slots[end.connection as usize].end_mut(end.side)
    }

    pub(super) fn flow(&mut self, end: EndId) -> &mut Flow {
        &mut self.end_mut(end).flow
    }

    /// Returns the towers at an end and at the other end.
    pub(super) fn towers(&self, end: EndId) -> (TowerId, TowerId) {
        let connection = self.get(end.connection);
        (connection.end(end.side).tower, connection.end(end.side.other()).tower)
    }

    /// Returns the connection of a segment, unless the connection has ended.
    pub(super) fn of(&self, segment: &Segment) -> Option<&Connection> {
        let connection = self.slots.get(segment.end.connection as usize)?;
        (connection.epoch == segment.epoch).then_some(connection)
    }

    /// Frees the slot of a connection if both ends are closed.
    pub(super) fn free_if_closed(&mut self, index: u32) {
        let connection = &mut self.slots[index as usize];
        if connection.ends.iter().all(|end| end.link.is_none()) {
            connection.epoch = connection.epoch.wrapping_add(1);
            for end in &mut connection.ends {
                end.flow.shaping = None;
            }
            self.free.push(index);
        }
    }
}

/// Something on its way along a connection.
#[derive(Debug)]
pub(super) struct Segment {
    /// The end to which the segment goes.
    pub(super) end: EndId,
    /// The epoch of the connection.
    pub(super) epoch: u32,
    pub(super) content: Content,
    /// The number of messages in the bytes.
    pub(super) messages: u32,
    pub(super) bytes: Vec<u8>,
}

/// The content of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A dial.
    Syn,
    /// The answer of a machine that accepts dials.
    SynAck,
    /// The answer to a dial that failed.
    Refusal(IoCause),
    /// The machine has answered a dial, and now its tower is asked to accept the connection. The
    /// tower was paused before.
    Accept,
    /// Bytes.
    Bytes,
    /// Bytes of which one was altered.
    Corrupted,
    /// The end of the bytes.
    Fin,
    /// The connection is broken.
    Reset,
    /// Bytes have arrived, and others may leave.
    Room,
}

/// The segments on their way.
#[derive(Debug, Default)]
pub(super) struct Segments {
    slots: Vec<Segment>,
    free: Vec<u32>,
}

/// A buffer with a larger capacity is freed (guess: few messages are longer).
const MAX_KEPT_BUFFER: usize = 4_096;

impl Segments {
    /// Adds a segment without bytes.
    pub(super) fn add(&mut self, end: EndId, epoch: u32, content: Content) -> (u32, &mut Segment) {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Segment { end, epoch, content, messages: 0, bytes: Vec::new() });
                index_of_last(&self.slots)
            }
        };
        let segment = &mut self.slots[index as usize];
        (segment.end, segment.epoch, segment.content) = (end, epoch, content);
        segment.messages = 0;
        segment.bytes.clear();
        (index, segment)
    }

    pub(super) fn get(&self, index: u32) -> &Segment {
        &self.slots[index as usize]
    }

    /// Starts to load a segment into the cache.
    #[inline]
    pub(super) fn prefetch(&self, index: u32) {
        prefetch_index(&self.slots, index as usize);
    }

    /// Returns the number of messages in a segment, and sets it to zero.
    pub(super) fn take_messages(&mut self, index: u32) -> u32 {
        std::mem::take(&mut self.slots[index as usize].messages)
    }

    /// Takes the bytes out. [`Self::remove`] takes the buffer back.
    pub(super) fn take_bytes(&mut self, index: u32) -> Vec<u8> {
        std::mem::take(&mut self.slots[index as usize].bytes)
    }

    pub(super) fn remove(&mut self, index: u32, buffer: Vec<u8>) {
        if buffer.capacity() <= MAX_KEPT_BUFFER {
            self.slots[index as usize].bytes = buffer;
        }
        self.free.push(index);
    }
}

fn index_of_last<T>(slots: &[T]) -> u32 {
    u32::try_from(slots.len() - 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_connection_is_small() {
        assert_eq!((size_of::<Connection>(), size_of::<Segment>()), (120, 48));
    }
}
