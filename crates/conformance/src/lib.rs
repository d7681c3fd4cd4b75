//! paragone-conformance
