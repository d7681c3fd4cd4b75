//! The nearest of many images, in features or in pixels.

use crate::{MetricError, Result, features::check_images, moments::check_features};
use tch::{Device, Kind, Tensor};

/// What distances between images are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Features, any float kind `[n, d]`: Euclidean distances.
    Features,
    /// Images, u8 `[n, c, h, w]`: root mean squares over pixels and channels, white less black being 1.
    Pixels,
    /// As [`Space::Pixels`], of the squares that all images have without a border of one pixel, and the least over the nine ways
    /// to shift the first image by at most a pixel, so that a shifted copy is at distance zero. Costs nine times as much.
    ShiftedPixels,
}

impl Space {
    /// The number of images, and the numbers that each has.
    pub(crate) fn check(self, images: &Tensor) -> Result<(i64, Vec<i64>)> {
        if self == Self::Features {
            check_features(images)?;
        } else {
            let channels = images.size().get(1).copied().unwrap_or_default();
            check_images(images, channels, None)?;
        }
        let size = images.size();
        if self == Self::ShiftedPixels && size[2].min(size[3]) < 3 {
            return Err(MetricError::Shape {
                what: "images to be shifted",
                expected: "3 × 3 pixels or larger".to_owned(),
                got: format!("{} × {}", size[2], size[3]),
            });
        }
        Ok((size[0], size[1..].to_vec()))
    }

    /// What others are compared with: f32 `[n, d]` on the host, whose Euclidean distances are those of the space.
    pub(crate) fn rows(self, images: &Tensor) -> Tensor {
        match self {
            Self::ShiftedPixels => levels(&window(images, 1, 1)),
            Self::Pixels => levels(images),
            Self::Features => images.to_device(Device::Cpu).to_kind(Kind::Float),
        }
    }

    /// All that is compared with the rows of others, of which the nearest counts.
    fn views(self, images: &Tensor) -> Vec<Tensor> {
        match self {
            Self::ShiftedPixels => {
                (0..9).map(|shift| levels(&window(images, shift / 3, shift % 3))).collect()
            }
            Self::Features | Self::Pixels => vec![self.rows(images)],
        }
    }
}

/// The part of images that lies `top` and `left` of the corner and is two pixels smaller: u8 `[n, c, h - 2, w - 2]`.
fn window(images: &Tensor, top: i64, left: i64) -> Tensor {
    let size = images.size();
    images.narrow(2, top, size[2] - 2).narrow(3, left, size[3] - 2)
}

fn levels(images: &Tensor) -> Tensor {
    let rows = images.to_device(Device::Cpu).flatten(1, -1).to_kind(Kind::Float);
    let dim = rows.size()[1] as f64;
    rows / (255.0 * dim.sqrt())
}

/// The nearest of some images to each of others.
#[derive(Debug)]
pub(crate) struct Nearest {
    /// f64 `[n]`.
    pub(crate) distances: Tensor,
    /// i64 `[n]`: which of the images it is.
    pub(crate) rows: Tensor,
}

/// Images that are compared with others at a time: 20 MB of squared distances to 20,000 others.
const BLOCK: i64 = 256;

/// Numbers of others that are held as f32 at a time: 268 MB, and as much again about their mean.
const OTHERS: i64 = 1 << 26;

/// The nearest of `others` to each of `images`, the first of several; with `but_itself`, where both are the same, no image is
/// near itself.
///
/// Found by products of f32 matrices about the others' mean, in blocks of images, and measured again, exactly: so two images that are
/// nearer to equal distances than 1e-6 of their norms may be taken for each other, and a copy is at distance zero.
pub(crate) fn nearest(space: Space, images: &Tensor, others: &Tensor, but_itself: bool) -> Nearest {
    let numel: i64 = others.size()[1..].iter().product();
    // Whole blocks, so that an image and the block that it is in meet in one part of the others.
    in_parts(space, images, others, but_itself, (OTHERS / numel / BLOCK).max(1) * BLOCK)
}

fn in_parts(
    space: Space,
    images: &Tensor,
    others: &Tensor,
    but_itself: bool,
    at_once: i64,
) -> Nearest {
    let parts = others.split(at_once, 0).into_iter().enumerate();
    let of_part = |(part, others): (usize, Tensor)| {
        let first = part as i64 * at_once;
        let Nearest { distances, rows } =
            nearest_of_part(space, images, &others, but_itself.then_some(first));
        Nearest { distances, rows: rows + first }
    };
    parts.map(of_part).reduce(Nearest::or).expect("others")
}

/// The nearest of `others`, which, if a row is given, are the images themselves from that row on, and not near themselves.
fn nearest_of_part(
    space: Space,
    images: &Tensor,
    others: &Tensor,
    first_itself: Option<i64>,
) -> Nearest {
    let others = space.rows(others);
    let centre = others.mean_dim(0, true, Kind::Float);
    let centred = &others - &centre;
    let squares = |x: &Tensor| x.square().sum_dim_intlist(1, false, Kind::Float);
    let norms = squares(&centred);
    let of_block = |start: i64| {
        let block = images.narrow(0, start, BLOCK.min(images.size()[0] - start));
        let found = space.views(&block).into_iter().map(|view| {
            // The image's own norm is the same for all others.
            let distances = norms.addmm(&((&view - &centre) * -2.0), &centred.tr());
            let column = first_itself.map(|first| start - first);
            if let Some(column) = column.filter(|column| (0..others.size()[0]).contains(column)) {
                let own = distances.narrow(1, column, view.size()[0]);
                let _ = own.diagonal(0, 0, 1).fill_(f64::INFINITY);
            }
            let (least, rows) = distances.min_dim(1, false);
            let apart = view.to_kind(Kind::Double) - others.index_select(0, &rows);
            let distances = apart.square().sum_dim_intlist(1, false, Kind::Double).sqrt();
            // Where there is no other.
            Nearest { distances: distances.masked_fill(&least.isposinf(), f64::INFINITY), rows }
        });
        let Nearest { distances, rows } = found.reduce(Nearest::or)?;
        Some((distances, rows))
    };
    let blocks = (0..images.size()[0]).step_by(BLOCK as usize);
    let (distances, rows): (Vec<_>, Vec<_>) = blocks.filter_map(of_block).unzip();
    Nearest { distances: Tensor::cat(&distances, 0), rows: Tensor::cat(&rows, 0) }
}

impl Nearest {
    /// The nearer of each two, the first where both are as near.
    fn or(self, other: Self) -> Self {
        let nearer = other.distances.lt_tensor(&self.distances);
        Self {
            distances: other.distances.where_self(&nearer, &self.distances),
            rows: other.rows.where_self(&nearer, &self.rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{noise_images, testing::features};
    use paragone_core::ImageShape;

    /// All distances by their definition: f64 `[n, m]`.
    fn all(x: &Tensor, y: &Tensor) -> Tensor {
        let (x, y) = (x.flatten(1, -1), y.flatten(1, -1));
        let apart = x.to_kind(Kind::Double).unsqueeze(1) - y.to_kind(Kind::Double).unsqueeze(0);
        apart.square().sum_dim_intlist(2, false, Kind::Double).sqrt()
    }

    fn assert_nearest(found: &Nearest, want: &Tensor, scale: f64) {
        let (distances, rows) = want.min_dim(1, false);
        assert!(found.rows.equal(&rows));
        let apart = (&found.distances - distances * scale).abs().max().double_value(&[]);
        assert!(apart < 1e-6, "{apart}");
    }

    #[test]
    fn parts_of_the_others_change_nothing() {
        let (x, y) = (features(513, 8, 0), features(1000, 8, 1));
        for (others, but_itself) in [(&y, false), (&x, true)] {
            let whole = nearest(Space::Features, &x, others, but_itself);
            let parts = in_parts(Space::Features, &x, others, but_itself, BLOCK);
            assert!(parts.rows.equal(&whole.rows));
            assert!(parts.distances.equal(&whole.distances));
        }
    }

    #[test]
    fn is_the_nearest_whatever_the_offset() {
        let (x, y) = (features(600, 8, 0) + 1e3, features(300, 8, 1) + 1e3);
        assert_nearest(&nearest(Space::Features, &x, &y, false), &all(&x, &y), 1.0);
        let others = all(&x, &x) + Tensor::full([600], 1e9, (Kind::Double, Device::Cpu)).diag(0);
        assert_nearest(&nearest(Space::Features, &x, &x, true), &others, 1.0);
        let own = nearest(Space::Features, &x, &x, false);
        assert_eq!(own.distances.max().double_value(&[]), 0.0);
    }

    #[test]
    fn pixels_are_in_units_of_white() {
        let shape = ImageShape { channels: 3, height: 5, width: 4 };
        let (x, y) = (noise_images(30, shape, 0), noise_images(20, shape, 1));
        let scale = 1.0 / (255.0 * 60f64.sqrt());
        assert_nearest(&nearest(Space::Pixels, &x, &y, false), &all(&x, &y), scale);
        let [black, white] = [0, 255].map(|level| x.full_like(level));
        let apart = nearest(Space::Pixels, &white, &black, false).distances;
        assert!((apart - 1.0).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn shifts_of_a_pixel_are_no_distance() {
        let shape = ImageShape { channels: 1, height: 8, width: 7 };
        let images = noise_images(40, shape, 0);
        for (down, right) in [(0, 0), (1, 0), (0, -1), (-1, 1)] {
            let shifted = images.roll([down, right], [2i64, 3]);
            let found = nearest(Space::ShiftedPixels, &shifted, &images, false);
            assert_eq!(found.distances.max().double_value(&[]), 0.0, "{down} {right}");
            assert!(found.rows.equal(&Tensor::arange(40, (Kind::Int64, Device::Cpu))));
        }
        let two = images.roll([2i64], [3i64]);
        let found = nearest(Space::ShiftedPixels, &two, &images, false);
        assert!(found.distances.min().double_value(&[]) > 0.1);
    }
}
