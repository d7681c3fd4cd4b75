//! What known pixels of an image say about the others, for networks that learn to in-paint.

use crate::{conv, space_to_depth, zero_conv};
use paragone_core::{DataSpec, Known};
use std::borrow::Borrow;
use tch::{
    Tensor,
    nn::{self, Path},
};

/// Channels inside.
const WIDTH: i64 = 32;

/// Turns [`Known`] pixels into features of one resolution: residual convolutions whose dilation doubles until they span the image.
///
/// Its last layer is zero at first, so that a network begins as if it were shown nothing.
#[derive(Debug)]
pub struct KnownPixels {
    /// Pixels that become one place, in height and width.
    patch: (i64, i64),
    stem: nn::Conv2D,
    blocks: Vec<nn::Conv2D>,
    out: nn::Conv2D,
    /// The data's.
    mean: f64,
}

impl KnownPixels {
    /// Creates the parameters of features `[n, channels, height, width]`, sizes that divide the data's.
    pub fn new<'a>(
        path: impl Borrow<Path<'a>>,
        data: &DataSpec,
        [height, width]: [i64; 2],
        channels: i64,
    ) -> Self {
        let path = path.borrow();
        let shape = data.shape;
        let patch = (shape.height / height, shape.width / width);
        let inputs = (shape.channels + 1) * patch.0 * patch.1;
        let dilations = std::iter::successors(Some(1), |dilation| Some(dilation * 2));
        let dilations = dilations.take_while(|&dilation| dilation < height.max(width).max(2));
        let blocks = dilations.enumerate().map(|(i, dilation)| {
            let config = nn::ConvConfig {
                padding: dilation,
                dilation,
                ws_init: crate::pytorch_init(WIDTH * 9),
                ..nn::ConvConfig::default()
            };
            nn::conv2d(path / "blocks" / i, WIDTH, WIDTH, 3, config)
        });
        Self {
            patch,
            stem: conv(path / "stem", inputs, WIDTH, 3),
            blocks: blocks.collect(),
            out: zero_conv(path / "out", WIDTH, channels, 1),
            mean: data.mean,
        }
    }

    /// Features `[n, channels, height, width]`. What the mask hides has no influence, whatever it is.
    pub fn forward(&self, known: &Known) -> Tensor {
        self.hidden(known).apply(&self.out)
    }

    /// What the last layer, [`KnownPixels::out`], makes the features of: fewer channels where these are many.
    pub fn hidden(&self, known: &Known) -> Tensor {
        let pixels = known.filled(self.mean) - self.mean;
        let input = Tensor::cat(&[&pixels, &known.mask], 1);
        let x = space_to_depth(&input, self.patch).apply(&self.stem);
        let x = self.blocks.iter().fold(x, |x, block| &x + x.silu().apply(block));
        x.silu()
    }

    /// The last layer, which is pointwise.
    pub fn out(&self) -> &nn::Conv2D {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LOCK;
    use paragone_core::ImageShape;
    use tch::{Device, Kind, nn::VarStore, no_grad};

    #[test]
    fn known_pixels_are_seen_from_everywhere_and_hidden_ones_from_nowhere() {
        let _lock = LOCK.lock().unwrap();
        let data = DataSpec {
            shape: ImageShape { channels: 3, height: 8, width: 12 },
            num_classes: 0,
            text: None,
            known_pixels: true,
            mean: 0.2,
            std: 1.0,
        };
        let options = (Kind::Float, Device::Cpu);
        let known = |corner: f64, hidden: f64| {
            let pixels = Tensor::zeros([1, 3, 8, 12], options);
            let mask = Tensor::ones([1, 1, 8, 12], options);
            let _ = pixels.narrow(2, 0, 1).narrow(3, 0, 1).fill_(corner);
            let _ = pixels.narrow(2, 7, 1).fill_(hidden);
            let _ = mask.narrow(2, 7, 1).fill_(0.0);
            Known { pixels, mask }
        };
        for size in [[8, 12], [4, 4], [1, 1]] {
            let vars = VarStore::new(Device::Cpu);
            let encoder = KnownPixels::new(vars.root(), &data, size, 5);
            let features = |known: &Known| encoder.forward(known);
            let before = features(&known(0.0, f64::NAN));
            assert_eq!(before.size(), [1, 5, size[0], size[1]]);
            assert_eq!(before.abs().max().double_value(&[]), 0.0);
            let _ = no_grad(|| vars.variables()["out.weight"].shallow_clone().fill_(1.0));
            let far = |features: Tensor| features.get(0).get(0).get(-1).double_value(&[-1]);
            assert_ne!(far(features(&known(0.0, 0.0))), far(features(&known(0.9, 0.0))));
            assert!(features(&known(0.5, f64::NAN)).equal(&features(&known(0.5, 0.3))));
        }
    }
}
