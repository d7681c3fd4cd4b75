//! paragone-metrics
