//! TensorBoard event files.
//!
//! Events are built from TensorBoard's own messages and written with tensorboard-rs's record writer to a file of ours:
//! one write a record, so that a kill loses nothing, and never over another writer's file.

use anyhow::{Context, Result};
use image::RgbImage;
use protobuf::{Message, RepeatedField};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tensorboard_proto::{
    event::{Event, SessionLog, SessionLog_SessionStatus},
    summary::{Summary, Summary_Image, Summary_Value},
};
use tensorboard_rs::record_writer::RecordWriter;

/// An open event file.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Starts a new event file in `dir`, whose first step is to be `step`. TensorBoard discards what older files say of
    /// steps from `step` on.
    pub fn create(dir: &Path, step: u64) -> Result<Self> {
        let seconds = now().as_secs();
        let pid = std::process::id();
        let mut attempt = 0;
        let (path, file) = loop {
            let path =
                dir.join(format!("events.out.tfevents.{seconds:010}.paragone.{pid}.{attempt}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create {}", path.display()));
                }
            }
        };
        let mut events = Self { path, file };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".to_owned());
        events.write(version)?;
        let mut start = Event::new();
        let mut session = SessionLog::new();
        session.set_status(SessionLog_SessionStatus::START);
        start.set_session_log(session);
        start.set_step(step as i64);
        events.write(start)?;
        Ok(events)
    }

    /// Writes one number.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        let mut summary = Summary_Value::new();
        summary.set_simple_value(value as f32);
        self.summary(tag, summary, step)
    }

    /// Writes one picture.
    pub fn image(&mut self, tag: &str, picture: &RgbImage, step: u64) -> Result<()> {
        let mut png = io::Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png)?;
        let mut encoded = Summary_Image::new();
        encoded.set_width(picture.width() as i32);
        encoded.set_height(picture.height() as i32);
        encoded.set_colorspace(3);
        encoded.set_encoded_image_string(png.into_inner());
        let mut summary = Summary_Value::new();
        summary.set_image(encoded);
        self.summary(tag, summary, step)
    }

    fn summary(&mut self, tag: &str, mut value: Summary_Value, step: u64) -> Result<()> {
        value.set_tag(tag.to_owned());
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(vec![value]));
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_summary(summary);
        self.write(event)
    }

    fn write(&mut self, mut event: Event) -> Result<()> {
        event.set_wall_time(now().as_secs_f64());
        // The record is put together in memory: RecordWriter makes four writes of it.
        let mut record = Vec::new();
        RecordWriter::new(&mut record).write(&event.write_to_bytes()?)?;
        self.file
            .write_all(&record)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
