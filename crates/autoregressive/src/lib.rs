//! paragone-autoregressive
