//! Inception-v3 (Szegedy et al. 2016) as it was trained in 2015: like torchvision's, but 1008 classes, average pooling that
//! counts no padding, and in the last block maximum pooling instead.
//!
//! Batch normalisation is folded into the convolutions, so the network is convolutions, ReLU and pooling.

use tch::{Device, Kind, TchError, Tensor};

/// Numbers in a feature vector: channels after the last block, averaged over its 8 × 8 pixels.
pub(super) const FEATURES: i64 = 2048;

/// Outputs of the last layer: 1000 classes and eight that were never used.
pub(super) const CLASSES: i64 = 1008;

/// Added to the variance by batch normalisation.
const EPSILON: f64 = 1e-3;

/// Finds a tensor by its name in PyTorch's form of the network, which must have the given shape.
pub(super) type Find<'a> = dyn Fn(&str, &[i64]) -> Result<Tensor, String> + 'a;

/// The frozen network, in f32.
#[derive(Debug)]
pub(super) struct Network {
    layers: Node,
    /// Weight of the last layer, `[classes, features]`. No score uses its bias.
    classes: Tensor,
}

impl Network {
    /// The network, made of its tensors.
    ///
    /// # Errors
    /// What `find` says of a tensor, or the name of a layer whose numbers are not finite.
    pub(super) fn new(find: &Find<'_>) -> Result<Self, String> {
        let root = Layers { find, prefix: String::new() };
        let mut nodes = vec![
            root.chain(
                3,
                &[
                    ("Conv2d_1a_3x3", 32, HALVING),
                    ("Conv2d_2a_3x3", 32, UNPADDED),
                    ("Conv2d_2b_3x3", 64, SQUARE_3),
                ],
            )?,
            Node::HalvingMaxPool,
            root.chain(64, &[("Conv2d_3b_1x1", 80, POINT), ("Conv2d_4a_3x3", 192, UNPADDED)])?,
            Node::HalvingMaxPool,
        ];
        for (name, inputs, pooled) in [("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)] {
            nodes.push(root.mixed(name).block_a(inputs, pooled)?);
        }
        nodes.push(root.mixed("6a").block_b(288)?);
        for (name, inner) in [("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)] {
            nodes.push(root.mixed(name).block_c(768, inner)?);
        }
        nodes.push(root.mixed("7a").block_d(768)?);
        nodes.push(root.mixed("7b").block_e(1280, Node::AveragePool)?);
        nodes.push(root.mixed("7c").block_e(FEATURES, Node::MaxPool)?);
        let classes = find("fc.weight", &[CLASSES, FEATURES])?.to_kind(Kind::Float);
        check_finite("fc", &[&classes])?;
        Ok(Self { layers: Node::Chain(nodes), classes })
    }

    pub(super) fn to_device(&self, device: Device) -> Self {
        Self { layers: self.layers.to_device(device), classes: self.classes.to_device(device) }
    }

    /// Pixels in [-1, 1], f32 `[n, 3, 299, 299]` -> the "pool3" features, f32 `[n, 2048]`.
    pub(super) fn features(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let x = channels_last(x)?;
        self.layers.forward(&x)?.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }

    /// f32 `[n, 2048]` -> f32 `[n, 1008]`.
    pub(super) fn logits(&self, features: &Tensor) -> Result<Tensor, TchError> {
        features.f_linear(&self.classes, None::<&Tensor>)
    }
}

/// A piece of the network.
#[derive(Debug)]
enum Node {
    /// A convolution and ReLU.
    Conv { weight: Tensor, bias: Tensor, kernel: Kernel },
    /// Mean of 3 × 3 pixels, those within the image only.
    AveragePool,
    /// Largest of 3 × 3 pixels.
    MaxPool,
    /// The same at every second pixel, unpadded.
    HalvingMaxPool,
    /// One after the other.
    Chain(Vec<Node>),
    /// Side by side on the same input, their channels joined.
    Join(Vec<Node>),
}

impl Node {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Conv { weight, bias, kernel } => {
                x.f_conv2d(weight, Some(bias), kernel.stride, kernel.padding, 1, 1)?.f_relu_()
            }
            Self::AveragePool => x.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None),
            Self::MaxPool => x.f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false),
            Self::HalvingMaxPool => x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false),
            Self::Chain(nodes) => {
                nodes.iter().try_fold(x.shallow_clone(), |x, node| node.forward(&x))
            }
            Self::Join(nodes) => {
                let branches: Result<Vec<_>, _> = nodes.iter().map(|n| n.forward(x)).collect();
                Tensor::f_cat(&branches?, 1)
            }
        }
    }

    fn to_device(&self, device: Device) -> Self {
        let all = |nodes: &[Node]| nodes.iter().map(|node| node.to_device(device)).collect();
        match self {
            Self::Conv { weight, bias, kernel } => Self::Conv {
                weight: weight.to_device(device),
                bias: bias.to_device(device),
                kernel: *kernel,
            },
            Self::AveragePool => Self::AveragePool,
            Self::MaxPool => Self::MaxPool,
            Self::HalvingMaxPool => Self::HalvingMaxPool,
            Self::Chain(nodes) => Self::Chain(all(nodes)),
            Self::Join(nodes) => Self::Join(all(nodes)),
        }
    }
}

/// Height and width, stride and padding of a convolution.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    size: [i64; 2],
    stride: i64,
    padding: [i64; 2],
}

impl Kernel {
    /// Leaves the image its size.
    const fn padded(height: i64, width: i64) -> Self {
        Self { size: [height, width], stride: 1, padding: [height / 2, width / 2] }
    }
}

const POINT: Kernel = Kernel::padded(1, 1);
const SQUARE_3: Kernel = Kernel::padded(3, 3);
const SQUARE_5: Kernel = Kernel::padded(5, 5);
const ROW_3: Kernel = Kernel::padded(1, 3);
const COLUMN_3: Kernel = Kernel::padded(3, 1);
const ROW_7: Kernel = Kernel::padded(1, 7);
const COLUMN_7: Kernel = Kernel::padded(7, 1);
const UNPADDED: Kernel = Kernel { size: [3, 3], stride: 1, padding: [0, 0] };
const HALVING: Kernel = Kernel { size: [3, 3], stride: 2, padding: [0, 0] };

/// Makes the layers whose names begin with a prefix. The blocks are lettered as in the code that the names come from.
struct Layers<'a> {
    find: &'a Find<'a>,
    prefix: String,
}

impl<'a> Layers<'a> {
    fn mixed(&self, name: &str) -> Layers<'a> {
        Layers { find: self.find, prefix: format!("Mixed_{name}.") }
    }

    /// A convolution without bias, batch normalisation and ReLU.
    fn conv(&self, inputs: i64, name: &str, outputs: i64, kernel: Kernel) -> Result<Node, String> {
        let name = format!("{}{name}", self.prefix);
        let find = |part: &str, shape: &[i64]| {
            Ok::<_, String>((self.find)(&format!("{name}.{part}"), shape)?.to_kind(Kind::Double))
        };
        let [height, width] = kernel.size;
        let weight = find("conv.weight", &[outputs, inputs, height, width])?;
        let (gain, shift) = (find("bn.weight", &[outputs])?, find("bn.bias", &[outputs])?);
        let mean = find("bn.running_mean", &[outputs])?;
        let variance = find("bn.running_var", &[outputs])?;

        let gain = gain / (variance + EPSILON).sqrt();
        let weight = (weight * gain.reshape([-1, 1, 1, 1])).to_kind(Kind::Float);
        let bias = (shift - mean * gain).to_kind(Kind::Float);
        check_finite(&name, &[&weight, &bias])?;
        let weight = channels_last(&weight).map_err(|error| error.to_string())?;
        Ok(Node::Conv { weight, bias, kernel })
    }

    /// Convolutions one after the other: name, output channels and kernel of each.
    fn chain(&self, inputs: i64, convs: &[(&str, i64, Kernel)]) -> Result<Node, String> {
        let (mut nodes, mut inputs) = (Vec::new(), inputs);
        for &(name, outputs, kernel) in convs {
            nodes.push(self.conv(inputs, name, outputs, kernel)?);
            inputs = outputs;
        }
        Ok(Node::Chain(nodes))
    }

    /// A pooling and a 1 × 1 convolution.
    fn pooled(&self, pool: Node, inputs: i64, outputs: i64) -> Result<Node, String> {
        Ok(Node::Chain(vec![pool, self.conv(inputs, "branch_pool", outputs, POINT)?]))
    }

    /// 35 × 35 pixels.
    fn block_a(&self, inputs: i64, pooled: i64) -> Result<Node, String> {
        Ok(Node::Join(vec![
            self.conv(inputs, "branch1x1", 64, POINT)?,
            self.chain(inputs, &[("branch5x5_1", 48, POINT), ("branch5x5_2", 64, SQUARE_5)])?,
            self.chain(
                inputs,
                &[
                    ("branch3x3dbl_1", 64, POINT),
                    ("branch3x3dbl_2", 96, SQUARE_3),
                    ("branch3x3dbl_3", 96, SQUARE_3),
                ],
            )?,
            self.pooled(Node::AveragePool, inputs, pooled)?,
        ]))
    }

    /// From 35 × 35 to 17 × 17 pixels.
    fn block_b(&self, inputs: i64) -> Result<Node, String> {
        Ok(Node::Join(vec![
            self.conv(inputs, "branch3x3", 384, HALVING)?,
            self.chain(
                inputs,
                &[
                    ("branch3x3dbl_1", 64, POINT),
                    ("branch3x3dbl_2", 96, SQUARE_3),
                    ("branch3x3dbl_3", 96, HALVING),
                ],
            )?,
            Node::HalvingMaxPool,
        ]))
    }

    /// 17 × 17 pixels.
    fn block_c(&self, inputs: i64, inner: i64) -> Result<Node, String> {
        Ok(Node::Join(vec![
            self.conv(inputs, "branch1x1", 192, POINT)?,
            self.chain(
                inputs,
                &[
                    ("branch7x7_1", inner, POINT),
                    ("branch7x7_2", inner, ROW_7),
                    ("branch7x7_3", 192, COLUMN_7),
                ],
            )?,
            self.chain(
                inputs,
                &[
                    ("branch7x7dbl_1", inner, POINT),
                    ("branch7x7dbl_2", inner, COLUMN_7),
                    ("branch7x7dbl_3", inner, ROW_7),
                    ("branch7x7dbl_4", inner, COLUMN_7),
                    ("branch7x7dbl_5", 192, ROW_7),
                ],
            )?,
            self.pooled(Node::AveragePool, inputs, 192)?,
        ]))
    }

    /// From 17 × 17 to 8 × 8 pixels.
    fn block_d(&self, inputs: i64) -> Result<Node, String> {
        Ok(Node::Join(vec![
            self.chain(inputs, &[("branch3x3_1", 192, POINT), ("branch3x3_2", 320, HALVING)])?,
            self.chain(
                inputs,
                &[
                    ("branch7x7x3_1", 192, POINT),
                    ("branch7x7x3_2", 192, ROW_7),
                    ("branch7x7x3_3", 192, COLUMN_7),
                    ("branch7x7x3_4", 192, HALVING),
                ],
            )?,
            Node::HalvingMaxPool,
        ]))
    }

    /// 8 × 8 pixels.
    fn block_e(&self, inputs: i64, pool: Node) -> Result<Node, String> {
        let split = |row: &str, column: &str| {
            let halves = [self.conv(384, row, 384, ROW_3)?, self.conv(384, column, 384, COLUMN_3)?];
            Ok::<_, String>(Node::Join(halves.into()))
        };
        let double = [("branch3x3dbl_1", 448, POINT), ("branch3x3dbl_2", 384, SQUARE_3)];
        Ok(Node::Join(vec![
            self.conv(inputs, "branch1x1", 320, POINT)?,
            Node::Chain(vec![
                self.conv(inputs, "branch3x3_1", 384, POINT)?,
                split("branch3x3_2a", "branch3x3_2b")?,
            ]),
            Node::Chain(vec![
                self.chain(inputs, &double)?,
                split("branch3x3dbl_3a", "branch3x3dbl_3b")?,
            ]),
            self.pooled(pool, inputs, 192)?,
        ]))
    }
}

/// The same tensor with a pixel's channels side by side in memory: convolutions take 0.6 of the time then.
fn channels_last(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

fn check_finite(name: &str, tensors: &[&Tensor]) -> Result<(), String> {
    let finite = |tensor: &&Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
    let held = tensors.iter().all(finite);
    held.then_some(()).ok_or_else(|| format!("the layer {name} holds numbers that are not finite"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeatureExtractor;
    use crate::inception::InceptionFeatures;

    /// 32-bit numbers that look random: MurmurHash3's finalizer of seed + i · 0x9e3779b9.
    fn scrambled(seed: u32, count: usize) -> impl Iterator<Item = u32> {
        (0..count as u32).map(move |i| {
            let mut x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9));
            for (multiplier, shift) in [(0x85eb_ca6b, 16), (0xc2b2_ae35, 13), (1, 16)] {
                x = (x ^ (x >> shift)).wrapping_mul(multiplier);
            }
            x
        })
    }

    /// A tensor of a network that nobody trained, the same as in scripts/check-networks.py.
    fn parameter(name: &str, shape: &[i64]) -> Tensor {
        let seed = name
            .bytes()
            .fold(0x811c_9dc5_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let (gain, shift) = match shape {
            _ if name.ends_with("running_var") || name.ends_with("bn.weight") => (1.0, 0.5),
            [_] => (1.0, -0.5),
            [_, inputs @ ..] => {
                let bound = (6.0 / inputs.iter().product::<i64>() as f64).sqrt();
                (2.0 * bound, -bound)
            }
            [] => unreachable!("every tensor has a dimension"),
        };
        let count = shape.iter().product::<i64>() as usize;
        let values: Vec<f32> = scrambled(seed, count)
            .map(|x| (gain * f64::from(x) / 4_294_967_296.0 + shift) as f32)
            .collect();
        Tensor::from_slice(&values).reshape(shape)
    }

    /// An image of that script, u8 `[1, channels, size, size]`: noise of pixels and, three times as strong, of 8 × 8 tiles.
    fn image(channels: i64, size: i64) -> Tensor {
        let count = channels * size * size;
        let noise: Vec<i64> = scrambled((channels * size) as u32, count as usize)
            .map(|x| i64::from(x >> 24))
            .collect();
        let noise = Tensor::from_slice(&noise).reshape([1, channels, size, size]);
        let corners = Tensor::from_slice(&(0..size).map(|i| i / 8 * 8).collect::<Vec<_>>());
        let tiles = noise.index_select(2, &corners).index_select(3, &corners);
        ((noise + tiles * 3) / 4.0).floor().to_kind(Kind::Uint8)
    }

    /// By torch-fidelity in f64 from the same tensors and images; scripts/check-metrics prints the values.
    #[test]
    fn golden() {
        let network = Network::new(&|name, shape| Ok(parameter(name, shape))).unwrap();
        let extractor = InceptionFeatures { hash: String::new(), network, device: Device::Cpu };
        let every = |row: &Tensor, step| {
            Vec::<f32>::try_from(row.get(0).slice(0, None, None, step)).unwrap()
        };
        let assert_near = |got: &[f32], want: &[f32]| {
            let near = |(got, want): (&f32, &f32)| (got - want).abs() <= 1e-4 * want.abs();
            assert_eq!(got.len(), want.len());
            assert!(got.iter().zip(want).all(near), "{got:?} instead of {want:?}");
        };
        for (image, features, mean, logits) in [
            (
                image(1, 28),
                [7.772082, 0.0, 7.067654, 11.182629, 6.80368, 3.035315],
                5.157537,
                [7.760153, 10.900763, 3.795433, -9.518587],
            ),
            (
                image(3, 32),
                [7.755685, 0.0, 6.412958, 10.399906, 6.382843, 3.322559],
                5.078612,
                [7.851793, 10.647119, 4.005584, -8.868542],
            ),
        ] {
            let got = extractor.features(&image).unwrap();
            assert_near(&every(&got, 400), &features);
            assert_near(&[got.mean(Kind::Double).double_value(&[]) as f32], &[mean]);
            assert_near(
                &every(&extractor.logits_of_features(&got).unwrap().unwrap(), 300),
                &logits,
            );
        }
        let error = extractor.features(&image(2, 8)).unwrap_err().to_string();
        assert_eq!(error, "images must be Uint8 [n, 3, h, w], but is Uint8 [1, 2, 8, 8]");
    }

    #[test]
    fn wrong_tensors_are_named() {
        let nan = |name: &str, shape: &[i64]| {
            let bad = name == "Conv2d_1a_3x3.bn.running_var";
            Ok(Tensor::full(shape, if bad { -1.0 } else { 1.0 }, (Kind::Float, Device::Cpu)))
        };
        let message = Network::new(&nan).unwrap_err();
        assert_eq!(message, "the layer Conv2d_1a_3x3 holds numbers that are not finite");
        let missing = |name: &str, shape: &[i64]| {
            let there = name != "Conv2d_2a_3x3.bn.bias";
            let ones = || Tensor::ones(shape, (Kind::Float, Device::Cpu));
            there.then(ones).ok_or_else(|| format!("{name} is missing"))
        };
        assert_eq!(Network::new(&missing).unwrap_err(), "Conv2d_2a_3x3.bn.bias is missing");
    }
}
