#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clacks_sim::fuzzing::sim_scenario(bytes));
