//! Experiments: reading them, training every model in them on identical data, scoring, comparing.

pub mod audit;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod config;
pub mod data;
pub mod device;
pub mod draw;
pub mod evaluate;
pub mod families;
mod feature_cache;
pub mod features;
pub mod files;
pub mod interrupt;
pub mod log;
pub mod manifest;
mod prompts;
pub mod strips;
pub mod train;
pub mod trained;
