//! `paragone schema`: the JSON Schema of experiment files, for editors that complete and check.

use super::say;
use anyhow::Result;
use std::process::ExitCode;

pub fn execute() -> Result<ExitCode> {
    say(serde_json::to_string_pretty(&crate::config::schema())?);
    Ok(ExitCode::SUCCESS)
}
