//! Many connections.

use clacks_proto::Message;
use std::io::Read;
use std::net::TcpStream;

use crate::support::{FOREVER, delivers, quick, quiet, run, run_alone, start};

/// Fits the usual limit of 1 024 descriptors, with both ends of each connection in this process.
const SILENT: usize = 400;

#[test]
fn silent_connections_do_not_hold_up_messages() {
    run_alone(async {
        let mut config = quick();
        config.max_links = 2 * SILENT;
        config.max_half_open = 2 * SILENT - 1;
        config.timeouts.handshake = FOREVER;
        let (one, two) = (start(config), start(quiet()));
        let socket = one.handle.local_addr();
        let silent = smol::unblock(move || {
            let mut silent: Vec<_> =
                (0..SILENT).map(|_| TcpStream::connect(socket).unwrap()).collect();
            // A hello on each of them shows that the tower has accepted it.
            silent.iter_mut().for_each(|caller| caller.read_exact(&mut [0; 1]).unwrap());
            silent
        })
        .await;
        let mut notices = one.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for _ in 0..100 {
            one.handle.enqueue(Message::text("busy")).unwrap();
        }
        delivers(&mut notices, 100).await;
        assert_eq!(one.handle.stats().links_accepted, u64::try_from(SILENT).unwrap());
        drop(silent);
    });
}

#[test]
fn connections_over_the_limit_are_dropped() {
    run(async {
        let mut config = quick();
        config.max_half_open = 4;
        config.timeouts.handshake = FOREVER;
        let tower = start(config);
        let socket = tower.handle.local_addr();
        let mut all: Vec<_> = (0..5).map(|_| TcpStream::connect(socket).unwrap()).collect();
        // One of them gets the end of the stream instead of a hello.
        let greeted: usize = smol::unblock(move || {
            all.iter_mut().map(|stream| stream.read(&mut [0; 1]).unwrap_or(0)).sum()
        })
        .await;
        assert_eq!(greeted, 4);
        assert_eq!(tower.handle.stats().links_refused, 1);
    });
}
