//! Every check over every registered family. A new family is tested the moment it is registered.

use paragone_conformance as conformance;

#[test]
fn config() {
    conformance::hold(conformance::config::CHECKS);
}

#[test]
fn options() {
    conformance::hold(conformance::options::CHECKS);
}

#[test]
fn data() {
    conformance::hold(conformance::data::CHECKS);
}

#[test]
fn phases() {
    conformance::hold(conformance::phases::CHECKS);
}

#[test]
fn loss() {
    conformance::hold(conformance::loss::CHECKS);
}

#[test]
fn resume() {
    conformance::hold(conformance::resume::CHECKS);
}

#[test]
fn reporting() {
    conformance::hold(conformance::reporting::CHECKS);
}

#[test]
fn noising() {
    conformance::hold(conformance::noising::CHECKS);
}

/// What a trained model does: one test, so that each family is trained once.
#[test]
fn trained() {
    let checks = [
        conformance::learning::CHECKS,
        conformance::sampling::CHECKS,
        conformance::progress::CHECKS,
        conformance::knobs::CHECKS,
        conformance::likelihood::CHECKS,
        conformance::latents::CHECKS,
        conformance::tasks::CHECKS,
    ];
    conformance::hold(&checks.concat());
}
