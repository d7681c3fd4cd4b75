"""What scripts/bench can be told. It needs no package, so that help needs none."""

import argparse
import os

FAMILIES = ["vae", "gan", "autoregressive", "diffusion"]
SHAPES = {"gray": (1, 28), "colour": (3, 32)}
SECTIONS = ["steps", "profile", "sampling", "start"]
DESCRIPTION = "Holds our training steps and samplers against PyTorch's, by turns, and says which operators take the time of either."


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=DESCRIPTION)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; default: all")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="28x28 gray, 32x32 colour")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of both sides; cuda after scripts/setup --cuda, without profiles [cpu]")
    parser.add_argument("--precisions", nargs="+", choices=["f32", "tf32", "bf16"], help="default: f32, tf32 on a GPU, and bf16 where the device has it")
    parser.add_argument("--networks", metavar="FILE", help="networks and batches of an experiment's models, such as experiments/gpu/fashion-mnist.yaml, instead of the defaults")
    parser.add_argument("--batch", type=int, help="images in a batch instead of each family's own number")
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=SECTIONS, help="none: the comparison of results alone")
    parser.add_argument("--windows", type=int, default=5, help="windows of each side")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window of training, and of a profile")
    parser.add_argument("--images", type=int, nargs="+", default=[64, 1024], help="numbers of images drawn")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))), help="of both sides; default: all cores")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, where it works: minutes for each network")
    parser.add_argument("--allocator", action="store_true", help="PyTorch with glibc's allocator set as we set it for ourselves")
    parser.add_argument("--experiment", action="store_true", help="a short experiment's time too, in each window: two minutes each")
    parser.add_argument("--quick", action="store_true", help="one step of few images: shows that all works, measures nothing")
    # Given by scripts/bench.
    for name in ("--program", "--binary", "--scratch"):
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = set(args.families) - set(FAMILIES)
    if unknown:
        parser.error(f"no family {', '.join(sorted(unknown))}")
    args.families = args.families or FAMILIES
    if args.device == "cuda":
        args.precisions = args.precisions or ["f32", "tf32", "bf16"]
        args.sections = [section for section in args.sections if section != "profile"]
    elif "tf32" in (args.precisions or []):
        parser.error("tf32 is for --device cuda")
    elif not args.precisions:
        # Elsewhere it gains no time.
        with open("/proc/cpuinfo") as info:
            args.precisions = ["f32", "bf16"] if "avx512_bf16" in info.read() else ["f32"]
    if args.quick:
        args.windows, args.seconds, args.images, args.batch = 1, 0.0, [4], args.batch or 8
    return args


if __name__ == "__main__":
    parse()
