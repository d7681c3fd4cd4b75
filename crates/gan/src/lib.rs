//! paragone-gan
