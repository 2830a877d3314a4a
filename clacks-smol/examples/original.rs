//! The "Basic Usage" of the original JavaScript package, line by line, in Rust.
//!
//! ```sh
//! cargo run --package clacks-smol --example original
//! cargo run --package clacks-smol --example original -- key.pem cert.pem
//! ```
//!
//! The key and the certificate are in PEM, as for `init(key, cert)` of the original. Without them
//! the example generates a key, which the original does not do. The example ends when a message has
//! moved from the tower to a remote tower and back.

use std::error::Error;
use std::fs;
use std::net::TcpListener;

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, Notice, Seed, SendRate, Tower};
use clacks_smol::{Driver, Handle};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let identity = match &paths[..] {
        [] => Identity::generate()?,
        [key, certificate] => Identity::from_pem(&fs::read(key)?, &fs::read(certificate)?)?,
        _ => return Err("usage: original [KEY CERTIFICATE]".into()),
    };
    let remote = start(&Identity::generate()?)?;

    // tower = Clacks(); tower.init(key, cert)
    let tower = start(&identity)?;

    // The original calls functions. Here a reader returns all notices in order.
    let mut notices = tower.notices();

    // tower.enqueue(message)
    tower.enqueue(Message::text("Hello Discworld!"))?;

    // messages = tower.peek()
    for held in tower.peek() {
        println!("queued: {:?}", held.message);
    }

    // tower.expand(hostname, port)
    tower.expand(remote.address())?;

    // tower.announce(hostname, port)
    tower.announce(remote.address())?;

    // towers = tower.survey()
    for peer in tower.survey() {
        println!("peer: {} is {}", peer.address, peer.status);
    }

    for notice in notices.iter() {
        match notice {
            // tower.onMessageReceived(function(payload) { … })
            Notice::MessageReceived { message, .. } => {
                println!("received: {message:?}");
                break;
            }
            // tower.onTowerDiscovered(function(tower) { … })
            Notice::TowerDiscovered { peer } => println!("discovered: {peer}"),
            // tower.onTowerUpdated(function(tower) { … })
            Notice::StatusChanged { peer, to, .. } => println!("updated: {peer} is {to}"),
            _ => {}
        }
    }

    // The original has no shutdown.
    let lost = smol::block_on(async { tower.shutdown().await + remote.shutdown().await });
    println!("messages that no tower took: {lost}");
    Ok(())
}

/// Starts a tower on the loopback interface. It runs on smol's threads.
fn start(identity: &Identity) -> Result<Handle<SecureTower>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    let address = Address::try_from(listener.local_addr()?)?;
    let tower = Tower::new(config, address, &Seed::generate())?;
    let tower = SecureTower::new(tower, identity, Trust::Open)?;
    let (handle, driver) = Driver::new(tower, listener)?;
    smol::spawn(driver.run()).detach();
    Ok(handle)
}
