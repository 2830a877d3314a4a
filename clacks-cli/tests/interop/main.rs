//! One network with towers of the original's JavaScript package, which run in node. Where there is
//! no node, or the package can't be installed, the tests say so and are passed over;
//! `CLACKS_NODE=required` makes that a failure. `CLACKS_NODE_SECONDS` says for how long messages
//! circulate. The module `python` is about a peer in Python.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod javascript;
#[path = "../conformance/network.rs"]
#[allow(dead_code, reason = "the part that these scenarios need")]
mod network;
mod one_network;
mod pairs;
mod python;
#[path = "../conformance/runtime.rs"]
#[allow(dead_code, reason = "the part that these scenarios need")]
mod runtime;
mod speed;

use network::Runtimes;
use runtime::Runtime;

macro_rules! on_every_runtime {
    ($($place:ident::$scenario:ident,)+) => {
        mod smol {
            $(#[test] fn $scenario() { crate::$place::$scenario(crate::SMOL); })+
        }
        mod mio {
            $(#[test] fn $scenario() { crate::$place::$scenario(crate::MIO); })+
        }
    };
}

const SMOL: Runtimes = &[Runtime::Smol];
const MIO: Runtimes = &[Runtime::Mio];

on_every_runtime! {
    one_network::three_of_theirs_and_one_of_ours,
    one_network::one_of_theirs_and_three_of_ours,
    files::a_file_lives_among_both_kinds_of_towers,
    answers::both_kinds_of_towers_answer_as_it_is_written,
    pairs::each_side_can_ignore_the_other,
    pairs::what_is_too_long_for_them_goes_to_our_own,
    pairs::a_certificate_of_version_1_is_no_obstacle,
    pairs::a_private_network_keeps_them_out,
    pairs::without_http_the_original_can_not_be_reached,
}
