//! Runs the bodies of the fuzz targets on the inputs that are kept in `fuzz/`.

use clacks_proto::fuzzing::replay;

#[test]
fn store_chunk() {
    replay("store_chunk", super::store_chunk);
}

#[test]
fn store_link() {
    replay("store_link", super::store_link);
}

#[test]
fn store_protocol() {
    replay("store_protocol", super::store_protocol);
}

#[test]
fn store_machine() {
    replay("store_machine", super::store_machine);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn random_inputs_find_nothing(input in proptest::collection::vec(proptest::num::u8::ANY, 0..900)) {
        super::store_chunk(&input);
        super::store_link(&input);
        super::store_protocol(&input);
        super::store_machine(&input);
    }
}
