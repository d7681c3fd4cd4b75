use anyhow::{Result, bail, ensure};
use paragone_core::{Error, ImageShape, OnStep, Progress, Result as CoreResult};
use std::ops::ControlFlow;
use tch::{Kind, Tensor};

/// Runs an action to its end and holds every report to the contract: `call` counts up to `calls`, and the picture so far
/// is one. Returns what the action returned and the number of calls.
pub fn watched<T>(
    shape: &ImageShape,
    n: i64,
    action: impl FnOnce(&mut dyn OnStep) -> CoreResult<T>,
) -> Result<(T, u64)> {
    let (mut made, mut total) = (0, None);
    let mut faults: Vec<String> = Vec::new();
    let mut on_step = |progress: Progress| {
        made += 1;
        let calls = *total.get_or_insert(progress.calls);
        if (progress.call, progress.calls) != (made, calls) {
            faults.push(format!("report {made} says {progress:?}, the first said of {calls}"));
        }
        if let Err(error) = is_image(&(progress.images)(), &shape.batch(n)) {
            faults.push(format!("picture after {progress:?}: {error:#}"));
        }
        ControlFlow::Continue(())
    };
    let done = action(&mut on_step)?;
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    let Some(calls) = total else { bail!("no network call was reported") };
    ensure!(made == calls, "ended after {made} reports of {calls}");
    Ok((done, calls))
}

/// Runs an action that ignores its progress.
pub fn unwatched<T>(action: impl FnOnce(&mut dyn OnStep) -> CoreResult<T>) -> Result<T> {
    Ok(action(&mut |_: Progress| ControlFlow::Continue(()))?)
}

/// Stops an action at its first and last call and at some between: it must end at once with [`Error::Stopped`].
pub fn stops<T>(
    calls: u64,
    mut action: impl FnMut(&mut dyn OnStep) -> CoreResult<T>,
) -> Result<()> {
    let mut moments = vec![1, 2, calls / 2, calls.saturating_sub(1), calls];
    moments.retain(|call| (1..=calls).contains(call));
    moments.dedup();
    for at in moments {
        let mut reports = 0;
        let mut on_step = |_: Progress| {
            reports += 1;
            if reports >= at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match action(&mut on_step) {
            Err(Error::Stopped) => {}
            Ok(_) => bail!("told to stop at call {at} of {calls}, it finished"),
            Err(other) => bail!("told to stop at call {at} of {calls}, it says: {other}"),
        }
        ensure!(reports == at, "told to stop at call {at} of {calls}, it made {reports}");
    }
    Ok(())
}

/// Checks that a tensor is a batch of images: f32 `size`, finite, in [-1, 1].
pub fn is_image(images: &Tensor, size: &[i64]) -> Result<()> {
    ensure!(images.size() == size, "size {:?} is not {size:?}", images.size());
    ensure!(images.kind() == Kind::Float, "kind {:?} is not Float", images.kind());
    is_finite(images)?;
    let (low, high) = (images.min().double_value(&[]), images.max().double_value(&[]));
    ensure!(low >= -1.0 && high <= 1.0, "pixels from {low} to {high} are not in [-1, 1]");
    Ok(())
}

/// Checks that all values are numbers.
pub fn is_finite(tensor: &Tensor) -> Result<()> {
    let finite = tensor.isfinite().all().int64_value(&[]) == 1;
    ensure!(finite, "not all values are finite");
    Ok(())
}

/// The largest absolute difference.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Mean squared difference of each image, f64 `[n]`.
pub fn mean_square(a: &Tensor, b: &Tensor) -> Tensor {
    (a - b).square().to_kind(Kind::Double).flatten(1, -1).mean_dim(1, false, Kind::Double)
}

/// How many images show the class that they should.
pub fn right(shown: &[i64], meant: &[i64]) -> usize {
    shown.iter().zip(meant).filter(|(shown, meant)| shown == meant).count()
}
