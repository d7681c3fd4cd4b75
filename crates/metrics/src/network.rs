//! The network behind every extractor: three convolutions, then a linear layer whose rectified outputs are the features.
//!
//! Batch normalisation is folded into the weights, so that inference is nothing but convolutions, ReLU and pooling.

use crate::{MetricError, Result};
use paragone_core::{Attribute, from_levels};
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

impl Layer {
    /// A linear layer of `x`, `[n, in]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }

    pub(crate) fn detach(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach() }
    }
}

/// The frozen network, in f32.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) convs: [Layer; NUM_CONVS],
    pub(crate) hidden: Layer,
    /// From features to the logits of each attribute that the network tells, with the attribute's name.
    pub(crate) heads: Vec<(String, Layer)>,
}

impl Network {
    /// Numbers in a feature vector.
    pub(crate) fn dim(&self) -> i64 {
        self.hidden.weight.size()[0]
    }

    pub(crate) fn channels(&self) -> i64 {
        self.convs[0].weight.size()[1]
    }

    /// Names of the attributes with their numbers of values.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, i64)> {
        self.heads.iter().map(|(name, head)| (name.as_str(), outputs(head)))
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
        Ok(self.hidden.apply(&x.flatten(1, -1))?.relu())
    }

    /// f32 `[n, d]` -> f32 `[n, values of all attributes]`, one attribute's after the other's.
    pub(crate) fn logits(&self, features: &Tensor) -> Result<Tensor> {
        let logits = self.heads.iter().map(|(_, head)| head.apply(features));
        Ok(Tensor::f_cat(&logits.collect::<Result<Vec<_>>>()?, 1)?)
    }

    /// Weights and biases by the names that files have for them, in the order of computation.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let convs = self.convs.iter().enumerate().map(|(i, conv)| (format!("convs.{i}"), conv));
        let hidden = ("hidden".to_string(), &self.hidden);
        let heads = self.heads.iter().map(|(attribute, head)| (head_name(attribute), head));
        convs.chain([hidden]).chain(heads).flat_map(|(name, Layer { weight, bias })| {
            [(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)]
        })
    }

    /// A network of named tensors with a head for each of `attributes`, checked against one another, in f32 on `device`.
    ///
    /// `tensor` finds a tensor by name, if there is one.
    pub(crate) fn from_tensors<'a>(
        tensor: impl Fn(&str) -> Option<Tensor>,
        attributes: impl Iterator<Item = &'a str>,
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
        let head = |attribute: &str| {
            let head = layer(&head_name(attribute), Some(outputs(&hidden)), &[])?;
            Ok::<_, MetricError>((attribute.to_owned(), head))
        };
        let heads = attributes.map(head).collect::<Result<_>>()?;
        Ok(Self { convs: [first, second, third], hidden, heads })
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

/// What files call the head of an attribute. The first networks had only classes to tell.
fn head_name(attribute: &str) -> String {
    if attribute == Attribute::CLASS { "classes".to_owned() } else { format!("heads.{attribute}") }
}

fn outputs(layer: &Layer) -> i64 {
    layer.weight.size()[0]
}

fn wrong(message: String) -> MetricError {
    MetricError::Weights { message }
}
