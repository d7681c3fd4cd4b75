//! Training batches: a fresh order every epoch, flips and small shifts, all pure functions of (seed, epoch, position).

use crate::{draw_rows, options::TrainOptions, subset::below};
use paragone_core::mix;
use tch::{Device, Kind, Tensor};

/// One batch for one optimiser step.
#[derive(Debug)]
pub(crate) struct TrainBatch {
    /// f32 `[n, c, h, w]`: 8-bit levels.
    pub(crate) levels: Tensor,
    /// i64 `[n]`.
    pub(crate) classes: Tensor,
}

/// Batches of one epoch over `images_u8`, u8 `[n, c, h, w]`, with `classes`, i64 `[n]`. What does not fill a batch is left
/// out; it is another part every epoch.
pub(crate) fn epoch<'a>(
    images_u8: &'a Tensor,
    classes: &'a Tensor,
    options: &'a TrainOptions,
    epoch: u64,
    device: Device,
) -> impl Iterator<Item = TrainBatch> + 'a {
    let n = images_u8.size()[0];
    let batch = options.batch_size.min(n);
    let seed = mix(&[options.seed, epoch]);
    let order = draw_rows(n, n, seed);
    (0..n / batch).map(move |i| {
        let rows = order.narrow(0, i * batch, batch).to_device(images_u8.device());
        let levels = images_u8.index_select(0, &rows).to_device(device).to_kind(Kind::Float);
        let classes = classes.index_select(0, &rows).to_device(device);
        TrainBatch { levels: augment(&levels, options, mix(&[seed, i as u64])), classes }
    })
}

/// Shifts every image by up to `options.shift` pixels in each direction, its border repeated, and flips half of them if
/// `options.flip`.
fn augment(levels: &Tensor, options: &TrainOptions, seed: u64) -> Tensor {
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

    fn batches(options: &TrainOptions, number: u64) -> Vec<TrainBatch> {
        // Image i is all i but for its left column, which is 200.
        let images = Tensor::arange(50, OPTIONS).reshape([50, 1, 1, 1]).repeat([1, 1, 6, 6]);
        let _ = images.narrow(3, 0, 1).fill_(200);
        let classes = Tensor::arange(50, (Kind::Int64, Device::Cpu));
        epoch(&images, &classes, options, number, Device::Cpu).collect()
    }

    fn options(flip: bool, shift: i64) -> TrainOptions {
        TrainOptions { flip, shift, batch_size: 16, ..TrainOptions::default() }
    }

    #[test]
    fn an_epoch_shows_each_image_once_with_its_class() {
        let options = options(true, 2);
        let classes: Vec<i64> = batches(&options, 0)
            .iter()
            .flat_map(|batch| {
                // Rows and columns 2 and 3 stay in sight and clear of the left column, unless shifted onto it.
                let values = batch.levels.amin([1i64, 2, 3], false).to_kind(Kind::Int64);
                assert!(values.equal(&batch.classes));
                Vec::<i64>::try_from(&batch.classes).unwrap()
            })
            .collect();
        assert_eq!(classes.len(), 48);
        let mut sorted = classes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 48);
        let next: Vec<i64> = Vec::try_from(&batches(&options, 1)[0].classes).unwrap();
        assert_ne!(next, classes[..16]);
    }

    #[test]
    fn flips_half_and_shifts_within_bounds() {
        let mut columns = [0; 6];
        for number in 0..20 {
            for batch in batches(&options(true, 0), number) {
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
        for batch in batches(&options(false, 1), 0) {
            let width = batch.levels.select(2, 0).eq(200).sum_dim_intlist(2, false, Kind::Int64);
            assert!(width.min().int64_value(&[]) == 0 && width.max().int64_value(&[]) == 2);
        }
        let plain = batches(&options(false, 0), 0);
        assert!(
            plain.iter().all(|batch| batch.levels.select(3, 0).eq(200).all().int64_value(&[]) == 1)
        );
    }
}
