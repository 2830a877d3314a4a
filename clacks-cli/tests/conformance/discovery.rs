//! Towers learn of each other, lose each other, and ignore each other.

use clacks_proto::{Address, ExpandError, Notice, Status};

use crate::network::{Network, RunningTower, Runtimes, TowerOptions, listen_again, quick, quiet};

/// The three steps that the tests of the original JavaScript package take.
pub(crate) fn towers_discover_each_other_and_a_tower_that_returns(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut old: Vec<RunningTower> = (0..3).map(|_| network.start(quick())).collect();
    let addresses: Vec<Address> = old.iter().map(|tower| tower.address.clone()).collect();

    // 1. The first two towers know each other. The third one announces itself to the first one.
    old[0].expand(&addresses[1]).unwrap();
    old[1].expand(&addresses[0]).unwrap();
    old[0].enqueue_text("Hello Discworld!");
    old[2].announce(&addresses[0]).unwrap();
    old[2].wait_for("the confirmation", |notice| {
        matches!(notice, Notice::Announced { to } if *to == addresses[0]).then_some(())
    });
    for (tower, own) in old.iter_mut().zip(&addresses) {
        for other in addresses.iter().filter(|other| *other != own) {
            tower.wait_for_status(Status::Alive, other);
        }
    }
    for tower in &mut old {
        tower.wait_for_text("Hello Discworld!");
    }

    // 2. A fourth tower announces itself to the first one. All towers discover it. It is killed.
    let options = TowerOptions::from(quick());
    let identity = options.identity.clone();
    let mut fourth = network.start(options);
    let (newcomer, socket) = (fourth.address.clone(), fourth.socket);
    fourth.announce(&addresses[0]).unwrap();
    for (tower, address) in old.iter_mut().zip(&addresses) {
        tower.wait_for_status(Status::Alive, &newcomer);
        fourth.wait_for_status(Status::Alive, address);
    }
    fourth.kill();
    for tower in &mut old {
        tower.wait_for_status(Status::Lost, &newcomer);
    }

    // 3. The fourth tower returns and does nothing. The others still know its address.
    let listener = Some(listen_again(socket));
    let mut fourth = network.start(TowerOptions { identity, listener, ..quick().into() });
    assert_eq!(fourth.address, newcomer);
    for (tower, address) in old.iter_mut().zip(&addresses) {
        tower.wait_for_status(Status::Alive, &newcomer);
        fourth.wait_for_status(Status::Alive, address);
    }
    fourth.enqueue_text("GNU Terry Pratchett");
    for tower in &mut old {
        tower.wait_for_text("GNU Terry Pratchett");
    }
}

pub(crate) fn an_ignored_tower_hands_over_and_receives_nothing(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut tower = network.start(quick());
    let mut ignored = network.start(quick());
    let other = network.start(quiet());
    tower.expand(&ignored.address).unwrap();
    tower.wait_for_status(Status::Alive, &ignored.address);
    let (here, there) = (tower.address.clone(), ignored.address.clone());
    ignored.wait_for_status(Status::Alive, &here);

    tower.ignore(&there).unwrap();
    assert_eq!(tower.status_of(&there), Some(Status::Ignored));
    let received = tower.stats().received;
    ignored.enqueue_text("Listen!");
    // The message returns to the queue of the ignored tower after each attempt.
    ignored.wait_for_status(Status::Lost, &here);
    ignored.announce(&here).unwrap();
    let mut refusals = 0;
    ignored.wait_for("five refusals", |notice| {
        refusals += usize::from(matches!(notice, Notice::LinkClosed { .. }));
        (refusals == 5).then_some(())
    });
    assert_eq!((tower.stats().received, ignored.queue_len()), (received, 1));
    assert_eq!(tower.expand(&there), Err(ExpandError::Ignored));

    // Messages go to other peers.
    tower.expand(&other.address).unwrap();
    for _ in 0..20 {
        tower.enqueue_text("not for the ignored tower");
    }
    assert_eq!(tower.wait_for_deliveries(20), vec![other.address.clone(); 20]);
    assert_eq!(ignored.stats().received, 0);
    assert_eq!(tower.status_of(&there), Some(Status::Ignored));

    // The two towers are alone again. Otherwise the message might go to the third tower first.
    tower.ignore(&other.address).unwrap();
    assert!(tower.unignore(&there) && !tower.unignore(&there));
    tower.wait_for_text("Listen!");
    tower.wait_for_status(Status::Alive, &there);
}
