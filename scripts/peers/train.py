"""Trains one peer for so many seconds and draws samples of it. scripts/bench-peers runs it, a process each.

Writes into a folder: model.pt, trained.json, samples.npz (`arr_0`, bytes [n, h, w, 1]), samples.png, sampled.json. What is
there already is not made again."""

import argparse
import ast
import contextlib
import gzip
import importlib
import importlib.metadata
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def read_idx(folder, name):
    plain = Path(folder, name)
    with open(plain, "rb") if plain.exists() else gzip.open(f"{plain}.gz", "rb") as file:
        header = file.read(4)
        shape = [int.from_bytes(file.read(4), "big") for _ in range(header[3])]
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def peer(spec):
    """`diffusion`, or with options of its own: `diffusion,lr=1e-3,steps=50`."""
    family, *options = spec.split(",")
    return importlib.import_module(family).Peer(**{k: ast.literal_eval(v) for k, v in (o.split("=") for o in options)})


def epochs(images, labels, batch):
    """Batches without end: f32 bytes [batch, 1, 28, 28] and labels. Every epoch in a new order, its last images too few for
    a batch left out."""
    while True:
        for chosen in torch.randperm(len(images)).split(batch):
            if len(chosen) == batch:
                yield images[chosen, None].float(), labels[chosen]


def train(name, model, images, labels, seconds, bf16):
    """Seconds count from the first step: importing, building and reading are not training."""
    model.train()
    start, steps, said, losses = time.time(), 0, 0.0, []
    for batch, of in epochs(images, labels, model.batch):
        with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
            losses.append(model.step(batch, of))
        steps, passed = steps + 1, time.time() - start
        if passed >= seconds or passed - said >= max(10, seconds / 10):
            said, rate = passed, steps * model.batch / passed
            print(f"{name}: {passed:.0f} of {seconds:g} s, {steps * model.batch:,} images, {rate:.0f} a second, loss {np.mean(losses):.4g}", flush=True)
            losses = []
        if passed >= seconds:
            return {"seconds": passed, "images": steps * model.batch, "steps": steps}


@torch.no_grad()
def draw(name, model, count):
    """Bytes [count, 28, 28, 1] and the seconds they took."""
    model.eval()
    images, said, start = [], 0.0, time.time()
    while (done := sum(map(len, images))) < count:
        # Rounded, not cut.
        batch = model.sample(min(model.sample_batch, count - done)).clamp(0, 255).round().to(torch.uint8)
        images.append(batch.permute(0, 2, 3, 1).numpy())
        if (passed := time.time() - start) - said > 10:
            said = passed
            print(f"{name}: {done + len(batch):,} of {count:,} samples in {passed:.0f} s", flush=True)
    return np.concatenate(images), time.time() - start


def save_grid(images, path):
    rows = [np.concatenate(list(images[i : i + 10, :, :, 0]), 1) for i in range(0, min(100, len(images)) // 10 * 10, 10)]
    Image.fromarray(np.concatenate(rows)).save(path)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--processor", required=True, help="on which this runs")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.out.mkdir(parents=True, exist_ok=True)
    model = peer(args.peer)
    trained, sampled = args.out / "trained.json", args.out / "sampled.json"

    if trained.exists():
        model.load_state_dict(torch.load(args.out / "model.pt"))
    else:
        images, labels = (torch.from_numpy(read_idx(args.data, f"train-{x}").copy()) for x in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        result = train(args.peer, model, images, labels.long(), args.seconds, args.bf16)
        torch.save(model.state_dict(), args.out / "model.pt")
        versions = {x: importlib.metadata.version(x) for x in ["torch", *model.packages]}
        about = {"system": model.system, "conditional": model.conditional, "note": model.note, "parameters": model.size()}
        write_json(trained, {**about, **result, "precision": "bf16" if args.bf16 else "f32", "threads": args.threads, "versions": versions, "processor": args.processor})
    if not sampled.exists() or json.loads(sampled.read_text())["samples"] != args.samples:
        images, seconds = draw(args.peer, model, args.samples)
        np.savez_compressed(args.out / "samples.npz", images)
        save_grid(images, args.out / "samples.png")
        (args.out / "scores.json").unlink(missing_ok=True)
        write_json(sampled, {"samples": args.samples, "seconds": seconds, "processor": args.processor})


main()
