//! Drawing images from a model: batches, seeds, classes, 8-bit levels, and what it cost.

use crate::{interrupt, log::Reporter};
use anyhow::Result;
use paragone_core::{
    Conditions, DataSpec, Error, Generator, Noise, Progress, SampleRequest, to_levels,
};
use std::{ops::ControlFlow, time::Instant};
use tch::{Device, Kind, Tensor};

/// Images to draw.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Class asked of each image; `num_classes` asks for none.
    pub classes: Vec<i64>,
    /// Seed of each image.
    pub seeds: Vec<u64>,
    /// See [`SampleRequest::guidance_scale`].
    pub guidance_scale: f64,
    /// See [`SampleRequest::temperature`].
    pub temperature: f64,
    /// Images drawn at once.
    pub batch_size: usize,
}

/// Drawn images.
#[derive(Debug)]
pub struct Drawn {
    /// u8 `[n, c, h, w]` on the host.
    pub levels: Tensor,
    /// Network calls that each image took part in.
    pub network_calls: u64,
    /// Seconds from the first call to the last image.
    pub seconds: f64,
}

impl Drawing {
    /// Without any quality knob.
    pub fn new(classes: Vec<i64>, seeds: Vec<u64>, batch_size: usize) -> Self {
        Self { classes, seeds, guidance_scale: 1.0, temperature: 1.0, batch_size }
    }

    /// Draws the images; `None` when the user asked to stop.
    pub fn draw(
        &self,
        model: &dyn Generator,
        data: &DataSpec,
        device: Device,
        mut reporter: Option<&mut Reporter>,
    ) -> Result<Option<Drawn>> {
        let start = Instant::now();
        let (mut pieces, mut network_calls, mut drawn) = (Vec::new(), 0, 0);
        let batches = self.classes.chunks(self.batch_size).zip(self.seeds.chunks(self.batch_size));
        for (classes, seeds) in batches {
            let conditions = Conditions::of_classes(classes, data, device);
            let noise = Noise::new(seeds.to_vec(), device);
            let request = SampleRequest {
                guidance_scale: self.guidance_scale,
                temperature: self.temperature,
                ..SampleRequest::new(&conditions, &noise)
            };
            let mut on_step = |progress: Progress| {
                network_calls = progress.call;
                if let Some(reporter) = &mut reporter {
                    let share = progress.call as f64 / progress.calls.max(1) as f64;
                    reporter.set(drawn + (share * classes.len() as f64) as u64);
                }
                if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match tch::no_grad(|| model.sample(&request, &mut on_step)) {
                Ok(images) => pieces.push(to_bytes(&images)),
                Err(Error::Stopped) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            drawn += classes.len() as u64;
        }
        let levels = Tensor::cat(&pieces, 0);
        Ok(Some(Drawn { levels, network_calls, seconds: start.elapsed().as_secs_f64() }))
    }
}

/// f32 images in [-1, 1] to u8 levels on the host.
pub fn to_bytes(images: &Tensor) -> Tensor {
    to_levels(images).to_kind(Kind::Uint8).to_device(Device::Cpu)
}

/// `n` class ids that count up along each row of a grid: one column a class where they fit.
pub fn cycle_classes(data: &DataSpec, n: usize, columns: usize) -> Vec<i64> {
    match data.num_classes {
        0 => vec![data.null_class(); n],
        classes => (0..n).map(|i| (i % columns) as i64 % classes).collect(),
    }
}

/// `n` class ids with the frequencies of `classes`, any first part of them nearly so: a golden-ratio sequence through
/// the sorted ids.
pub fn representative_classes(classes: Option<&Tensor>, data: &DataSpec, n: usize) -> Vec<i64> {
    let Some(classes) = classes.filter(|_| data.num_classes > 0) else {
        return vec![data.null_class(); n];
    };
    let mut sorted = Vec::<i64>::try_from(classes).expect("class ids are i64 [n]");
    sorted.sort_unstable();
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let at = |i: usize| ((i as f64 + 0.5) * golden).fract() * sorted.len() as f64;
    (0..n).map(|i| sorted[at(i) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::ImageShape;

    fn data() -> DataSpec {
        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        DataSpec { shape, num_classes: 4, text: None, known_pixels: false, mean: 0.0, std: 1.0 }
    }

    #[test]
    fn classes_have_the_data_s_frequencies() {
        let classes = Tensor::from_slice(&[0i64, 3, 3, 1, 3, 0, 3, 1, 3, 3]);
        for n in [50, 1000] {
            let drawn = representative_classes(Some(&classes), &data(), n);
            let share =
                |class: i64| drawn.iter().filter(|&&c| c == class).count() as f64 / n as f64;
            for (class, want) in [(0, 0.2), (1, 0.2), (2, 0.0), (3, 0.6)] {
                assert!(
                    (share(class) - want).abs() < 2.0 / n as f64 * 2.0,
                    "class {class}: {}",
                    share(class)
                );
            }
        }
    }

    #[test]
    fn without_classes_nothing_is_asked() {
        assert_eq!(representative_classes(None, &data(), 2), [4, 4]);
    }
}
