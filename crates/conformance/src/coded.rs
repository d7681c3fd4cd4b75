use crate::watch::mean_square;
use paragone_core::{
    Batch, Conditions, DataSpec, ImageShape, Noise, TextSpec, from_levels, mix, to_levels,
};
use tch::{Device, Kind, Tensor};

/// Images whose class can be read off them: a dark ground, one bright stripe, and the class is which.
///
/// The stripe's brightness and a little noise differ between images. Made on the spot, the same for the same number.
#[derive(Debug, Clone)]
pub struct Coded {
    /// What a family is told of them.
    pub data: DataSpec,
}

/// The ground, the stripe's mean, how far its brightness varies, and how far a pixel does.
const GROUND: f64 = -0.7;
const STRIPE: f64 = 0.6;
const BRIGHTNESS: f64 = 0.15;
const JITTER: f64 = 0.03;

impl Coded {
    /// Gray 8×8 images.
    pub const GRAY: [i64; 3] = [1, 8, 8];
    /// Colour 8×8 images.
    pub const COLOUR: [i64; 3] = [3, 8, 8];
    /// Gray images that are wider than high.
    pub const OBLONG: [i64; 3] = [1, 8, 12];

    /// Images of `[channels, height, width]` in four classes, or in two where four stripes do not fit.
    pub fn new([channels, height, width]: [i64; 3]) -> Self {
        let shape = ImageShape { channels, height, width };
        let num_classes = if width >= 4 { 4 } else { 2 };
        let blank =
            DataSpec { shape, num_classes, text: None, known_pixels: false, mean: 0.0, std: 1.0 };
        let images = Self { data: blank }.images(&(0..256).collect::<Vec<_>>());
        Self {
            data: DataSpec {
                shape,
                num_classes,
                text: None,
                known_pixels: false,
                mean: images.mean(Kind::Double).double_value(&[]),
                std: images.to_kind(Kind::Double).std(false).double_value(&[]),
            },
        }
    }

    /// The same images without their classes.
    pub fn without_classes(mut self) -> Self {
        self.data.num_classes = 0;
        self
    }

    /// The same images with captions of two words, the first of which names the class.
    pub fn with_text(mut self) -> Self {
        self.data.text = Some(TextSpec { vocab_size: 8, max_tokens: 3 });
        self
    }

    /// The class of image `number`; `num_classes` without classes.
    pub fn class(&self, number: u64) -> i64 {
        (number as i64) % self.data.num_classes.max(1)
    }

    /// The classes of image numbers.
    pub fn classes(&self, numbers: &[u64]) -> Vec<i64> {
        numbers.iter().map(|&number| self.class(number)).collect()
    }

    /// Images by number, f32 `[n, c, h, w]` on the 8-bit grid.
    pub fn images(&self, numbers: &[u64]) -> Tensor {
        let seeds = numbers.iter().map(|&number| mix(&[number, 77])).collect();
        let noise = Noise::new(seeds, Device::Cpu);
        let symmetric = |draw: u64, shape: &[i64]| noise.uniform(draw, shape) * 2.0 - 1.0;
        let stripe = STRIPE + symmetric(0, &[1, 1, 1]) * BRIGHTNESS;
        let stripes = self.stripes(&self.classes(numbers));
        let images = &stripes * stripe + (1.0 - stripes) * GROUND;
        let images = images + symmetric(1, &self.data.shape.dims()) * JITTER;
        from_levels(&to_levels(&images))
    }

    /// What the images of each class have in common, f32 `[num_classes, c, h, w]`.
    pub fn templates(&self) -> Tensor {
        let stripes = self.stripes(&(0..self.data.num_classes.max(1)).collect::<Vec<_>>());
        &stripes * STRIPE + (1.0 - stripes) * GROUND
    }

    /// The class that each image shows: that of the nearest template.
    pub fn shown(&self, images: &Tensor) -> Vec<i64> {
        let templates = self.templates();
        let distances: Vec<Tensor> = (0..self.data.num_classes.max(1))
            .map(|class| mean_square(images, &templates.narrow(0, class, 1)))
            .collect();
        let nearest = Tensor::stack(&distances, 1).argmin(1, false);
        Vec::try_from(nearest).expect("one class an image")
    }

    /// Images by number with their conditions, of which every fifth is dropped.
    pub fn batch(&self, numbers: &[u64]) -> Batch {
        let asked = |number: u64| !number.is_multiple_of(5);
        let classes =
            numbers.iter().map(|&number| match asked(number) && self.data.num_classes > 0 {
                true => self.class(number),
                false => self.data.null_class(),
            });
        let classes: Vec<i64> = classes.collect();
        Batch { images: self.images(numbers), conditions: self.conditions(&classes) }
    }

    /// Batch `index` of `n` images.
    pub fn nth_batch(&self, index: u64, n: u64) -> Batch {
        self.batch(&(index * n..(index + 1) * n).collect::<Vec<_>>())
    }

    /// Conditions that ask for classes, and for what their captions say of them.
    pub fn conditions(&self, classes: &[i64]) -> Conditions {
        let mut conditions = Conditions::of_classes(classes, &self.data, Device::Cpu);
        if let Some(text) = &self.data.text {
            let caption = |&class: &i64| match class == self.data.null_class() {
                true => vec![0; text.max_tokens as usize],
                false => vec![1 + class, 6 + class % 2, 0],
            };
            let tokens: Vec<i64> = classes.iter().flat_map(caption).collect();
            conditions.tokens = Tensor::from_slice(&tokens).reshape([-1, text.max_tokens]);
        }
        conditions
    }

    /// 1 where the stripe of each class is, f32 `[n, c, h, w]`.
    fn stripes(&self, classes: &[i64]) -> Tensor {
        let [c, h, w] = self.data.shape.dims();
        let stripes = self.data.num_classes.max(1);
        let columns = Tensor::arange(w, (Kind::Int64, Device::Cpu)) * stripes;
        let columns = columns.divide_scalar_mode(w, "floor"); // [w]
        let classes = Tensor::from_slice(classes).reshape([-1, 1, 1, 1]);
        let stripes = columns.eq_tensor(&classes).to_kind(Kind::Float);
        stripes.expand([-1, c, h, w], false)
    }
}
