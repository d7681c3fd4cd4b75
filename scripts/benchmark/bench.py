"""Holds our training steps and samplers against PyTorch's, by turns. See scripts/bench."""

import argparse
import ctypes
import importlib
import statistics
import subprocess
import sys
import time

import torch

from check import check
from common import Batch, Data, Noise, Trainer
from machine import Product, print_roofs, seconds
from ours import Ours

FAMILIES = ["vae", "gan", "autoregressive", "diffusion"]
SHAPES = {"gray": (1, 28), "colour": (3, 32)}
SECTIONS = ["steps", "sampling", "start"]
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


def spread(values, scale=1, digits=1):
    low, middle, high = (scale * f(values) for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} [{low:.{digits}f}-{high:.{digits}f}]"


class Case:
    """A family at one image size: both sides, on the same weights."""

    def __init__(self, args, scratch, family, shape, precision):
        self.args, self.family, self.shape, self.precision = args, family, shape, precision
        self.module = importlib.import_module(family)
        self.batch, self.data = make_batch(args.batch or self.module.BATCH_SIZE, *SHAPES[shape])
        self.options = {**OPTIONS, "bf16": precision == "bf16"}
        rest = {"threads": args.threads, "sample_batch": SAMPLE_BATCH, **self.options}
        self.ours = Ours(args.program, scratch, family, self.data, self.batch, **rest)
        self.losses, self.reference = self.ours.tensors("reference")
        self.trainer = self.new_trainer()

    def new_trainer(self):
        model = self.module.Model(self.ours.model["config"], self.data)
        model.load_state_dict(self.reference["weights"])
        return Trainer(model, self.ours.model["phases"], **self.options)

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

    def theirs(trainer, steps):
        start = time.perf_counter()
        for _ in range(steps):
            trainer.step(case.batch)
        return time.perf_counter() - start

    sides = {"ours": lambda steps: case.ours.ask("train", steps)["seconds"], "eager": lambda steps: theirs(case.trainer, steps)}
    reason = None
    if args.compile:
        compiled, reason = case.compiled()
        if compiled:
            sides["compiled"] = lambda steps: theirs(compiled, steps)
    flops = case.ours.ask("count", cycle)["flops"] / cycle
    for side in sides.values():  # in which memory is taken and kernels are made
        slowest = side(cycle) / cycle
    steps = max(1, round(args.seconds / slowest / cycle)) * cycle
    product, windows = Product(case.precision), []
    for _ in range(args.windows):
        window = {name: side(steps) / steps for name, side in sides.items()}
        windows.append({**window, "roof": product.flops_per_second(0.1)})

    def of(f):
        return [f(window) for window in windows]

    ours = of(lambda w: w["ours"])
    row = [case.family, case.shape, case.precision, len(case.batch.images), f"{flops / 1e9:.1f}", spread(ours, 1e3)]
    row += [spread(of(lambda w: w["eager"]), 1e3), spread(of(lambda w: w["eager"] / w["ours"]), digits=2)]
    if args.compile:
        row.append(spread(of(lambda w: w["compiled"] / w["ours"]), digits=2) if "compiled" in sides else "-")
    row += [f"{flops / statistics.median(ours) / 1e9:.0f}"]
    row += [f"{statistics.median(of(lambda w: flops / w[side] / w['roof'])):.0%}" for side in ("ours", "eager")]
    if reason:
        print(f"  {case.family}, {case.shape}, {case.precision}: not compiled: {reason}")
    return row


def time_sampling(case, n):
    model, pixels = case.trainer.model, None
    if case.family == "autoregressive":
        pixels = PIXELS

    def eager():
        passed, start = 0, 0
        while start < n:
            size = min(SAMPLE_BATCH, n - start)
            begun = time.perf_counter()
            classes = torch.arange(start, start + size) % 10
            with torch.no_grad():
                if pixels is None:
                    model.sample(classes, Noise(size))
                else:
                    model.sample(classes, Noise(size), pixels)
            scale = 1 if pixels is None else case.data.size**2 / pixels
            passed += (time.perf_counter() - begun) * scale
            start += size
            if pixels is not None and size == SAMPLE_BATCH:  # the other batches are like the first
                return passed * n / size
        return passed

    case.ours.ask("sample", n), eager()
    windows = [(case.ours.ask("sample", n)["seconds"] / n, eager() / n) for _ in range(case.args.windows)]
    ours, theirs, ratios = zip(*((a, b, b / a) for a, b in windows))
    return [case.family, case.shape, n, spread(ours, 1e3, 2), spread(theirs, 1e3, 2), spread(ratios, digits=2)]


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
        command = [args.binary, "run", "experiments/quickstart.yaml", "--out", f"{scratch}/run", "--set", "train.budget.seconds=15"]
        rows.append(["quickstart.yaml, 15 s each", f"{1e3 * seconds(lambda: run(*command), 0):.0f}"])
    print_table("start-up", ["command", "ms"], rows)


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; default: all")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="28x28 gray, 32x32 colour")
    parser.add_argument("--precisions", nargs="+", choices=["f32", "bf16"], help="default: both where the processor has bf16")
    parser.add_argument("--batch", type=int, help="images in a batch instead of each family's own number")
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=SECTIONS, help="none: the comparison of results alone")
    parser.add_argument("--windows", type=int, default=5, help="windows of each side")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window of training")
    parser.add_argument("--images", type=int, nargs="+", default=[64, 1024], help="numbers of images drawn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of both sides; default: all cores")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, where it works: minutes for each network")
    parser.add_argument("--allocator", action="store_true", help="PyTorch with glibc's allocator set as we set it for ourselves")
    parser.add_argument("--experiment", action="store_true", help="a short experiment's time too")
    parser.add_argument("--quick", action="store_true", help="one step of few images: shows that all works, measures nothing")
    # Given by scripts/bench.
    for name in ("--program", "--binary", "--scratch"):
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = set(args.families) - set(FAMILIES)
    if unknown:
        parser.error(f"no family {', '.join(sorted(unknown))}")
    args.families = args.families or FAMILIES
    if not args.precisions:
        # Elsewhere it is emulated, which takes many times as long.
        with open("/proc/cpuinfo") as info:
            args.precisions = ["f32", "bf16"] if "avx512_bf16" in info.read() else ["f32"]
    if args.quick:
        args.windows, args.seconds, args.images, args.batch = 1, 0.0, [4], args.batch or 4
    return args


def main():
    args = parse()
    if args.allocator:  # M_MMAP_MAX, M_TRIM_THRESHOLD
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0), libc.mallopt(-1, 2**31 - 1)
    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {args.threads} threads, {args.windows} windows; times: median [least-most]")
    if "steps" in args.sections and not args.quick:
        print_roofs(args.precisions, 0.5, args.windows)
    failed, steps, sampling = [], [], []
    print("\nthe same results on the same weights: relative differences", flush=True)
    for shape in args.shapes:
        for family in args.families:
            for precision in args.precisions:
                case = Case(args, args.scratch, family, shape, precision)
                with case.ours:
                    failed += check(case)
                    if "steps" in args.sections:
                        steps.append(time_steps(case))
                    if "sampling" in args.sections and precision == args.precisions[0]:
                        sampling += [time_sampling(case, n) for n in args.images]
    compiled = ["compiled / ours"] if args.compile else []
    if steps:
        header = ["family", "images", "kind", "batch", "GFLOP", "ours, ms", "eager, ms", "eager / ours", *compiled]
        header += ["ours, GFLOP/s", "of the product's", "eager's"]
        print_table("a training step", header, steps)
    if sampling:
        title = "sampling, f32; an image's ms\n(autoregressive, eager: the whole network for every pixel, "
        title += f"measured on {PIXELS} pixels of at most {SAMPLE_BATCH} images and scaled)"
        print_table(title, ["family", "images", "number", "ours", "eager", "eager / ours"], sampling)
    if "start" in args.sections:
        time_start(args, args.scratch)
    if failed:
        sys.exit("\nthe two sides differ:\n  " + "\n  ".join(failed))


main()
