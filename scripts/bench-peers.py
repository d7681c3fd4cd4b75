"""Trains the peers in scripts/peers and our experiment for the same seconds, scores all alike, prints a table. See
scripts/bench-peers.

Each piece is a process of its own and leaves `NAME-SECONDSs.json`, its rows of the table, in the folder of results."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from processor import processor

HERE = Path(__file__).resolve().parent
EXPERIMENT = HERE.parent / "experiments" / "fashion-mnist.yaml"
PEERS = ["vae", "gan", "autoregressive", "diffusion"]
# What decides whether two scores compare.
SAME = ["features", "features_hash", "reference_hash", "reference_images", "samples"]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench-peers", description="Peers and ours on Fashion-MNIST: the same seconds, the same features")
    parser.add_argument("what", nargs="*", default=PEERS + ["ours"], help="of vae, gan, autoregressive, diffusion, each with options after commas, and ours; all if none is named")
    parser.add_argument("--seconds", type=float, default=300, help="of training, each [300]")
    parser.add_argument("--ours-seconds", type=float, help="of training of each of ours [--seconds]")
    parser.add_argument("--samples", type=int, default=10_000, help="scored of each [10000]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of all [all cores]")
    parser.add_argument("--bf16", action="store_true", help="peers train under bf16 autocast; ours choose by the processor")
    parser.add_argument("--run", type=Path, help="finished run of ours, in place of a new one")
    parser.add_argument("--experiment", type=Path, default=EXPERIMENT, help="ours [experiments/fashion-mnist.yaml]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for ours, such as data.condition=none")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="folder of results [runs/peers]")
    parser.add_argument("--datasets", type=Path, default=Path(os.environ.get("PARAGONE_DATASETS", "datasets")), help="folder of datasets [datasets]")
    parser.add_argument("--table", action="store_true", help="only print the table of what the folder has")
    args = parser.parse_args()
    for name in args.what:
        if name.split(",")[0] not in PEERS + ["ours"]:
            parser.error(f"{name} is none of {', '.join(PEERS)} and ours")
    return args


def read(path):
    return json.loads(Path(path).read_text())


def run(command, **options):
    """One piece, to its end; its lines are the user's."""
    if code := subprocess.run([str(x) for x in command], **options).returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {code}")


def train_peer(program, args, name):
    """Trains, draws and scores a peer; returns its row."""
    folder = args.out / f"{name}-{args.seconds:g}s{'-bf16' if args.bf16 else ''}"
    environment = {f"{x}_NUM_THREADS": str(args.threads) for x in ("OMP", "MKL")} | {"PYTHONDONTWRITEBYTECODE": "1"}
    sizes = ["--seconds", f"{args.seconds:g}", "--samples", args.samples, "--threads", args.threads, "--processor", processor()]
    command = [sys.executable, HERE / "peers/train.py", name, folder, "--data", args.datasets / "fashion-mnist", *sizes]
    run(command + ["--bf16"] * args.bf16, env=os.environ | environment)

    scores = folder / "scores.json"
    if not scores.exists():
        data = ["--reference", "fashion-mnist", "--datasets", args.datasets]
        run([program, "score", "--samples", folder / "samples.npz", *data, "--threads", args.threads, "--device", "cpu", "--out", scores])
    trained, sampled, report = read(folder / "trained.json"), read(folder / "sampled.json"), read(scores)
    scored, floor = report["scores"], report["test_set"]
    row = {
        "family": name.split(",")[0],
        "options": name.split(",")[1:],
        **trained,
        "seconds_per_image": sampled["seconds"] / sampled["samples"],
        "frechet_distance": scored["frechet_distance"],
        "frechet_distance_excess": floor and scored["frechet_distance"] - floor["frechet_distance"],
        "precision_score": scored["precision"],
        "recall_score": scored["recall"],
        "protocol": {key: report["protocol"][key] for key in SAME},
        # Kept from earlier, either may be of another machine.
        "processor": ", sampled on ".join(dict.fromkeys([trained["processor"], sampled["processor"]])),
    }
    return folder.name, [row]


def train_ours(program, args):
    """Runs our experiment, or takes a finished run; returns its rows."""
    seconds = args.ours_seconds or args.seconds
    folder = args.run or args.out / f"ours-{seconds:g}s{''.join(f',{x}' for x in args.set)}"
    if not args.run:
        # Only what the table shows is measured; curves and likelihood take longer than training.
        fewer = ["eval.curves.samples=0", "eval.memorization_samples=0", "eval.likelihood_images=16"]
        sets = [f"train.budget.seconds={seconds:g}", f"eval.samples={args.samples}", *fewer, *args.set]
        options = [x for one in sets for x in ("--set", one)]
        # On the processor, as the peers.
        run([program, "run", args.experiment, *options, "--device", "cpu", "--threads", args.threads, "--datasets", args.datasets, "--out", folder])
    results, manifest = read(folder / "comparison/results.json"), read(folder / "manifest.json")

    def score(row, key):
        return row["scores"][key]["train"]["value"]

    rows = []
    for row in results["rows"]:
        likelihood = row["scores"]["bits_per_dim"]
        rows.append(
            {
                "family": row["family"],
                "options": args.set if not args.run else [],
                "system": "paragone" if row["model"] == row["family"] else f"paragone {row['model']}",
                "conditional": bool(likelihood.get("conditional", row["scores"]["conditional_accuracy"]["value"] is not None)),
                "note": f"{row['sampling']['network_calls']:g} network calls an image",
                "parameters": row["parameters"],
                **{key: row["train"][key] for key in ("seconds", "images", "precision")},
                "threads": manifest["threads"],
                "versions": {"paragone": manifest["paragone"], "libtorch": manifest["libtorch"]},
                "seconds_per_image": row["sampling"]["seconds_per_image"],
                "frechet_distance": score(row, "frechet_distance"),
                "frechet_distance_excess": score(row, "frechet_distance_excess"),
                "precision_score": score(row, "precision"),
                "recall_score": score(row, "recall"),
                "protocol": {key: results["protocol"]["train"][key] for key in SAME},
                "processor": manifest["processor"],
            }
        )
    name = folder.name if not args.run else f"run-{folder.resolve().name}"
    return name, rows


def table(out):
    """Prints what the folder has, by family, and what the rows differ in beside what they should."""
    rows = [row for path in sorted(out.glob("*.json")) for row in read(path)]
    if not rows:
        return print(f"{out} has no results")
    rows.sort(key=lambda row: (PEERS.index(row["family"]), not row["system"].startswith("paragone"), row["system"], row["seconds"]))
    heads = ["system", "family", "classes", "parameters", "seconds", "images seen", "images/s", "s per 1,000", "FD", "FD − floor", "precision", "recall"]
    lines = [heads]
    for row in rows:
        excess = row["frechet_distance_excess"]
        name = " ".join([row["system"], *row["options"]])
        speed = [f"{row['seconds']:.0f}", f"{row['images']:,}", f"{row['images'] / row['seconds']:.0f}", f"{1000 * row['seconds_per_image']:.1f}"]
        scores = [f"{row['frechet_distance']:.2f}", "—" if excess is None else f"{excess:.2f}", f"{row['precision_score']:.2f}", f"{row['recall_score']:.2f}"]
        lines.append([name, row["family"], "given" if row["conditional"] else "—", f"{row['parameters']:,}", *speed, *scores])
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for k, line in enumerate(lines):
        print("| " + " | ".join(x.ljust(w) if i < 3 else x.rjust(w) for i, (x, w) in enumerate(zip(line, widths))) + " |")
        if k == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")

    def distinct(of):
        return sorted({of(row) for row in rows})

    print()
    for note in distinct(lambda row: f"{row['system']}, {row['family']}: {row['precision']}, {row['note']}"):
        print(f"- {note}")
    machines = distinct(lambda row: f"{row['processor']}, threads: {row['threads']}")
    versions = sorted({f"{name} {version}" for row in rows for name, version in row["versions"].items()})
    protocols = distinct(lambda row: f"{row['protocol']['samples']:,} samples against {row['protocol']['reference_images']:,} images, features {row['protocol']['features']}")
    print(f"\n{'; '.join(machines)}. {', '.join(versions)}. {'; '.join(protocols)}.")
    if len(machines) > 1:
        print("Not all rows are of one machine and number of threads: seconds do not compare.")
    if len({json.dumps(row["protocol"], sort_keys=True) for row in rows}) > 1:
        print("Not all rows are of one protocol: scores do not compare.")


def main():
    args = arguments()
    if not args.table:
        program = os.environ["PARAGONE"]
        args.out.mkdir(parents=True, exist_ok=True)
        if args.what != ["ours"] or not args.run:
            run([program, "data", "fetch", "fashion-mnist", "--datasets", args.datasets])
        for what in args.what:
            name, rows = train_ours(program, args) if what == "ours" else train_peer(program, args, what)
            (args.out / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")
    table(args.out)


main()
