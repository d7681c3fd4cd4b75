//! Holes in images: what in-painting has to fill.

use crate::{ImageSet, random::Random};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tch::{Kind, Tensor};

/// A kind of hole.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// The left, right, upper or lower half.
    Half,
    /// A rectangle in the middle, of half the height and half the width.
    Centre,
    /// Rectangles anywhere, until four tenths are hidden.
    Blocks,
    /// Thick strokes of a brush, until three tenths are hidden (as the free-form masks of Yu et al. 2019).
    Strokes,
    /// The picture's main object and one pixel around it; only of data that knows where it is.
    Object,
    /// All but a rectangle in the middle, of half the height and half the width.
    Outpaint,
}

/// Shares of an image that blocks and strokes hide at least.
const BLOCKS_SHARE: f64 = 0.4;
const STROKES_SHARE: f64 = 0.3;

impl MaskKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Half, Self::Centre, Self::Blocks, Self::Strokes, Self::Object, Self::Outpaint];

    /// What experiments and the command line call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Centre => "centre",
            Self::Blocks => "blocks",
            Self::Strokes => "strokes",
            Self::Object => "object",
            Self::Outpaint => "outpaint",
        }
    }

    /// Masks of this kind for the images in `rows`, i64 `[m]`, of a set, one seed an image: f32 `[m, 1, h, w]`, 1 where a pixel is
    /// known. `None` for objects of a set that does not know them.
    pub fn masks(self, set: &ImageSet, rows: &Tensor, seeds: &[u64]) -> Option<Tensor> {
        let shape = set.shape();
        let (height, width) = (shape.height as usize, shape.width as usize);
        let objects: Option<Vec<u8>> = match self {
            Self::Object => {
                let objects = set.objects.as_ref()?.index_select(0, rows);
                Some(Vec::try_from(objects.flatten(0, -1)).expect("u8 objects on the host"))
            }
            _ => None,
        };
        let mut mask = vec![1f32; seeds.len() * height * width];
        for (i, (out, &seed)) in mask.chunks_exact_mut(height * width).zip(seeds).enumerate() {
            let object = objects.as_ref().map(|all| &all[i * out.len()..(i + 1) * out.len()]);
            self.draw((height, width), seed, object, out);
        }
        let mask = Tensor::from_slice(&mask);
        Some(mask.reshape([seeds.len() as i64, 1, shape.height, shape.width]).to_kind(Kind::Float))
    }

    /// Hides pixels of `out`, `h · w` ones row by row: the mask of a seed. Something is hidden and something stays.
    ///
    /// `object`: not 0 where the main object is.
    ///
    /// # Panics
    /// For [`MaskKind::Object`] without an object.
    pub(crate) fn draw(
        self,
        (height, width): (usize, usize),
        seed: u64,
        object: Option<&[u8]>,
        out: &mut [f32],
    ) {
        let random = &mut Random::new(&[seed, self as u64]);
        let mut canvas = Canvas { height, width, known: out };
        let middle = |size: usize| size / 4..size / 4 + (size / 2).max(1);
        match self {
            Self::Half => match random.below(4) {
                0 => canvas.hide(0..height, 0..width / 2),
                1 => canvas.hide(0..height, width / 2..width),
                2 => canvas.hide(0..height / 2, 0..width),
                _ => canvas.hide(height / 2..height, 0..width),
            },
            Self::Centre => canvas.hide(middle(height), middle(width)),
            Self::Blocks => canvas.blocks(random),
            Self::Strokes => canvas.strokes(random),
            Self::Object => canvas.hide_object(object.expect("data that knows its objects")),
            Self::Outpaint => {
                canvas.hide(0..height, 0..width);
                canvas.show(middle(height), middle(width));
            }
        }
    }
}

/// A mask being drawn.
struct Canvas<'a> {
    height: usize,
    width: usize,
    /// 1 where a pixel is known.
    known: &'a mut [f32],
}

impl Canvas<'_> {
    fn fill(&mut self, rows: Range<usize>, columns: Range<usize>, value: f32) {
        for row in rows {
            self.known[row * self.width..][columns.clone()].fill(value);
        }
    }

    fn hide(&mut self, rows: Range<usize>, columns: Range<usize>) {
        self.fill(rows, columns, 0.0);
    }

    fn show(&mut self, rows: Range<usize>, columns: Range<usize>) {
        self.fill(rows, columns, 1.0);
    }

    fn hidden_share(&self) -> f64 {
        self.known.iter().filter(|&&known| known == 0.0).count() as f64 / self.known.len() as f64
    }

    /// Rectangles of an eighth to three eighths of the sides.
    fn blocks(&mut self, random: &mut Random) {
        while self.hidden_share() < BLOCKS_SHARE {
            let mut span = |size: usize| {
                let length = (size / 8 + random.below(size / 4 + 1)).max(1);
                let start = random.below(size - length + 1);
                start..start + length
            };
            let rows = span(self.height);
            let columns = span(self.width);
            self.hide(rows, columns);
        }
    }

    /// A round brush of a twelfth of the shorter side as its radius goes a few straight ways, turning by at most a right angle
    /// between them; then another stroke begins.
    fn strokes(&mut self, random: &mut Random) {
        let (height, width) = (self.height as f64, self.width as f64);
        let side = height.min(width);
        let radius = (side / 12.0).max(0.8);
        while self.hidden_share() < STROKES_SHARE {
            let (mut y, mut x) = (random.unit() * height, random.unit() * width);
            let mut angle = random.unit() * std::f64::consts::TAU;
            for _ in 0..2 + random.below(3) {
                angle += (random.unit() - 0.5) * std::f64::consts::PI;
                let length = side * (0.15 + 0.25 * random.unit());
                for _ in 0..length.ceil() as usize {
                    self.dab(y, x, radius);
                    (y, x) = (y + angle.sin(), x + angle.cos());
                }
            }
        }
    }

    /// Hides pixels whose centres lie within `radius` of a place.
    fn dab(&mut self, y: f64, x: f64, radius: f64) {
        let span = |at: f64, size: usize| {
            let start = (at - radius).floor().clamp(0.0, size as f64) as usize;
            start..((at + radius).ceil().clamp(0.0, size as f64) as usize)
        };
        for row in span(y, self.height) {
            for column in span(x, self.width) {
                let (dy, dx) = (row as f64 + 0.5 - y, column as f64 + 0.5 - x);
                if dy.hypot(dx) <= radius {
                    self.known[row * self.width + column] = 0.0;
                }
            }
        }
    }

    fn hide_object(&mut self, object: &[u8]) {
        for row in 0..self.height {
            for column in 0..self.width {
                if object[row * self.width + column] > 0 {
                    let rows = row.saturating_sub(1)..(row + 2).min(self.height);
                    self.hide(rows, column.saturating_sub(1)..(column + 2).min(self.width));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataConfig, Dataset, Split, shapes::Shapes};

    fn drawn(kind: MaskKind, size: (usize, usize), seed: u64) -> Vec<f32> {
        let mut out = vec![1.0; size.0 * size.1];
        let mut object = vec![0; out.len()];
        object[size.1 + 1] = 9;
        kind.draw(size, seed, Some(&object), &mut out);
        out
    }

    fn hidden(mask: &[f32]) -> f64 {
        mask.iter().filter(|&&known| known == 0.0).count() as f64 / mask.len() as f64
    }

    #[test]
    fn masks_hide_their_share() {
        for size in [(16, 16), (28, 28), (32, 24), (64, 64)] {
            for (kind, [least, most]) in [
                (MaskKind::Half, [0.5, 0.5]),
                (MaskKind::Centre, [0.25, 0.25]),
                (MaskKind::Blocks, [0.4, 0.6]),
                (MaskKind::Strokes, [0.3, 0.55]),
                (MaskKind::Outpaint, [0.75, 0.75]),
            ] {
                for seed in 0..200 {
                    let mask = drawn(kind, size, seed);
                    assert!(mask.iter().all(|&known| known == 0.0 || known == 1.0));
                    let share = hidden(&mask);
                    assert!((least..=most).contains(&share), "{kind:?} {size:?}: {share}");
                }
            }
            // One pixel and its neighbours.
            let pixels = (size.0 * size.1) as f64;
            assert_eq!(hidden(&drawn(MaskKind::Object, size, 0)) * pixels, 9.0);
        }
    }

    #[test]
    fn a_mask_follows_from_its_seed() {
        for kind in MaskKind::ALL {
            assert_eq!(drawn(kind, (16, 16), 5), drawn(kind, (16, 16), 5));
            let varies =
                (0..20).any(|seed| drawn(kind, (16, 16), seed) != drawn(kind, (16, 16), 5));
            let chance = [MaskKind::Half, MaskKind::Blocks, MaskKind::Strokes].contains(&kind);
            assert_eq!(varies, chance, "{kind:?}");
            assert_eq!(serde_yaml::to_string(&kind).unwrap().trim(), kind.name());
        }
    }

    /// A pixel that an object's hole leaves has nothing of the object: it is the background's.
    #[test]
    fn the_hole_of_an_object_hides_all_of_it() {
        let config = DataConfig {
            train_images: Some(10),
            test_images: Some(200),
            scenes: crate::Scenes::Simple,
            ..DataConfig::default()
        };
        let set = Shapes::new(&config).unwrap().load(Split::Test).unwrap();
        let rows = Tensor::arange(200, (Kind::Int64, tch::Device::Cpu));
        let mask = MaskKind::Object.masks(&set, &rows, &[0; 200]).unwrap();
        assert_eq!(mask.size(), [200, 1, 16, 16]);
        let known = set.images.to_kind(Kind::Int64);
        let corner = known.narrow(2, 0, 1).narrow(3, 0, 1);
        let same = known.eq_tensor(&corner).logical_or(&mask.eq(0.0));
        assert!(same.all().int64_value(&[]) == 1);
        assert!(hidden(&Vec::<f32>::try_from(mask.flatten(0, -1)).unwrap()) < 0.8);
        let unlabelled = ImageSet::of(&set.images, None, None);
        assert!(MaskKind::Object.masks(&unlabelled, &rows, &[0; 200]).is_none());
        assert!(MaskKind::Half.masks(&unlabelled, &rows, &[0; 200]).is_some());
    }
}
