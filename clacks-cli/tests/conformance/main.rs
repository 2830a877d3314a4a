//! The behaviour of towers on each runtime, and on networks of both runtimes.
//!
//! Each test is written once. It runs on each runtime. If it has several towers, it also runs on
//! networks whose towers are on the two runtimes in turn. To add a runtime, add a variant of
//! [`Runtime`](runtime::Runtime) and a line to the table of networks below.
//!
//! The towers use real sockets on the loopback interface, ports that the operating system chooses,
//! and the real clock. Tests wait for events and not for a time. Only failures reach the limit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod callers;
mod datagrams;
#[cfg(target_os = "linux")]
mod descriptors;
mod dialling;
mod discovery;
mod http_peers;
#[cfg(target_os = "linux")]
mod leaks;
mod links;
mod manual_tower;
mod many_towers;
mod messages;
mod network;
#[cfg(target_os = "linux")]
mod own_process;
mod recorder;
mod restart;
mod runtime;
mod screening;
mod shutdown;
mod silence;
mod suspension;
mod tls_callers;
mod trust;

use runtime::Runtime::{Mio, Smol};

/// Defines a macro that expands to one test for each function. `RUNTIMES` are those of its module.
macro_rules! tests {
    ($name:ident: $($(#[$attribute:meta])* $module:ident::$test:ident,)+) => {
        macro_rules! $name {
            () => {
                $(
                    $(#[$attribute])*
                    #[test]
                    fn $test() {
                        crate::$module::$test(RUNTIMES);
                    }
                )+
            };
        }
    };
}

/// Defines a module for each kind of network.
macro_rules! networks {
    ($($network:ident: $runtimes:expr, $($tests:ident),+;)+) => {
        $(
            mod $network {
                #[allow(unused_imports, reason = "not every network has every runtime")]
                use super::*;

                const RUNTIMES: crate::network::Runtimes = &$runtimes;

                $($tests!();)+
            }
        )+
    };
}

tests! {
    tests_of_one_runtime:
    callers::a_caller_with_another_protocol_receives_a_goodbye_and_the_end,
    callers::a_link_ends_when_the_caller_has_closed_its_side,
    callers::a_silent_caller_is_closed_at_the_handshake_timeout,
    #[cfg(target_os = "linux")]
    descriptors::a_peer_is_not_lost_if_there_are_no_descriptors_and_is_tried_again,
    #[cfg(target_os = "linux")]
    descriptors::a_tower_accepts_again_when_descriptors_are_free,
    dialling::a_peer_that_refuses_connections_becomes_lost_and_its_message_stays,
    #[cfg(target_os = "linux")]
    dialling::a_slow_dial_ends_at_the_connect_timeout,
    dialling::a_slow_look_up_ends_at_the_connect_timeout,
    #[cfg(target_os = "linux")]
    leaks::ten_thousand_links_leave_no_descriptors_and_no_memory,
    links::a_link_that_can_not_be_flushed_is_aborted_at_the_close_timeout,
    links::bytes_that_wait_for_a_slow_reader_are_unchanged,
    many_towers::connections_over_the_limit_are_dropped,
    shutdown::a_shutdown_returns_the_number_of_lost_messages,
    shutdown::dropping_a_driver_that_never_ran_ends_the_tower,
    shutdown::dropping_a_running_driver_closes_all_sockets,
    shutdown::dropping_a_running_driver_ends_the_tower,
    suspension::a_confirmation_that_arrived_during_a_suspension_is_in_time,
    suspension::a_connection_that_was_established_during_a_suspension_is_in_time,
    suspension::a_hello_that_arrived_during_a_suspension_is_in_time,
}

tests! {
    tests_of_networks:
    datagrams::two_applications_ask_each_other_over_the_link_of_their_towers,
    datagrams::a_guest_asks_and_is_not_learned,
    dialling::a_host_name_is_resolved_and_its_addresses_are_dialled,
    dialling::unknown_hosts_become_lost_and_do_not_delay_other_dials,
    discovery::an_ignored_tower_hands_over_and_receives_nothing,
    discovery::towers_discover_each_other_and_a_tower_that_returns,
    http_peers::no_message_is_lost_at_http_peers_that_fail,
    links::a_caller_that_does_not_read_is_read_and_delays_no_peer,
    links::a_caller_that_reads_without_end_delays_no_peer,
    links::a_caller_that_writes_without_end_delays_no_peer,
    links::each_link_has_exactly_one_terminal_event,
    many_towers::a_tower_discovers_fifty_towers_that_hand_it_messages,
    many_towers::each_of_two_hundred_towers_receives_a_message,
    many_towers::silent_connections_do_not_delay_messages,
    messages::a_full_tower_refuses_messages_and_none_is_lost,
    messages::a_message_moves_from_one_tower_to_the_other,
    messages::a_message_rests_for_its_hold_and_ends_with_its_lifetime,
    messages::a_wait_for_a_delivery_returns_the_peer,
    messages::messages_of_any_length_arrive_unchanged_with_tls,
    messages::messages_of_any_length_arrive_unchanged_without_tls,
    restart::only_messages_that_a_killed_tower_held_are_lost,
    screening::a_message_without_a_verdict_gets_the_default_verdict,
    screening::a_screening_function_may_use_the_handle_of_its_tower,
    screening::each_verdict_is_carried_out_with_tls,
    screening::each_verdict_is_carried_out_without_tls,
    shutdown::a_shutdown_hands_over_all_messages_and_closes_the_sockets,
    shutdown::a_tower_runs_without_a_handle,
    silence::messages_for_a_silent_peer_go_to_another_one,
    tls_callers::a_peer_that_never_answers_delays_no_other_peer,
    tls_callers::a_thousand_silent_callers_leave_room_for_a_new_peer,
    tls_callers::an_incomplete_handshake_ends_at_the_timeout,
    tls_callers::links_without_tls_are_closed_and_counted,
    trust::a_private_network_refuses_towers_with_other_keys,
    trust::a_tower_with_another_key_at_a_known_address_receives_nothing,
    trust::a_tower_without_tls_is_not_learned_by_a_tower_with_tls,
}

networks! {
    smol: [Smol], tests_of_one_runtime, tests_of_networks;
    mio: [Mio], tests_of_one_runtime, tests_of_networks;
    smol_and_mio: [Smol, Mio], tests_of_networks;
    mio_and_smol: [Mio, Smol], tests_of_networks;
}
