//! The built program, from the outside: what it does, what it leaves behind, and what survives a kill.

mod captions;
mod changes;
mod commands;
mod failures;
mod files;
mod logs;
mod stops;
mod support;
mod tasks;
