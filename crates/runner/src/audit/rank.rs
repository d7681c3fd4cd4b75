//! Agreement of orders: Kendall 1938.

/// Kendall's τ between the order of `values` and the order they are in: pairs that rise less pairs that fall, over all
/// pairs. 1 if every value is above the one before. `None` for less than two values, or one that is not finite.
pub fn kendall(values: &[f64]) -> Option<f64> {
    let pairs = (0..values.len()).flat_map(|i| (i + 1..values.len()).map(move |j| (i, j)));
    let finite = values.iter().all(|value| value.is_finite());
    let signs: Vec<f64> = pairs
        .map(|(i, j)| match values[j].partial_cmp(&values[i]) {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Less) => -1.0,
            _ => 0.0,
        })
        .collect();
    (finite && !signs.is_empty()).then(|| signs.iter().sum::<f64>() / signs.len() as f64)
}

/// Share of neighbours that rise.
pub fn adjacent(values: &[f64]) -> Option<f64> {
    let pairs = values.windows(2);
    let rising = pairs.clone().filter(|pair| pair[1] > pair[0]).count();
    (pairs.len() > 0).then(|| rising as f64 / pairs.len() as f64)
}

/// Kendall's τ-b between two scores of the same things, which takes ties into account; `None` if one of them is
/// the same for all.
pub fn agreement(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mut concordant, mut untied_a, mut untied_b) = (0.0, 0.0, 0.0);
    for i in 0..a.len() {
        for j in i + 1..a.len() {
            let (x, y) = (sign(a[j] - a[i]), sign(b[j] - b[i]));
            concordant += x * y;
            untied_a += x * x;
            untied_b += y * y;
        }
    }
    let pairs: f64 = untied_a * untied_b;
    (pairs > 0.0).then(|| concordant / pairs.sqrt())
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By scipy 1.17: `kendalltau`.
    #[test]
    fn agrees_with_scipy() {
        let values = [0.1, 0.4, 0.3, 0.9, 0.8];
        assert!((kendall(&values).unwrap() - 0.6).abs() < 1e-12);
        let (a, b) = ([1.0, 2.0, 2.0, 4.0, 5.0], [3.0, 1.0, 4.0, 4.0, 5.0]);
        assert!((agreement(&a, &b).unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn extremes_and_what_has_no_order() {
        assert_eq!(kendall(&[1.0, 2.0, 3.0]), Some(1.0));
        assert_eq!(kendall(&[3.0, 2.0, 1.0]), Some(-1.0));
        assert_eq!(kendall(&[1.0, 1.0]), Some(0.0));
        assert_eq!((kendall(&[1.0]), kendall(&[1.0, f64::NAN])), (None, None));
        assert_eq!(adjacent(&[1.0, 2.0, 2.0, 3.0, 1.0]), Some(0.5));
        assert_eq!(agreement(&[1.0, 2.0], &[5.0, 5.0]), None);
    }
}
