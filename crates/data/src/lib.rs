//! paragone-data
