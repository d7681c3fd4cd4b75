//! The valid name nearest to a misspelt one.

/// The candidate with the fewest edits from `found`, if few enough to be what was meant: at most a third of its length.
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (edits(&found, &candidate.to_lowercase()), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other
/// (optimal string alignment distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // rows[i][j]: edits between the first i characters of a and the first j of b
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let least = substitution.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { least.min(rows[i - 2][j - 2] + 1) } else { least }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, want) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("latent_dmi", "latent_dim", 1),
            ("a", "a", 0),
        ] {
            assert_eq!(edits(a, b), want, "{a} {b}");
            assert_eq!(edits(b, a), want, "{b} {a}");
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["vae", "gan", "autoregressive", "diffusion"];
        assert_eq!(nearest("difusion", names), Some("diffusion"));
        assert_eq!(nearest("VAE", names), Some("vae"));
        assert_eq!(nearest("transformer", names), None);
    }
}
