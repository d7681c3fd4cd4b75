//! How far images may be from a scene and still be recognised, how far impossible ones are, how fast that is, and whether
//! two scenes look the same: the figures behind `TOLERANCE` and `RECOGNISABLE`.
//!
//! `cargo run --release -p paragone-data --example recognise [SIDE]`

#![allow(clippy::print_stdout, reason = "an example reports to its user")]

use paragone_data::{
    Scenes,
    shapes::{Aspect, Corruption, Match, PixelNoise, Recogniser, Scene, Source, render, scenes},
};
use rayon::prelude::*;
use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    time::Instant,
};

fn main() {
    let side: u32 =
        std::env::args().nth(1).map_or(16, |side| side.parse().expect("SIDE is a number"));
    let n = 2_000 * 256 / (side * side) as usize;
    for scenes in [Scenes::All, Scenes::Simple] {
        let recogniser = Recogniser::new(side, scenes);
        let drawn: Vec<Scene> = (0..n as u64).map(|seed| scenes.draw(1_000_000 + seed)).collect();
        for sigma in [0.0, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0] {
            let mut images = vec![0; n * recogniser.levels()];
            for (i, image) in images.chunks_mut(recogniser.levels()).enumerate() {
                render(&drawn[i], side, image);
                if sigma > 0.0 {
                    PixelNoise::new(sigma).apply(i as u64, image);
                }
            }
            let found = report(&recogniser, &format!("{scenes:?}, noise {sigma}"), &images);
            let share = |same: fn(&Scene, &Scene) -> bool| {
                let right = found.iter().zip(&drawn).filter(|(m, s)| same(&m.scene, s)).count();
                100.0 * right as f64 / n as f64
            };
            println!("    scene right {:.2} %, attributes {:.2} %", share(Scene::eq), share(alike));
        }
        let source = Source { side, scenes, train: &drawn };
        for corruption in [Corruption::Impossible, Corruption::Blur] {
            for strength in corruption.strengths() {
                // All images of the set, where the strength would be a share of them.
                let all = corruption == Corruption::Impossible;
                let strength = if all { 1.0 } else { strength };
                let images = corruption.images(&source, strength, 0, n);
                report(
                    &recogniser,
                    &format!("{scenes:?}, {} {strength}", corruption.name()),
                    &images,
                );
                if all {
                    break;
                }
            }
        }
    }
    let mut hashes: Vec<u64> = scenes().par_bridge().map(|scene| hash(&scene, side)).collect();
    let all = hashes.len();
    hashes.par_sort_unstable();
    hashes.dedup();
    println!("{all} scenes have {} different pictures", hashes.len());
}

fn report(recogniser: &Recogniser, what: &str, images: &[u8]) -> Vec<Match> {
    let start = Instant::now();
    let found = recogniser.nearest_of(images);
    let rate = found.len() as f64 / start.elapsed().as_secs_f64();
    let mut distances: Vec<f64> = found.iter().map(|m| m.rms(recogniser.side())).collect();
    distances.sort_by(f64::total_cmp);
    let (least, most) = (distances[0], distances[distances.len() - 1]);
    let median = distances[distances.len() / 2];
    println!("{what}: {least:.2} to {most:.2} levels away, median {median:.2}; {rate:.0} images/s");
    found
}

fn alike(a: &Scene, b: &Scene) -> bool {
    let marginals = Aspect::MARGINALS.iter().filter(|a| **a != Aspect::Place);
    marginals.map(|attribute| (attribute.of(a), attribute.of(b))).all(|(a, b)| a == b)
}

fn hash(scene: &Scene, side: u32) -> u64 {
    let mut picture = vec![0; (3 * side * side) as usize];
    render(scene, side, &mut picture);
    let mut hasher = DefaultHasher::new();
    picture.hash(&mut hasher);
    hasher.finish()
}
