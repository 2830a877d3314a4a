#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clacks_proto::fuzzing::http_bytes(bytes));
