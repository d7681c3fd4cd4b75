//! PNG and JPEG files as 8-bit tensors.

use crate::DataError;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, RgbImage, imageops::FilterType};
use std::path::Path;
use tch::Tensor;

/// Reads a PNG or JPEG file: u8 `[channels, h, w]` on the host.
///
/// `channels` is 1 (luma, Rec. 709) or 3. With a `size` the image is resized so that its shorter side is `size` (cubic,
/// anti-aliased) and cropped to the centre; without, it keeps its own. Its EXIF orientation is obeyed, transparency is
/// laid over white.
///
/// # Errors
/// [`DataError::Io`] or [`DataError::NotAnImage`], naming the file.
pub fn read_image(path: &Path, channels: i64, size: Option<i64>) -> Result<Tensor, DataError> {
    let image = decode(path, size)?;
    let (height, width) = (i64::from(image.height()), i64::from(image.width()));
    Ok(Tensor::from_slice(&planes(&image, channels)).reshape([channels, height, width]))
}

/// Reads a PNG or JPEG file as it is looked at: its EXIF orientation obeyed, transparency laid over white.
///
/// # Errors
/// As [`read_image`].
pub fn read_picture(path: &Path) -> Result<RgbImage, DataError> {
    Ok(decode(path, None)?.into_rgb8())
}

/// Reads a PNG or JPEG file that says something of each pixel by its brightness.
///
/// # Errors
/// As [`read_image`]; [`DataError::NotAnImage`] too where pixels are transparent: some programs mean what is to be painted by it,
/// others what is not.
pub fn read_mask(path: &Path) -> Result<GrayImage, DataError> {
    let image = as_stored(path)?;
    if image.color().has_alpha() && image.to_rgba8().pixels().any(|pixel| pixel.0[3] < 255) {
        let reason = "parts of the mask are transparent: lay it over black or white".to_owned();
        return Err(DataError::NotAnImage { path: path.to_owned(), reason });
    }
    Ok(image.into_luma8())
}

/// The levels of a square image, plane by plane.
pub(crate) fn read_square(path: &Path, channels: i64, size: i64) -> Result<Vec<u8>, DataError> {
    Ok(planes(&decode(path, Some(size))?, channels))
}

fn decode(path: &Path, size: Option<i64>) -> Result<DynamicImage, DataError> {
    let mut image = as_stored(path)?;
    if image.color().has_alpha() {
        image = over_white(&image);
    }
    Ok(size.map_or_else(|| image.clone(), |size| square(&image, size as u32)))
}

/// With its transparency, its EXIF orientation obeyed.
fn as_stored(path: &Path) -> Result<DynamicImage, DataError> {
    let not_an_image = |e: image::ImageError| DataError::NotAnImage {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let reader = ImageReader::open(path).map_err(|e| DataError::io(path, e))?;
    // By content: an extension may lie.
    let reader = reader.with_guessed_format().map_err(|e| DataError::io(path, e))?;
    let mut decoder = reader.into_decoder().map_err(not_an_image)?;
    let orientation = decoder.orientation().map_err(not_an_image)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(not_an_image)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Resized to cover a square (cubic, anti-aliased), and its centre.
pub(crate) fn square(image: &DynamicImage, size: u32) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let scale = f64::from(size) / f64::from(width.min(height));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(size);
    let (wide, high) = (scaled(width), scaled(height));
    let resized = if (wide, high) == (width, height) {
        image.clone()
    } else {
        image.resize_exact(wide, high, FilterType::CatmullRom)
    };
    resized.crop_imm((wide - size) / 2, (high - size) / 2, size, size)
}

/// Laid over white.
pub(crate) fn over_white(image: &DynamicImage) -> DynamicImage {
    let mut flat = image.to_rgba8();
    for pixel in flat.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        for level in &mut pixel.0[..3] {
            *level = ((u32::from(*level) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
        pixel.0[3] = 255;
    }
    flat.into()
}

fn planes(image: &DynamicImage, channels: i64) -> Vec<u8> {
    match channels {
        1 => image.to_luma8().into_raw(),
        3 => {
            let pixels = image.to_rgb8().into_raw();
            (0..3).flat_map(|c| pixels.iter().skip(c).step_by(3).copied()).collect()
        }
        _ => panic!("an image has 1 or 3 channels, not {channels}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;
    use image::{Rgb, Rgba, RgbaImage};

    fn levels(tensor: &Tensor) -> Vec<u8> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn pixels_come_back_as_planes() {
        let folder = Folder::new();
        let path = folder.path().join("a.png");
        RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8, 10 + x as u8, 20 + x as u8]))
            .save(&path)
            .unwrap();
        let colour = read_image(&path, 3, None).unwrap();
        assert_eq!(colour.size(), [3, 1, 2]);
        assert_eq!(levels(&colour), [0, 1, 10, 11, 20, 21]);
        assert_eq!(read_image(&path, 1, None).unwrap().size(), [1, 1, 2]);
    }

    /// An opaque alpha channel says nothing, a transparent pixel nothing clear.
    #[test]
    fn masks_are_bright_or_dark_and_not_transparent() {
        let folder = Folder::new();
        let path = folder.path().join("mask.png");
        let save = |alpha: u8| {
            RgbaImage::from_fn(2, 1, |x, _| {
                Rgba([200 * x as u8, 200 * x as u8, 200 * x as u8, alpha])
            })
            .save(&path)
            .unwrap();
        };
        save(255);
        assert_eq!(read_mask(&path).unwrap().into_raw(), [0, 200]);
        save(254);
        let error = read_mask(&path).unwrap_err().to_string();
        assert!(error.contains("mask.png") && error.contains("transparent"), "{error}");
    }

    #[test]
    fn the_centre_is_kept_and_averages_survive() {
        let folder = Folder::new();
        let path = folder.path().join("wide.png");
        // 4 high, 12 wide: a black and white checkerboard between red sides that the crop removes.
        RgbImage::from_fn(12, 4, |x, y| match x {
            4..8 => Rgb([255 * ((x + y) % 2) as u8; 3]),
            _ => Rgb([255, 0, 0]),
        })
        .save(&path)
        .unwrap();
        let same = read_image(&path, 3, Some(4)).unwrap();
        assert_eq!(same.size(), [3, 4, 4]);
        assert_eq!(levels(&same)[..4], [0, 255, 0, 255]);
        // Halved, every pixel is the mean of two black and two white ones: aliasing would give 0 or 255.
        let mut half = levels(&read_image(&path, 1, Some(2)).unwrap());
        half.sort_unstable();
        assert!(half[0] > 90 && half[3] < 165, "{half:?}");
    }

    #[test]
    fn transparency_is_white() {
        let folder = Folder::new();
        let path = folder.path().join("a.png");
        RgbaImage::from_pixel(1, 1, Rgba([0, 0, 0, 0])).save(&path).unwrap();
        assert_eq!(levels(&read_image(&path, 3, None).unwrap()), [255; 3]);
    }

    #[test]
    fn what_is_no_image_is_named() {
        let folder = Folder::new();
        let text = folder.write("a.png", b"no image");
        let whole = folder.path().join("whole.png");
        RgbImage::new(50, 50).save(&whole).unwrap();
        let bytes = std::fs::read(&whole).unwrap();
        let cut = folder.write("cut.png", &bytes[..bytes.len() / 2]);
        for path in [text, cut] {
            let error = read_image(&path, 3, Some(8)).unwrap_err();
            assert!(matches!(error, DataError::NotAnImage { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
        let missing = read_image(&folder.path().join("none.png"), 3, None).unwrap_err();
        assert!(matches!(missing, DataError::Io { .. }));
    }
}
