//! Pictures as files.

use crate::ReportError;
use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::Path,
};

/// Saves a picture as PNG, gray if it has no colour, in a folder that is made if need be. Whoever opens `path` finds a whole
/// picture, the old one or the new one; a link stays one, and what is no file, such as a pipe, is written to.
///
/// # Errors
/// [`ReportError`] naming `path`; nothing is left beside it.
pub fn save_png(picture: &RgbImage, path: &Path) -> Result<(), ReportError> {
    let bytes =
        encode(picture).map_err(|reason| ReportError::Encode { path: path.to_owned(), reason })?;
    let write_error = |reason| ReportError::Write { path: path.to_owned(), reason };
    let place = fs::canonicalize(path);
    let place = place.as_deref().unwrap_or(path);
    if fs::metadata(place).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return fs::write(place, &bytes).map_err(write_error);
    }
    // Written beside its place, because a rename is atomic within one file system only.
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(format!(".tmp-{}", std::process::id()));
    let aside = place.with_file_name(name);
    let written = (|| {
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, place)
    })();
    written.map_err(|reason| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&aside);
        write_error(reason)
    })
}

/// The bytes of a picture's file.
pub(crate) fn encode(picture: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Up);
    let (width, height) = picture.dimensions();
    if picture.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]) {
        let gray: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
        encoder.write_image(&gray, width, height, ExtendedColorType::L8)?;
    } else {
        encoder.write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("paragone-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn pictures_read_back_and_leave_nothing_beside() {
        let folder = folder("png");
        let path = folder.join("a.png");
        for colour in [[9, 9, 9], [9, 8, 7]] {
            let mut picture = RgbImage::from_pixel(5, 3, Rgb(colour));
            picture.put_pixel(4, 2, Rgb([255, 255, 255]));
            save_png(&picture, &path).unwrap();
            assert_eq!(image::open(&path).unwrap().to_rgb8(), picture);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_stay_what_they_are() {
        let folder = folder("links");
        let (picture, file, link) =
            (RgbImage::new(2, 2), folder.join("a.png"), folder.join("link.png"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        save_png(&picture, &link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(image::open(&file).unwrap().to_rgb8(), picture);

        let pipe = folder.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        save_png(&picture, &pipe).unwrap();
        assert_eq!(reader.join().unwrap(), fs::read(&file).unwrap());
        assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn errors_name_the_file() {
        let folder = folder("no-folder");
        // A folder that is not there is made.
        save_png(&RgbImage::new(1, 1), &folder.join("missing").join("a.png")).unwrap();
        // A file in the way of the folder.
        fs::write(folder.join("file"), "").unwrap();
        let path = folder.join("file").join("a.png");
        let error = save_png(&RgbImage::new(1, 1), &path).unwrap_err();
        assert!(error.to_string().contains("file/a.png"), "{error}");
        // A folder in the way of the rename.
        let path = folder.join("taken.png");
        fs::create_dir_all(path.join("inside")).unwrap();
        save_png(&RgbImage::new(1, 1), &path).unwrap_err();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        fs::remove_dir_all(folder).unwrap();
    }
}
