#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clacks_store::fuzzing::store_chunk(bytes));
