//! Every check over every registered family. A new family is tested the moment it is registered.

use paragone_conformance::{TRAINED, UNTRAINED, hold};

#[test]
fn untrained() {
    hold(&UNTRAINED.concat());
}

#[test]
fn trained() {
    hold(&TRAINED.concat());
}
