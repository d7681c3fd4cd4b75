"""Measures how cost grows, and draws it. See scripts/scaling."""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from processor import processor

HERE = Path(__file__).resolve().parent.parent
FAMILIES = ["vae", "gan", "autoregressive", "diffusion"]
# Where networks have their width: paths into a family's section.
WIDTHS = {
    "vae": ["widths", "vector_width"],
    "gan": ["generator.widths", "discriminator.widths"],
    "autoregressive": ["num_channels"],
    "diffusion": ["network.widths"],
}
COLORS = dict(zip(FAMILIES, ["#4477aa", "#ee6677", "#228833", "#aa3377"]))


class Bench:
    def __init__(self, args):
        self.args = args

    @contextlib.contextmanager
    def model(self, family, side=28, channels=1, batch=32, config=None, accumulate=1):
        """A model in training: a function that asks it. Its answer to nothing says what it is."""
        import numpy
        from safetensors.numpy import save_file

        scratch = self.args.scratch
        rng = numpy.random.default_rng(0)
        # Blobs: a step's time does not depend on what images show.
        coarse = rng.normal(size=(batch, channels, side // 4, side // 4))
        images = coarse.repeat(4, 2).repeat(4, 3).clip(-1, 1).astype(numpy.float32)
        save_file({"images": images, "class": numpy.arange(batch) % 10}, f"{scratch}/batch.safetensors")
        shape = {"channels": channels, "height": side, "width": side}
        spec = {
            "family": family,
            "config": config or {},
            "data": {"shape": shape, "num_classes": 10, "text": None, "known_pixels": False, "mean": 0.0, "std": 0.5},
            "batch": f"{scratch}/batch.safetensors",
            "precision": "f32",
            "threads": self.args.threads,
            "accumulate": accumulate,
            "seed": 0,
            "ema_half_life": 1e5,
            "ema_rampup": 0.05,
            "progress": 0.5,
            "sample_batch": 250,
        }
        Path(f"{scratch}/spec.json").write_text(json.dumps(spec))
        command = [f"{self.args.programs}/time_steps", f"{scratch}/spec.json"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

            def ask(question=None):
                if question:
                    print(question, file=process.stdin, flush=True)
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"{family} at {shape}: ended with {process.wait()}")
                return json.loads(line)

            yield ask
            process.stdin.close()

    def step(self, family, **case):
        """Milliseconds and GFLOP of an image of a training step, and the peak of memory: of one window."""
        batch = case.get("batch", 32)
        with self.model(family, **case) as ask:
            model = ask()
            cycle = model["loss_cycle"]
            flops = ask(f"count {cycle}")["flops"] / cycle / batch
            steps = max(1, round(self.args.seconds / (ask(f"train {cycle}")["seconds"] / cycle) / cycle)) * cycle
            milliseconds = 1e3 * ask(f"train {steps}")["seconds"] / steps / batch
            row = {"family": family, **case, "ms": milliseconds, "gflop": flops / 1e9, "peak_mb": ask("peak -")["bytes"] / 1e6}
        row["parameters"] = model["parameters"]
        print("  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items() if key != "config"), flush=True)
        return row

    def sides(self):
        return self.rounds(lambda family, side: self.step(family, side=side, channels=3, batch=16), FAMILIES, [16, 28, 32, 64], "ms")

    def batches(self):
        return self.rounds(lambda family, batch: self.step(family, batch=batch), FAMILIES, [4, 8, 16, 32, 64, 128], "ms")

    def widths(self):
        defaults = {}
        for family in FAMILIES:
            with self.model(family, batch=4) as ask:
                defaults[family] = ask()["config"]

        def widened(family, factor):
            row = self.step(family, config=scaled(defaults[family], WIDTHS[family], factor))
            return {**row, "factor": factor, "config": None}

        return self.rounds(widened, FAMILIES, [0.5, 1, 2], "ms")

    def memory(self):
        return self.rounds(lambda family, parts: self.step(family, batch=64, accumulate=parts), FAMILIES, [1, 2, 4, 8], "ms")

    def folders(self):
        import numpy
        from PIL import Image

        rows = []
        root = Path(self.args.scratch)
        kinds = 1000
        (root / "kinds").mkdir(exist_ok=True)
        rng = numpy.random.default_rng(0)
        for i in range(kinds):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=numpy.uint8).repeat(4, 0).repeat(4, 1)
            Image.fromarray(pixels).save(root / "kinds" / f"{i}.png")
        for n in self.pick([1_000, 10_000, 100_000, 1_000_000]):
            folder = root / "images" / str(n)
            for i in range(n):
                below = folder / f"{i // 1000:04}"
                if i % 1000 == 0:
                    below.mkdir(parents=True)
                os.link(root / "kinds" / f"{i % kinds}.png", below / f"{i}.png")
            command = [f"{self.args.programs}/load_images", folder, 32, root / "datasets", 200]
            runs = [json.loads(subprocess.check_output([str(x) for x in command])) for _ in range(2)]
            row = {"images": n, "first_open_seconds": runs[0]["open_seconds"], **runs[1]}
            print(" ", row, flush=True)
            rows.append(row)
        return rows

    def scores(self):
        import numpy
        from safetensors.numpy import save_file

        rng = numpy.random.default_rng(0)
        sizes = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000]
        paths = {n: f"{self.args.scratch}/features-{n}.safetensors" for n in sizes}
        for n, path in paths.items():
            real, fake = (rng.normal(size=(n, 128)).astype(numpy.float32) for _ in range(2))
            save_file({"real": real, "fake": fake}, path)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.args.threads)}

        def seconds(score, n):
            answer = subprocess.check_output([f"{self.args.programs}/time_scores", paths[n], score], env=environment)
            row = {"score": score, "samples": n, "seconds": json.loads(answer)["seconds"]}
            print(" ", row, flush=True)
            return row

        return self.rounds(seconds, ["frechet", "frechet_infinity", "kernel", "neighbours"], sizes, "seconds")

    def rounds(self, measure, names, values, key):
        """The rows of all cases. Each is measured once in a round, so that a busy minute falls on no case alone; medians of `key`."""
        cases = [(name, value) for name in names for value in self.pick(values)]
        rounds = [[measure(*case) for case in cases] for _ in range(self.args.windows)]
        return [{**of[0], key: statistics.median(row[key] for row in of)} for of in zip(*rounds)]

    def pick(self, values):
        return values[:2] if self.args.quick else values


def scaled(config, paths, factor):
    """The section with its widths multiplied."""
    config = json.loads(json.dumps(config))
    for path in paths:
        *sections, key = path.split(".")
        section = config
        for name in sections:
            section = section[name]
        width = section[key]
        # Groups and heads want multiples of sixteen.
        times = lambda x: max(16, round(x * factor / 16) * 16)
        section[key] = [times(x) for x in width] if isinstance(width, list) else times(width)
    return config


def lines(axes, rows, x, y, by, title, xlabel, ylabel):
    from matplotlib.ticker import FuncFormatter, LogFormatter

    for name in dict.fromkeys(row[by] for row in rows):
        of = [(row[x], row[y]) for row in rows if row[by] == name]
        axes.plot(*zip(*of), "o-", label=name, color=COLORS.get(name), markersize=4)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
    ticks = sorted({row[x] for row in rows})
    axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks], rotation=30 if ticks[-1] > 9999 else 0)
    axes.set_xticks([], minor=True)
    # Plain numbers, not powers.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(LogFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def draw(found, path):
    """One panel for each measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def rate(rows):
        return [{**row, "rate": row["gflop"] / row["ms"] * 1e3} for row in rows]

    step = ("a training step, ms an image",)
    panels = {
        "sides": lambda a: lines(a, found["sides"], "side", "ms", "family", "Image size", "side in pixels", *step),
        "rates": lambda a: lines(a, rate(found["sides"]), "side", "rate", "family", "Arithmetic at each size", "side in pixels", "GFLOP/s"),
        "batches": lambda a: lines(a, found["batches"], "batch", "ms", "family", "Batch", "images in a batch", *step),
        "widths": lambda a: lines(a, found["widths"], "factor", "ms", "family", "Width of the network", "times the default", *step),
        "memory": lambda a: lines(a, found["memory"], "accumulate", "peak_mb", "family", "Memory of a batch of 64, cut", "parts", "peak, MB"),
        "folders": lambda a: lines(a, folder_lines(found["folders"]), "images", "value", "what", "A folder of images", "images", "seconds; GB"),
        "scores": lambda a: lines(a, found["scores"], "samples", "seconds", "score", "Scores in 128 features", "samples and references", "seconds"),
    }
    panels = [plot for name, plot in panels.items() if ("sides" if name == "rates" else name) in found]
    columns = min(2, len(panels))
    figure, axes = plt.subplots(-(-len(panels) // columns), columns, figsize=(6 * columns, 3.6 * -(-len(panels) // columns)), squeeze=False)
    for axis in axes.flat[len(panels):]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels):
        panel(axis)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def folder_lines(rows):
    names = {"first_open_seconds": "first opening, s", "open_seconds": "later opening, s", "load_seconds": "loading, s", "peak_bytes": "peak, GB", "own_bytes": "not mapped, GB"}
    return [
        {"images": row["images"], "what": name, "value": row[key] / (1e9 if key.endswith("bytes") else 1)}
        for key, name in names.items()
        for row in rows
    ]


def table(header, rows):
    return "\n".join(["| " + " | ".join(map(str, row)) + " |" for row in [header, ["---"] * len(header), *rows]]) + "\n"


def grid(rows, x, title, value):
    """A table of families by `x`."""
    columns = sorted({row[x] for row in rows})
    cells = {(row["family"], row[x]): value(row) for row in rows}
    families = list(dict.fromkeys(row["family"] for row in rows))
    return table([title, *columns], [[family, *(cells[family, column] for column in columns)] for family in families])


def page(found, machine, command):
    text = f"""# How cost grows

Written by `{command}`: medians of rounds, {machine}, f32. Every family with its default network. One case is
measured anew where it stands in two tables, which shows how far two medians are apart.

![Cost against size, batch, width, number of images and of samples](scaling.png)
"""
    ms = lambda row: f"{row['ms']:.2f}"
    if "sides" in found:
        text += "\n## Image size\n\nA training step on colour images, 16 in a batch: milliseconds an image, and in brackets GFLOP an image.\n\n"
        text += grid(found["sides"], "side", "side", lambda row: f"{ms(row)} ({row['gflop']:.2f})")
    if "batches" in found:
        text += "\n## Batch\n\nA training step on 28×28 gray images: milliseconds an image.\n\n" + grid(found["batches"], "batch", "batch", ms)
    if "widths" in found:
        text += "\n## Width\n\nThe default network's widths multiplied; 32 images of 28×28 gray: milliseconds an image, and in brackets GFLOP an image.\n\n"
        text += grid(found["widths"], "factor", "times", lambda row: f"{ms(row)} ({row['gflop']:.2f})")
    if "memory" in found:
        text += "\n## Memory\n\nThe process's peak in MB, of which libtorch takes some 200 before the first step, with a batch of 64 28×28 gray images cut "
        text += "into parts by `train.accumulate`; in brackets milliseconds an image. The gradient is the same but for rounding where the loss draws nothing; where it does, each part draws its own.\n\n"
        text += grid(found["memory"], "accumulate", "parts", lambda row: f"{row['peak_mb']:.0f} ({ms(row)})")
    if "folders" in found:
        text += "\n## A folder of images\n\nPNG files of 32×32 pixels, a thousand different ones under many names, of which nine in ten are for training and counted here. The first opening decodes them into a file, which later ones map: its pages are read when "
        text += "they are needed and given up when memory is short. A start reads all of them once, to hash them.\n\n"
        header = ["images", "first opening, s", "later, s", "loading, s", "a batch of 128, ms", "peak, MB", "of which not mapped, MB"]
        text += table(header, [
            [f"{row['images']:,}", f"{row['first_open_seconds']:.2f}", f"{row['open_seconds']:.2f}", f"{row['load_seconds']:.2f}",
             f"{1e3 * row['batch_seconds']:.3f}", f"{row['peak_bytes'] / 1e6:.0f}", f"{row['own_bytes'] / 1e6:.0f}"]
            for row in found["folders"]
        ])
    if "scores" in found:
        text += "\n## Scores\n\nSeconds for as many samples as references, 128 features each.\n\n"
        rows = [{**row, "family": row["score"]} for row in found["scores"]]
        text += grid(rows, "samples", "samples", lambda row: f"{row['seconds']:.3g}")
    return text


def main():
    parser = argparse.ArgumentParser(prog="scripts/scaling", description=__doc__)
    parts = ["sides", "batches", "widths", "memory", "folders", "scores"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; default: all")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--windows", type=int, default=5, help="of each case, one in each round; the median counts")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window")
    parser.add_argument("--out", type=Path, help="folder of the page [docs]")
    parser.add_argument("--kept", type=Path, default=HERE / "runs/scaling.json", help="what has been measured [runs/scaling.json]")
    parser.add_argument("--quick", action="store_true", help="two points of each, short windows")
    for name in ("--programs", "--scratch"):
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    if args.quick:
        if not args.out:
            parser.error("--quick measures little: name a folder by --out")
        args.windows, args.seconds, args.kept = 1, 0.05, args.out / "scaling.json"
    args.out = args.out or HERE / "docs"
    machine = f"{args.threads} threads on {processor()}"
    # The page speaks of one machine and one way to measure: what was measured otherwise is measured again when it is asked for.
    of = {"machine": machine, "windows": args.windows, "seconds": args.seconds}
    try:
        kept = json.loads(args.kept.read_text()) if args.kept.exists() else {}
    except json.JSONDecodeError as error:
        sys.exit(f"{args.kept} is damaged ({error}): delete it, and its parts are measured again")
    found = kept.get("found", {}) if kept.get("of") == of else {}
    bench = Bench(args)
    for part in args.parts or parts:
        print(f"{part}:", flush=True)
        found[part] = getattr(bench, part)()
        args.kept.parent.mkdir(parents=True, exist_ok=True)
        aside = args.kept.with_name(f".{args.kept.name}.tmp")
        aside.write_text(json.dumps({"of": of, "found": found}))
        os.replace(aside, args.kept)
    args.out.mkdir(parents=True, exist_ok=True)
    draw(found, args.out / "scaling.png")
    command = f"scripts/scaling --windows {args.windows} --seconds {args.seconds:g}"
    (args.out / "scaling.md").write_text(page(found, machine, command))
    print(args.out / "scaling.md")


main()
