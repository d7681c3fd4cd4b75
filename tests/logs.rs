//! What training logs: `metrics.jsonl` and TensorBoard's event files.

use crate::support::{entries, families, finished};
use protobuf::Message;
use std::{collections::BTreeSet, fs, path::Path};
use tensorboard_proto::event::{Event, SessionLog_SessionStatus};

#[test]
fn logs_of_a_finished_run_are_whole() {
    for family in families() {
        let model = finished().join(family);
        let steps = check_metrics(&model);
        assert_eq!(steps.last(), Some(&50), "{family}: {steps:?}");
        assert!(steps.len() >= 25, "{family} logged {steps:?}");
        let events = check_events(&model);
        let [first, second] = &events[..2] else { panic!("{} events", events.len()) };
        assert_eq!(first.get_file_version(), "brain.Event:2");
        assert_eq!(second.get_session_log().get_status(), SessionLog_SessionStatus::START);
        let values = events.iter().flat_map(|event| event.get_summary().get_value());
        let (images, scalars): (Vec<_>, Vec<_>) = values.partition(|value| value.has_image());
        assert_eq!(images.len(), 2, "{family}: sample grids");
        for value in images {
            let picture = value.get_image();
            let png = image::load_from_memory(picture.get_encoded_image_string()).expect("a PNG");
            let size = (picture.get_width() as u32, picture.get_height() as u32);
            assert_eq!(size, (png.width(), png.height()));
        }
        let tags: BTreeSet<&str> = scalars.iter().map(|value| value.get_tag()).collect();
        assert!(tags.contains("images_per_second"), "{tags:?}");
        assert!(tags.iter().any(|tag| tag.ends_with("gradient_norm")), "{tags:?}");
        assert!(scalars.iter().all(|value| value.get_simple_value().is_finite()), "{family}");
    }
}

/// Checks that no step is logged twice, and returns the steps.
pub fn check_metrics(model: &Path) -> Vec<u64> {
    let path = model.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(text.ends_with('\n'), "{} ends within a line", path.display());
    let parse = |line: &str| -> u64 {
        let record: serde_json::Value = serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("{}: {e}: {line}", path.display()));
        assert_eq!(record["images"].as_u64(), record["step"].as_u64().map(|step| step * 8));
        let scalars = record["scalars"].as_object().expect("scalars");
        assert!(!scalars.is_empty() && scalars.values().all(|value| value.is_number()), "{line}");
        record["step"].as_u64().expect("a step")
    };
    let steps: Vec<u64> = text.lines().map(parse).collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{}: {steps:?}", path.display());
    steps
}

/// Checks every record of a model's event files, and returns the events in the order of files and records.
pub fn check_events(model: &Path) -> Vec<Event> {
    let is_events = |path: &Path| path.to_string_lossy().contains("events.out.tfevents.");
    let files: Vec<_> = entries(model).into_iter().filter(|path| is_events(path)).collect();
    assert!(!files.is_empty(), "{} has no event file", model.display());
    files.iter().flat_map(|file| records(&fs::read(file).expect("a readable file"))).collect()
}

/// The records of a TFRecord file: length, its checksum, data, its checksum.
fn records(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.len() >= 16, "{} bytes are no record", bytes.len());
        let (length, rest) = bytes.split_at(8);
        assert_eq!(masked_crc32c(length).to_le_bytes(), rest[..4], "checksum of a length");
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        assert!(rest.len() >= length + 8, "a record of {length} bytes is cut off");
        let data = &rest[4..4 + length];
        assert_eq!(masked_crc32c(data).to_le_bytes(), rest[4 + length..8 + length], "checksum");
        events.push(Event::parse_from_bytes(data).expect("an event"));
        bytes = &rest[8 + length..];
    }
    events
}

/// CRC-32C (Castagnoli), rotated and offset as TFRecord files have it.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let crc = !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 }
        })
    });
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[test]
fn the_checksum_is_castagnoli_s() {
    // RFC 3720, B.4: 32 bytes of zeros.
    let masked = 0x8A91_36AAu32.rotate_right(15).wrapping_add(0xA282_EAD8);
    assert_eq!(masked_crc32c(&[0; 32]), masked);
}
