//! paragone-vae
