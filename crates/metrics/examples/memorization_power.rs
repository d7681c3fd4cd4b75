//! What the memorization scores say of sets with known shares of copies: test images of Fashion-MNIST, some of them replaced
//! by training images.
//!
//! Usage: memorization_power DATASETS_FOLDER, with Fashion-MNIST in it (`paragone data fetch fashion-mnist`). Takes some minutes.

use paragone_data::{DataConfig, Split};
use paragone_metrics::{
    ClassifierFeatures, FeatureExtractor, MemorizationReference, Space, draw_rows,
};
use std::{error::Error, io::Write, path::PathBuf, time::Instant};
use tch::{Device, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    torch_ext::tune_allocator();
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("usage: memorization_power DATASETS_FOLDER")?;
    let config = DataConfig { dataset: "fashion-mnist".to_owned(), ..DataConfig::default() };
    let dataset = paragone_data::open(&config, &folder, &mut paragone_data::unwatched)?;
    let (train, test) = (dataset.load(Split::Train)?.images, dataset.load(Split::Test)?.images);
    // Half of the test images are held out; the others are what a perfect model would draw.
    let order = draw_rows(10_000, 10_000, 0);
    let half = |start| test.index_select(0, &order.narrow(0, start, 5000));
    let (held_out, fresh) = (half(0), half(5000));
    let classifier = ClassifierFeatures::for_dataset("fashion-mnist", Device::Cpu)?;
    let originals = train.index_select(0, &draw_rows(train.size()[0], 5000, 1));
    let shifted = originals.roll([1i64], [3i64]);

    let mut out = std::io::stdout();
    writeln!(out, "| space | set | nearer to train | z | near-copies | of held-out | seconds |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for space in [Space::Features, Space::Pixels, Space::ShiftedPixels] {
        let of = |images: &Tensor| match space {
            Space::Features => classifier.features(images),
            Space::Pixels | Space::ShiftedPixels => Ok(images.shallow_clone()),
        };
        let (of_train, of_held_out) = (of(&train)?, of(&held_out)?);
        let start = Instant::now();
        let reference = MemorizationReference::new(&of_train, &of_held_out, space, 0)?;
        writeln!(
            out,
            "| {space:?} | (reference) | | | | | {:.1} |",
            start.elapsed().as_secs_f64()
        )?;
        for (what, copies, source) in [
            ("no copies", 0, &originals),
            ("1 % copies", 50, &originals),
            ("10 % copies", 500, &originals),
            ("all copies", 5000, &originals),
            ("1 % copies shifted by a pixel", 50, &shifted),
            ("10 % copies shifted by a pixel", 500, &shifted),
            ("all copies shifted by a pixel", 5000, &shifted),
        ] {
            let images = Tensor::cat(
                &[source.narrow(0, 0, copies), fresh.narrow(0, copies, 5000 - copies)],
                0,
            );
            let features = of(&images)?;
            let start = Instant::now();
            let score = reference.score(&features, 0)?;
            writeln!(
                out,
                "| {space:?} | {what} | {:.4} | {:+.1} | {:.4} | {:.4} | {:.1} |",
                score.nearer_to_train,
                score.z,
                score.near_copies,
                score.near_copies_held_out,
                start.elapsed().as_secs_f64()
            )?;
        }
    }
    Ok(())
}
