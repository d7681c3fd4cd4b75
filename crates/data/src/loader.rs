use crate::{ImageSet, Indices, MaskKind, Order, random::Random};
use paragone_core::{Batch, Conditions, DataSpec, Known, from_levels};
use std::{
    borrow::Borrow,
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
};
use tch::{Device, Kind, Tensor};
use torch_ext::Bytes;

/// Separates the random streams of one seed.
const FLIP: u64 = 1;
const DROP: u64 = 2;
const MASK: u64 = 3;

/// Share of training images of which no pixel is known though masks are shown: from them models go on learning to generate.
const NOTHING_KNOWN: f64 = 0.1;

/// How training sees its images.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Whether every image is mirrored with probability one half.
    pub flip: bool,
    /// Probability that an image's condition is dropped.
    pub drop_condition: f64,
    /// Kinds of holes, one drawn for each image; exactly where `data.known_pixels` is set there are some.
    pub masks: Vec<MaskKind>,
    /// Decides flips, drops and holes, together with the image's number.
    pub seed: u64,
    /// Number of the first image: images seen before a resumed run.
    pub first_image: u64,
    /// Batches kept ready.
    pub prefetch: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_size: 128,
            flip: false,
            drop_condition: 0.1,
            masks: Vec::new(),
            seed: 0,
            first_image: 0,
            prefetch: 4,
        }
    }
}

/// Training batches, made ahead of time on rayon's threads.
///
/// What image number `k` of training looks like is a pure function of (order, seed, k): it does not depend on the batch
/// size, on where training was resumed, or on which thread is the first to be done.
#[derive(Debug)]
pub struct Loader {
    maker: Arc<Maker>,
    indices: Indices,
    /// Number of the first image of the next batch to be begun.
    next_begun: u64,
    /// Batches in the making, the next one first.
    begun: VecDeque<Receiver<Rows>>,
    next_image: u64,
}

impl Loader {
    /// Batches of `set`, whose levels it shares, in this order, from `options.first_image` on.
    ///
    /// With `data.num_classes` 0 every class is dropped, without `data.text` every caption.
    ///
    /// # Panics
    /// If the order is not of the set's length, the batch size is 0, `data.text` is set and the captions are in other numbers,
    /// or holes are to be shown to models that see no known pixels or of objects that the set does not know.
    pub fn new(
        set: impl Borrow<ImageSet>,
        order: Order,
        options: LoaderOptions,
        data: DataSpec,
    ) -> Self {
        let set = set.borrow();
        assert_eq!(order.len(), set.len() as u64, "an order of the set's images");
        assert!(options.batch_size > 0, "a batch needs an image");
        let (first_image, prefetch) = (options.first_image, options.prefetch.max(1));
        let mut loader = Self {
            maker: Arc::new(Maker::new(set, options, data)),
            indices: order.from_image(first_image),
            next_begun: first_image,
            begun: VecDeque::new(),
            next_image: first_image,
        };
        (0..prefetch).for_each(|_| loader.begin());
        loader
    }

    /// Has another batch made.
    fn begin(&mut self) {
        let first_image = self.next_begun;
        let indices: Vec<u32> = self.indices.by_ref().take(self.maker.options.batch_size).collect();
        self.next_begun += indices.len() as u64;
        let (sender, batch) = channel();
        self.begun.push_back(batch);
        let maker = Arc::clone(&self.maker);
        rayon::spawn(move || {
            // Nobody listens once the loader is gone.
            let _ = sender.send(maker.rows(first_image, &indices));
        });
    }

    /// The next batch, on the host. Batches go on across the ends of epochs, without end.
    #[expect(clippy::should_implement_trait, reason = "an iterator may end; this never does")]
    pub fn next(&mut self) -> Batch {
        self.begin();
        self.next_image += self.maker.options.batch_size as u64;
        let rows = self.begun.pop_front().expect("one was begun above");
        self.maker.to_batch(&rows.recv().expect("a batch that was begun is made"))
    }

    /// Number of the image that the next batch begins with: images handed out so far, before a resume included.
    pub fn next_image(&self) -> u64 {
        self.next_image
    }
}

/// A batch as numbers.
#[derive(Debug)]
struct Rows {
    images: Vec<f32>,
    class: Vec<i64>,
    tokens: Vec<i64>,
    /// 1 where a pixel is known; empty unless known pixels are shown.
    mask: Vec<f32>,
}

/// Makes batches. Plain loops: libtorch's operators would start teams of threads beside training's.
#[derive(Debug)]
struct Maker {
    pixels: Bytes,
    classes: Option<Vec<i64>>,
    /// `max_tokens` an image; none without captions.
    tokens: Vec<i64>,
    /// Not 0 where an image's main object is, if such holes are shown.
    objects: Option<Bytes>,
    options: LoaderOptions,
    data: DataSpec,
    /// The pixel value of each level, by `from_levels`, so that loader and evaluation agree to the last bit.
    values: Vec<f32>,
}

impl Maker {
    fn new(set: &ImageSet, options: LoaderOptions, data: DataSpec) -> Self {
        assert_eq!(data.known_pixels, !options.masks.is_empty(), "holes for who sees them");
        let objects = options
            .masks
            .contains(&MaskKind::Object)
            .then(|| Bytes::of(set.objects.as_ref().expect("a set that knows its objects")));
        let tokens = data.text.as_ref().map_or_else(Vec::new, |text| {
            let tokens = set.tokens.as_ref().expect("captions in numbers");
            assert_eq!(tokens.size(), [set.len(), text.max_tokens]);
            Vec::try_from(tokens.flatten(0, -1)).expect("i64 tokens on the host")
        });
        let levels = Tensor::arange(256, (Kind::Int64, Device::Cpu));
        let classes = set.classes.as_ref().filter(|_| data.num_classes > 0);
        Self {
            pixels: Bytes::of(&set.images),
            classes: classes.map(|c| Vec::try_from(c).expect("i64 classes on the host")),
            tokens,
            objects,
            options,
            data,
            values: Vec::try_from(from_levels(&levels)).expect("256 values"),
        }
    }

    /// The images at `indices`, of which the first is number `first_image` of training.
    fn rows(&self, first_image: u64, indices: &[u32]) -> Rows {
        let n = indices.len();
        let numel = self.data.shape.numel() as usize;
        let max_tokens = self.data.max_tokens() as usize;
        let mut rows = Rows {
            images: vec![0.0; n * numel],
            class: vec![self.data.null_class(); n],
            tokens: vec![0; n * max_tokens],
            mask: vec![0.0; if self.data.known_pixels { n * self.num_pixels() } else { 0 }],
        };
        for (i, (number, index)) in (first_image..).zip(indices).enumerate() {
            let index = *index as usize;
            self.image(number, index, &mut rows.images[i * numel..(i + 1) * numel]);
            if self.data.known_pixels {
                let pixels = self.num_pixels();
                self.mask(number, index, &mut rows.mask[i * pixels..(i + 1) * pixels]);
            }
            if self.is_dropped(number) {
                continue;
            }
            if let Some(classes) = &self.classes {
                rows.class[i] = classes[index];
            }
            rows.tokens[i * max_tokens..(i + 1) * max_tokens]
                .copy_from_slice(&self.tokens[index * max_tokens..(index + 1) * max_tokens]);
        }
        rows
    }

    fn to_batch(&self, rows: &Rows) -> Batch {
        let n = rows.class.len() as i64;
        let shape = self.data.shape;
        let images = Tensor::from_slice(&rows.images).reshape(shape.batch(n));
        let known = self.data.known_pixels.then(|| {
            let mask = Tensor::from_slice(&rows.mask).reshape([n, 1, shape.height, shape.width]);
            Known { pixels: &images * &mask, mask }
        });
        let conditions = Conditions {
            class: Tensor::from_slice(&rows.class),
            tokens: Tensor::from_slice(&rows.tokens).reshape([n, self.data.max_tokens()]),
            known,
        };
        Batch { images, conditions }
    }

    fn image(&self, number: u64, index: usize, out: &mut [f32]) {
        let levels = &self.pixels[index * out.len()..(index + 1) * out.len()];
        let value = |level: &u8| self.values[usize::from(*level)];
        if !self.is_flipped(number) {
            out.iter_mut().zip(levels).for_each(|(out, level)| *out = value(level));
            return;
        }
        let width = self.data.shape.width as usize;
        for (out, levels) in out.chunks_exact_mut(width).zip(levels.chunks_exact(width)) {
            out.iter_mut().zip(levels.iter().rev()).for_each(|(out, level)| *out = value(level));
        }
    }

    /// Draws the mask of an image: 1 where a pixel is known.
    fn mask(&self, number: u64, index: usize, out: &mut [f32]) {
        let mut random = self.random(MASK, number);
        if random.unit() < NOTHING_KNOWN {
            return;
        }
        let kind = random.pick(&self.options.masks);
        let place = index * out.len()..(index + 1) * out.len();
        let object = self.objects.as_ref().map(|objects| &objects[place]);
        let shape = self.data.shape;
        let width = shape.width as usize;
        out.fill(1.0);
        kind.draw((shape.height as usize, width), random.next(), object, out);
        if self.is_flipped(number) {
            out.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
    }

    fn num_pixels(&self) -> usize {
        (self.data.shape.height * self.data.shape.width) as usize
    }

    fn is_flipped(&self, number: u64) -> bool {
        self.options.flip && self.random(FLIP, number).unit() < 0.5
    }

    fn is_dropped(&self, number: u64) -> bool {
        self.random(DROP, number).unit() < self.options.drop_condition
    }

    fn random(&self, stream: u64, number: u64) -> Random {
        Random::new(&[self.options.seed, stream, number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use paragone_core::ImageShape;

    const SHAPE: ImageShape = ImageShape { channels: 2, height: 2, width: 3 };

    fn set(n: usize) -> ImageSet {
        let pixels: Vec<u8> = (0..n * 12).map(|i| (i * 37 % 251) as u8).collect();
        ImageSet::new(&pixels, SHAPE, Some((0..n as i64).map(|i| i % 5).collect()), None)
    }

    fn spec(num_classes: i64) -> DataSpec {
        DataSpec { shape: SHAPE, num_classes, text: None, known_pixels: false, mean: 0.0, std: 1.0 }
    }

    /// Images and classes from `first` to `end`.
    fn stream(options: LoaderOptions, num_classes: i64, end: u64) -> (Tensor, Vec<i64>) {
        let set = set(100);
        let mut loader = Loader::new(set, Order::new(5, 100), options.clone(), spec(num_classes));
        let (mut images, mut classes) = (Vec::new(), Vec::new());
        while loader.next_image() < end {
            let batch = loader.next();
            images.push(batch.images);
            classes.extend(Vec::<i64>::try_from(batch.conditions.class).unwrap());
        }
        let n = (end - options.first_image) as i64;
        classes.truncate(n as usize);
        (Tensor::cat(&images, 0).narrow(0, 0, n), classes)
    }

    fn options() -> LoaderOptions {
        LoaderOptions { batch_size: 16, flip: true, seed: 9, ..LoaderOptions::default() }
    }

    #[test]
    fn images_do_not_depend_on_batch_size_or_resumption() {
        let (images, classes) = stream(options(), 5, 400);
        for (batch_size, first_image) in [(7, 0), (64, 0), (16, 16), (16, 333), (5, 150)] {
            let resumed = LoaderOptions { batch_size, first_image, ..options() };
            let (rest, rest_classes) = stream(resumed, 5, 400);
            assert!(rest.equal(&images.slice(0, first_image as i64, None, 1)));
            assert_eq!(rest_classes, classes[first_image as usize..]);
        }
    }

    #[test]
    fn without_augmentation_batches_are_the_set_in_order() {
        let plain = LoaderOptions { flip: false, drop_condition: 0.0, ..options() };
        let (images, classes) = stream(plain, 5, 200);
        let order: Vec<i64> = Order::new(5, 100).from_image(0).take(200).map(i64::from).collect();
        let want = set(100);
        let index = Tensor::from_slice(&order);
        assert!(images.equal(&from_levels(&want.images.index_select(0, &index))));
        assert_eq!(classes, order.iter().map(|i| i % 5).collect::<Vec<_>>());
    }

    #[test]
    fn flips_mirror_half_of_the_images() {
        let (plain, _) = stream(LoaderOptions { flip: false, ..options() }, 5, 2000);
        let (flipped, _) = stream(options(), 5, 2000);
        let mirrored = plain.flip([3]);
        let mut count = 0;
        for k in 0..2000 {
            let (got, plain) = (flipped.get(k), plain.get(k));
            assert!(got.equal(&plain) || got.equal(&mirrored.get(k)));
            count += i64::from(!got.equal(&plain));
        }
        // Binomial with standard deviation 22.
        assert!((count - 1000).abs() < 100, "{count}");
    }

    #[test]
    fn conditions_are_dropped_at_the_rate_asked_for() {
        let (_, kept) = stream(LoaderOptions { drop_condition: 0.0, ..options() }, 5, 20_000);
        assert!(!kept.contains(&5));
        let (_, classes) = stream(LoaderOptions { drop_condition: 0.2, ..options() }, 5, 20_000);
        let dropped = classes.iter().filter(|class| **class == 5).count() as f64;
        // Binomial with standard deviation 57.
        assert!((dropped - 4000.0).abs() < 250.0, "{dropped}");
        assert!(classes.iter().zip(&kept).all(|(got, class)| *got == 5 || got == class));
        let (_, all) = stream(LoaderOptions { drop_condition: 1.0, ..options() }, 5, 100);
        assert!(all.iter().all(|class| *class == 5));
    }

    #[test]
    fn captions_come_with_their_images_and_are_dropped_whole() {
        let captions: Vec<String> = (0..100).map(|i| format!("image number{i}")).collect();
        let tokenizer = Tokenizer::train(&captions);
        let set = ImageSet::new(&[0; 1200], SHAPE, None, Some(captions)).tokenized(&tokenizer);
        let data = DataSpec { text: Some(tokenizer.spec()), ..spec(0) };
        let options = LoaderOptions { batch_size: 500, drop_condition: 0.2, ..options() };
        let mut loader = Loader::new(&set, Order::new(5, 100), options, data);
        let tokens = Vec::<Vec<i64>>::try_from(loader.next().conditions.tokens).unwrap();
        let order: Vec<u32> = Order::new(5, 100).from_image(0).take(500).collect();
        let mut dropped = 0;
        for (tokens, index) in tokens.iter().zip(order) {
            let caption = tokenizer.encode(&format!("image number{index}")).tokens;
            assert!(*tokens == caption || *tokens == [0, 0], "{tokens:?}");
            dropped += u32::from(*tokens == [0, 0]);
        }
        // Binomial with mean 100 and standard deviation 9.
        assert!((60..140).contains(&dropped), "{dropped}");
    }

    #[test]
    fn without_classes_every_condition_is_null() {
        let (_, classes) = stream(options(), 0, 100);
        assert!(classes.iter().all(|class| *class == 0));
    }

    #[test]
    fn known_pixels_are_those_of_the_image_under_a_mask_of_its_own() {
        let shape = ImageShape { channels: 2, height: 8, width: 8 };
        let data = DataSpec { shape, known_pixels: true, ..spec(0) };
        let known = |batch_size, first_image: u64, drop_condition| {
            let pixels: Vec<u8> = (0..500 * 128).map(|i| (i * 37 % 251) as u8).collect();
            let objects = Tensor::zeros([500, 1, 8, 8], (Kind::Uint8, Device::Cpu));
            let _ = objects.narrow(3, 0, 2).fill_(1);
            let set = ImageSet::new(&pixels, shape, None, None).with_objects(objects);
            let masks = vec![MaskKind::Object, MaskKind::Outpaint];
            let options = LoaderOptions {
                batch_size,
                masks,
                first_image,
                drop_condition,
                flip: true,
                ..LoaderOptions::default()
            };
            let mut loader = Loader::new(set, Order::new(5, 500), options, data.clone());
            let mut known = Vec::new();
            while loader.next_image() < 1000 {
                let Batch { images, conditions } = loader.next();
                let shown = conditions.known.expect("models are shown known pixels");
                assert!(shown.pixels.equal(&(images * &shown.mask)));
                known.push(shown.mask);
            }
            Tensor::cat(&known, 0).narrow(0, 0, 1000 - first_image as i64)
        };
        let all = known(50, 0, 0.1);
        assert!(all.equal(&known(37, 0, 0.9)), "batches and dropped conditions change no mask");
        assert!(all.narrow(0, 600, 400).equal(&known(50, 600, 0.1)));
        let shown =
            Vec::<f64>::try_from(all.flatten(1, -1).sum_dim_intlist(1, false, Kind::Double));
        let shown = shown.unwrap();
        let share = |pixels: f64| shown.iter().filter(|&&n| n == pixels).count() as f64 / 1000.0;
        // Three of eight columns are near the object; standard errors are below .016.
        assert!((share(0.0) - NOTHING_KNOWN).abs() < 0.04, "{}", share(0.0));
        assert!((share(40.0) - 0.45).abs() < 0.06 && (share(16.0) - 0.45).abs() < 0.06);
        // Flipped, the object is at the other side.
        let left = all.select(1, 0).select(1, 0).select(1, 0).eq(0.0).to_kind(Kind::Double);
        let left = left.mean(Kind::Double).double_value(&[]);
        assert!((left - (0.1 + 0.45 + 0.225)).abs() < 0.05, "{left}");
    }
}
