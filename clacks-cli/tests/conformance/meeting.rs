//! Towers get to know each other, or don't want to.

use clacks_proto::{Address, Message, Notice, Status};

use crate::network::{Network, Plan, RunningTower, Runtimes, port_again, quick, quiet};

/// The three steps that the original is tested with.
pub(crate) fn towers_meet_lose_one_and_take_it_back(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let mut old: Vec<RunningTower> = (0..3).map(|_| network.raise_with(quick())).collect();
    let addresses: Vec<Address> = old.iter().map(|tower| tower.address.clone()).collect();

    // 1. One and two know each other, three announces itself to one: that is enough.
    old[0].expand(&addresses[1]).unwrap();
    old[1].expand(&addresses[0]).unwrap();
    old[0].enqueue_text("Hello Discworld!");
    old[2].announce(&addresses[0]).unwrap();
    for (tower, own) in old.iter_mut().zip(&addresses) {
        for other in addresses.iter().filter(|other| *other != own) {
            tower.thinks(Status::Alive, other);
        }
    }
    for tower in &mut old {
        tower.receives("Hello Discworld!");
    }

    // 2. A fourth announces itself to one, becomes known to all, and dies.
    let mut plan = Plan::new(quick());
    let identity = plan.identity.clone();
    let mut fourth = network.raise(plan);
    let (newcomer, socket) = (fourth.address.clone(), fourth.socket);
    fourth.announce(&addresses[0]).unwrap();
    for (tower, address) in old.iter_mut().zip(&addresses) {
        tower.thinks(Status::Alive, &newcomer);
        fourth.thinks(Status::Alive, address);
    }
    fourth.kill();
    for tower in &mut old {
        tower.thinks(Status::Lost, &newcomer);
    }

    // 3. It comes back and does nothing: the others remember it.
    plan = Plan { identity, listener: Some(port_again(socket)), ..Plan::new(quick()) };
    let mut fourth = network.raise(plan);
    assert_eq!(fourth.address, newcomer);
    for (tower, address) in old.iter_mut().zip(&addresses) {
        tower.thinks(Status::Alive, &newcomer);
        fourth.thinks(Status::Alive, address);
    }
    // It is one of them again: what it is given to carry comes round.
    fourth.enqueue_text("GNU Terry Pratchett");
    for tower in &mut old {
        tower.receives("GNU Terry Pratchett");
    }
}

pub(crate) fn a_tower_that_is_ignored_neither_gets_nor_gives(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let mut shy = network.raise_with(quick());
    let mut pushy = network.raise_with(quick());
    let friend = network.raise_with(quiet());
    shy.expand(&pushy.address).unwrap();
    shy.thinks(Status::Alive, &pushy.address);
    let (here, there) = (shy.address.clone(), pushy.address.clone());
    pushy.thinks(Status::Alive, &here);

    shy.ignore(&there).unwrap();
    assert_eq!(shy.status_of(&there), Some(Status::Ignored));
    let received = shy.stats().received;
    pushy.enqueue_text("Listen!");
    // What it wants to give comes back to it, again and again.
    pushy.thinks(Status::Lost, &here);
    pushy.announce(&here).unwrap();
    let mut refusals = 0;
    pushy.hears("refusals", |notice| {
        refusals += usize::from(matches!(notice, Notice::LinkClosed { .. }));
        (refusals == 5).then_some(())
    });
    assert_eq!((shy.stats().received, pushy.held()), (received, 1));
    assert_eq!(shy.expand(&there), Err(clacks_proto::ExpandError::Ignored));

    // What goes out goes to others.
    shy.expand(&friend.address).unwrap();
    for _ in 0..20 {
        shy.enqueue(Message::text("Not for everyone")).unwrap();
    }
    assert_eq!(shy.delivers(20), vec![friend.address.clone(); 20]);
    assert_eq!(pushy.stats().received, 0);
    assert_eq!(shy.status_of(&there), Some(Status::Ignored));

    // Alone with it again, or the message might go to the friend first.
    shy.ignore(&friend.address).unwrap();
    assert!(shy.unignore(&there) && !shy.unignore(&there));
    shy.receives("Listen!");
    shy.thinks(Status::Alive, &there);
}
