//! Connections between towers, and the segments that are on their way.

use std::collections::VecDeque;

use clacks_proto::LinkId;

use crate::observation::TowerId;

const NOWHERE: u32 = u32::MAX;

/// One of the two ends of a connection: who dialled, or who was dialled.
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
}

/// An end of a connection, as a tower's table of links knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    pub(super) connection: u32,
    pub(super) side: Side,
}

/// A connection, from the dial until both ends are closed.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// How often this place has been used before: segments of an earlier connection mean nothing any more.
    pub(super) epoch: u32,
    /// Which of its dials the dialler made with it. Together they name the connection's random numbers.
    pub(super) dial: u32,
    pub(super) ends: [End; 2],
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) tower: TowerId,
    /// The tower's name for it; `None` while it is not accepted, and once it is closed.
    pub(super) link: Option<LinkId>,
    /// The bytes that leave here.
    pub(super) flow: Flow,
}

/// Bytes that wait, and how many messages are in each piece.
type Backlog = VecDeque<(Vec<u8>, u32)>;

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// How long bytes take, without jitter...
    pub(super) latency: u64,
    /// When the last segment arrives. None arrives earlier than the one before.
    pub(super) arrives: u64,
    /// When the last byte has left, with a bandwidth.
    pub(super) free_at: u64,
    /// Segments so far: the counter of its random numbers.
    pub(super) segments: u32,
    /// Bytes on their way.
    pub(super) bytes: u32,
    /// ...in which weather: how often it had changed.
    pub(super) conditions: u32,
    /// What becomes of the bytes.
    pub(super) state: FlowState,
    /// The tower wants to close it once all has left.
    pub(super) closes: bool,
    /// Segments that wait because the path is full, oldest first, and how many messages are in each. Rare.
    pub(super) backlog: Option<Box<Backlog>>,
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FlowState {
    /// They arrive.
    #[default]
    Runs,
    /// They vanish: the connection is lost, or it fell silent. TCP would wait for the missing ones for ever.
    Vanishes,
}

impl Connection {
    pub(super) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.ends[0],
            Side::Dialled => &mut self.ends[1],
        }
    }

    pub(super) fn at(&self, side: Side) -> &End {
        match side {
            Side::Dialler => &self.ends[0],
            Side::Dialled => &self.ends[1],
        }
    }

    /// What names its random numbers.
    pub(super) fn subject(&self) -> u64 {
        u64::from(self.ends[0].tower.0) << 32 | u64::from(self.dial)
    }
}

/// All connections. Places are used again.
#[derive(Debug, Default)]
pub(super) struct Connections {
    places: Vec<Connection>,
    vacant: Vec<u32>,
}

impl Connections {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    /// A new connection, of which only the dialler knows.
    pub(super) fn open(&mut self, from: TowerId, link: LinkId, to: TowerId, dial: u32) -> u32 {
        let end = |tower, link| End { tower, link, flow: Flow::default() };
        let ends = [end(from, Some(link)), end(to, None)];
        match self.vacant.pop() {
            Some(place) => {
                let connection = &mut self.places[place as usize];
                (connection.dial, connection.ends) = (dial, ends);
                place
            }
            None => {
                self.places.push(Connection { epoch: 0, dial, ends });
                u32::try_from(self.places.len() - 1).unwrap_or(NOWHERE)
            }
        }
    }

    pub(super) fn get(&mut self, place: u32) -> &mut Connection {
        &mut self.places[place as usize]
    }

    /// The connection that a segment belongs to, unless that has ended.
    pub(super) fn of(&mut self, segment: &Segment) -> Option<&mut Connection> {
        let connection = self.places.get_mut(segment.connection as usize)?;
        (connection.epoch == segment.epoch).then_some(connection)
    }

    /// Frees a place once both ends are closed.
    pub(super) fn vacate(&mut self, place: u32) {
        let connection = &mut self.places[place as usize];
        if connection.ends.iter().all(|end| end.link.is_none()) {
            connection.epoch = connection.epoch.wrapping_add(1);
            for end in &mut connection.ends {
                end.flow.backlog = None;
            }
            self.vacant.push(place);
        }
    }
}

/// Something on its way along a connection.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) connection: u32,
    pub(super) epoch: u32,
    /// Where it goes.
    pub(super) to: Side,
    pub(super) what: Load,
    /// How many messages are in it.
    pub(super) messages: u32,
    pub(super) bytes: Vec<u8>,
}

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A dial.
    Syn,
    /// The answer to it: somebody is there.
    SynAck,
    /// The answer to it: nobody is there, or nobody may be reached.
    Refusal(clacks_proto::IoCause),
    /// The tower behind an answered dial is asked for a link now: it was paused before.
    Accept,
    /// Bytes.
    Bytes,
    /// No more bytes.
    Fin,
    /// The connection is broken.
    Reset,
    /// Bytes have arrived, and others may leave.
    Room,
}

/// The segments on their way. Places and their buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Segments {
    places: Vec<Segment>,
    vacant: Vec<u32>,
}

/// A buffer that grew beyond this is given back: it was one of a few.
const USUAL: usize = 4_096;

impl Segments {
    /// Sends something on its way; its bytes are put into it afterwards.
    pub(super) fn add(
        &mut self,
        connection: u32,
        epoch: u32,
        to: Side,
        what: Load,
    ) -> (u32, &mut Segment) {
        let place = match self.vacant.pop() {
            Some(place) => place,
            None => {
                let bytes = Vec::new();
                self.places.push(Segment { connection, epoch, to, what, messages: 0, bytes });
                u32::try_from(self.places.len() - 1).unwrap_or(NOWHERE)
            }
        };
        let segment = &mut self.places[place as usize];
        (segment.connection, segment.epoch, segment.to) = (connection, epoch, to);
        (segment.what, segment.messages) = (what, 0);
        segment.bytes.clear();
        (place, segment)
    }

    pub(super) fn get(&self, place: u32) -> &Segment {
        &self.places[place as usize]
    }

    /// Its messages are on the wire no more.
    pub(super) fn clear_messages(&mut self, place: u32) {
        self.places[place as usize].messages = 0;
    }

    /// Takes the bytes out, to be given back with [`Self::remove`].
    pub(super) fn take_bytes(&mut self, place: u32) -> Vec<u8> {
        std::mem::take(&mut self.places[place as usize].bytes)
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, place: u32, buffer: Vec<u8>) {
        if buffer.capacity() <= USUAL {
            self.places[place as usize].bytes = buffer;
        }
        self.vacant.push(place);
    }
}
