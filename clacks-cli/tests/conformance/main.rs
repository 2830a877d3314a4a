//! What a tower does must not depend on the runtime that drives it. Each scenario runs on every
//! runtime, and on networks whose towers alternate between two of them, from one definition.
//!
//! A new runtime is a variant of [`Runtime`](runtime::Runtime) and gets a line in the table below.
//!
//! Towers are real here: loopback TCP, TLS unless a scenario says otherwise, ports that the
//! operating system chooses, clocks that run. So scenarios wait for what they look for, with a
//! limit that only failures reach, and never for time to pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod crowd;
mod leaving;
mod meeting;
mod network;
mod passing;
mod runtime;
mod screening;
mod strangers;
mod trust;
mod vanishing;

use runtime::Runtime::{Mio, Smol};

/// One test for each scenario; where it is used, `runtimes` says on what.
macro_rules! scenarios {
    ($($place:ident::$scenario:ident,)+) => {
        macro_rules! every_scenario {
            () => {
                $(
                    #[test]
                    fn $scenario() {
                        crate::$place::$scenario(RUNTIMES);
                    }
                )+
            };
        }
    };
}

/// One module for each kind of network, whose towers run on the runtimes named, in turn.
macro_rules! networks {
    ($($network:ident: $($runtime:expr),+;)+) => {
        $(
            mod $network {
                #[allow(unused_imports, reason = "not every network has every runtime")]
                use super::*;

                const RUNTIMES: crate::network::Runtimes = &[$($runtime),+];

                every_scenario!();
            }
        )+
    };
}

scenarios! {
    meeting::towers_meet_lose_one_and_take_it_back,
    meeting::a_tower_that_is_ignored_neither_gets_nor_gives,
    passing::a_full_tower_is_busy_and_nothing_is_lost,
    passing::messages_of_a_mebibyte_arrive_unharmed,
    screening::every_verdict_does_what_it_says,
    screening::without_a_verdict_the_default_holds,
    vanishing::a_peer_that_stops_reading_is_lost_and_its_messages_find_another_way,
    leaving::a_tower_that_leaves_hands_over_all_it_has,
    leaving::a_tower_that_knows_nobody_says_what_is_lost_with_it,
    strangers::peers_that_hang_babble_dawdle_and_lie_cost_nothing_but_themselves,
    trust::another_key_at_a_known_address_gets_nothing,
    trust::a_private_network_refuses_a_stranger,
    crowd::two_hundred_towers_in_one_process_all_hear_something,
}

networks! {
    smol: Smol;
    mio: Mio;
    smol_and_mio: Smol, Mio;
    mio_and_smol: Mio, Smol;
}
