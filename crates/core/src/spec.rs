use serde::{Deserialize, Serialize};

/// Size of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageShape {
    /// 1 for gray, 3 for colour.
    pub channels: i64,
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
}

impl ImageShape {
    /// `[channels, height, width]`.
    pub fn dims(&self) -> [i64; 3] {
        [self.channels, self.height, self.width]
    }

    /// `[n, channels, height, width]`.
    pub fn batch(&self, n: i64) -> [i64; 4] {
        [n, self.channels, self.height, self.width]
    }

    /// Number of values in an image: the dimensions that likelihood is divided by.
    pub fn numel(&self) -> i64 {
        self.channels * self.height * self.width
    }
}

/// Text that accompanies the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// Number of different tokens, padding (token 0) included.
    pub vocab_size: i64,
    /// Length that every caption is padded to.
    pub max_tokens: i64,
}

/// All that a family may know of the data when it is built; saved in the run as `data.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Size of every image, native.
    pub shape: ImageShape,
    /// Number of classes; 0 without class labels. Class id `num_classes` means "no class".
    pub num_classes: i64,
    /// Vocabulary of the captions, if there are any.
    pub text: Option<TextSpec>,
    /// Whether training shows the model known pixels to complete.
    pub known_pixels: bool,
    /// Mean of all training pixels in [-1, 1].
    pub mean: f64,
    /// Standard deviation of all training pixels in [-1, 1] (σ_data).
    pub std: f64,
}

impl DataSpec {
    /// The class id that stands for "no class".
    pub fn null_class(&self) -> i64 {
        self.num_classes
    }

    /// Columns of [`Conditions::tokens`](crate::Conditions::tokens): 0 without captions.
    pub fn max_tokens(&self) -> i64 {
        self.text.as_ref().map_or(0, |text| text.max_tokens)
    }
}
