//! Asks a question over the link of two towers, first from a tower that is learned, then from a
//! guest, which is not.
//!
//! ```sh
//! cargo run --package clacks-smol --example question
//! ```
//!
//! A datagram carries bytes between the applications at both ends of a link. It passes no other
//! tower, joins no queue and is not confirmed. Both towers enable datagrams
//! (`Config::datagrams`). A guest (`Config::is_guest`) names no address when it calls, so that no
//! tower learns or dials it. It can still ask, and the answer goes back on its link.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Datagrams, Notice, Seed, To, Tower};
use clacks_smol::{Driver, Handle};
use smol::{Timer, future};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The longest time that the example takes. A datagram can be lost with its link, so an application
/// limits the time that it waits for an answer.
const DEADLINE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    smol::block_on(future::or(run(), async {
        Timer::after(DEADLINE).await;
        Err("no answer".into())
    }))
}

async fn run() -> Result<()> {
    let library = start(&with_datagrams())?;
    let mut notices = library.notices();
    let service = smol::spawn(answer(library.clone()));

    let tower = start(&with_datagrams())?;
    println!("answer to the tower: {}", ask(&tower, library.address()).await?);
    // The library has learned the address of the tower.
    while let Some(notice) = notices.recv().await {
        if matches!(notice, Notice::TowerDiscovered { peer } if peer == *tower.address()) {
            break;
        }
    }
    print_peers(&library);

    let mut config = with_datagrams();
    config.is_guest = true;
    let guest = start(&config)?;
    println!("answer to the guest: {}", ask(&guest, library.address()).await?);
    print_peers(&library);
    if library.find(guest.address()).is_some() {
        return Err("the library has learned the guest".into());
    }

    for handle in [&guest, &tower, &library] {
        handle.shutdown().await;
    }
    // The service ends with the driver of the library.
    service.await;
    Ok(())
}

/// Asks the application at `to`, and waits for its answer.
async fn ask(tower: &Handle<SecureTower>, to: &Address) -> Result<String> {
    tower.expand(to)?;
    let peer = tower.find(to).ok_or("the peer was forgotten")?;
    // The tower dials the peer if it has no link to the peer.
    tower.datagram(To::Peer(peer.id), "Where is the Necrotelicomnicon?")?;
    let answer = tower.next_datagram().await.ok_or("the driver has ended")?;
    Ok(String::from_utf8(answer.body.to_vec())?)
}

/// Answers questions until the driver of the tower ends.
async fn answer(tower: Handle<SecureTower>) {
    while let Some(asked) = tower.next_datagram().await {
        let from = asked.from.map_or_else(|| "a guest".into(), |peer| peer.to_string());
        let question = String::from_utf8_lossy(&asked.body);
        println!("library: {from} asks: {question}");
        let answer = if question.contains("Necrotelicomnicon") { "cellar 5" } else { "unknown" };
        // The link can end before the answer. Then nothing is sent.
        if let Err(error) = tower.datagram(To::Link(asked.link), answer) {
            println!("library: no answer to {from}: {error}");
        }
    }
}

fn print_peers(library: &Handle<SecureTower>) {
    let peers: Vec<_> = library.survey().iter().map(|peer| peer.address.to_string()).collect();
    println!("library: links: {}, peers: {}", library.links().len(), peers.join(", "));
}

fn with_datagrams() -> Config {
    let mut config = Config::default();
    config.datagrams = Datagrams::ON;
    config
}

/// Starts a tower on the loopback interface. It runs on smol's threads.
fn start(config: &Config) -> Result<Handle<SecureTower>> {
    // The driver of a guest has a listener too, but no tower dials it.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = Address::try_from(listener.local_addr()?)?;
    let tower = Tower::new(config.clone(), address, &Seed::generate())?;
    let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
    let (handle, driver) = Driver::new(tower, listener)?;
    smol::spawn(driver.run()).detach();
    Ok(handle)
}
