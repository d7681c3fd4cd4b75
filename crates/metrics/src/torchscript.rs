//! Features of any network that comes as a TorchScript file, such as DINOv2 (Stein et al. 2023 find its features nearer to
//! what people see than Inception's).

use crate::{
    FeatureExtractor, MetricError, OnImages, Result, card,
    features::{check_images, in_batches},
    inception::gray_or_colour,
};
use std::path::Path;
use tch::{CModule, Device, Kind, TchError, Tensor};

/// Images that pass through the network at once.
const BATCH: i64 = 32;

/// How images become what a network takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preparation {
    /// Rows and columns.
    pub size: i64,
    /// Mean of each channel, subtracted from levels in [0, 1].
    pub mean: [f64; 3],
    /// Standard deviation of each channel, divided by.
    pub std: [f64; 3],
}

/// A TorchScript module as a feature extractor, for gray or colour images of any size.
///
/// Levels 0 to 255 become 0 to 1, images are resized to `size` × `size` with an antialiased bicubic filter (Parmar et al.
/// 2022 on why; what leaves [0, 1] is cut off, nothing is cropped), a gray channel is repeated three times, and the
/// channels' means and standard deviations are taken out.
#[derive(Debug)]
pub struct TorchScriptFeatures {
    name: String,
    hash: String,
    dim: i64,
    preparation: Preparation,
    module: CModule,
    device: Device,
}

impl TorchScriptFeatures {
    /// The module in a file that `torch.jit.save` wrote, in evaluation mode on `device`. It is tried on two black images.
    ///
    /// # Errors
    /// [`MetricError::Read`] if there is no such file, [`MetricError::WeightsFile`] if it is something else or does not map
    /// f32 `[n, 3, size, size]` to floating-point `[n, d]`.
    pub fn load(path: &Path, preparation: Preparation, device: Device) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|reason| MetricError::Read { path: path.into(), reason })?;
        let wrong = |message: String| MetricError::WeightsFile {
            path: path.into(),
            what: "a feature extractor in TorchScript",
            message,
        };
        let mut module = CModule::load_data_on_device(&mut bytes.as_slice(), device)
            .map_err(|error| wrong(reason(&error)))?;
        module.f_set_eval()?;
        let Preparation { size, mean, std } = preparation;
        let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let prepared = format!("{size} px, mean {mean:?}, std {std:?}");
        let mut extractor = Self {
            name: format!("torchscript/{stem} ({prepared})"),
            // Prepared otherwise, images have other features in the same network.
            hash: card::sha256(format!("{} {prepared}", card::sha256(&bytes)).as_bytes()),
            dim: 0,
            preparation,
            module,
            device,
        };
        let black = Tensor::f_zeros([2, 3, 1, 1], (Kind::Uint8, device))?;
        let features = tch::no_grad(|| extractor.forward(&black)).map_err(wrong)?;
        extractor.dim = features.size()[1];
        Ok(extractor)
    }

    /// What the network sees of `images_u8`, u8 `[n, 1 or 3, h, w]`: f32 `[n, 3, size, size]`.
    ///
    /// # Errors
    /// [`MetricError::Torch`] if libtorch fails.
    pub fn prepare(&self, images_u8: &Tensor) -> Result<Tensor> {
        let Preparation { size, mean, std } = &self.preparation;
        let levels = images_u8.to_device(self.device).to_kind(Kind::Float) / 255.0;
        let pixels = levels.f_internal_upsample_bicubic2d_aa([*size; 2], false, None, None)?;
        let channels = |values: &[f64; 3]| {
            let values = Tensor::from_slice(values).to_kind(Kind::Float).to_device(self.device);
            values.reshape([1, 3, 1, 1])
        };
        Ok((pixels.clamp(0.0, 1.0) - channels(mean)) / channels(std))
    }

    /// Features of a batch, or what is wrong with what the module gives.
    fn forward(&self, images_u8: &Tensor) -> std::result::Result<Tensor, String> {
        let n = images_u8.size()[0];
        let pixels = self.prepare(images_u8).map_err(|error| error.to_string())?;
        let taken = format!("Float {:?}", pixels.size());
        let features = self
            .module
            .forward_ts(&[pixels])
            .map_err(|error| format!("for {taken} it fails: {}", reason(&error)))?;
        let fits = matches!(features.size()[..], [rows, d] if rows == n && d > 0)
            && features.is_floating_point();
        fits.then(|| features.to_kind(Kind::Float)).ok_or_else(|| {
            let (kind, size) = (features.kind(), features.size());
            format!("for {taken} it gives {kind:?} {size:?}, but must give floats of [{n}, d]")
        })
    }
}

impl FeatureExtractor for TorchScriptFeatures {
    fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dim(&self) -> i64 {
        self.dim
    }

    fn features_with_progress(
        &self,
        images_u8: &Tensor,
        on_images: OnImages<'_>,
    ) -> Result<Tensor> {
        check_images(images_u8, gray_or_colour(images_u8), None)?;
        in_batches(images_u8, BATCH, self.dim, on_images, |batch| {
            let features = self.forward(batch).map_err(|got| MetricError::Shape {
                what: "a TorchScript module's output",
                expected: format!("Float [n, {}]", self.dim),
                got,
            })?;
            Ok(features)
        })
    }
}

/// The line of libtorch's message that says what happened; the others say where in its own code.
fn reason(error: &TchError) -> String {
    let message = error.to_string();
    let line = message.lines().find(|line| line.contains("Error: "));
    line.or(message.lines().next()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise_images;
    use paragone_core::ImageShape;
    use tempfile::TempDir;

    const PREPARATION: Preparation =
        Preparation { size: 6, mean: [0.5, 0.25, 0.0], std: [0.5, 0.25, 2.0] };

    /// A file of what `function` does with images, and its folder.
    fn module(function: impl Fn(&Tensor) -> Tensor) -> (TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.pt");
        let example = [Tensor::zeros([2, 3, 6, 6], (Kind::Float, Device::Cpu))];
        let mut function = |inputs: &[Tensor]| vec![function(&inputs[0])];
        let module = CModule::create_by_tracing("Toy", "forward", &example, &mut function);
        module.unwrap().save(&path).unwrap();
        (folder, path)
    }

    #[test]
    fn features_are_the_module_s() {
        let mean = |x: &Tensor| x.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
        let (_folder, path) = module(mean);
        let extractor = TorchScriptFeatures::load(&path, PREPARATION, Device::Cpu).unwrap();
        let name = "torchscript/toy (6 px, mean [0.5, 0.25, 0.0], std [0.5, 0.25, 2.0])";
        assert_eq!((extractor.name(), extractor.dim()), (name, 3));
        let hash = |preparation| {
            let loaded = TorchScriptFeatures::load(&path, preparation, Device::Cpu);
            loaded.unwrap().hash().to_owned()
        };
        assert_eq!(extractor.hash(), hash(PREPARATION));
        for other in [
            Preparation { size: 7, ..PREPARATION },
            Preparation { mean: [0.0; 3], ..PREPARATION },
            Preparation { std: [1.0; 3], ..PREPARATION },
        ] {
            assert_ne!(extractor.hash(), hash(other), "{other:?}");
        }
        let (_other_folder, other_path) =
            module(|x| x.mean_dim([2i64, 3].as_slice(), false, Kind::Float) * 2.0);
        let other = TorchScriptFeatures::load(&other_path, PREPARATION, Device::Cpu).unwrap();
        assert_ne!(extractor.hash(), other.hash());
        let gray = Tensor::full([1, 1, 4, 4], 51, (Kind::Uint8, Device::Cpu));
        let features = Vec::<f32>::try_from(extractor.features(&gray).unwrap().get(0)).unwrap();
        // 51 / 255 is 0.2.
        let want: [f32; 3] = [-0.6, -0.2, 0.1];
        assert!(
            features.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6),
            "{features:?}"
        );

        let images = noise_images(70, ImageShape { channels: 3, height: 9, width: 5 }, 0);
        let all = extractor.features(&images).unwrap();
        let part = extractor.features(&images.narrow(0, 30, 5)).unwrap();
        assert!((part - all.narrow(0, 30, 5)).abs().max().double_value(&[]) < 1e-6);
        assert!(extractor.features(&images.narrow(1, 0, 2)).is_err());
    }

    /// Downward, every pixel of a checkerboard counts: bilinear taps without antialiasing would show black or white.
    #[test]
    fn smaller_is_antialiased() {
        let (_folder, path) = module(|x| x.flatten(1, -1));
        let preparation = Preparation { mean: [0.0; 3], std: [1.0; 3], ..PREPARATION };
        let extractor = TorchScriptFeatures::load(&path, preparation, Device::Cpu).unwrap();
        let at = Tensor::arange(60, (Kind::Int64, Device::Cpu));
        let board = (at.unsqueeze(0) + at.unsqueeze(1)).remainder(2) * 255;
        let pixels =
            extractor.prepare(&board.to_kind(Kind::Uint8).reshape([1, 1, 60, 60])).unwrap();
        assert_eq!(pixels.size(), [1, 3, 6, 6]);
        assert!((pixels - 0.5).abs().max().double_value(&[]) < 0.02);
    }

    #[test]
    fn what_is_no_extractor_is_named() {
        let message = |path: &Path| {
            TorchScriptFeatures::load(path, PREPARATION, Device::Cpu).unwrap_err().to_string()
        };
        let (folder, path) = module(|x| x.shallow_clone());
        assert!(message(&path).ends_with(
            "toy.pt does not hold a feature extractor in TorchScript: for Float [2, 3, 6, 6] it gives Float \
             [2, 3, 6, 6], but must give floats of [2, d]"
        ));
        let (_folder, path) = module(|x| x.reshape([2, -1]).to_kind(Kind::Int64));
        assert!(message(&path).contains("it gives Int64 [2, 108]"));
        let (_folder, path) =
            module(|x| x.matmul(&Tensor::ones([6, 1], (Kind::Float, Device::Cpu))));
        let other = Preparation { size: 7, ..PREPARATION };
        let error = TorchScriptFeatures::load(&path, other, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("for Float [2, 3, 7, 7] it fails: "), "{error}");
        let damaged = folder.path().join("damaged.pt");
        std::fs::write(&damaged, "no archive").unwrap();
        assert!(
            message(&damaged)
                .contains("damaged.pt does not hold a feature extractor in TorchScript: ")
        );
        assert!(message(Path::new("/nowhere.pt")).starts_with("cannot read /nowhere.pt: "));
    }
}
