use crate::{
    layer::{Gate, GateBias},
    network::{Network, pixel_features},
};
use paragone_core::{Conditions, DataSpec, SampleRequest, from_levels};
use tch::{Kind, Tensor, nn::Conv2D};

/// Every layer's features of the pixels drawn so far, so that a pixel costs only the arithmetic of its own features.
///
/// The vertical stack is computed a row at a time; the horizontal one, a pixel at a time, by products of small matrices.
/// Owns all it needs, so that it may move to a thread. m: images, or twice as many when guided; c: channels of the
/// network; f: features of a pixel.
#[derive(Debug)]
pub(crate) struct FeatureCache {
    first: FirstLayer,
    gates: ConditionGates,
    layers: Vec<LayerCache>,
    head: [Product; 2],
}

/// What conditions add to the gates of all layers: made a row at a time, for of a caption all rows take more memory than all else.
#[derive(Debug)]
struct ConditionGates {
    /// `[m, gates, 1, 1]`.
    everywhere: Tensor,
    /// Features of every place, `[m, f, h, w]`, and the layer from them to the gates.
    places: Vec<(Tensor, Convolution)>,
}

/// The first layer: images to both stacks.
#[derive(Debug)]
struct FirstLayer {
    vertical: Convolution,
    across: Convolution,
    /// `[reach f, c]`.
    horizontal: Tensor,
    /// `[2, c, h, w]`.
    position: Tensor,
    /// Padded above, `[m, f, reach + h, w]`.
    features: Tensor,
    /// The row being drawn, padded left, `[m, reach + w, f]`.
    row: Tensor,
    /// What the horizontal features get from rows above, `[w, m, c]`.
    from_above: Tensor,
    /// Rows above and pixels to the left that are seen.
    reach: i64,
    /// What is seen of each level, `[256, f of a channel]`.
    level_features: Tensor,
}

/// One gated layer.
#[derive(Debug)]
struct LayerCache {
    gate: Gate,
    vertical: Convolution,
    across: Convolution,
    vertical_out: Option<Convolution>,
    /// `[left c, 2c]`.
    horizontal: Tensor,
    /// `[c, c]`.
    horizontal_out: Tensor,
    /// The vertical stack before this layer in the rows it reaches, `[m, c, rows, w]`, last the one being drawn.
    rows: Tensor,
    /// The horizontal stack before this layer in the row being drawn, padded left, `[m, left - 1 + w, c]`.
    row: Tensor,
    /// What the horizontal gates get from rows above, `[w, m, 2c]`.
    from_above: Tensor,
    /// Pixels that the horizontal stack sees, its own among them.
    left: i64,
}

impl FeatureCache {
    /// For images `start..start + size` of the request, none of whose pixels is drawn.
    pub(crate) fn new(
        network: &Network,
        data: &DataSpec,
        request: &SampleRequest,
        start: i64,
        size: i64,
    ) -> Self {
        let conditions = request.conditions.narrow(start, size);
        let mut gates = ConditionGates::new(network, &conditions);
        let mut m = size;
        if request.guidance_scale != 1.0 {
            let unwanted = request.unwanted(data).narrow(start, size);
            gates = gates.followed_by(&ConditionGates::new(network, &unwanted));
            m *= 2;
        }
        let options = (network.kind(), network.device());
        let [_, c, height, width] = network.position.size()[..] else { unreachable!() };
        let reach = network.first_reach;
        let f = network.first_horizontal.ws.size()[1];
        // The last feature tells pixels from the padding.
        let features = Tensor::zeros([m, f, reach + height, width], options);
        let _ = features.narrow(1, f - 1, 1).narrow(2, reach, height).fill_(1.0);
        let row = Tensor::zeros([m, reach + width, f], options);
        let _ = row.narrow(2, f - 1, 1).narrow(1, reach, width).fill_(1.0);
        let levels = from_levels(&Tensor::arange(256, (Kind::Int64, network.device())));
        let levels = levels.to_kind(network.kind()).unsqueeze(1);
        let level_features = pixel_features(&levels, network.num_frequencies);
        let layers = network.layers.iter().map(|layer| {
            let (kernel, left) = (layer.kernel, layer.kernel.left());
            LayerCache {
                gate: layer.gate,
                vertical: Convolution::of(&layer.vertical, kernel.beside(), kernel.dilation),
                across: Convolution::pointwise(&layer.across),
                vertical_out: layer.vertical_out.as_ref().map(Convolution::pointwise),
                horizontal: window_matrix(&layer.horizontal),
                horizontal_out: window_matrix(&layer.horizontal_out),
                rows: Tensor::zeros([m, c, kernel.above() + 1, width], options),
                row: Tensor::zeros([m, left - 1 + width, c], options),
                from_above: Tensor::zeros([width, m, 2 * c], options),
                left,
            }
        });
        Self {
            first: FirstLayer {
                vertical: Convolution::of(&network.first_vertical, reach, 1),
                across: Convolution::pointwise(&network.first_across),
                horizontal: window_matrix(&network.first_horizontal),
                position: network.position.shallow_clone(),
                features,
                row,
                from_above: Tensor::zeros([width, m, c], options),
                reach,
                level_features: level_features.narrow(1, 0, level_features.size()[1] - 1),
            },
            gates,
            layers: layers.collect(),
            head: [&network.head_in, &network.head_out].map(Product::of),
        }
    }

    /// Computes the vertical stack in row i, above which all is drawn, and what it tells the horizontal one.
    pub(crate) fn begin_row(&mut self, i: i64) {
        let first = &mut self.first;
        let position = first.position.narrow(2, i, 1); // [2, c, 1, w]
        let above = first.features.narrow(2, i, first.reach);
        let mut v = first.vertical.forward(&above) + position.get(0);
        first.from_above = by_column(&(first.across.forward(&v) + position.get(1)));
        let biases = GateBias::of_layers(&self.gates.row(i), self.layers.len());
        for (layer, bias) in self.layers.iter_mut().zip(biases) {
            let older = layer.rows.narrow(2, 1, layer.rows.size()[2] - 1);
            layer.rows = Tensor::cat(&[&older, &v], 2);
            let gates = layer.vertical.forward(&layer.rows) + bias.vertical;
            let across = layer.across.forward(&gates) + bias.horizontal;
            layer.from_above = by_column(&across);
            if let Some(out) = &layer.vertical_out {
                v += out.forward(&layer.gate.apply(&gates));
            }
        }
    }

    /// Parameters of the distribution of pixel j of the row, `[p, m]`, once the pixels left of it are drawn.
    pub(crate) fn params_at(&mut self, j: i64) -> Tensor {
        let first = &self.first;
        let mut h =
            first.from_above.get(j).addmm(&window(&first.row, j, first.reach), &first.horizontal); // [m, c]
        for layer in &mut self.layers {
            layer.row.select(1, layer.left - 1 + j).copy_(&h);
            let left = window(&layer.row, j, layer.left);
            let gates = layer.from_above.get(j).addmm(&left, &layer.horizontal);
            h = h.addmm(&layer.gate.apply(&gates), &layer.horizontal_out);
        }
        let [head_in, head_out] = &self.head;
        head_out.of_columns(&head_in.of_columns(&h.relu().tr()).relu())
    }

    /// Writes the levels of pixel (i, j), i64 `[n, channels]`.
    pub(crate) fn set_pixel(&mut self, i: i64, j: i64, levels: &Tensor) {
        let first = &mut self.first;
        let [n, channels] = levels.size()[..] else { panic!("levels are [n, channels]") };
        let features = first.level_features.index_select(0, &levels.flatten(0, -1));
        let features = features.view([n, channels, -1]).transpose(1, 2).flatten(1, 2);
        let copies = first.row.size()[0] / n;
        let features = if copies == 1 { features } else { features.repeat([copies, 1]) }; // [m, f - 1]
        let here = |t: &Tensor| t.narrow(1, 0, features.size()[1]);
        here(&first.features.select(2, first.reach + i).select(2, j)).copy_(&features);
        here(&first.row.select(1, first.reach + j)).copy_(&features);
    }
}

impl ConditionGates {
    fn new(network: &Network, conditions: &Conditions) -> Self {
        let (everywhere, places) = network.gate_sources(conditions);
        let pointwise = |(features, gates)| (features, Convolution::pointwise(gates));
        Self { everywhere, places: places.into_iter().map(pointwise).collect() }
    }

    /// Those of these images, then those of `other` ones.
    fn followed_by(self, other: &Self) -> Self {
        let cat = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 0);
        let pairs = self.places.into_iter().zip(&other.places);
        Self {
            everywhere: cat(&self.everywhere, &other.everywhere),
            places: pairs.map(|((a, gates), (b, _))| (cat(&a, b), gates)).collect(),
        }
    }

    /// Of row i, `[m, gates, 1, w]`, or `[m, gates, 1, 1]` where nothing depends on the place.
    fn row(&self, i: i64) -> Tensor {
        let add = |sum, (features, gates): &(Tensor, Convolution)| {
            gates.forward(&features.narrow(2, i, 1)).g_add_(&sum)
        };
        self.places.iter().fold(self.everywhere.shallow_clone(), add)
    }
}

/// A convolution whose input has all the padding above that it needs.
#[derive(Debug)]
struct Convolution {
    weight: Tensor,
    bias: Option<Tensor>,
    /// Columns of padding on either side.
    beside: i64,
    dilation: i64,
}

impl Convolution {
    fn of(conv: &Conv2D, beside: i64, dilation: i64) -> Self {
        let bias = conv.bs.as_ref().map(Tensor::shallow_clone);
        Self { weight: conv.ws.shallow_clone(), bias, beside, dilation }
    }

    fn pointwise(conv: &Conv2D) -> Self {
        Self::of(conv, 0, 1)
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, self.bias.as_ref(), 1, [0, self.beside], self.dilation, 1)
    }
}

/// `weight x + bias`, x having an image in each column.
#[derive(Debug)]
struct Product {
    weight: Tensor,
    bias: Tensor,
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

/// The weights of a convolution over k pixels of a row as a matrix `[k in, out]`.
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
