"""Compares this repository's scores with numpy, scipy and prdc on fixed features. See scripts/check-metrics."""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time

import numpy as np
import scipy.linalg
import scipy.spatial
from prdc import compute_prdc
from safetensors.numpy import save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def feature_sets():
    """Pairs of feature sets: easy ones, and those on which implementations are known to differ."""
    rng = np.random.default_rng(0)

    def relu(n, d, scale=1.0, shift=0.0):
        return np.maximum(rng.normal(shift, scale, (n, d)), 0)

    mixing = rng.normal(0, 1, (64, 64)) / 8
    sets = {
        "gaussian": (rng.normal(0, 1, (2000, 64)) @ mixing, rng.normal(0.1, 1.1, (2000, 64)) @ mixing),
        "rectified": (relu(3000, 128), relu(3000, 128, 1.1, 0.05)),
        "fewer-images-than-dims": (relu(300, 512), relu(300, 512, 1.1)),
        "large-offset": (1000 + rng.normal(0, 1, (1500, 32)), 1000.2 + rng.normal(0, 1, (1500, 32))),
        "unequal-counts": (relu(2500, 64), relu(1500, 64, 0.8)),
        "10k": (relu(10_000, 128), relu(10_000, 128, 1.05)),
    }
    constant = relu(2000, 64)
    constant[:, 10:20] = 0
    sets["constant-features"] = (constant, constant[::-1] * 1.2)
    real = relu(2000, 64)
    sets["collapsed"] = (real, np.repeat(relu(1, 64), 2000, axis=0) + 1e-3 * rng.normal(0, 1, (2000, 64)))
    sets["shares-images"] = (real, np.concatenate([real[:500], relu(1500, 64)]))
    return {name: [x.astype(np.float32) for x in pair] for name, pair in sets.items()}


def image_pairs():
    """Pairs of 8-bit images [n, c, h, w]: the waves that a unit test holds the values of, noise, and smooth colours."""
    rng = np.random.default_rng(1)
    i = np.arange(384).reshape(2, 1, 12, 16)
    waves = i * 37 % 256
    smooth = np.cumsum(rng.normal(0, 6, (4, 3, 32, 32)), axis=3) + 128
    pairs = {
        "images-of-waves": (waves, waves + i * i % 23 - 11),
        "images-of-noise": (rng.integers(0, 256, (4, 3, 28, 28)), rng.integers(0, 256, (4, 3, 28, 28))),
        "images-of-colours": (smooth, smooth + rng.normal(0, 10, smooth.shape)),
    }
    return {name: [np.clip(x, 0, 255).astype(np.uint8) for x in pair] for name, pair in pairs.items()}


def likeness(a, b):
    """By scikit-image: the mean of the whole map, where its own mean leaves out a border."""
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True, channel_axis=0)
    psnr = [peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(a, b)]
    return {"psnr": psnr, "ssim": [structural_similarity(x, y, **options)[1].mean() for x, y in zip(a, b)]}


def frechet_distance(x, y):
    """By scipy's matrix square root."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(c1 @ c2))
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(c1) + np.trace(c2) - 2 * np.trace(root))


def kernel_distance(x, y):
    """The unbiased estimate from whole sets, by its definition."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    n, d = x.shape
    k = lambda a, b: (a @ b.T / d + 1) ** 3
    off_diagonal = lambda a: (np.sum(a) - np.trace(a)) / (n * (n - 1))
    return float(off_diagonal(k(x, x)) + off_diagonal(k(y, y)) - 2 * np.mean(k(x, y)))


def subset_rows(x, y, subsets=100):
    """The rows of x and of y in every subset, as torch-fidelity draws them."""
    rng = np.random.RandomState(0)
    size = min(1000, len(x), len(y))
    pairs = [[rng.choice(len(a), size, replace=False) for a in (x, y)] for _ in range(subsets)]
    return [np.stack(rows) for rows in zip(*pairs)]


def in_subsets(x, y, rows_x, rows_y):
    """Mean and standard deviation of the kernel distance over subsets."""
    values = [kernel_distance(x[i], y[j]) for i, j in zip(rows_x, rows_y)]
    return float(np.mean(values)), float(np.std(values))


def frechet_distance_infinity(real, fake, order):
    """The intercept of numpy's line through the distances without one of ten groups of rows, and the jackknife's error."""
    groups = np.array_split(np.array(order), 10)
    kept = [np.concatenate(groups[:i] + groups[i + 1 :]) for i in range(10)]
    whole = frechet_distance(real, fake)
    distances = np.array([frechet_distance(real, fake[rows]) for rows in kept])
    counts = np.array([len(rows) for rows in kept])
    n = len(order)
    intercept = np.polyfit(1 / np.append(counts, n), np.append(distances, whole), 1)[1]
    estimates = (n * whole - counts * distances) / (n - counts)
    return float(intercept), float(np.std(estimates, ddof=1) / 10**0.5)


def nearest_distances(real, fake):
    """Distances to the nearest in either half of the real rows, by scipy's exact distances in blocks."""
    def nearest(others):
        blocks = [scipy.spatial.distance.cdist(fake[i : i + 500], others) for i in range(0, len(fake), 500)]
        return np.concatenate([block.min(1) for block in blocks])

    half = (len(real) + 1) // 2
    return nearest(real[:half]), nearest(real[half:])


def check_further(result, real, fake):
    """Rows (score, ours, reference, allowed) of what is not one number a set. Slow roots are taken of small sets only."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    rows = []
    if real.shape[1] <= 128 and len(fake) <= 3000:
        value, error = frechet_distance_infinity(real, fake, result["order"])
        limit = 1e-4 * max(1.0, abs(value))  # ten times that of a distance, by the extrapolation
        rows.append(("frechet_infinity", result["frechet_distance_infinity"], value, limit))
        rows.append(("frechet_infinity_error", result["frechet_distance_infinity_standard_error"], error, limit))
    for i, ours in enumerate(result["by_class"]):
        want = frechet_distance(real[i::3], fake[i::3])
        rows.append((f"frechet_of_class_{i}", ours["Ok"], want, 1e-6 * max(1.0, abs(want))))
    train, held_out = nearest_distances(real, fake)
    suspects = result["suspects"]
    images = [suspect["image"] for suspect in suspects]
    assert sorted(images) == list(range(len(fake))), "every image is named once"
    for what, want in (("train", train), ("held_out", held_out)):
        ours = np.array([suspect[f"{what}_distance"] for suspect in suspects])
        worst = np.argmax(np.abs(ours - want[images]))
        rows.append((f"nearest_{what}", ours[worst], want[images][worst], 1e-6 * max(1.0, want.max())))
    return rows


def neighbours(x, y, k):
    with contextlib.redirect_stdout(io.StringIO()):
        return compute_prdc(x, y, nearest_k=k)


def expected(real, fake):
    start = time.time()
    three, five = neighbours(real, fake, 3), neighbours(real, fake, 5)
    seconds = (time.time() - start) / 2
    mean, std = in_subsets(real, fake, *subset_rows(real, fake))
    scores = {
        "frechet_distance": frechet_distance(real, fake),
        "kernel_distance_whole": kernel_distance(real, fake) if len(real) == len(fake) else None,
        "kernel_distance_mean": mean,
        "kernel_distance_std": std,
        "precision": three["precision"],
        "recall": three["recall"],
        "density": five["density"],
        "coverage": five["coverage"],
    }
    return scores, seconds


def allowed(score, want, subsets_std, kernel_size):
    """How far a score may be off. Nearest-neighbour scores count comparisons, so they agree to the last image."""
    if score == "frechet_distance":
        return 1e-6 * max(1.0, abs(want))
    if score == "kernel_distance_whole":  # a difference of sums of kernels: it rounds as they do
        return 1e-13 * kernel_size
    if score == "kernel_distance_mean":  # other subsets: five standard errors of the difference
        return 5 * subsets_std * (2 / 100) ** 0.5 + 1e-9
    if score == "kernel_distance_std":
        return 0.5 * want + 1e-9  # other subsets
    return 1e-9


def main():
    sets = feature_sets()
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        tensors = {f"{name}.{which}": np.ascontiguousarray(x) for name, pair in sets.items() for which, x in zip(("real", "fake"), pair)}
        for name, pair in sets.items():
            for which, rows in zip(("real", "fake"), subset_rows(*pair)):
                tensors[f"{name}.{which}_rows"] = rows
        pairs = image_pairs()
        tensors |= {f"{name}.{which}": x for name, pair in pairs.items() for which, x in zip("ab", pair)}
        save_file(tensors, file.name)
        output = subprocess.run([sys.argv[1], file.name], check=True, capture_output=True, text=True).stdout
    results = {row["name"]: row for row in map(json.loads, output.splitlines())}

    failed = False
    print(f"{'features':24}{'score':24}{'ours':>16}{'reference':>16}{'difference':>12}{'allowed':>10}")
    for name, (real, fake) in sets.items():
        theirs, seconds = expected(real, fake)
        kernel_size = np.mean((np.sum(real.astype(np.float64) ** 2, 1) / real.shape[1] + 1) ** 3)
        rows = [
            (score, results[name][score], want, allowed(score, want, theirs["kernel_distance_std"], kernel_size))
            for score, want in theirs.items()
            if want is not None
        ]
        mean, std = in_subsets(real, fake, *subset_rows(real, fake))
        rows.append(("kernel_same_subsets", results[name]["kernel_same_subsets"]["mean"], mean, 1e-13 * kernel_size))
        rows.append(("kernel_same_subsets_std", results[name]["kernel_same_subsets"]["std"], std, 1e-13 * kernel_size))
        for score, got, want, limit in rows + check_further(results[name], real, fake):
            wrong = not abs(got - want) <= limit
            failed |= wrong
            print(f"{name:24}{score:24}{got:16.9g}{want:16.9g}{got - want:12.1e}{limit:10.0e}{'  WRONG' if wrong else ''}")
        ours = results[name]["seconds"]
        print(f"{name:24}seconds: frechet {ours['frechet']:.2f}, kernel {ours['kernel']:.2f}, neighbours {ours['neighbours']:.2f} (prdc {seconds:.2f})")
    for name, pair in pairs.items():
        for score, wanted in likeness(*pair).items():
            for got, want in zip(results[name][score], wanted):
                wrong = not abs(got - want) <= 1e-9
                failed |= wrong
                print(f"{name:24}{score:24}{got:16.9g}{want:16.9g}{got - want:12.1e}{1e-9:10.0e}{'  WRONG' if wrong else ''}")
    sys.exit(failed)


main()
