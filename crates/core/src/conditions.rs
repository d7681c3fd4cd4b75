use crate::DataSpec;
use tch::{Device, Kind, Tensor};

/// What an image is asked to be, one row an image. A family follows class, caption and known pixels, whichever there are: tables
/// say of its images that it was told.
///
/// Dropped is a value, not an absence (the null class, all padding, an empty mask), so the rows of one batch may differ
/// and one network serves conditional and unconditional use.
#[derive(Debug)]
pub struct Conditions {
    /// i64 `[n]` in `0..=num_classes`; `num_classes` means "no class".
    pub class: Tensor,
    /// i64 `[n, max_tokens]`; 0 is padding, a row of padding means "no caption".
    pub tokens: Tensor,
    /// Pixels to keep, present exactly when the model was built with [`DataSpec::known_pixels`] or is asked to in-paint.
    pub known: Option<Known>,
}

/// Known pixels.
#[derive(Debug)]
pub struct Known {
    /// f32 `[n, c, h, w]` in [-1, 1]; meaningless where the mask is 0.
    pub pixels: Tensor,
    /// f32 `[n, 1, h, w]`: 1 where the pixel is known, 0 where it is to be made.
    pub mask: Tensor,
}

/// Training or evaluation images with their conditions.
#[derive(Debug)]
pub struct Batch {
    /// f32 `[n, c, h, w]` in [-1, 1], on the grid of 256 levels.
    pub images: Tensor,
    /// One row an image.
    pub conditions: Conditions,
}

impl Conditions {
    /// `n` rows that ask for nothing.
    pub fn none(n: i64, data: &DataSpec, device: Device) -> Self {
        let known = data.known_pixels.then(|| Known {
            pixels: Tensor::zeros(data.shape.batch(n), (Kind::Float, device)),
            mask: Tensor::zeros([n, 1, data.shape.height, data.shape.width], (Kind::Float, device)),
        });
        Self {
            class: Tensor::full([n], data.null_class(), (Kind::Int64, device)),
            tokens: Tensor::zeros([n, data.max_tokens()], (Kind::Int64, device)),
            known,
        }
    }

    /// One row for each class id.
    pub fn of_classes(classes: &[i64], data: &DataSpec, device: Device) -> Self {
        let none = Self::none(classes.len() as i64, data, device);
        Self { class: Tensor::from_slice(classes).to_device(device), ..none }
    }

    /// Number of rows.
    pub fn len(&self) -> i64 {
        self.class.size()[0]
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows `start..start + len`, sharing storage.
    pub fn narrow(&self, start: i64, len: i64) -> Self {
        self.map(|t| t.narrow(0, start, len))
    }

    /// The same conditions on another device.
    pub fn to_device(&self, device: Device) -> Self {
        self.map(|t| torch_ext::upload(t, device))
    }

    /// The same, sharing storage.
    pub fn shallow_clone(&self) -> Self {
        self.map(Tensor::shallow_clone)
    }

    /// The same class and text with these known pixels, or none.
    pub fn with_known(&self, known: Option<Known>) -> Self {
        let (class, tokens) = (self.class.shallow_clone(), self.tokens.shallow_clone());
        Self { class, tokens, known }
    }

    /// The same known pixels with class and text dropped: the other half of classifier-free guidance.
    pub fn unprompted(&self, data: &DataSpec) -> Self {
        Self {
            class: self.class.full_like(data.null_class()),
            tokens: self.tokens.zeros_like(),
            known: self.known.as_ref().map(Known::shallow_clone),
        }
    }

    /// These rows, then those of `other`; both with known pixels or both without.
    pub fn followed_by(&self, other: &Self) -> Self {
        let cat = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 0);
        let known = self.known.as_ref().zip(other.known.as_ref());
        Self {
            class: cat(&self.class, &other.class),
            tokens: cat(&self.tokens, &other.tokens),
            known: known.map(|(a, b)| Known {
                pixels: cat(&a.pixels, &b.pixels),
                mask: cat(&a.mask, &b.mask),
            }),
        }
    }

    /// All rows `n` times, one after the other.
    pub fn repeat(&self, n: i64) -> Self {
        self.map(|t| {
            let mut times = vec![1; t.dim()];
            times[0] = n;
            t.repeat(times)
        })
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            class: f(&self.class),
            tokens: f(&self.tokens),
            known: self.known.as_ref().map(|k| Known { pixels: f(&k.pixels), mask: f(&k.mask) }),
        }
    }
}

impl Known {
    /// `images` with the known pixels put in, bit for bit; what the mask hides may be anything, NaN too.
    pub fn over(&self, images: &Tensor) -> Tensor {
        self.pixels.where_self(&self.mask.to_kind(Kind::Bool), images)
    }

    /// The known pixels, and `fill` for the others.
    pub fn filled(&self, fill: f64) -> Tensor {
        self.over(&self.pixels.full_like(fill))
    }

    /// The same, sharing storage.
    pub fn shallow_clone(&self) -> Self {
        Self { pixels: self.pixels.shallow_clone(), mask: self.mask.shallow_clone() }
    }
}

impl Batch {
    /// What an edit of these images under `asked` gives back: `edited`, but these images' own pixels, bit for bit, under the mask
    /// of known pixels if there is one.
    pub fn kept(&self, asked: &Conditions, edited: Tensor) -> Tensor {
        match &asked.known {
            None => edited,
            Some(Known { mask, .. }) => self.images.where_self(&mask.to_kind(Kind::Bool), &edited),
        }
    }

    /// Number of images.
    pub fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Images `start..start + len`, sharing storage.
    pub fn narrow(&self, start: i64, len: i64) -> Self {
        Self {
            images: self.images.narrow(0, start, len),
            conditions: self.conditions.narrow(start, len),
        }
    }

    /// The same batch on another device.
    pub fn to_device(&self, device: Device) -> Self {
        let images = torch_ext::upload(&self.images, device);
        Self { images, conditions: self.conditions.to_device(device) }
    }
}
