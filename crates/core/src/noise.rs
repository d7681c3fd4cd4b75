use rayon::prelude::*;
use tch::{Device, Tensor};

/// Fewer values than these are not worth several threads.
const MIN_PARALLEL: usize = 1 << 15;

/// The randomness of a batch of images, one seed an image.
///
/// Every value is a pure function of (the image's seed, the number of the draw, the position in the draw): a Philox
/// 4x32-10 counter (Salmon et al. 2011) on the host. So image 17 gets the same noise in any batch and on any device.
#[derive(Debug, Clone)]
pub struct Noise {
    /// One seed an image.
    pub seeds: Vec<u64>,
    /// Where the values are put.
    pub device: Device,
}

impl Noise {
    /// Noise for images with these seeds.
    pub fn new(seeds: Vec<u64>, device: Device) -> Self {
        Self { seeds, device }
    }

    /// Number of images.
    pub fn len(&self) -> i64 {
        self.seeds.len() as i64
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    /// The noise of images `start..start + len`.
    pub fn narrow(&self, start: i64, len: i64) -> Self {
        let (start, len) = (start as usize, len as usize);
        Self { seeds: self.seeds[start..start + len].to_vec(), device: self.device }
    }

    /// Independent noise for the same images, such as for a second pass over them. Distinct `stream`s never share values.
    pub fn fork(&self, stream: u64) -> Self {
        let seeds = self.seeds.iter().map(|&seed| mix(&[seed, stream])).collect();
        Self { seeds, device: self.device }
    }

    /// f32 `[n, shape..]`, standard normal.
    pub fn normal(&self, draw: u64, shape: &[i64]) -> Tensor {
        self.fill(draw, shape, |bits| {
            let [a, b, c, d] = bits.map(unit);
            let ([e, f], [g, h]) = (box_muller(a, b), box_muller(c, d));
            [e, f, g, h]
        })
    }

    /// f32 `[n, shape..]`, uniform in the open interval (0, 1).
    pub fn uniform(&self, draw: u64, shape: &[i64]) -> Tensor {
        self.fill(draw, shape, |bits| bits.map(unit))
    }

    fn fill(
        &self,
        draw: u64,
        shape: &[i64],
        values: impl Fn([u32; 4]) -> [f32; 4] + Sync,
    ) -> Tensor {
        let numel = shape.iter().product::<i64>() as usize;
        let mut data = vec![0f32; numel * self.seeds.len()];
        let fill_row = |(row, &seed): (&mut [f32], &u64)| {
            for (i, four) in row.chunks_mut(4).enumerate() {
                let bits = philox([i as u32, 0, draw as u32, (draw >> 32) as u32], seed);
                four.copy_from_slice(&values(bits)[..four.len()]);
            }
        };
        // A GPU would wait for one thread. Whoever keeps libtorch to one thread has a reason.
        if data.len() >= MIN_PARALLEL && tch::get_num_threads() > 1 {
            data.par_chunks_mut(numel).zip(&self.seeds).for_each(fill_row);
        } else if numel > 0 {
            data.chunks_mut(numel).zip(&self.seeds).for_each(fill_row);
        }
        let values = Tensor::from_slice(&data).reshape([&[self.len()], shape].concat());
        torch_ext::upload(&values, self.device)
    }
}

/// A seed from several numbers, well mixed (the finalizer of SplitMix64, folded over `parts`).
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9E37_79B9_7F4A_7C15, |hash: u64, part| {
        let mut z = (hash ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// 23 random bits at the centre of their bin: never 0, never 1.
fn unit(bits: u32) -> f32 {
    ((bits >> 9) as f32 + 0.5) / 8_388_608.0
}

fn box_muller(u: f32, v: f32) -> [f32; 2] {
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (std::f32::consts::TAU * v).sin_cos();
    [radius * cos, radius * sin]
}

fn philox(mut counter: [u32; 4], seed: u64) -> [u32; 4] {
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let a = 0xD251_1F53 * u64::from(counter[0]);
        let b = 0xCD9E_8D57 * u64::from(counter[2]);
        let high = |x: u64| (x >> 32) as u32;
        counter =
            [high(b) ^ counter[1] ^ key[0], b as u32, high(a) ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    /// The known-answer vectors that come with Random123 (kat_vectors: philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], u64::MAX),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], 0x299f_31d0_a409_3822),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn an_image_keeps_its_noise_in_any_batch() {
        let many = Noise::new((0..9).collect(), Device::Cpu);
        let one = Noise::new(vec![7], Device::Cpu);
        assert!(many.normal(3, &[2, 5]).narrow(0, 7, 1).equal(&one.normal(3, &[2, 5])));
        assert!(many.narrow(7, 1).uniform(3, &[7]).equal(&one.uniform(3, &[7])));
        assert!(!one.normal(3, &[10]).equal(&one.normal(4, &[10])));
    }

    /// Also where there are so many values that threads share them.
    #[test]
    fn threads_change_nothing() {
        let many = Noise::new((0..9).collect(), Device::Cpu);
        let size = MIN_PARALLEL as i64 / 8 + 3;
        let before = tch::get_num_threads();
        tch::set_num_threads(2);
        let together = many.normal(5, &[size]);
        tch::set_num_threads(before);
        for i in 0..9 {
            assert!(together.narrow(0, i, 1).equal(&many.narrow(i, 1).normal(5, &[size])));
        }
    }

    #[test]
    fn moments_are_standard() {
        let noise = Noise::new((0..64).collect(), Device::Cpu);
        let x = noise.normal(0, &[4096]).to_kind(Kind::Double);
        let moment = |k: i64| x.pow_tensor_scalar(k).mean(Kind::Double).double_value(&[]);
        // Standard errors at n = 262,144: 0.002, 0.003, 0.008, 0.02.
        for (k, want, tolerance) in [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.04), (4, 3.0, 0.1)]
        {
            assert!((moment(k) - want).abs() < tolerance, "moment {k} is {}", moment(k));
        }
        let u = noise.uniform(0, &[4096]);
        assert!(u.min().double_value(&[]) > 0.0 && u.max().double_value(&[]) < 1.0);
    }
}
