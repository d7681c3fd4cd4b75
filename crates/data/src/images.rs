//! Anyone's images, to be scored: a folder of PNG and JPEG files, or an array in a file.

use crate::{DataError, image_file, image_folder::image_files};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Reads images of one size: u8 `[n, channels, h, w]` on the host.
///
/// `path` is a folder, of which all PNG and JPEG files are read in the order of their names, folders within it too; an
/// `.npz` whose `arr_0` is u8 `[n, h, w, c]`, as samples of image generators are commonly published; or a `.safetensors`
/// whose `images` are u8 `[n, c, h, w]`, as a run keeps them. With `channels`, gray images become three equal channels and
/// three equal channels gray; without, images are gray if all of them are.
///
/// # Errors
/// [`DataError`] naming the file that is missing, is no image, is of another size than the first, or has colours where
/// gray images are asked for.
pub fn read_images(path: &Path, channels: Option<i64>) -> Result<Tensor, DataError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let images = match extension {
        _ if path.is_dir() => read_folder(path)?,
        Some("npz") => array(path, "arr_0", |path| Tensor::read_npz(path))?.permute([0, 3, 1, 2]),
        Some("safetensors") => array(path, "images", |path| Tensor::read_safetensors(path))?,
        _ if !path.exists() => {
            return Err(DataError::malformed(path, "there is no such file or folder"));
        }
        _ => {
            let problem = "is no folder of images, no .npz and no .safetensors";
            return Err(DataError::malformed(path, problem));
        }
    };
    in_channels(path, images, channels)
}

/// Images of 1 or 3 channels in as many as asked.
fn in_channels(path: &Path, images: Tensor, asked: Option<i64>) -> Result<Tensor, DataError> {
    let found = images.size()[1];
    if found != 1 && found != 3 {
        return Err(DataError::malformed(
            path,
            format!("has images of {found} channels, not 1 or 3"),
        ));
    }
    let first = images.narrow(1, 0, 1);
    let is_gray = || found == 1 || images.equal(&first.expand_as(&images));
    let images = match asked.unwrap_or_else(|| if is_gray() { 1 } else { 3 }) {
        1 if is_gray() => first,
        1 => {
            let problem = "has coloured images where gray ones are asked for";
            return Err(DataError::malformed(path, problem));
        }
        asked => images.expand([-1, asked, -1, -1], false),
    };
    Ok(images.contiguous())
}

/// The tensor of a name in a file of several.
fn array(
    path: &Path,
    name: &str,
    read: impl Fn(&Path) -> Result<Vec<(String, Tensor)>, tch::TchError>,
) -> Result<Tensor, DataError> {
    // libtorch's message goes on with a trace of calls.
    let first_line = |e: tch::TchError| e.to_string().lines().next().unwrap_or_default().to_owned();
    let tensors = read(path).map_err(|e| DataError::malformed(path, first_line(e)))?;
    let names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let Some((_, images)) = tensors.into_iter().find(|(found, _)| found == name) else {
        return Err(DataError::malformed(
            path,
            format!("has no `{name}`, but {}", names.join(", ")),
        ));
    };
    let (kind, size) = (images.kind(), images.size());
    if kind != Kind::Uint8 || size.len() != 4 || size[0] == 0 {
        let problem = format!("expected four-dimensional images of bytes, got {kind:?} {size:?}");
        return Err(DataError::malformed(path, problem));
    }
    Ok(images)
}

fn read_folder(path: &Path) -> Result<Tensor, DataError> {
    let files = image_files(path)?;
    let read = |file: &PathBuf| image_file::read_image(file, 3, None);
    let images: Vec<Tensor> = files.par_iter().map(read).collect::<Result<_, _>>()?;
    let Some(first) = images.first() else {
        return Err(DataError::malformed(path, "holds no PNG or JPEG file"));
    };
    if let Some((file, image)) = files.iter().zip(&images).find(|(_, i)| i.size() != first.size()) {
        let side = |image: &Tensor| format!("{} by {}", image.size()[2], image.size()[1]);
        let problem = format!(
            "is {} pixels, but {} is {}: all images must be of one size",
            side(image),
            files[0].display(),
            side(first)
        );
        return Err(DataError::malformed(file, problem));
    }
    Ok(Tensor::stack(&images, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;
    use image::{GrayImage, Luma, RgbImage};

    fn message(path: &Path, channels: Option<i64>) -> String {
        read_images(path, channels).unwrap_err().to_string()
    }

    #[test]
    fn folders_are_read_in_the_order_of_names() {
        let folder = Folder::new();
        for (name, level) in [("b.png", 7), ("a/deep.png", 5)] {
            let path = folder.write(name, b"");
            GrayImage::from_pixel(3, 2, Luma([level])).save(path).unwrap();
        }
        folder.write("notes.txt", b"ignored");
        let images = read_images(folder.path(), None).unwrap();
        assert_eq!((images.kind(), images.size()), (Kind::Uint8, vec![2, 1, 2, 3]));
        assert_eq!(images.int64_value(&[0, 0, 0, 0]), 5);
        assert_eq!(read_images(folder.path(), Some(3)).unwrap().size(), [2, 3, 2, 3]);

        RgbImage::new(4, 4).save(folder.path().join("c.png")).unwrap();
        let error = message(folder.path(), None);
        assert!(error.contains("c.png: is 4 by 4 pixels"), "{error}");
        assert!(error.contains("deep.png is 3 by 2"), "{error}");
    }

    #[test]
    fn arrays_are_turned_to_channels_first() {
        let folder = Folder::new();
        let npz = folder.path().join("a.npz");
        let pixels: Vec<u8> = (0..2 * 2 * 3 * 3).collect();
        let array = Tensor::from_slice(&pixels).reshape([2, 2, 3, 3]);
        Tensor::write_npz(&[("arr_0", &array)], &npz).unwrap();
        let images = read_images(&npz, None).unwrap();
        assert_eq!(images.size(), [2, 3, 2, 3]);
        assert_eq!(images.int64_value(&[1, 2, 1, 0]), array.int64_value(&[1, 1, 0, 2]));
        assert!(message(&npz, Some(1)).contains("coloured images where gray ones are asked for"));

        let own = folder.path().join("b.safetensors");
        let gray = images.narrow(1, 0, 1).contiguous();
        Tensor::write_safetensors(&[("images", &gray)], &own).unwrap();
        assert!(read_images(&own, None).unwrap().equal(&gray));
        let repeated = read_images(&own, Some(3)).unwrap();
        assert_eq!(repeated.size(), [2, 3, 2, 3]);
        Tensor::write_safetensors(&[("images", &repeated)], &own).unwrap();
        assert!(read_images(&own, Some(1)).unwrap().equal(&gray));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = Folder::new();
        assert!(message(folder.path(), None).contains("holds no PNG or JPEG file"));
        assert!(message(&folder.path().join("none"), None).contains("none"));
        assert!(message(&folder.write("a.txt", b"text"), None).contains("no folder of images"));
        assert!(message(&folder.write("a.npz", b"text"), None).contains("a.npz"));
        let npz = folder.path().join("b.npz");
        let number = Tensor::from_slice(&[1f32]);
        Tensor::write_npz(&[("x", &number)], &npz).unwrap();
        assert!(message(&npz, None).contains("has no `arr_0`, but x"));
        Tensor::write_npz(&[("arr_0", &number)], &npz).unwrap();
        let error = message(&npz, None);
        assert!(error.contains("four-dimensional images of bytes, got Float [1]"), "{error}");
    }
}
