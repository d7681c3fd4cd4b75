//! paragone
