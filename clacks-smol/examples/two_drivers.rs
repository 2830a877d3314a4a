//! Passes a message between two towers with TLS on the loopback interface.
//!
//! ```sh
//! cargo run --package clacks-smol --example two_drivers
//! ```

use std::error::Error;
use std::net::TcpListener;

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, Notice, Seed, SendRate, Tower};
use clacks_smol::{Driver, Handle};
use smol::future;

fn main() -> Result<(), Box<dyn Error>> {
    let lipwig = start()?;
    let princess = start()?;
    smol::block_on(async {
        let mut notices = princess.notices();
        lipwig.expand(princess.address())?;
        let delivery = lipwig.deliver(Message::text("Hello Discworld!"))?;
        let received = async {
            while let Some(notice) = notices.recv().await {
                if let Notice::MessageReceived { message, from: Some(from), .. } = notice {
                    println!("{}: {message:?} from {from}", princess.address());
                    break;
                }
            }
        };
        let (_, delivery) = future::zip(received, delivery).await;
        if let Some(to) = delivery.and_then(|delivery| delivery.to) {
            println!("{}: delivered to {to}", lipwig.address());
        }
        // The tower that shuts down last has no peer for its messages.
        let (first, last) = (lipwig.shutdown().await, princess.shutdown().await);
        println!("messages that no tower took: {}", first + last);
        Ok(())
    })
}

/// Starts a tower that runs on smol's threads.
fn start() -> Result<Handle<SecureTower>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    let address = Address::try_from(listener.local_addr()?)?;
    let tower = Tower::new(config, address, &Seed::generate())?;
    let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
    let (handle, driver) = Driver::new(tower, listener)?;
    smol::spawn(driver.run()).detach();
    Ok(handle)
}
