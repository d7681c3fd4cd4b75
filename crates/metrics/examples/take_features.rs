//! Takes features with a user's network, for `scripts/check-metrics` to compare with other software.
//!
//! `take_features inception WEIGHTS IN.safetensors OUT.safetensors`
//! `take_features torchscript MODULE SIZE IN.safetensors OUT.safetensors`
//!
//! IN holds u8 images, `NAME` `[n, c, h, w]`. OUT gets, as f32, `NAME.pixels`, what the network sees of the first image,
//! `NAME.features` and, of a classifier, `NAME.logits`. Prints one line of JSON a set: its name and the seconds that the
//! features took. TorchScript modules get ImageNet's means and standard deviations.

use paragone_metrics::{FeatureExtractor, InceptionFeatures, Preparation, TorchScriptFeatures};
use std::{collections::BTreeMap, error::Error, io::Write, path::Path, time::Instant};
use tch::{Device, Tensor};

const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

fn main() -> Result<(), Box<dyn Error>> {
    torch_ext::tune_allocator();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["inception", weights, images, out] => {
            let extractor = InceptionFeatures::load(Path::new(weights), Device::Cpu)?;
            take(&extractor, |first| Ok(extractor.prepare(first)?), images, out)
        }
        ["torchscript", module, size, images, out] => {
            let (mean, std) = IMAGENET;
            let preparation = Preparation { size: size.parse()?, mean, std };
            let extractor = TorchScriptFeatures::load(Path::new(module), preparation, Device::Cpu)?;
            take(&extractor, |first| Ok(extractor.prepare(first)?), images, out)
        }
        _ => {
            Err("usage: take_features inception WEIGHTS IN OUT | torchscript MODULE SIZE IN OUT"
                .into())
        }
    }
}

fn take(
    extractor: &dyn FeatureExtractor,
    prepare: impl Fn(&Tensor) -> Result<Tensor, Box<dyn Error>>,
    images: &str,
    out: &str,
) -> Result<(), Box<dyn Error>> {
    let sets: BTreeMap<String, Tensor> = Tensor::read_safetensors(images)?.into_iter().collect();
    let mut results = Vec::new();
    for (name, images) in &sets {
        let start = Instant::now();
        let features = extractor.features(images)?;
        let seconds = start.elapsed().as_secs_f64();
        let line = serde_json::json!({ "name": name, "seconds": seconds });
        writeln!(std::io::stdout(), "{line}")?;
        results.push((format!("{name}.pixels"), prepare(&images.narrow(0, 0, 1))?.contiguous()));
        if let Some(logits) = extractor.logits_of_features(&features) {
            results.push((format!("{name}.logits"), logits?));
        }
        results.push((format!("{name}.features"), features));
    }
    Ok(Tensor::write_safetensors(&results, out)?)
}
