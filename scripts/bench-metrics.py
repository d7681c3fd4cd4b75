"""Times this repository's scores and other software's on the same features, by turns. See scripts/bench-metrics.

Every score is a process of its own, so that its peak memory is its own; reading the features is not timed."""

import contextlib
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from processor import processor
from safetensors.numpy import load_file, save_file

ROUNDS = 5


def write_features(path, images, dims, references):
    """Rectified features of low rank with noise on them, as those of networks are; the fake ones are slightly off."""
    rng = np.random.default_rng(0)
    rank = min(256, dims)
    mixing = (rng.normal(size=(rank, dims)) / rank**0.5).astype(np.float32)

    def features(n, off):
        x = rng.normal(size=(n, rank)).astype(np.float32) @ mixing
        x = x * (1 + off) + 0.3 * rng.normal(size=(n, dims)).astype(np.float32) - 0.2 + off
        return np.maximum(x, 0) * np.float32(0.6)

    save_file({"real": features(references, 0), "fake": features(images, 0.05)}, path)


def scipy_frechet(real, fake):
    """Fréchet distance by the matrix square root."""
    import scipy.linalg

    x, y = real.astype(np.float64), fake.astype(np.float64)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(c1 @ c2))
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(c1) + np.trace(c2) - 2 * np.trace(root))


def torch_fidelity_frechet(real, fake):
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def torch_fidelity_kernel(real, fake):
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    metric = kid_features_to_metric(torch.from_numpy(real), torch.from_numpy(fake), kid_subset_size=1000, verbose=False)
    return metric["kernel_inception_distance_mean"]


def prdc_neighbours(real, fake):
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return compute_prdc(real, fake, nearest_k=5)["density"]


THEIRS = {
    ("frechet", "scipy"): scipy_frechet,
    ("frechet", "torch-fidelity"): torch_fidelity_frechet,
    ("kernel", "torch-fidelity"): torch_fidelity_kernel,
    ("neighbours", "prdc"): prdc_neighbours,
}
MODULES = {
    "scipy": ["scipy.linalg"],
    "torch-fidelity": ["torch_fidelity.metric_fid", "torch_fidelity.metric_kid"],
    "prdc": ["prdc"],
}


def theirs(path, score, software):
    """What the process of one other score does."""
    features = load_file(path)
    real, fake = features["real"], features["fake"]
    for module in MODULES[software]:  # so that it is not timed
        importlib.import_module(module)
    start = time.time()
    value = THEIRS[score, software](real, fake)
    print(json.dumps({"seconds": time.time() - start, "value": value}))


def measure(command):
    """(seconds as the process says, seconds of processor time, peak bytes, value) of one process."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} failed")
    result = json.loads(line)
    value = result["value"] if "value" in result else result["values"]
    if isinstance(value, dict):
        value = next((value[key] for key in ("mean", "value", "density", "frechet_distance") if key in value), None)
    return result["seconds"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, value


def compare(ours, path, scores):
    rows = {}
    for _ in range(ROUNDS):
        for score in scores:
            rows.setdefault((score, "paragone"), []).append(measure([ours, path, score]))
            for name, software in THEIRS:
                if name == score:
                    command = [sys.executable, __file__, "--theirs", path, score, software]
                    rows.setdefault((score, software), []).append(measure(command))
    print(f"{'score':18}{'software':16}{'seconds':>9}{'ratio':>7}{'processor s':>13}{'peak MB':>9}{'value':>14}")
    for (score, software), runs in rows.items():
        seconds, busy, peak = (statistics.median(run[i] for run in runs) for i in range(3))
        # Of the same round each, as one followed the other.
        ratio = statistics.median(run[0] / own[0] for run, own in zip(runs, rows[score, "paragone"]))
        print(f"{score:18}{software:16}{seconds:9.2f}{ratio:7.2f}{busy:13.1f}{peak / 1e6:9.0f}{runs[0][3]:14.6g}")


def main():
    if sys.argv[1] == "--theirs":
        return theirs(*sys.argv[2:])
    if sys.argv[1] == "--features":
        return write_features(sys.argv[2], *map(int, sys.argv[3:]))
    ours, scratch = sys.argv[1:3]
    images, dims, references = (int(given or default) for given, default in zip(sys.argv[3:6] + [""] * 3, (10_000, 2048, 60_000)))
    for count, scores in ((images, ["frechet", "frechet_infinity", "kernel", "neighbours", "all"]), (references, ["frechet", "kernel", "all"])):
        path = f"{scratch}/features.safetensors"
        # Elsewhere: a process's peak memory as counted here is never less than what this one has held.
        subprocess.run([sys.executable, __file__, "--features", path, str(images), str(dims), str(count)], check=True)
        print(f"{images} images against {count} in {dims} dimensions, {os.environ['OMP_NUM_THREADS']} threads on {processor()}, medians of {ROUNDS} rounds", flush=True)
        compare(ours, path, scores)


main()
