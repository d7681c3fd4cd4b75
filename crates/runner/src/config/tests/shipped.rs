//! The experiments that come with the program.

use crate::config::Experiment;
use std::{fs, path::Path};

#[test]
fn every_shipped_experiment_reads_and_reads_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let folders = [folder.join("gpu"), folder.join("tuning"), folder];
    let files = folders.map(|folder| fs::read_dir(folder).unwrap());
    let mut count = 0;
    for entry in files.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let runs = Experiment::parse(&path.display().to_string(), &text, &[]);
        for run in runs.unwrap_or_else(|error| panic!("{error}")) {
            let yaml = run.experiment.to_yaml();
            let again = Experiment::parse("again", &yaml, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(again[0].experiment.to_yaml(), yaml, "{}", path.display());
            assert!(run.experiment.difference(&again[0].experiment).is_none());
        }
        count += 1;
    }
    assert!(count >= 2, "experiments/ is empty");
}
