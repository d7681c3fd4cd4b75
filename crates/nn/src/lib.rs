//! paragone-nn
