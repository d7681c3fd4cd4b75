//! The distribution that a dataset of scenes is drawn from.

use super::{
    draw::scenes,
    grammar::Size,
    scene::{NUM_CLASSES, Scene},
};
use crate::Scenes;

/// The probability of every scene under `scenes: all` or `scenes: simple`.
#[derive(Debug, Clone)]
pub struct Law {
    scenes: Scenes,
    /// What all scenes of a class in the set weigh under `scenes: all`.
    class_weights: [f64; NUM_CLASSES],
}

impl Law {
    /// The law of training, validation and test images of a configuration's `scenes`.
    pub fn new(scenes: Scenes) -> Self {
        let mut class_weights = [1.0 / NUM_CLASSES as f64; NUM_CLASSES];
        if scenes == Scenes::Simple {
            class_weights = [0.0; NUM_CLASSES];
            for scene in self::scenes().filter(is_simple) {
                class_weights[scene.class()] += scene.probability();
            }
        }
        Self { scenes, class_weights }
    }

    /// Probability of a scene; 0 for one that never comes up.
    pub fn probability(&self, scene: &Scene) -> f64 {
        if self.scenes == Scenes::Simple && !is_simple(scene) {
            return 0.0;
        }
        // The class is drawn first, uniformly.
        scene.probability() / self.class_weights[scene.class()] / NUM_CLASSES as f64
    }

    /// Every scene that comes up, with its probability.
    pub fn support(&self) -> impl Iterator<Item = (Scene, f64)> {
        let of = |scene: Scene| (scene, self.probability(&scene));
        scenes().map(of).filter(|(_, p)| *p > 0.0)
    }
}

fn is_simple(scene: &Scene) -> bool {
    scene.second.is_none() && scene.main.size == Size::Large
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{scene, simple_scene};

    #[test]
    fn simple_scenes_have_probability_one_together() {
        let law = Law::new(Scenes::Simple);
        let sum: f64 = law.support().map(|(_, p)| p).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!((0..100).all(|seed| law.probability(&simple_scene(seed)) > 0.0));
    }

    #[test]
    fn all_scenes_have_their_own_probability() {
        let law = Law::new(Scenes::All);
        for seed in 0..100 {
            let scene = scene(seed);
            assert!((law.probability(&scene) / scene.probability() - 1.0).abs() < 1e-12);
        }
    }
}
