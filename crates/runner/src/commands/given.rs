//! Pictures and masks that the user gives: any size, brought to the model's and back.

use super::ask::Opened;
use crate::{files::create_dir, log::note};
use anyhow::{Context, Result, bail, ensure};
use image::{GrayImage, Luma, RgbImage, imageops};
use paragone_core::{Batch, Conditions, Known, from_levels};
use paragone_data::{ImageSet, MaskKind, read_mask, read_picture};
use paragone_report::{picture, save_png};
use std::path::Path;
use tch::{Device, Tensor};

/// A picture as it was given and as the model sees it.
#[derive(Debug)]
pub struct Given {
    picture: RgbImage,
    /// The one image, in the model's size.
    set: ImageSet,
    /// What is known of it, on the host.
    known: Option<Conditions>,
    /// What the user called it.
    name: String,
}

/// The part of a picture that may change.
#[derive(Debug)]
pub struct Hole {
    /// f32 `[1, 1, h, w]` in the model's size: 1 where pixels stay.
    mask: Tensor,
    /// In the picture's size: white where it may change.
    white: GrayImage,
}

impl Given {
    /// Reads a file, or takes a test image by `test:N`.
    pub fn open(text: &str, opened: &Opened, datasets: &Path) -> Result<Self> {
        let spec = &opened.trained.spec;
        let Some(number) = text.strip_prefix("test:") else {
            let picture = read_picture(Path::new(text))?;
            let shape = spec.shape;
            let (width, height) = (shape.width as u32, shape.height as u32);
            let small = resized(&picture, width, height);
            if picture.dimensions() != (width, height) {
                note(&format!(
                    "{text}: {} by {} pixels, brought to the model's {width} by {height}",
                    picture.width(),
                    picture.height()
                ));
            }
            let set = ImageSet::new(&planes(&small, shape.channels), shape, None, None);
            return Ok(Self { picture, set, known: None, name: text.to_owned() });
        };
        let number: i64 =
            number.parse().with_context(|| format!("{text}: give a number, such as test:0"))?;
        let test = opened.data(datasets)?.test()?;
        ensure!(
            (0..test.len()).contains(&number),
            "{text}: there are test images 0 to {}",
            test.len() - 1
        );
        let row = Tensor::from_slice(&[number]);
        if let Some(captions) = &test.captions {
            note(&format!("{text}: \"{}\"", captions[number as usize]));
        }
        let set = test.rows(&row);
        let known = Some(test.conditions(&row, spec));
        Ok(Self { picture: picture(&set.images.get(0)), set, known, name: text.to_owned() })
    }

    /// u8 `[1, c, h, w]` in the model's size.
    pub fn levels(&self) -> &Tensor {
        &self.set.images
    }

    /// What is known of the picture, or nothing, `n` times, on the host.
    pub fn conditions(&self, n: usize, opened: &Opened) -> Conditions {
        match &self.known {
            Some(known) => known.repeat(n as i64),
            None => Conditions::none(n as i64, &opened.trained.spec, Device::Cpu),
        }
    }

    /// The picture as `n` images that fulfil `conditions`, on the host.
    pub fn batch(&self, n: usize, conditions: Conditions) -> Batch {
        let images = from_levels(self.levels());
        Batch { images: images.expand([n as i64, -1, -1, -1], false), conditions }
    }

    /// What stays of `n` copies of the picture.
    pub fn known(&self, hole: &Hole, n: usize) -> Known {
        let expand = |t: Tensor| t.expand([n as i64, -1, -1, -1], false);
        Known {
            pixels: expand(from_levels(self.levels())),
            mask: expand(hole.mask.shallow_clone()),
        }
    }

    /// Reads a mask, white where the picture may change, or draws one of a kind from `seed`.
    pub fn hole(&self, text: &str, seed: u64) -> Result<Hole> {
        let (width, height) = self.picture.dimensions();
        if let Some(kind) = MaskKind::ALL.into_iter().find(|kind| kind.name() == text) {
            let rows = Tensor::from_slice(&[0i64]);
            let Some(mask) = kind.masks(&self.set, &rows, &[seed]) else {
                bail!("--mask {text}: nothing is known of objects in {}", self.name)
            };
            let [.., h, w] = mask.size()[..] else { unreachable!("masks are [n, 1, h, w]") };
            let white = GrayImage::from_fn(width, height, |x, y| {
                let (x, y) =
                    (i64::from(x) * w / i64::from(width), i64::from(y) * h / i64::from(height));
                Luma([if mask.double_value(&[0, 0, y, x]) == 0.0 { 255 } else { 0 }])
            });
            return Ok(Hole { mask, white });
        }
        let path = Path::new(text);
        ensure!(
            path.is_file(),
            "--mask {text}: neither a file nor one of {}",
            MaskKind::ALL.map(MaskKind::name).join(", ")
        );
        let mut white = read_mask(path)?;
        for level in white.pixels_mut() {
            level.0[0] = if level.0[0] < 128 { 0 } else { 255 };
        }
        ensure!(
            white.dimensions() == (width, height),
            "--mask {text} is {} by {} pixels, but {} is {width} by {height}",
            white.width(),
            white.height(),
            self.name
        );
        let count = white.pixels().filter(|level| level.0[0] > 0).count();
        ensure!(count > 0, "--mask {text} has no white pixel: nothing is to be made");
        let [.., h, w] = self.levels().size()[..] else { unreachable!("images are [1, c, h, w]") };
        Ok(Hole { mask: shrunk(&white, h as u32, w as u32), white })
    }

    /// Says where results are to be had in the picture's own size, if that is not the model's.
    pub fn note_size(&self, images: Option<&Path>) {
        let (width, height) = self.picture.dimensions();
        let [.., h, w] = self.levels().size()[..] else { unreachable!("images are [1, c, h, w]") };
        if (i64::from(width), i64::from(height)) == (w, h) {
            return;
        }
        note(&match images {
            Some(folder) => {
                format!("{}: brought back to {width} by {height} pixels", folder.display())
            }
            None => format!("--images DIR brings results back to {width} by {height} pixels"),
        });
    }

    /// Writes the picture itself.
    pub fn save_as_it_was(&self, path: &Path) -> Result<()> {
        Ok(save_png(&self.picture, path)?)
    }

    /// Writes one result, u8 `[c, h, w]`, in the size of the picture, whose pixels outside the hole it keeps.
    pub fn save(&self, result: &Tensor, hole: Option<&Hole>, path: &Path) -> Result<()> {
        let (width, height) = self.picture.dimensions();
        let mut result = resized(&picture(result), width, height);
        if let Some(hole) = hole {
            for ((pixel, of_picture), white) in
                result.pixels_mut().zip(self.picture.pixels()).zip(hole.white.pixels())
            {
                if white.0[0] == 0 {
                    *pixel = *of_picture;
                }
            }
        }
        Ok(save_png(&result, path)?)
    }
}

/// Refuses, before anything is computed, to write a picture over one that it is made from, or as what it is not; makes the folder
/// for further ones.
pub fn check_outputs(out: &Path, images: Option<&Path>, inputs: &[&str]) -> Result<()> {
    let extension = out.extension().unwrap_or("png".as_ref());
    ensure!(
        extension.eq_ignore_ascii_case("png"),
        "--out {}: pictures are written as PNG: give a name that ends in .png",
        out.display()
    );
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    let itself = place(out).filter(|out| out.is_file());
    for input in inputs {
        ensure!(
            itself.is_none() || itself != place(Path::new(input)),
            "--out {}: this would replace {input}, which it is made from",
            out.display()
        );
    }
    images.map_or(Ok(()), create_dir)
}

/// Stretched to a size (cubic, anti-aliased).
fn resized(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    if picture.dimensions() == (width, height) {
        return picture.clone();
    }
    imageops::resize(picture, width, height, imageops::FilterType::CatmullRom)
}

/// A mask in the model's size, f32 `[1, 1, h, w]`: a pixel is known only if none of what it covers may change.
fn shrunk(white: &GrayImage, h: u32, w: u32) -> Tensor {
    let covered = |i: u32, of: u32, pixels: u32| i * pixels / of..((i + 1) * pixels).div_ceil(of);
    let known = |y: u32, x: u32| {
        let mut pixels = covered(y, h, white.height())
            .flat_map(|py| covered(x, w, white.width()).map(move |px| (px, py)));
        pixels.all(|(px, py)| white.get_pixel(px, py).0[0] == 0)
    };
    let mask: Vec<f32> = (0..h)
        .flat_map(|y| (0..w).map(move |x| (y, x)))
        .map(|(y, x)| f32::from(known(y, x)))
        .collect();
    Tensor::from_slice(&mask).reshape([1, 1, i64::from(h), i64::from(w)])
}

/// Levels plane by plane, gray (luma) for one channel.
fn planes(picture: &RgbImage, channels: i64) -> Vec<u8> {
    if channels == 1 {
        return imageops::grayscale(picture).into_raw();
    }
    let pixels = picture.as_raw();
    (0..3).flat_map(|c| pixels.iter().skip(c).step_by(3).copied()).collect()
}

impl Hole {
    /// f32 `[1, 1, h, w]`: 1 where pixels stay.
    pub fn mask(&self) -> &Tensor {
        &self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a 5 by 3 picture in 2 by 2 pixels, a white middle column touches both columns, the lowest row only the lower ones.
    #[test]
    fn what_a_hole_touches_is_unknown() {
        let mask = |white: &dyn Fn(u32, u32) -> bool| {
            let picture =
                GrayImage::from_fn(5, 3, |x, y| Luma([if white(x, y) { 255 } else { 0 }]));
            Vec::<f32>::try_from(shrunk(&picture, 2, 2).flatten(0, -1)).unwrap()
        };
        assert_eq!(mask(&|x, _| x == 2), [0.0, 0.0, 0.0, 0.0]);
        assert_eq!(mask(&|_, y| y == 2), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(mask(&|x, _| x == 0), [0.0, 1.0, 0.0, 1.0]);
        // A mask smaller than the model's images.
        let one = GrayImage::from_fn(2, 1, |x, _| Luma([if x == 1 { 255 } else { 0 }]));
        let known = Vec::<f32>::try_from(shrunk(&one, 2, 4).flatten(0, -1)).unwrap();
        assert_eq!(known, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
