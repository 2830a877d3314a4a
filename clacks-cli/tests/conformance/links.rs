//! Links as the state machine sees them: terminal events, fairness between links, slow readers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use clacks_proto::{Config, Status};

use crate::dialling::ClosedPort;
use crate::network::{FOREVER, Network, RunningTower, Runtimes, connect, poll_until, quick, quiet};
use crate::recorder::{LinkRecord, Recorder, Records, pattern};

pub(crate) fn each_link_has_exactly_one_terminal_event(runtimes: Runtimes) {
    let mut config = quick();
    config.timeouts.handshake = Duration::from_millis(50);
    config.timeouts.close = Duration::from_millis(50);
    let records = Records::default();
    let mut network = Network::new(runtimes);
    let mut tower = network.start_machine(config, |tower| Recorder::new(tower, &records));
    // A link whose peer is killed, and dials that fail.
    let killed = network.start_clear(quick());
    let killed_address = killed.address.clone();
    let unknown = "no-such-tower.invalid:1".parse().unwrap();
    let closed = ClosedPort::new();
    for address in [&killed_address, &closed.address, &unknown] {
        tower.announce(address).unwrap();
    }
    // Callers that are silent, speak another protocol, or close the connection.
    let silent = connect(tower.socket);
    let mut other = connect(tower.socket);
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(connect(tower.socket));
    tower.wait_for_status(Status::Alive, &killed_address);
    killed.kill();
    tower.wait_for_status(Status::Lost, &killed_address);
    // A link that is open when the shutdown begins.
    let last = network.start_clear(quick());
    tower.announce(&last.address).unwrap();
    tower.wait_for_status(Status::Alive, &last.address);
    tower.shut_down();
    drop((silent, other));

    let links = records.links();
    assert!(links.len() >= 7, "{links:#?}");
    let is_valid =
        |link: &LinkRecord| link.terminal == 1 && link.connected <= 1 && link.finished <= 1;
    assert!(links.iter().all(is_valid), "{links:#?}");
}

pub(crate) fn a_link_that_can_not_be_flushed_is_aborted_at_the_close_timeout(runtimes: Runtimes) {
    let mut config = quick();
    config.timeouts.close = Duration::from_millis(50);
    let records = Records::default();
    let mut network = Network::new(runtimes);
    let tower = start_flooding(&mut network, config, &records);
    let mut caller = connect(tower.socket);
    // The tower closes the link, because the bytes are no hello. The caller does not read, so the
    // flood can't be sent. Writing fails when the socket is closed.
    while caller.write_all(&[0; 4_096]).is_ok() {}
    poll_until("the terminal event", || records.any(|link| link.terminal == 1));
}

fn start_flooding(
    network: &mut Network,
    config: Config,
    records: &Records,
) -> RunningTower<Recorder> {
    network.start_machine_on_own_thread(config, |tower| Recorder::flooding(tower, records))
}

/// Returns a configuration without timeouts for callers.
fn patient() -> Config {
    let mut config = quick();
    config.timeouts.handshake = FOREVER;
    config.timeouts.close = FOREVER;
    config
}

pub(crate) fn a_caller_that_does_not_read_is_read_and_delays_no_peer(runtimes: Runtimes) {
    /// More than a driver reads before it serves other links.
    const LEN: usize = 1 << 20;

    check_messages(
        runtimes,
        |mut caller| {
            // The tower closes the link, and must still read all bytes.
            caller.write_all(&[0; LEN]).unwrap();
            caller
        },
        |records| records.any(|link| link.received == LEN),
    );
}

pub(crate) fn a_caller_that_reads_without_end_delays_no_peer(runtimes: Runtimes) {
    check_messages(
        runtimes,
        |mut caller| {
            let mut buffer = vec![0; 1 << 20];
            while caller.read(&mut buffer).is_ok_and(|count| count > 0) {}
            caller
        },
        has_moved_32_mib,
    );
}

pub(crate) fn a_caller_that_writes_without_end_delays_no_peer(runtimes: Runtimes) {
    check_messages(
        runtimes,
        |mut caller| {
            while caller.write_all(&[0; 1 << 18]).is_ok() {}
            caller
        },
        has_moved_32_mib,
    );
}

fn has_moved_32_mib(records: &Records) -> bool {
    records.any(|link| link.sent + link.received > 32 << 20)
}

/// Hands over messages one by one while a caller keeps a flooding tower busy. There are at least
/// 100 messages. They end when `is_busy` returns true.
fn check_messages(
    runtimes: Runtimes,
    call: impl FnOnce(TcpStream) -> TcpStream + Send + 'static,
    is_busy: impl Fn(&Records) -> bool,
) {
    let records = Records::default();
    let mut network = Network::new(runtimes);
    let mut tower = start_flooding(&mut network, patient(), &records);
    let peer = network.start_clear(quiet());
    let caller = connect(tower.socket);
    let calling = thread::spawn(|| call(caller));
    tower.expand(&peer.address).unwrap();
    let mut count = 0;
    while count < 100 || !is_busy(&records) {
        tower.enqueue_text("go on");
        tower.wait_for_deliveries(1);
        count += 1;
    }
    tower.kill();
    drop(calling.join().unwrap());
}

pub(crate) fn bytes_that_wait_for_a_slow_reader_are_unchanged(runtimes: Runtimes) {
    /// More than a tower sends before the caller's hello.
    const HELLO: usize = 1_024;

    let records = Records::default();
    let mut network = Network::new(runtimes);
    let (handle, mut driver) =
        network.driver(patient(), |tower| Recorder::flooding(tower, &records));
    let mut caller = connect(handle.local_addr());
    // The driver waits for the caller if a step moves no bytes: there are always more bytes.
    let mut before = 0;
    poll_until("a full socket", || {
        before = records.sent();
        driver.step();
        before > 0 && before == records.sent()
    });
    let driver = driver.start_on_own_thread(&handle);
    let mut stream = vec![0; 2 * before];
    caller.read_exact(&mut stream).unwrap();
    driver.kill();
    let mut after_hello = stream.iter().enumerate().skip(HELLO);
    let changed = after_hello.find(|(position, byte)| **byte != pattern(*position));
    assert_eq!(changed, None);
}
