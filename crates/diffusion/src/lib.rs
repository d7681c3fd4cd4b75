//! paragone-diffusion
