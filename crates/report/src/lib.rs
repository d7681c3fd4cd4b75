//! paragone-report
