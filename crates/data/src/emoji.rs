//! Emoji with their names, from two makers: real pictures, drawn by people, of things that have a name.

use crate::{
    DataConfig, DataError, Dataset, ImageSet, Split,
    dataset::Parts,
    file,
    image_file::{over_white, square},
    random::Random,
    spec::DatasetSpec,
};
use image::{DynamicImage, GenericImageView, ImageFormat};
use paragone_core::{ImageShape, mix};
use rayon::prelude::*;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

/// Makers, in the order of their sheets among the files.
const MAKERS: [&str; 2] = ["google", "twitter"];

/// Side of a picture on a sheet, and of its cell: one pixel of border around.
const PICTURE: u32 = 64;
const CELL: u32 = PICTURE + 2;

/// Share of emoji, with all their pictures, that are kept for testing; as many again are kept to tune on, if any are.
const TEST_SHARE: f64 = 0.1;

/// Tones of skin by the code points that ask for them.
const TONES: [(&str, &str); 5] = [
    ("1F3FB", "light"),
    ("1F3FC", "medium-light"),
    ("1F3FD", "medium"),
    ("1F3FE", "medium-dark"),
    ("1F3FF", "dark"),
];

/// Pictures of emoji by both makers.
///
/// An emoji is in one split with all its skin tones, by both makers: what is tested was never seen in another colour or style,
/// nor as the same picture of something else, which training lacks.
#[derive(Debug)]
pub(crate) struct Emoji {
    spec: DatasetSpec,
    /// Its categories, in the order of the spec.
    classes: Vec<String>,
    side: u32,
    folder: PathBuf,
    parts: Parts,
}

/// What the list of emoji says of one.
#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    /// Its code points.
    unified: String,
    category: String,
    #[serde(flatten)]
    place: Place,
    /// By the code points of the tones, those of two people joined by a hyphen.
    #[serde(default)]
    skin_variations: BTreeMap<String, Place>,
}

/// The cell of a picture.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Place {
    sheet_x: u32,
    sheet_y: u32,
}

/// One picture to be.
#[derive(Debug)]
struct Picture {
    maker: usize,
    place: Place,
    class: i64,
    caption: String,
}

impl Emoji {
    /// The dataset of a spec, its files in `folder`.
    pub fn new(spec: DatasetSpec, config: &DataConfig, folder: PathBuf) -> Result<Self, DataError> {
        let side = config.size.unwrap_or(32);
        if ![32, 64].contains(&side) {
            return Err(DataError::invalid("size", side, "must be 32 or 64 for emoji"));
        }
        let classes = chosen(&spec.classes, &config.categories)?;
        for index in 0..spec.files.len() {
            spec.locate(&folder, index)?;
        }
        Ok(Self { spec, classes, side: side as u32, folder, parts: Parts::new(config) })
    }

    /// The pictures of a split, in an order of their own: neighbours of the list would look alike.
    fn pictures(&self, split: Split) -> Result<Vec<Picture>, DataError> {
        let path = self.spec.locate(&self.folder, 0)?;
        let malformed = |problem: String| DataError::malformed(&path, problem);
        let entries: Vec<Entry> =
            serde_json::from_slice(&file::read(&path)?).map_err(|e| malformed(e.to_string()))?;
        let mut pictures = Vec::new();
        for entry in entries.iter().filter(|entry| self.split(entry) == split) {
            if !self.spec.classes.contains(&entry.category) {
                return Err(malformed(format!("unknown category {}", entry.category)));
            }
            let Some(class) = self.classes.iter().position(|class| *class == entry.category) else {
                continue; // not of the chosen ones
            };
            for (caption, place) in entry.captions().map_err(malformed)? {
                pictures.extend(MAKERS.iter().enumerate().map(|(maker, style)| Picture {
                    maker,
                    place,
                    class: class as i64,
                    caption: format!("{caption}, {style} style"),
                }));
            }
        }
        pictures.sort_by_cached_key(|picture| number(&picture.caption));
        Ok(pictures)
    }

    /// The split that an emoji is in.
    fn split(&self, entry: &Entry) -> Split {
        match entry.draw() / TEST_SHARE {
            ..1.0 => Split::Test,
            ..2.0 if self.parts.validation => Split::Validation,
            _ => Split::Train,
        }
    }

    /// Pictures with their levels, `[c, h, w]`.
    fn draw<'a>(
        &self,
        pictures: &'a [Picture],
        sheets: &[DynamicImage],
    ) -> Result<Vec<(&'a Picture, Vec<u8>)>, DataError> {
        let pixels = |picture: &'a Picture| {
            let Picture { maker, place: Place { sheet_x, sheet_y }, caption, .. } = picture;
            let (x, y) = (sheet_x * CELL + 1, sheet_y * CELL + 1);
            let sheet = &sheets[*maker];
            if x + PICTURE > sheet.width() || y + PICTURE > sheet.height() {
                let path = self.spec.locate(&self.folder, 1 + maker)?;
                return Err(DataError::malformed(path, format!("has no place for {caption}")));
            }
            let cell = sheet.view(x, y, PICTURE, PICTURE).to_image();
            let small = square(&over_white(&cell.into()), self.side).into_rgb8();
            let plane = |c: usize| small.pixels().map(move |pixel| pixel.0[c]);
            Ok((picture, (0..3).flat_map(plane).collect()))
        };
        pictures.par_iter().map(pixels).collect()
    }

    /// The sheet of a maker.
    fn sheet(&self, maker: usize) -> Result<DynamicImage, DataError> {
        let path = self.spec.locate(&self.folder, 1 + maker)?;
        let bytes = file::read(&path)?;
        image::load_from_memory_with_format(&bytes, ImageFormat::Png)
            .map_err(|e| DataError::NotAnImage { path, reason: e.to_string() })
    }
}

/// Those of `known` that are asked for, in their order: all, where none is.
fn chosen(known: &[String], asked: &[String]) -> Result<Vec<String>, DataError> {
    for (i, category) in asked.iter().enumerate() {
        let invalid = |rule: &str| DataError::invalid("categories", category, rule);
        if !known.contains(category) {
            return Err(invalid(&format!("must be among {}", known.join(", "))));
        }
        if asked[..i].contains(category) {
            return Err(invalid("is given twice"));
        }
    }
    let wanted = |category: &&String| asked.is_empty() || asked.contains(category);
    Ok(known.iter().filter(wanted).cloned().collect())
}

impl Entry {
    /// A number of its own in [0, 1).
    fn draw(&self) -> f64 {
        Random::new(&[number(&self.unified)]).unit()
    }

    /// Its name in each tone of skin, and where that is.
    fn captions(&self) -> Result<Vec<(String, Place)>, String> {
        let name = self.name.to_lowercase();
        let toned = self.skin_variations.iter().map(|(codes, place)| {
            let tones: Vec<&str> = codes.split('-').map(tone).collect::<Result<_, _>>()?;
            Ok((format!("{name}, {} skin tone", tones.join(" and ")), *place))
        });
        std::iter::once(Ok((name.clone(), self.place))).chain(toned).collect()
    }
}

fn tone(code: &str) -> Result<&'static str, String> {
    let found = TONES.iter().find(|(known, _)| *known == code);
    found.map(|(_, name)| *name).ok_or_else(|| format!("{code} is no tone of skin"))
}

/// A number of a text.
fn number(text: &str) -> u64 {
    mix(&text.bytes().map(u64::from).collect::<Vec<_>>())
}

impl Dataset for Emoji {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn shape(&self) -> ImageShape {
        let side = i64::from(self.side);
        ImageShape { channels: 3, height: side, width: side }
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }

    fn load(&self, split: Split) -> Result<ImageSet, DataError> {
        let sheets: Vec<DynamicImage> =
            (0..MAKERS.len()).into_par_iter().map(|i| self.sheet(i)).collect::<Result<_, _>>()?;
        let pictures = self.pictures(split)?;
        let mut drawn = self.draw(&pictures, &sheets)?;
        // One flag may fly over several countries: what is tested was never seen under another name either.
        let unseen: &[Split] = match split {
            Split::Train => &[Split::Validation, Split::Test],
            Split::Validation => &[Split::Test],
            Split::Test | Split::HeldOut => &[],
        };
        for &other in unseen {
            let pictures = self.pictures(other)?;
            let kept_out = self.draw(&pictures, &sheets)?;
            let kept_out: HashSet<Vec<u8>> =
                kept_out.into_iter().map(|(_, pixels)| pixels).collect();
            drawn.retain(|(_, pixels)| !kept_out.contains(pixels));
        }
        let n = drawn.len() as u64;
        let rows = match split {
            Split::Validation if self.parts.validation => 0..n,
            // What is kept to tune on is not among these.
            _ => {
                Parts { validation: false, ..self.parts.clone() }.rows(self.name(), split, n, n)?
            }
        };
        let drawn = &drawn[rows.start as usize..rows.end as usize];
        let pixels: Vec<u8> = drawn.iter().flat_map(|(_, pixels)| pixels).copied().collect();
        let classes = drawn.iter().map(|(picture, _)| picture.class).collect();
        let captions = drawn.iter().map(|(picture, _)| picture.caption.clone()).collect();
        Ok(ImageSet::new(&pixels, self.shape(), Some(classes), Some(captions)))
    }

    fn has_captions(&self) -> bool {
        true
    }

    fn tests_other_things(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::spec, testing::Folder};
    use image::{Rgba, RgbaImage};
    use std::collections::HashMap;

    /// Forty emoji in seven columns, every fourth with a lighter twin; the picture of number i is opaque at the left, of red level i
    /// for one maker and 100 + i for the other, and transparent at the right.
    fn folder() -> Folder {
        folder_of(|i| i)
    }

    /// The same, but number i has the picture of number `picture(i)`.
    fn folder_of(picture: impl Fn(u32) -> u32) -> Folder {
        let folder = Folder::new();
        let cell = |i: u32| (picture(i) % 7, picture(i) / 7);
        let entries = (0..40).map(|i: u32| {
            let ((x, y), (tx, ty)) = (cell(i), cell(40 + i));
            let tones = serde_json::json!({ "1F3FB-1F3FF": { "sheet_x": tx, "sheet_y": ty } });
            let mut entry = serde_json::json!({
                "name": format!("THING {i}"), "unified": format!("1F{i:03}"), "sheet_x": x, "sheet_y": y,
                "category": if i.is_multiple_of(2) { "Objects" } else { "Food & Drink" }, "short_name": "ignored",
            });
            if i.is_multiple_of(4) {
                entry["skin_variations"] = tones;
            }
            entry
        });
        let entries: Vec<serde_json::Value> = entries.collect();
        folder.write("emoji.json", serde_json::to_string(&entries).unwrap().as_bytes());
        for (maker, base) in [("google", 0), ("twitter", 100)] {
            let sheet = RgbaImage::from_fn(7 * CELL, 12 * CELL, |x, y| {
                let i = x / CELL + y / CELL * 7;
                let left = (x % CELL) < CELL / 2;
                Rgba([(base + i) as u8, 0, 0, if left { 255 } else { 0 }])
            });
            sheet.save(folder.path().join(format!("{maker}-64.png"))).unwrap();
        }
        folder
    }

    fn open(folder: &Folder, config: &DataConfig) -> Emoji {
        Emoji::new(spec("emoji").unwrap(), config, folder.path().to_owned()).unwrap()
    }

    #[test]
    fn pictures_are_cut_out_put_on_white_and_named() {
        let folder = folder();
        for size in [32, 64] {
            let config = DataConfig { size: Some(size), ..DataConfig::default() };
            let emoji = open(&folder, &config);
            let sets = [Split::Train, Split::Test].map(|split| emoji.load(split).unwrap());
            assert_eq!(sets.iter().map(ImageSet::len).sum::<i64>(), 2 * 50);
            for set in &sets {
                assert_eq!(set.images.size()[1..], [3, size, size]);
                for (row, caption) in set.captions.as_ref().unwrap().iter().enumerate() {
                    let number = caption.trim_start_matches("thing ").split(',').next().unwrap();
                    let number: i64 = number.parse().unwrap();
                    let toned = caption.contains("light and dark skin tone");
                    let base = if caption.ends_with(", google style") { 0 } else { 100 };
                    assert!(base == 0 || caption.ends_with(", twitter style"), "{caption}");
                    let at = |c, x| set.images.int64_value(&[row as i64, c, size / 2, x]);
                    assert_eq!(at(0, 2), base + number + if toned { 40 } else { 0 });
                    assert_eq!([at(1, 2), at(0, size - 3), at(1, size - 3)], [0, 255, 255]);
                    let class = set.classes.as_ref().unwrap().int64_value(&[row as i64]);
                    let name = if number % 2 == 0 { "Objects" } else { "Food & Drink" };
                    assert_eq!(emoji.class_names()[class as usize], name);
                }
            }
        }
    }

    #[test]
    fn an_emoji_is_in_one_split_with_all_its_pictures() {
        let folder = folder();
        let emoji = open(&folder, &DataConfig::default());
        let mut splits: HashMap<String, Vec<Split>> = HashMap::new();
        for split in [Split::Train, Split::Test] {
            for caption in emoji.load(split).unwrap().captions.unwrap() {
                let name = caption.split(',').next().unwrap().to_owned();
                splits.entry(name).or_default().push(split);
            }
        }
        assert_eq!(splits.len(), 40);
        assert!(splits.values().all(|of| of.iter().all(|split| *split == of[0])));
        let tested = splits.values().filter(|of| of[0] == Split::Test).count();
        assert!((1..12).contains(&tested), "{tested}");
    }

    #[test]
    fn what_is_tuned_on_is_neither_trained_on_nor_tested() {
        let folder = folder();
        let (whole, parted) =
            (DataConfig::default(), DataConfig { validation: true, ..DataConfig::default() });
        let [whole, parted] = [whole, parted].map(|config| open(&folder, &config));
        let names = |emoji: &Emoji, split| -> HashSet<String> {
            let captions = emoji.load(split).unwrap().captions.unwrap();
            captions.iter().map(|caption| caption.split(',').next().unwrap().to_owned()).collect()
        };
        let (train, held) = (names(&parted, Split::Train), names(&parted, Split::Validation));
        assert!(!held.is_empty() && train.is_disjoint(&held));
        assert_eq!(names(&whole, Split::Train), &train | &held);
        assert_eq!(names(&whole, Split::Test), names(&parted, Split::Test));
        let error = whole.load(Split::Validation).unwrap_err().to_string();
        assert!(error.contains("data.validation"), "{error}");
    }

    #[test]
    fn categories_keep_their_pictures_and_their_split() {
        let folder = folder();
        let all = open(&folder, &DataConfig::default());
        let categories = vec!["Objects".to_owned()];
        let objects = open(&folder, &DataConfig { categories, ..DataConfig::default() });
        assert_eq!(objects.class_names(), ["Objects"]);
        for split in [Split::Train, Split::Test] {
            let (all, set) = (all.load(split).unwrap(), objects.load(split).unwrap());
            assert!(set.classes.unwrap().eq(0).all().int64_value(&[]) == 1);
            let number = |caption: &String| -> i64 {
                let name = caption.trim_start_matches("thing ").split(',').next();
                name.unwrap().parse().unwrap()
            };
            let mut even = all.captions.unwrap();
            even.retain(|caption| number(caption) % 2 == 0);
            assert_eq!(set.captions.unwrap(), even);
        }
        for (categories, rule) in [(vec!["Fish"], "must be among"), (vec!["Flags"; 2], "twice")] {
            let categories = categories.into_iter().map(str::to_owned).collect();
            let config = DataConfig { categories, ..DataConfig::default() };
            let error = Emoji::new(spec("emoji").unwrap(), &config, folder.path().to_owned());
            assert!(error.unwrap_err().to_string().contains(rule));
        }
    }

    #[test]
    fn no_picture_is_trained_on_and_tested() {
        let folder = folder_of(|i| i % 20);
        let emoji = open(&folder, &DataConfig::default());
        let reds = |split| -> Vec<i64> {
            let images = emoji.load(split).unwrap().images;
            let red = images.select(1, 0).select(1, 9).select(1, 2);
            Vec::try_from(red.to_kind(tch::Kind::Int64)).unwrap()
        };
        let (train, test) = (reds(Split::Train), reds(Split::Test));
        assert!(train.iter().all(|red| !test.contains(red)));
        assert!(train.len() > 50 && !test.is_empty() && train.len() + test.len() < 100);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = folder();
        let config = DataConfig { size: Some(48), ..DataConfig::default() };
        let error = Emoji::new(spec("emoji").unwrap(), &config, folder.path().to_owned());
        assert!(error.unwrap_err().to_string().contains("32 or 64"));
        folder.write("google-64.png", b"no picture");
        let emoji = open(&folder, &DataConfig::default());
        let error = emoji.load(Split::Test).unwrap_err().to_string();
        assert!(error.contains("google-64.png"), "{error}");
        RgbaImage::new(80, 80).save(folder.path().join("google-64.png")).unwrap();
        let error = emoji.load(Split::Train).unwrap_err().to_string();
        assert!(error.contains("google-64.png") && error.contains("no place for thing"), "{error}");
        folder.write("emoji.json", b"[{}]");
        assert!(emoji.load(Split::Test).unwrap_err().to_string().contains("emoji.json"));
    }
}
