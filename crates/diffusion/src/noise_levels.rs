//! Which noise levels a sampler visits.

use crate::schedule::NoiseSchedule;

/// The schedule's levels at `steps` times spread evenly over its T, T itself the first, then 0.
///
/// With `steps` = T these are all of them.
pub(crate) fn timesteps(schedule: &NoiseSchedule, steps: usize) -> Vec<f64> {
    let last = schedule.num_timesteps();
    (0..=steps).rev().map(|i| schedule.sigma((i * last + steps / 2) / steps)).collect()
}

/// `steps` levels from `max` to `min`, evenly apart in σ^(1/ρ), then 0 (Karras et al. 2022, eq. 5). One step starts at `max`.
pub(crate) fn karras(min: f64, max: f64, rho: f64, steps: usize) -> Vec<f64> {
    evenly(min, max, rho, steps, steps.max(2) - 1)
}

/// `steps` levels from `max` towards `min`, which would be the next, evenly apart in σ^(1/ρ), then 0.
pub(crate) fn karras_open(min: f64, max: f64, rho: f64, steps: usize) -> Vec<f64> {
    evenly(min, max, rho, steps, steps)
}

/// The first `steps` levels on the way from `max` to `min` in `intervals`, then 0.
fn evenly(min: f64, max: f64, rho: f64, steps: usize, intervals: usize) -> Vec<f64> {
    let (first, last) = (max.powf(1.0 / rho), min.powf(1.0 / rho));
    let level = |i: usize| (first + (last - first) * i as f64 / intervals as f64).powf(rho);
    (0..steps).map(level).chain([0.0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ScheduleConfig;

    #[test]
    fn all_timesteps_are_the_schedule() {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default(), 7);
        let want: Vec<f64> = (0..=7).rev().map(|t| schedule.sigma(t)).collect();
        assert_eq!(timesteps(&schedule, 7), want);
    }

    #[test]
    fn fewer_timesteps_begin_at_the_last_and_never_repeat() {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default(), 1000);
        for steps in [1, 3, 20, 999] {
            let sigmas = timesteps(&schedule, steps);
            assert_eq!(sigmas.len(), steps + 1);
            assert_eq!((sigmas[0], sigmas[steps]), (schedule.sigma(1000), 0.0));
            assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]));
        }
        assert_eq!(timesteps(&schedule, 20)[1], schedule.sigma(950));
    }

    /// Computed apart from this code: ((40^(1/7) + i/3 (0.01^(1/7) − 40^(1/7)))^7.
    #[test]
    fn karras_golden() {
        let want = [40.0, 6.33791521313, 0.516375448108, 0.01, 0.0];
        for (got, want) in karras(0.01, 40.0, 7.0, 4).iter().zip(want) {
            assert!((got - want).abs() < 1e-9 * want.max(1e-3), "{got} is not {want}");
        }
        assert_eq!(karras(0.01, 40.0, 7.0, 1).len(), 2);
        let open = karras_open(0.01, 40.0, 7.0, 3);
        assert!((open[2] - want[2]).abs() < 1e-9);
        assert_eq!((open.len(), open[3]), (4, 0.0));
    }
}
