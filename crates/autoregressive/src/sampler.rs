//! Drawing pixel by pixel, with every layer's features of the pixels so far kept.
//!
//! The vertical stack is computed a row at a time; the horizontal one, a pixel at a time, by products of small matrices.

use crate::{
    layer::{GateBias, gate},
    network::Network,
};
use paragone_core::{DataSpec, OnStep, Progress, Result, SampleRequest, from_levels};
use tch::{
    Kind, Tensor,
    nn::{Conv2D, Module},
};

/// Draws images f32 `[n, c, h, w]` in [-1, 1]; a pixel that is still to come is mid-gray in what `on_step` sees.
///
/// `temperature` divides logits and multiplies the scales of logistics. `guidance_scale` acts on the log-probabilities of
/// levels. Pixel i of the raster is drawn with the uniforms of draw i.
pub(crate) fn sample(
    network: &Network,
    data: &DataSpec,
    request: &SampleRequest,
    on_step: &mut dyn OnStep,
) -> Result<Tensor> {
    sample_and_see(network, data, request, on_step, &mut |_| ())
}

/// The same, showing `see` the parameters of each pixel's distribution as [`draw_pixel`] gets them.
pub(crate) fn sample_and_see(
    network: &Network,
    data: &DataSpec,
    request: &SampleRequest,
    on_step: &mut dyn OnStep,
    see: &mut dyn FnMut(&Tensor),
) -> Result<Tensor> {
    tch::no_grad(|| {
        let mut sampler = CachedSampler::new(network, data, request);
        let (height, width) = (data.shape.height, data.shape.width);
        for i in 0..height {
            sampler.begin_row(i);
            for j in 0..width {
                let params = sampler.params_at(j);
                see(&params);
                let call = (i * width + j + 1) as u64;
                sampler.set_pixel(i, j, &draw_pixel(network, request, &params, call - 1));
                let images = || sampler.image.copy();
                on_step.step(Progress { call, calls: (height * width) as u64, images: &images })?;
            }
        }
        Ok(sampler.image)
    })
}

/// Levels i64 `[n, c]` from parameters `[p, m]` of one pixel of each image: m is n, or 2 n when guided.
pub(crate) fn draw_pixel(
    network: &Network,
    request: &SampleRequest,
    params: &Tensor,
    draw: u64,
) -> Tensor {
    let head = &network.pixel;
    let n = request.noise.len();
    let uniforms = request.noise.uniform(draw, &[head.num_uniforms()]);
    // The images as pixels of one image: what is summed over then lies across rows of contiguous memory.
    let uniforms = uniforms.tr().unsqueeze(0).unsqueeze(2);
    let params = params.unsqueeze(0).unsqueeze(2);
    let levels = if is_guided(request) {
        let [params, unprompted] = [0, n].map(|start| params.narrow(3, start, n));
        let (temperature, scale) = (request.temperature, request.guidance_scale);
        head.sample_guided(&params, &unprompted, &uniforms, temperature, scale)
    } else {
        head.sample(&params, &uniforms, request.temperature)
    };
    levels.squeeze_dim(2).squeeze_dim(0).tr()
}

/// Whether each image is computed twice, with and without its prompt.
pub(crate) fn is_guided(request: &SampleRequest) -> bool {
    request.guidance_scale != 1.0
}

/// Features of the pixels drawn so far. m: images, or twice as many when guided; c: channels; f: features of a pixel.
struct CachedSampler<'a> {
    network: &'a Network,
    /// f32 `[n, channels, h, w]`.
    image: Tensor,
    first: FirstLayer,
    layers: Vec<LayerCache>,
    head: [Product; 2],
}

/// The first layer: images to both stacks.
struct FirstLayer {
    /// Padded above, `[m, f, reach + h, w]`.
    features: Tensor,
    /// The row being drawn, padded left, `[m, reach + w, f]`.
    row: Tensor,
    /// `[reach f, c]`.
    horizontal: Tensor,
    /// All of the first horizontal features that comes from rows above, `[w, m, c]`.
    from_above: Tensor,
}

/// One gated layer. The horizontal stack's features before it, the last `left` of which it sees, are kept for a row.
struct LayerCache {
    bias: GateBias,
    /// The vertical stack's features before this layer in the rows it sees, `[m, c, kernel rows, w]`; the last row is the
    /// one being drawn.
    rows: Tensor,
    /// All of the gates that comes from rows above, `[w, m, 2c]`.
    from_above: Tensor,
    /// Padded left, `[m, left - 1 + w, c]`.
    row: Tensor,
    /// `[left c, 2c]`.
    horizontal: Tensor,
    /// `[c, c]`.
    out: Tensor,
}

/// `weight @ x + bias`, x having an image in each column.
struct Product {
    weight: Tensor,
    bias: Tensor,
}

impl<'a> CachedSampler<'a> {
    fn new(network: &'a Network, data: &DataSpec, request: &SampleRequest) -> Self {
        let biases = gate_biases(network, data, request);
        let n = request.conditions.len();
        let m = if is_guided(request) { 2 * n } else { n };
        let options = (network.kind(), network.position.device());
        let zeros = |shape: [i64; 3]| Tensor::zeros(shape, options);
        let [_, c, height, width] = network.position.size()[..] else { unreachable!() };
        let (reach, kernel) = (network.first_reach(), network.kernel);
        let f = data.shape.channels + 1;
        let layers = network.layers.iter().zip(biases).map(|(layer, bias)| LayerCache {
            bias,
            rows: Tensor::zeros([m, c, kernel.rows, width], options),
            from_above: zeros([width, m, 2 * c]),
            row: zeros([m, kernel.left() - 1 + width, c]),
            horizontal: window_matrix(&layer.horizontal),
            out: window_matrix(&layer.horizontal_out),
        });
        Self {
            network,
            image: Tensor::zeros(data.shape.batch(n), (Kind::Float, options.1)),
            first: FirstLayer {
                features: Tensor::zeros([m, f, reach + height, width], options),
                row: zeros([m, reach + width, f]),
                horizontal: window_matrix(&network.first_horizontal),
                from_above: zeros([width, m, c]),
            },
            layers: layers.collect(),
            head: [Product::of(&network.head_in), Product::of(&network.head_out)],
        }
    }

    /// Computes the vertical stack in row i, whose image rows above are all drawn, and what it tells the horizontal one.
    fn begin_row(&mut self, i: i64) {
        let network = self.network;
        let position = network.position.narrow(2, i, 1); // [2, c, 1, w]
        let above = self.first.features.narrow(2, i, network.first_reach());
        let mut v = network.first_vertical.forward(&above) + position.get(0);
        let across = network.first_across.forward(&v) + position.get(1);
        self.first.from_above = by_column(&across);
        for (layer, cache) in network.layers.iter().zip(&mut self.layers) {
            let seen = cache.rows.size()[2];
            cache.rows = Tensor::cat(&[cache.rows.narrow(2, 1, seen - 1), v.shallow_clone()], 2);
            let gates = layer.vertical.forward(&cache.rows) + row_of(&cache.bias.vertical, i);
            let across = layer.across.forward(&gates) + row_of(&cache.bias.horizontal, i);
            cache.from_above = by_column(&across);
            if let Some(out) = &layer.vertical_out {
                v += out.forward(&gate(&gates));
            }
        }
    }

    /// Parameters of the distribution of pixel j of the row, `[p, m]`.
    fn params_at(&mut self, j: i64) -> Tensor {
        let first = &self.first;
        let left = window(&first.row, j, self.network.first_reach());
        let mut h = first.from_above.get(j).addmm(&left, &first.horizontal);
        for cache in &mut self.layers {
            let left = self.network.kernel.left();
            cache.row.select(1, left - 1 + j).copy_(&h);
            let gates =
                cache.from_above.get(j).addmm(&window(&cache.row, j, left), &cache.horizontal);
            h = h.addmm(&gate(&gates), &cache.out);
        }
        let [head_in, head_out] = &self.head;
        head_out.of_columns(&head_in.of_columns(&h.relu().tr()).relu())
    }

    /// Writes levels i64 `[n, channels]` at (i, j).
    fn set_pixel(&mut self, i: i64, j: i64, levels: &Tensor) {
        let values = from_levels(levels);
        self.image.select(2, i).select(2, j).copy_(&values);
        let features = self.network.features(&values.unsqueeze(-1).unsqueeze(-1));
        let features = features.squeeze_dim(-1).squeeze_dim(-1); // [n, f]
        let copies = self.first.row.size()[0] / features.size()[0];
        let features = features.repeat([copies, 1]);
        let reach = self.network.first_reach();
        self.first.features.select(2, reach + i).select(2, j).copy_(&features);
        self.first.row.select(1, reach + j).copy_(&features);
    }
}

impl Product {
    fn of(conv: &Conv2D) -> Self {
        let bias = conv.bs.as_ref().expect("the head has biases").unsqueeze(1);
        Self { weight: conv.ws.flatten(1, 3), bias }
    }

    fn of_columns(&self, x: &Tensor) -> Tensor {
        self.bias.addmm(&self.weight, x)
    }
}

/// Gate biases of the conditions, followed when guided by those of the same images unprompted.
pub(crate) fn gate_biases(
    network: &Network,
    data: &DataSpec,
    request: &SampleRequest,
) -> Vec<GateBias> {
    let prompted = network.gate_biases(request.conditions);
    if !is_guided(request) {
        return prompted;
    }
    let unprompted = network.gate_biases(&request.conditions.unprompted(data));
    let both = prompted.into_iter().zip(unprompted).map(|(a, b)| GateBias {
        vertical: Tensor::cat(&[a.vertical, b.vertical], 0),
        horizontal: Tensor::cat(&[a.horizontal, b.horizontal], 0),
    });
    both.collect()
}

/// The weights of a convolution over k pixels in a row as a matrix `[k in, out]`.
fn window_matrix(conv: &Conv2D) -> Tensor {
    conv.ws.squeeze_dim(2).permute([2, 1, 0]).flatten(0, 1).contiguous()
}

/// `size` neighbouring pixels of a row `[m, w, c]` side by side, `[m, size c]`: a view.
fn window(row: &Tensor, start: i64, size: i64) -> Tensor {
    row.narrow(1, start, size).flatten(1, 2)
}

/// `[m, c, 1, w]` to `[w, m, c]`.
fn by_column(x: &Tensor) -> Tensor {
    x.squeeze_dim(2).permute([2, 0, 1]).contiguous()
}

/// Row i of a bias that may be the same everywhere.
fn row_of(bias: &Tensor, i: i64) -> Tensor {
    if bias.size()[2] == 1 { bias.shallow_clone() } else { bias.narrow(2, i, 1) }
}
