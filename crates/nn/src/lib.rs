//! Layers that several families share, as functions of a [`tch::nn::Path`] with PyTorch's parameter names and
//! initialisation.

mod attention;
mod condition;
mod known;
mod layers;
pub mod pixel;
mod text;

pub use attention::{attend, join_heads, split_heads};
pub use condition::{ConditionEmbedding, EmbeddedConditions};
pub use known::KnownPixels;
pub use layers::{
    channels_last, conv, depth_to_space, linear, pytorch_init, space_to_depth, zero_conv,
};
pub use text::{CrossAttention, EncodedText, PlacedWords, TextEncoder};

/// libtorch's CPU generator is global and not thread-safe, so tests that draw from it take turns.
#[cfg(test)]
static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
