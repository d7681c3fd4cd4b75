//! Drawing images pixel by pixel, on as many threads as libtorch may use.
//!
//! The arithmetic for one pixel is too little to share between threads, so each thread draws images of its own.

mod cache;

use crate::network::Network;
pub(crate) use cache::FeatureCache;
use paragone_core::{
    DataSpec, Error, ImageShape, Noise, OnStep, Progress, Result, SampleRequest, from_levels,
};
use paragone_nn::pixel::PixelHead;
use std::{ops::ControlFlow, sync::mpsc, thread};
use tch::{Device, Kind, Tensor};

/// Fewer images than these are not worth a thread of their own.
const MIN_IMAGES_PER_THREAD: i64 = 16;

/// Draws images f32 `[n, c, h, w]` in [-1, 1]. A pixel that is still to come is mid-gray in what `on_step` sees.
///
/// `temperature` divides logits and multiplies the scales of logistics. `guidance_scale` acts on the log-probabilities of
/// levels. Memory grows with the number of images: about 0.3 MB each for 28x28 and the default network. `kept`: see [`Kept`].
pub(crate) fn sample(
    network: &Network,
    data: &DataSpec,
    request: &SampleRequest,
    kept: Option<&Kept>,
    on_step: &mut dyn OnStep,
) -> Result<Tensor> {
    request.check()?;
    if request.temperature == 0.0 {
        return Err(Error::Unsupported("temperature is 0, but must be above it".to_owned()));
    }
    let (n, shape, device) = (request.noise.len(), data.shape, network.device());
    let image = Tensor::zeros(shape.batch(n), (Kind::Float, device));
    // A GPU is given all images at once.
    let max_chunks = if device == Device::Cpu { i64::from(tch::get_num_threads()) } else { 1 };
    let num_chunks = (n / MIN_IMAGES_PER_THREAD).clamp(1, max_chunks);
    let chunk_size = ((n + num_chunks - 1) / num_chunks).max(1);
    // What is the same for all pixels is made by operations large enough for all threads.
    let chunk = |start| {
        let size = chunk_size.min(n - start);
        let draw = PixelDraw::new(network, request, kept, start, size);
        let cache = tch::no_grad(|| FeatureCache::new(network, data, request, start, size));
        (image.narrow(0, start, size), draw, cache)
    };
    let chunks: Vec<_> = (0..n).step_by(chunk_size as usize).map(chunk).collect();
    let _serial = SerialOperations::begin();
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (images, draw, cache) in chunks {
            let (sender, receiver) = mpsc::channel();
            scope.spawn(move || {
                tch::set_num_threads(1);
                draw_images(cache, &draw, shape, |_, values| match sender.send(values) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                });
            });
            workers.push((images, receiver));
        }
        // Guidance takes each pixel's distribution twice.
        let each = if request.guidance_scale == 1.0 { 1 } else { 2 };
        let pixels = shape.height * shape.width;
        let calls = each * pixels as u64;
        let mut call = 0;
        for pixel in 0..pixels {
            let (i, j) = (pixel / shape.width, pixel % shape.width);
            for (images, receiver) in &workers {
                let values = receiver.recv().expect("a thread draws every pixel of its images");
                images.select(2, i).select(2, j).copy_(&values);
            }
            // An error drops the receivers, and the threads end at their next pixel.
            for _ in 0..each {
                call += 1;
                on_step.step(Progress { call, calls, images: &|| image.copy() })?;
            }
        }
        Ok(image.shallow_clone())
    })
}

/// Draws all pixels in raster order, while `each` says so, which gets what [`PixelDraw::levels`] got and the new pixel's
/// values, f32 `[n, c]` in [-1, 1].
pub(crate) fn draw_images(
    mut cache: FeatureCache,
    draw: &PixelDraw,
    shape: ImageShape,
    mut each: impl FnMut(&Tensor, Tensor) -> ControlFlow<()>,
) {
    let _no_grad = tch::no_grad_guard();
    for i in 0..shape.height {
        cache.begin_row(i);
        for j in 0..shape.width {
            let params = cache.params_at(j);
            let levels = draw.levels(&params, (i * shape.width + j) as u64);
            cache.set_pixel(i, j, &levels);
            if each(&params, from_levels(&levels)).is_break() {
                return;
            }
        }
    }
}

/// What drawn images keep of others: the pixels that `certain` names, and any other pixel x_i with the odds
/// p(x_i | earlier) e^bonus. So a pixel stays what it was unless it has become less likely than that is worth.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The other images' levels, i64 `[n, c, h, w]`.
    pub(crate) levels: Tensor,
    /// bool `[n, 1, h, w]`.
    pub(crate) certain: Tensor,
    /// Nats, at least 0.
    pub(crate) bonus: f64,
}

impl Kept {
    fn narrow(&self, start: i64, size: i64) -> Self {
        let narrow = |t: &Tensor| t.narrow(0, start, size);
        Self { levels: narrow(&self.levels), certain: narrow(&self.certain), bonus: self.bonus }
    }
}

/// The draw that decides whether pixel 0 is kept; the others follow. Draws of levels come before.
const KEEPING: u64 = 1 << 32;

/// How a pixel is drawn from its distribution.
#[derive(Debug)]
pub(crate) struct PixelDraw {
    head: PixelHead,
    noise: Noise,
    temperature: f64,
    guidance_scale: f64,
    kept: Option<Kept>,
}

impl PixelDraw {
    /// For images `start..start + size` of the request.
    pub(crate) fn new(
        network: &Network,
        request: &SampleRequest,
        kept: Option<&Kept>,
        start: i64,
        size: i64,
    ) -> Self {
        Self {
            kept: kept.map(|kept| kept.narrow(start, size)),
            head: network.pixel.shallow_clone(),
            noise: request.noise.narrow(start, size),
            temperature: request.temperature,
            guidance_scale: request.guidance_scale,
        }
    }

    /// Levels i64 `[n, c]` from parameters `[p, m]` of one pixel of each image: m is n, or 2 n when guided, the second
    /// half being unprompted. Pixel `draw` of the raster takes the uniforms of draw `draw`.
    pub(crate) fn levels(&self, params: &Tensor, draw: u64) -> Tensor {
        let n = self.noise.len();
        // The images as pixels of a single image: sums over levels then run along contiguous memory, vectorized.
        let uniforms = self.noise.uniform(draw, &[self.head.num_uniforms()]);
        let uniforms = uniforms.tr().unsqueeze(0).unsqueeze(2);
        let params = params.unsqueeze(0).unsqueeze(2);
        let levels = if self.guidance_scale == 1.0 {
            self.head.sample(&params, &uniforms, self.temperature)
        } else {
            let [params, unprompted] = [0, n].map(|start| params.narrow(3, start, n));
            let (temperature, scale) = (self.temperature, self.guidance_scale);
            self.head.sample_guided(&params, &unprompted, &uniforms, temperature, scale)
        };
        let levels = levels.squeeze_dim(2).squeeze_dim(0).tr();
        match &self.kept {
            None => levels,
            Some(kept) => self.keep(kept, &params, levels, draw),
        }
    }

    /// `levels`, i64 `[n, c]`, drawn freely for pixel `draw`, or those that are kept in their place.
    ///
    /// To draw x with weight p(x), and e^b p(x) for one value s, is to draw from p and then to put s in its place with probability
    /// r / (1 + r), where r = p(s) (e^b − 1).
    fn keep(&self, kept: &Kept, params: &Tensor, levels: Tensor, draw: u64) -> Tensor {
        let n = self.noise.len();
        let width = kept.levels.size()[3];
        let (i, j) = (draw as i64 / width, draw as i64 % width);
        let at = |t: &Tensor| t.select(2, i).select(2, j);
        let (old, mut keeps) = (at(&kept.levels), at(&kept.certain)); // [n, c] and [n, 1]
        if kept.bonus > 0.0 {
            let as_pixels = old.tr().unsqueeze(0).unsqueeze(2);
            let log_p = if (self.guidance_scale, self.temperature) == (1.0, 1.0) {
                self.head.log_prob(params, &as_pixels)
            } else {
                let [params, unprompted] =
                    [0, params.size()[3] - n].map(|i| params.narrow(3, i, n));
                let (temperature, scale) = (self.temperature, self.guidance_scale);
                self.head.log_prob_guided(&params, &unprompted, &as_pixels, temperature, scale)
            };
            let log_p = log_p.reshape([n, 1]);
            // e^b − 1 overflows long before b does.
            let log_r = log_p + kept.bonus + (-(-kept.bonus).exp()).ln_1p();
            let uniform = self.noise.uniform(KEEPING + draw, &[1]).to_kind(log_r.kind());
            keeps = keeps.logical_or(&uniform.less_tensor(&log_r.sigmoid()));
        }
        old.where_self(&keeps, &levels)
    }
}

/// While it lives, operations run on the thread that calls them.
struct SerialOperations {
    before: i32,
}

impl SerialOperations {
    fn begin() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for SerialOperations {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}
