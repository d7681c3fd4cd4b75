//! The network behind every extractor: three convolutions, then a linear layer whose rectified outputs are the features.
//!
//! Batch normalisation is folded into the weights, so that inference is nothing but convolutions, ReLU and pooling.

use crate::{MetricError, Result};
use paragone_core::from_levels;
use tch::{Device, Kind, Tensor};

/// Convolutions: pooling halves the image after each but the last.
pub(crate) const NUM_CONVS: usize = 3;

/// Images that pass through the network at once.
pub(crate) const BATCH: i64 = 500;

/// Rows and columns that any image is pooled to before the linear layer.
pub(crate) const POOLED: i64 = 3;

/// Weight `[out, in, 3, 3]` or `[out, in]` and bias `[out]`.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

/// The frozen network, in f32.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) convs: [Layer; NUM_CONVS],
    pub(crate) hidden: Layer,
    /// From features to class logits, if there are classes.
    pub(crate) classes: Option<Layer>,
}

impl Network {
    /// Numbers in a feature vector.
    pub(crate) fn dim(&self) -> i64 {
        self.hidden.weight.size()[0]
    }

    pub(crate) fn channels(&self) -> i64 {
        self.convs[0].weight.size()[1]
    }

    pub(crate) fn num_classes(&self) -> i64 {
        self.classes.as_ref().map_or(0, outputs)
    }

    pub(crate) fn device(&self) -> Device {
        self.hidden.weight.device()
    }

    /// `images_u8`, u8 `[n, c, h, w]` -> f32 `[n, d]`.
    pub(crate) fn features(&self, images_u8: &Tensor) -> Result<Tensor> {
        let mut x = from_levels(&images_u8.to_device(self.device()));
        for (i, conv) in self.convs.iter().enumerate() {
            x = x.f_conv2d(&conv.weight, Some(&conv.bias), 1, 1, 1, 1)?.relu();
            x = pool(&x, i)?;
        }
        Ok(x.flatten(1, -1).f_linear(&self.hidden.weight, Some(&self.hidden.bias))?.relu())
    }

    /// f32 `[n, d]` -> f32 `[n, classes]`.
    pub(crate) fn logits(&self, features: &Tensor) -> Option<Tensor> {
        let classes = self.classes.as_ref()?;
        Some(features.linear(&classes.weight, Some(&classes.bias)))
    }

    /// Names as files have them, in the order of computation.
    pub(crate) fn layers(&self) -> Vec<(String, &Layer)> {
        let convs = self.convs.iter().enumerate().map(|(i, conv)| (format!("convs.{i}"), conv));
        let rest = [
            ("hidden".to_string(), Some(&self.hidden)),
            ("classes".to_string(), self.classes.as_ref()),
        ];
        convs.chain(rest.into_iter().filter_map(|(name, layer)| Some((name, layer?)))).collect()
    }

    /// A network of named tensors, checked against one another, in f32 on `device`.
    ///
    /// `tensor` finds a tensor by name, if there is one.
    pub(crate) fn from_tensors(
        tensor: impl Fn(&str) -> Option<Tensor>,
        device: Device,
    ) -> Result<Self> {
        let layer = |name: &str, inputs: Option<i64>, kernel: &[i64]| -> Result<Layer> {
            let find = |part: &str| {
                let name = format!("{name}.{part}");
                let found = tensor(&name).ok_or_else(|| wrong(format!("{name} is missing")))?;
                Ok::<_, MetricError>(found.to_device(device).to_kind(Kind::Float))
            };
            let (weight, bias) = (find("weight")?, find("bias")?);
            let size = weight.size();
            let fits = size.len() == 2 + kernel.len()
                && size[2..] == *kernel
                && inputs.is_none_or(|inputs| size[1] == inputs)
                && bias.size() == size[..1];
            let both = || format!("{name} has sizes {size:?} and {:?}", bias.size());
            if fits { Ok(Layer { weight, bias }) } else { Err(wrong(both())) }
        };
        let first = layer("convs.0", None, &[3, 3])?;
        let second = layer("convs.1", Some(outputs(&first)), &[3, 3])?;
        let third = layer("convs.2", Some(outputs(&second)), &[3, 3])?;
        let hidden = layer("hidden", Some(outputs(&third) * POOLED * POOLED), &[])?;
        let classes = layer("classes", Some(outputs(&hidden)), &[])?;
        Ok(Self { convs: [first, second, third], hidden, classes: Some(classes) })
    }
}

/// What follows convolution `i` and its ReLU.
pub(crate) fn pool(x: &Tensor, i: usize) -> Result<Tensor> {
    Ok(if i + 1 < NUM_CONVS {
        x.f_max_pool2d([2i64, 2], [2i64, 2], [0i64, 0], [1i64, 1], false)?
    } else {
        x.f_adaptive_avg_pool2d([POOLED, POOLED])?
    })
}

fn outputs(layer: &Layer) -> i64 {
    layer.weight.size()[0]
}

fn wrong(message: String) -> MetricError {
    MetricError::Weights { message }
}
