//! A white picture to put images and labels on.

use crate::text::Line;
use image::{Rgb, RgbImage};
use tch::{Device, Kind, Tensor};

/// Gray level of labels.
const INK: u8 = 0x26;
/// Gray level of rules.
const RULE: u8 = 0xc4;

/// Image tensors on the host, ready to be read pixel by pixel.
#[derive(Debug)]
pub struct Images {
    bytes: Vec<u8>,
    channels: usize,
    /// Number of images.
    pub count: usize,
    /// Rows of each.
    pub height: u32,
    /// Columns of each.
    pub width: u32,
}

impl Images {
    /// # Panics
    /// Unless `images` is u8 `[n, c, h, w]` with one or three channels.
    pub fn of(images: &Tensor) -> Self {
        assert_eq!(images.kind(), Kind::Uint8, "pictures are made of 8-bit images");
        let (n, c, h, w) = images.size4().expect("images are [n, c, h, w]");
        assert!(c == 1 || c == 3, "images have one or three channels, not {c}");
        let flat = images.to_device(Device::Cpu).contiguous().flatten(0, -1);
        Self {
            bytes: Vec::try_from(flat).expect("8-bit values on the host"),
            channels: c as usize,
            count: n as usize,
            height: h as u32,
            width: w as u32,
        }
    }

    fn pixel(&self, index: usize, x: u32, y: u32) -> Rgb<u8> {
        let plane = (self.height * self.width) as usize;
        let start = index * self.channels * plane + (y * self.width + x) as usize;
        Rgb([0, 1, 2].map(|channel| self.bytes[start + channel.min(self.channels - 1) * plane]))
    }
}

/// One image, u8 `[c, h, w]`, pixel by pixel.
pub fn picture(image: &Tensor) -> RgbImage {
    let images = Images::of(&image.unsqueeze(0));
    RgbImage::from_fn(images.width, images.height, |x, y| images.pixel(0, x, y))
}

/// The picture being made.
#[derive(Debug)]
pub struct Canvas(RgbImage);

impl Canvas {
    /// All white.
    pub fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width, height, Rgb([255; 3])))
    }

    /// Puts one image with its top left corner at `(left, top)`, every pixel a square of `scale` pixels.
    pub fn put(&mut self, images: &Images, index: usize, left: u32, top: u32, scale: u32) {
        for y in 0..images.height * scale {
            for x in 0..images.width * scale {
                let pixel = images.pixel(index, x / scale, y / scale);
                self.0.put_pixel(left + x, top + y, pixel);
            }
        }
    }

    /// Writes a line of text with its top left corner at `(left, top)`, cut off at the column `end`.
    pub fn write(&mut self, line: &Line, left: u32, top: u32, end: u32) {
        for (x, y, coverage) in line.pixels().filter(|(x, ..)| left + x < end) {
            let level = 255.0 - f64::from(255 - INK) * coverage;
            self.0.put_pixel(left + x, top + y, Rgb([level.round() as u8; 3]));
        }
    }

    /// Draws a thin horizontal rule.
    pub fn rule(&mut self, left: u32, right: u32, y: u32) {
        for x in left..right {
            self.0.put_pixel(x, y, Rgb([RULE; 3]));
        }
    }

    /// The picture.
    pub fn finish(self) -> RgbImage {
        self.0
    }
}
