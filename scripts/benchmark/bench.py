"""Holds our training steps and samplers against PyTorch's, by turns. See scripts/bench."""

import ctypes
import importlib
import math
import statistics
import subprocess
import sys
import time

import torch

from arguments import SHAPES, parse
from check import check
from common import Batch, Data, Noise, Trainer
from machine import Product, compute_in, print_roofs, seconds, wait
from ours import Ours
from profiles import GROUPS, REST, shares

OPTIONS = {"seed": 3, "ema_half_life": 1e5, "ema_rampup": 0.05, "progress": 0.5}
# Images drawn at once, where experiments do not say otherwise.
SAMPLE_BATCH = 250
# Pixels of which the time of an image is taken where the network is computed anew for each.
PIXELS = 4


def make_batch(n, channels, size):
    """Images of blobs on black, with what a model is told of them."""
    torch.manual_seed(0)
    coarse = torch.randn(n, channels, 7, 7)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic") + 0.1 * torch.randn(n, channels, size, size)
    images = (128 * smooth).clamp(0, 255).round() / 127.5 - 1
    data = Data(channels, size, images.mean().item(), images.std().item())
    return Batch(images, torch.arange(n) % 11), data  # class 10: none


def read_networks(path):
    """The options and the batch of each model of an experiment, by its family."""
    import yaml

    with open(path) as file:
        experiment = yaml.safe_load(file)
    train, models = experiment.get("train", {}), {}
    for model in experiment["models"].values():
        config = {key: value for key, value in model.items() if key not in ("family", "train")}
        models[model["family"]] = config, model.get("train", {}).get("batch_size", train.get("batch_size"))
    return models


def spread(values, scale=1, digits=1):
    low, middle, high = (scale * f(values) for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} [{low:.{digits}f}-{high:.{digits}f}]"


class Case:
    """A family at one image size: both sides, on the same weights."""

    def __init__(self, args, scratch, family, shape, precision):
        self.args, self.scratch, self.family, self.shape, self.precision = args, scratch, family, shape, precision
        self.module = importlib.import_module(family)
        config, batch_size = args.models.get(family, ({}, self.module.BATCH_SIZE))
        self.batch, self.data = make_batch(args.batch or batch_size, *SHAPES[shape])
        self.options = {**OPTIONS, "precision": precision}
        rest = {"threads": args.threads, "device": args.device, "sample_batch": SAMPLE_BATCH, **self.options}
        self.ours = Ours(args.program, scratch, family, config, self.data, self.batch, **rest)
        # PyTorch's side has its batch on the device; ours brings it there in every step, as training does.
        self.batch = self.batch.to(args.device)
        self.losses, self.reference = self.ours.tensors("reference", args.device)
        compute_in(precision)
        self.trainer = self.new_trainer()

    def new_trainer(self, precision=None):
        model = self.module.Model(self.ours.model["config"], self.data).to(self.args.device)
        model.load_state_dict(self.reference["weights"])
        return Trainer(model, self.ours.model["phases"], **{**self.options, "precision": precision or self.precision})

    def compiled(self):
        """A trainer whose losses are compiled, or why there is none."""
        trainer = self.new_trainer()
        torch._dynamo.reset()
        for name in trainer.model.COMPILED:
            setattr(trainer.model, name, torch.compile(getattr(trainer.model, name)))
        try:
            for _ in range(self.ours.model["loss_cycle"] + 1):
                trainer.step(self.batch)
        except Exception as error:
            return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"
        return trainer, None


def time_steps(case):
    """One row: windows of both sides, by turns."""
    args, cycle = case.args, case.ours.model["loss_cycle"]

    def theirs(trainer, steps, precision=case.precision):
        compute_in(precision)
        start = time.perf_counter()
        for _ in range(steps):
            trainer.step(case.batch)
        wait(args.device)
        return time.perf_counter() - start

    sides = {"ours": lambda steps: case.ours.ask("train", steps)["seconds"], "eager": lambda steps: theirs(case.trainer, steps)}
    # What PyTorch does unless told otherwise: f32, on a GPU with convolutions in TF32.
    if case.precision != "f32" or args.device == "cuda":
        default = case.new_trainer("f32")
        sides["default"] = lambda steps: theirs(default, steps, "default")
    reason = None
    if args.compile:
        compiled, reason = case.compiled()
        if compiled:
            sides["compiled"] = lambda steps: theirs(compiled, steps)
    flops = case.ours.ask("count", cycle)["flops"] / cycle
    for side in sides.values():  # in which memory is taken and kernels are made
        slowest = side(cycle) / cycle
    steps = max(1, round(args.seconds / slowest / cycle)) * cycle
    product, windows = Product(case.precision, args.device), []
    for _ in range(args.windows):
        window = {name: side(steps) / steps for name, side in sides.items()}
        compute_in(case.precision)
        windows.append({**window, "roof": product.flops_per_second(0.1)})

    def of(f):
        return [f(window) for window in windows]

    ours = of(lambda w: w["ours"])
    row = [case.family, case.shape, case.precision, len(case.batch.images), f"{flops / 1e9:.1f}", spread(ours, 1e3)]
    row += [spread(of(lambda w: w["eager"]), 1e3), spread(of(lambda w: w["eager"] / w["ours"]), digits=2)]
    row.append(spread(of(lambda w: w["default"] / w["ours"]), digits=2) if "default" in sides else "-")
    if args.compile:
        row.append(spread(of(lambda w: w["compiled"] / w["ours"]), digits=2) if "compiled" in sides else "-")
    row += [f"{flops / statistics.median(ours) / 1e9:.0f}"]
    row += [f"{statistics.median(of(lambda w: flops / w[side] / w['roof'])):.0%}" for side in ("ours", "eager")]
    if reason:
        print(f"  {case.family}, {case.shape}, {case.precision}: not compiled: {reason}")
    return row


def profile_steps(case):
    """Two rows: which operators take the time of either side's step."""
    path, cycle = f"{case.scratch}/trace.json", case.ours.model["loss_cycle"]
    seconds = case.ours.ask("train", cycle)["seconds"]
    steps = max(1, round(case.args.seconds / seconds)) * cycle

    def ours():
        case.ours.ask("trace", f"{steps} {path}")

    def eager():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True, acc_events=True) as profiler:
            for _ in range(steps):
                case.trainer.step(case.batch)
        profiler.export_chrome_trace(path)

    rows = []
    for name, side in {"ours": ours, "eager": eager}.items():
        side()
        rows.append([case.family, case.shape, case.precision, name, *(f"{share:.1%}" for share in shares(path).values())])
    return rows


def time_sampling(case, n):
    model, pixels, device = case.trainer.model, None, case.args.device
    if case.family == "autoregressive":
        pixels = PIXELS

    def eager():
        passed, start = 0, 0
        while start < n:
            size = min(SAMPLE_BATCH, n - start)
            begun = time.perf_counter()
            classes = torch.arange(start, start + size, device=device) % 10
            with torch.no_grad():
                if pixels is None:
                    model.sample(classes, Noise(size, device))
                else:
                    model.sample(classes, Noise(size, device), pixels)
            wait(device)
            scale = 1 if pixels is None else case.data.size**2 / pixels
            passed += (time.perf_counter() - begun) * scale
            start += size
            if pixels is not None and size == SAMPLE_BATCH:  # the other batches are like the first
                return passed * n / size
        return passed

    # A discriminator's loss is no pass of the network that draws.
    has_pass = case.family != "gan"

    def window():
        one_pass = case.ours.ask("pass", n)["seconds"] / n if has_pass else math.nan
        return one_pass, case.ours.ask("sample", n)["seconds"] / n, eager() / n

    window()
    passes, ours, theirs = zip(*(window() for _ in range(case.args.windows)))
    ratios, calls = [b / a for a, b in zip(ours, theirs)], [b / a for a, b in zip(passes, ours)]
    row = [case.family, case.shape, n, spread(ours, 1e3, 2), spread(theirs, 1e3, 2), spread(ratios, digits=2)]
    return row + [spread(calls, digits=2) if has_pass else "-"]


def print_table(title, header, rows):
    print(f"\n{title}\n")
    cells = [header] + [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.stdout.flush()


def time_start(args, scratch):
    def run(*command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    commands = {
        "paragone --version": [args.binary, "--version"],
        "paragone families": [args.binary, "families"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    }
    for command in commands.values():
        run(*command)
    windows = [{name: seconds(lambda: run(*command), 0) for name, command in commands.items()} for _ in range(args.windows)]
    rows = [[name, spread([w[name] for w in windows], 1e3, 0)] for name in commands]
    if args.experiment:
        # Two models at a time: their four quarters of a minute are half a minute by the clock.
        command = [args.binary, "run", "experiments/quickstart.yaml", "--out", f"{scratch}/run", "--fresh", "--device", args.device]
        command += ["--threads", str(args.threads), "--set", "train.budget.seconds=15"]
        rows.append(["quickstart.yaml, 15 s each", spread([seconds(lambda: run(*command), 0) for _ in range(args.windows)], 1e3, 0)])
    print_table("start-up", ["command", "ms"], rows)


def main():
    args = parse()
    if args.allocator:  # M_MMAP_MAX, M_TRIM_THRESHOLD
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0), libc.mallopt(-1, 2**31 - 1)
    torch.set_num_threads(args.threads)
    args.models = read_networks(args.networks) if args.networks else {}
    print(f"PyTorch {torch.__version__}, {args.threads} threads, {args.windows} windows; times: median [least-most]")
    if "steps" in args.sections and not args.quick:
        print_roofs(args.precisions, 0.5, args.windows, args.device)
    failed, steps, profiles, sampling = [], [], [], []
    print("\nthe same results on the same weights: relative differences", flush=True)
    for shape in args.shapes:
        for family in args.families:
            for precision in args.precisions:
                case = Case(args, args.scratch, family, shape, precision)
                with case.ours:
                    failed += check(case)
                    if "steps" in args.sections:
                        steps.append(time_steps(case))
                    if "profile" in args.sections:
                        profiles += profile_steps(case)
                    if "sampling" in args.sections and precision == args.precisions[0]:
                        compute_in("f32")
                        sampling += [time_sampling(case, n) for n in args.images]
    compiled = ["compiled / ours"] if args.compile else []
    if steps:
        header = ["family", "images", "kind", "batch", "GFLOP", "ours, ms", "eager, ms", "eager / ours", "PyTorch's default / ours", *compiled]
        header += ["ours, GFLOP/s", "of the product's", "eager's"]
        print_table("a training step", header, steps)
    if profiles:
        print_table("shares of a training step's time", ["family", "images", "kind", "side", *GROUPS, REST], profiles)
    if sampling:
        title = "sampling, f32; an image's ms\n(autoregressive, eager: the whole network for every pixel, "
        title += f"measured on {PIXELS} pixels of at most {SAMPLE_BATCH} images and scaled;\n"
        title += "a pass: our network once on as many images, with the loss, without gradients)"
        print_table(title, ["family", "images", "number", "ours", "eager", "eager / ours", "ours / a pass"], sampling)
    if "start" in args.sections:
        time_start(args, args.scratch)
    if failed:
        sys.exit("\nthe two sides differ:\n  " + "\n  ".join(failed))


main()
