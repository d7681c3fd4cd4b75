//! Training batches: a fresh order every epoch, flips, small shifts, blur and noise, all pure functions of (seed, epoch, position).

use crate::{LabelledImages, draw_rows, options::TrainOptions, subset::below};
use paragone_core::{Noise, mix};
use tch::{Device, Kind, Tensor};

/// One batch for one optimiser step.
#[derive(Debug)]
pub(crate) struct TrainBatch {
    /// f32 `[n, c, h, w]`: 8-bit levels.
    pub(crate) levels: Tensor,
    /// i64 `[n, attributes]`.
    pub(crate) labels: Tensor,
}

/// Batches of one epoch over labelled images. What does not fill a batch is left out; it is another part every epoch.
pub(crate) fn batches<'a>(
    LabelledImages { images, labels }: LabelledImages,
    options: &'a TrainOptions,
    epoch: u64,
    device: Device,
) -> impl Iterator<Item = TrainBatch> + 'a {
    let n = images.size()[0];
    let batch = options.batch_size.min(n);
    let seed = mix(&[options.seed, epoch]);
    let order = draw_rows(n, n, seed);
    (0..n / batch).map(move |i| {
        let rows = order.narrow(0, i * batch, batch).to_device(images.device());
        let levels = images.index_select(0, &rows).to_device(device).to_kind(Kind::Float);
        let labels = labels.index_select(0, &rows).to_device(device);
        TrainBatch { levels: augment(&levels, options, mix(&[seed, i as u64])), labels }
    })
}

fn augment(levels: &Tensor, options: &TrainOptions, seed: u64) -> Tensor {
    soil(&displace(levels, options, seed), options, seed)
}

/// Blurs and adds noise, each image as much as its own draw says.
fn soil(levels: &Tensor, options: &TrainOptions, seed: u64) -> Tensor {
    if options.blur == 0.0 && options.noise == 0.0 {
        return levels.shallow_clone();
    }
    let size = levels.size();
    let draws =
        Noise::new((0..size[0] as u64).map(|i| mix(&[seed, i, 3])).collect(), levels.device());
    let much = draws.uniform(0, &[2, 1, 1]);
    let [blur, noise] = [0, 1].map(|what| much.narrow(1, what, 1));
    let means = levels.replication_pad2d([1; 4]).avg_pool2d(
        [3, 3],
        [1, 1],
        [0, 0],
        false,
        true,
        None::<i64>,
    );
    let blurred = levels + (means - levels) * (blur * options.blur);
    (blurred + draws.normal(1, &size[1..]) * (noise * options.noise)).clamp(0.0, 255.0)
}

/// Shifts every image by up to `options.shift` pixels in each direction, its border repeated, and flips half of them if
/// `options.flip`.
fn displace(levels: &Tensor, options: &TrainOptions, seed: u64) -> Tensor {
    if options.shift == 0 && !options.flip {
        return levels.shallow_clone();
    }
    let (n, _, height, width) = levels.size4().expect("images are [n, c, h, w]");
    let padded = levels.replication_pad2d([options.shift; 4]);
    let images: Vec<Tensor> = (0..n)
        .map(|i| {
            let draw = |what: u64, bound: i64| below(bound as u64, &[seed, i as u64, what]) as i64;
            let offsets = [draw(0, 2 * options.shift + 1), draw(1, 2 * options.shift + 1)];
            let image =
                padded.narrow(0, i, 1).narrow(2, offsets[0], height).narrow(3, offsets[1], width);
            if options.flip && draw(2, 2) == 1 { image.flip([3i64]) } else { image }
        })
        .collect();
    Tensor::cat(&images, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: (Kind, Device) = (Kind::Uint8, Device::Cpu);

    fn drawn(options: &TrainOptions, number: u64) -> Vec<TrainBatch> {
        // Image i is all i but for its left column, which is 200.
        let images = Tensor::arange(50, OPTIONS).reshape([50, 1, 1, 1]).repeat([1, 1, 6, 6]);
        let _ = images.narrow(3, 0, 1).fill_(200);
        let labels = Tensor::arange(50, (Kind::Int64, Device::Cpu)).unsqueeze(1);
        batches(LabelledImages { images, labels }, options, number, Device::Cpu).collect()
    }

    fn options(flip: bool, shift: i64) -> TrainOptions {
        TrainOptions { flip, shift, batch_size: 16, ..TrainOptions::default() }
    }

    #[test]
    fn an_epoch_shows_each_image_once_with_its_class() {
        let options = options(true, 2);
        let classes: Vec<i64> = drawn(&options, 0)
            .iter()
            .flat_map(|batch| {
                // Rows and columns 2 and 3 stay in sight and clear of the left column, unless shifted onto it.
                let values = batch.levels.amin([1i64, 2, 3], false).to_kind(Kind::Int64);
                assert!(values.equal(&batch.labels.select(1, 0)));
                Vec::<i64>::try_from(batch.labels.select(1, 0)).unwrap()
            })
            .collect();
        assert_eq!(classes.len(), 48);
        let mut sorted = classes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 48);
        let next: Vec<i64> = Vec::try_from(drawn(&options, 1)[0].labels.select(1, 0)).unwrap();
        assert_ne!(next, classes[..16]);
    }

    #[test]
    fn flips_half_and_shifts_within_bounds() {
        let mut columns = [0; 6];
        for number in 0..20 {
            for batch in drawn(&options(true, 0), number) {
                let bright = batch.levels.select(2, 0).squeeze_dim(1).argmax(1, false);
                for column in Vec::<i64>::try_from(bright).unwrap() {
                    columns[column as usize] += 1;
                }
            }
        }
        assert_eq!(columns[1..5], [0; 4]);
        // 960 draws: 480 ± 15.
        assert!((420..540).contains(&columns[0]), "{columns:?}");

        // Shifted by s to the right, the bright column and its repeated border are s + 1 wide; to the left, gone.
        for batch in drawn(&options(false, 1), 0) {
            let width = batch.levels.select(2, 0).eq(200).sum_dim_intlist(2, false, Kind::Int64);
            assert!(width.min().int64_value(&[]) == 0 && width.max().int64_value(&[]) == 2);
        }
        let plain = drawn(&options(false, 0), 0);
        assert!(
            plain.iter().all(|batch| batch.levels.select(3, 0).eq(200).all().int64_value(&[]) == 1)
        );
    }
    #[test]
    fn blur_and_noise_stay_within_their_bounds() {
        let soiled = |noise: f64, blur: f64| -> Vec<TrainBatch> {
            drawn(&TrainOptions { noise, blur, ..options(false, 0) }, 0)
        };
        let plain = drawn(&options(false, 0), 0);
        for (blurred, plain) in soiled(0.0, 0.6).iter().zip(&plain) {
            // The second column is v; its 3 × 3 mean is (2 v + 200) / 3.
            let [was, is] = [plain, blurred].map(|batch| {
                batch.levels.select(3, 1).mean_dim([1i64, 2].as_slice(), false, Kind::Float)
            });
            let much = (is - &was) / ((&was * -1.0 + 200.0) / 3.0);
            assert!(much.min().double_value(&[]) >= 0.0 && much.max().double_value(&[]) <= 0.6001);
            assert!(much.std(true).double_value(&[]) > 0.1, "each image has its own");
            assert!(blurred.labels.equal(&plain.labels));
        }
        for (noisy, plain) in soiled(8.0, 0.0).iter().zip(&plain) {
            let apart = (&noisy.levels - &plain.levels).narrow(3, 0, 1).flatten(1, -1);
            let std = apart.std_dim([1i64].as_slice(), true, false);
            assert!(std.max().double_value(&[]) < 16.0 && std.min().double_value(&[]) < 3.0);
            assert!(std.mean(Kind::Float).double_value(&[]) > 2.0);
        }
    }
}
