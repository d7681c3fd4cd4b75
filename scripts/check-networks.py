"""Compares Inception-v3 features, TorchScript features, KID, the Inception Score and Fréchet distances in many dimensions
with pytorch-fid's and torch-fidelity's, and times the features. See scripts/check-metrics.

No weights are fetched: the network gets numbers made by a formula, which crates/metrics/src/inception has too.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from pytorch_fid import inception as pytorch_fid
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

TAKE_FEATURES, PRINT_SCORES = sys.argv[1:3]
THREADS = 2


# ---- numbers made by a formula ----


def scrambled(seed, count):
    """32-bit numbers that look random: MurmurHash3's finalizer of seed + i * 0x9e3779b9."""
    x = np.uint32(seed) + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
    for multiplier, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13), (1, 16)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(multiplier)
    return x


def uniform(name, shape):
    """In [0, 1), seeded by the FNV-1a hash of the name."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) % 2**32
    return (scrambled(seed, int(np.prod(shape))) / 2.0**32).reshape(shape)


def parameter(name, shape):
    """Weights that keep the size of activations (He et al. 2015); batch normalisation with statistics of its own."""
    u = uniform(name, shape)
    if name.endswith(("running_var", "bn.weight")):
        values = 0.5 + u
    elif len(shape) == 1:
        values = u - 0.5
    else:
        values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def images(n, channels, height, width):
    """Smooth in part, so that resizing has something to say: noise of 8 × 8 tiles, mixed with noise of pixels."""
    noise = (scrambled(n * channels * height, n * channels * height * width) >> np.uint32(24)).reshape(n, channels, height, width)
    tiles = noise[:, :, np.arange(height) // 8 * 8][:, :, :, np.arange(width) // 8 * 8]
    return np.ascontiguousarray(((noise + 3 * tiles) // 4).astype(np.uint8))


# ---- the table ----

failed = False


def row(what, of, ours, theirs, allowed, scale=None):
    """Prints the largest difference, relative to each of their values (or their mean where that is larger), or to `scale`."""
    global failed
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, (what, of, ours.shape, theirs.shape)
    scale = np.maximum(np.abs(theirs), np.abs(theirs).mean()) if scale is None else scale
    difference = float(np.max(np.abs(ours - theirs) / scale))
    wrong = not difference <= allowed
    failed |= wrong
    print(f"{what:24}{of:46}{ours.flat[0]:16.9g}{theirs.flat[0]:16.9g}{difference:12.1e}{allowed:10.0e}{'  WRONG' if wrong else ''}", flush=True)


def run(*arguments, threads=THREADS):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return {line["name"]: line for line in map(json.loads, output.splitlines())}


def take_features(folder, sets, *network):
    save_file(sets, folder / "images.safetensors")
    seconds = run(TAKE_FEATURES, *map(str, network), folder / "images.safetensors", folder / "features.safetensors")
    return load_file(folder / "features.safetensors"), seconds


# ---- Inception-v3 ----


def inception(folder):
    """pytorch-fid's network with weights of the formula, and files of them."""
    weights = {}

    def no_download(*_, **__):
        return weights

    # The constructor loads what this gives; a first network tells which tensors that has to be.
    shapes = pytorch_fid._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
    for name, tensor in shapes.items():
        weights[name] = tensor if name.endswith("num_batches_tracked") else parameter(name, tuple(tensor.shape))
    pytorch_fid.load_state_dict_from_url = no_download
    network = pytorch_fid.fid_inception_v3()
    save_tensors(weights, folder / "weights.safetensors")
    state = network.state_dict()
    torch.save(state, folder / "weights.pth")
    torch.save(state, folder / "weights-old.pth", _use_new_zipfile_serialization=False)
    return network.eval()


def prepared(set_u8):
    """What the TensorFlow graph's network sees."""
    x = torch.from_numpy(np.repeat(set_u8, 3 // set_u8.shape[1], axis=1)).float()
    return (interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False) - 128) / 128


@torch.no_grad()
def check_inception(folder):
    inception(folder)
    blocks = pytorch_fid.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    fidelity = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(folder / "weights.pth"))
    sets = {
        "gray 28x28": images(9, 1, 28, 28),
        "colour 32x32": images(9, 3, 32, 32),
        "colour 64x64": images(9, 3, 64, 64),
        "colour 340x301": images(2, 3, 340, 301),
    }
    files = {name: take_features(folder, sets, "inception", folder / name)[0] for name in ("weights.safetensors", "weights.pth", "weights-old.pth")}
    ours = files["weights.pth"]
    for name, set_u8 in sets.items():
        x = prepared(set_u8)
        row("TF resize", name, ours[f"{name}.pixels"][0], x[0], 1e-6, scale=1)
        row("features", f"{name}, pytorch-fid's network", ours[f"{name}.features"], blocks(x)[0].flatten(1), 1e-4)
        colour = torch.from_numpy(np.repeat(set_u8, 3 // set_u8.shape[1], axis=1))
        features, logits = fidelity(colour)
        row("features", f"{name}, torch-fidelity", ours[f"{name}.features"], features, 1e-4)
        row("logits without bias", f"{name}, torch-fidelity", ours[f"{name}.logits"], logits, 1e-4)
        half_pixel = F.interpolate(colour / 255, size=(299, 299), mode="bilinear", align_corners=False)
        other = blocks(2 * half_pixel - 1)[0].flatten(1)
        print(f"{'':24}pytorch-fid's own resize and scale change the features of {name} by {float((other - features).norm() / features.norm()):.1%}")
    for name, result in files.items():
        row("features", f"from {name}, of each kind the same", result["gray 28x28.features"], ours["gray 28x28.features"], 0)
    # What a unit test of crates/metrics holds.
    fidelity = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(folder / "weights.pth"), "float64")
    for set_u8 in (images(1, 1, 28, 28), images(1, 3, 32, 32)):
        features, logits = fidelity(torch.from_numpy(np.repeat(set_u8, 3 // set_u8.shape[1], axis=1)))
        some = [[round(value, 6) for value in values] for values in (features[0, ::400].tolist(), logits[0, ::300].tolist())]
        print(f"{'':24}golden {set_u8.shape}: features {some[0]}, mean {features.mean():.6f}; logits {some[1]}")


# ---- TorchScript ----


class Toy(torch.nn.Module):
    """Small, and different in training mode."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 24, 8, 8)
        self.norm = torch.nn.BatchNorm2d(24)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(torch.relu(self.norm(self.conv(x)))).mean((2, 3))


@torch.no_grad()
def check_torchscript(folder):
    torch.manual_seed(0)
    toy = Toy()
    toy(torch.randn(8, 3, 64, 64))  # running statistics
    torch.jit.script(toy).save(folder / "toy.pt")  # in training mode: loading it is to change that
    toy.eval()
    sets = {"gray 28x28": images(40, 1, 28, 28), "colour 32x32": images(9, 3, 32, 32), "colour 340x301": images(2, 3, 340, 301)}
    ours, _ = take_features(folder, sets, "torchscript", folder / "toy.pt", 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for name, set_u8 in sets.items():
        x = F.interpolate(torch.from_numpy(set_u8) / 255, size=(224, 224), mode="bicubic", antialias=True, align_corners=False)
        x = (x.clamp(0, 1).expand(-1, 3, -1, -1) - mean[:, None, None]) / std[:, None, None]
        row("TorchScript features", name, ours[f"{name}.features"], toy(x), 1e-5)


# ---- scores ----


def check_scores(folder):
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 1, (256, 256)) / 16
    sets = {
        "gaussian 256-d": (rng.normal(0, 1, (2000, 256)) @ mixing, rng.normal(0.1, 1.1, (2000, 256)) @ mixing),
        "rectified 768-d": (np.maximum(rng.normal(0, 1, (1500, 768)), 0), np.maximum(rng.normal(0.05, 1.1, (1500, 768)), 0)),
    }
    tensors, subsets, size, seed = {}, 20, 1000, 2020
    for name, pair in sets.items():
        draws = np.random.RandomState(seed)
        rows = [[draws.choice(len(x), size, replace=False) for x in pair] for _ in range(subsets)]
        for i, which in enumerate(("real", "fake")):
            tensors[f"{name}.{which}"] = np.ascontiguousarray(pair[i].astype(np.float32))
            tensors[f"{name}.{which}_rows"] = np.stack([row[i] for row in rows]).astype(np.int64)
    logits = rng.normal(0, 2, (2003, 1008)).astype(np.float32)
    tensors["in order.logits"] = logits
    tensors["shuffled.logits"] = logits[np.random.RandomState(seed).permutation(len(logits))]
    save_file(tensors, folder / "scores.safetensors")
    results = run(PRINT_SCORES, folder / "scores.safetensors")

    for name in sets:
        # In f64, as ours: torch-fidelity computes kernels in the kind of number it is given.
        real, fake = (torch.from_numpy(tensors[f"{name}.{which}"].astype(np.float64)) for which in ("real", "fake"))
        options = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
        kid = kid_features_to_metric(real, fake, **options)
        ours = results[name]["kernel_distance_subsets"]
        row("KID, same subsets", f"{name}, torch-fidelity: mean", np.mean(ours), kid["kernel_inception_distance_mean"], 1e-6, scale=1)
        row("KID, same subsets", f"{name}, torch-fidelity: std", np.std(ours), kid["kernel_inception_distance_std"], 1e-6, scale=1)
        ours = results[name]["frechet_distance"]
        stats = [fid_features_to_statistics(x) for x in (real, fake)]
        (mu1, c1), (mu2, c2) = [(s["mu"], s["sigma"]) for s in stats]
        root = np.trace(np.real(scipy.linalg.sqrtm(c1 @ c2)))
        scipy_s = np.sum((mu1 - mu2) ** 2) + np.trace(c1) + np.trace(c2) - 2 * root
        row("Fréchet distance", f"{name}, scipy's sqrtm", ours, scipy_s, 1e-6)
        theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
        row("Fréchet distance", f"{name}, torch-fidelity", ours, theirs, 1e-6)
    for name, shuffle in (("in order", False), ("shuffled", True)):
        theirs = isc_features_to_metric(torch.from_numpy(logits), 10, shuffle, seed)
        for part in ("mean", "std"):
            row("Inception Score", f"{name}, torch-fidelity: {part}", results[name]["inception_score"][part], theirs[f"inception_score_{part}"], 1e-4)


# ---- time ----


@torch.no_grad()
def time_inception(folder, count=96, rounds=3):
    torch.set_num_threads(THREADS)
    set_u8 = images(count, 3, 32, 32)
    blocks = pytorch_fid.InceptionV3([3]).eval()
    best = {"ours": np.inf, "pytorch-fid": np.inf}
    for _ in range(rounds):
        _, seconds = take_features(folder, {"a warm-up": set_u8[:16], "b": set_u8}, "inception", folder / "weights.safetensors")
        best["ours"] = min(best["ours"], seconds["b"]["seconds"])
        blocks(torch.from_numpy(set_u8[:16]) / 255)
        start = time.time()
        for batch in torch.from_numpy(set_u8).split(48):  # its own default is 50
            blocks(batch / 255)
        best["pytorch-fid"] = min(best["pytorch-fid"], time.time() - start)
    ours, theirs = (1000 * best[name] / count for name in ("ours", "pytorch-fid"))
    print(f"seconds for Inception features of 1,000 images, {THREADS} threads, best of {rounds}: {ours:.1f}, pytorch-fid in PyTorch {torch.__version__} {theirs:.1f}, ratio {theirs / ours:.2f}")


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    print(f"{'what':24}{'of':46}{'ours (first)':>16}{'reference':>16}{'largest diff':>12}{'allowed':>10}")
    check_inception(folder)
    check_torchscript(folder)
    check_scores(folder)
    time_inception(folder)
sys.exit(failed)
