use crate::watch::mean_square;
use paragone_core::{
    Batch, Conditions, DataSpec, ImageShape, Known, Noise, TextSpec, from_levels, mix, to_levels,
};
use tch::{Device, Kind, Tensor};

/// Images whose class can be read off them, off their lower half too: a dark ground, one bright stripe from top to bottom, and
/// the class is which.
///
/// The stripe's brightness and a little noise differ between images. Made on the spot, the same for the same number.
#[derive(Debug, Clone)]
pub struct Coded {
    /// What a family is told of them.
    pub data: DataSpec,
    /// How many classes there are to be seen, whether a family is told of them or not.
    kinds: i64,
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
        let images = Self { data: blank, kinds: num_classes }.images(&(0..256).collect::<Vec<_>>());
        Self {
            kinds: num_classes,
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

    /// Images of one class, of which nothing is told.
    pub fn without_classes(mut self) -> Self {
        self.data.num_classes = 0;
        self.kinds = 1;
        self
    }

    /// The same images with captions of two words, the first of which names the class.
    pub fn with_text(mut self) -> Self {
        self.data.text = Some(TextSpec { vocab_size: 8, max_tokens: 3 });
        self
    }

    /// The same images with these captions in place of their classes.
    pub fn with_text_alone(self) -> Self {
        let mut coded = self.with_text();
        coded.data.num_classes = 0;
        coded
    }

    /// The same images, of which every third shows its lower half.
    pub fn with_holes(mut self) -> Self {
        self.data.known_pixels = true;
        self
    }

    /// The class of image `number`.
    pub fn class(&self, number: u64) -> i64 {
        (number as i64) % self.kinds
    }

    /// What stands in the place of a class where nothing is asked for.
    pub fn nothing(&self) -> i64 {
        self.kinds
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

    /// What the images of each class have in common, f32 `[classes, c, h, w]`.
    pub fn templates(&self) -> Tensor {
        let stripes = self.stripes(&(0..self.kinds).collect::<Vec<_>>());
        &stripes * STRIPE + (1.0 - stripes) * GROUND
    }

    /// The class that each image shows: that of the nearest template.
    pub fn shown(&self, images: &Tensor) -> Vec<i64> {
        let templates = self.templates();
        let distances: Vec<Tensor> = (0..self.kinds)
            .map(|class| mean_square(images, &templates.narrow(0, class, 1)))
            .collect();
        let nearest = Tensor::stack(&distances, 1).argmin(1, false);
        Vec::try_from(nearest).expect("one class an image")
    }

    /// Images by number with their conditions, of which every fifth is dropped.
    pub fn batch(&self, numbers: &[u64]) -> Batch {
        let asked = |&number: &u64| match number.is_multiple_of(5) {
            true => self.nothing(),
            false => self.class(number),
        };
        let images = self.images(numbers);
        let mut conditions = self.conditions(&numbers.iter().map(asked).collect::<Vec<_>>());
        if self.data.known_pixels {
            let shows: Vec<f32> =
                numbers.iter().map(|n| f32::from(u8::from(n.is_multiple_of(3)))).collect();
            let Known { pixels, mask } = self.lower_half(&images);
            let mask = mask * Tensor::from_slice(&shows).reshape([-1, 1, 1, 1]);
            conditions.known = Some(Known { pixels, mask });
        }
        Batch { images, conditions }
    }

    /// The lower half of images; the upper one is not a number.
    pub fn lower_half(&self, images: &Tensor) -> Known {
        let ImageShape { height, width, .. } = self.data.shape;
        let mask = Tensor::zeros([images.size()[0], 1, height, width], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(2, height / 2, height - height / 2).fill_(1.0);
        let pixels = images.where_self(&mask.to_kind(Kind::Bool), &Tensor::from(f32::NAN));
        Known { pixels, mask }
    }

    /// Batch `index` of `n` images.
    pub fn nth_batch(&self, index: u64, n: u64) -> Batch {
        self.batch(&(index * n..(index + 1) * n).collect::<Vec<_>>())
    }

    /// Conditions that ask for classes, by number, by caption or by both, or for [`Coded::nothing`].
    pub fn conditions(&self, classes: &[i64]) -> Conditions {
        let told = classes.iter().map(|&class| class.min(self.data.null_class()));
        let mut conditions =
            Conditions::of_classes(&told.collect::<Vec<_>>(), &self.data, Device::Cpu);
        if let Some(text) = &self.data.text {
            let caption = |&class: &i64| match class == self.nothing() {
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
        let columns = Tensor::arange(w, (Kind::Int64, Device::Cpu)) * self.kinds;
        let columns = columns.divide_scalar_mode(w, "floor"); // [w]
        let classes = Tensor::from_slice(classes).reshape([-1, 1, 1, 1]);
        let stripes = columns.eq_tensor(&classes).to_kind(Kind::Float);
        stripes.expand([-1, c, h, w], false)
    }
}
