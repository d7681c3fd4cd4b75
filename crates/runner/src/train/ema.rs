//! The exponential moving average of a model, from which samples are drawn (Karras et al. 2022, appendix F.1).

use super::trainer::named_variables;
use paragone_core::Generator;
use tch::{Tensor, nn};

/// A second copy of a model, whose parameters trail the trained ones.
#[derive(Debug)]
pub struct Ema {
    pub vars: nn::VarStore,
    pub model: Box<dyn Generator>,
    /// Averages of the parameters, and the trained values.
    parameters: (Vec<Tensor>, Vec<Tensor>),
    /// (copy, value) of each buffer.
    buffers: Vec<(Tensor, Tensor)>,
}

impl Ema {
    /// `model` lives on `vars` and has the structure of the model on `trained`, whose values it takes.
    pub fn new(
        mut vars: nn::VarStore,
        model: Box<dyn Generator>,
        trained: &nn::VarStore,
    ) -> Result<Self, torch_ext::Error> {
        vars.freeze();
        let pairs = named_variables(&vars).into_iter().zip(named_variables(trained));
        let (mut parameters, mut buffers) = ((Vec::new(), Vec::new()), Vec::new());
        for ((name, average), (trained_name, value)) in pairs {
            assert_eq!(name, trained_name, "a family built two different models");
            if value.requires_grad() {
                parameters.extend([(average, value)]);
            } else {
                buffers.push((average, value));
            }
        }
        let mut ema = Self { vars, model, parameters, buffers };
        ema.update(0.0)?;
        Ok(ema)
    }

    /// Averages become `decay` of themselves and `1 - decay` of the trained values; buffers are copied.
    pub fn update(&mut self, decay: f64) -> Result<(), torch_ext::Error> {
        let (averages, trained) = &self.parameters;
        torch_ext::lerp(averages, trained, 1.0 - decay)?;
        for (copy, value) in &mut self.buffers {
            tch::no_grad(|| copy.copy_(value));
        }
        Ok(())
    }
}

/// The decay of one step of `batch_size` images: half-life in images, ramped up from `images` seen.
pub fn decay(batch_size: f64, images: f64, half_life: f64, rampup: f64) -> f64 {
    let half_life = half_life.min(images * rampup);
    if half_life <= 0.0 { 0.0 } else { 0.5f64.powf(batch_size / half_life) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_life_halves() {
        let after_10_steps = decay(100.0, 1e9, 1000.0, 0.05).powi(10);
        assert!((after_10_steps - 0.5).abs() < 1e-12);
    }

    #[test]
    fn early_averages_are_short() {
        assert_eq!(decay(100.0, 0.0, 1000.0, 0.05), 0.0);
        // 2,000 images seen: the half-life is 100 images, one batch.
        assert!((decay(100.0, 2000.0, 1000.0, 0.05) - 0.5).abs() < 1e-12);
    }
}
