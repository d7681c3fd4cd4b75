"""What the machine can do at most, in the same libtorch: the roofs that a training step is held against."""

import time

import torch

KINDS = {"f32": torch.float32, "bf16": torch.bfloat16}


def seconds(action, at_least):
    """Of one action, repeated for so long."""
    times, start = 0, time.perf_counter()
    while True:
        action()
        times += 1
        passed = time.perf_counter() - start
        if passed >= at_least:
            return passed / times


class Product:
    """A product of square matrices large enough to keep the processor busy and small enough for its cache."""

    SIZE = 1536

    def __init__(self, precision):
        self.a = torch.randn(self.SIZE, self.SIZE).to(KINDS[precision])
        self.b = torch.randn(self.SIZE, self.SIZE).to(KINDS[precision])

    def flops_per_second(self, at_least):
        return 2 * self.SIZE**3 / seconds(lambda: self.a @ self.b, at_least)


def conv_flops_per_second(precision, at_least):
    """3x3, 128 to 128 channels, on 32 feature maps of 14x14: a middle layer of the networks here."""
    x = torch.randn(32, 128, 14, 14).to(KINDS[precision])
    layer = torch.nn.Conv2d(128, 128, 3, padding=1).to(KINDS[precision])
    with torch.no_grad():
        return 2 * 32 * 14 * 14 * 128 * 128 * 9 / seconds(lambda: layer(x), at_least)


def bytes_per_second(at_least):
    """Reading and writing arrays that no cache holds."""
    a, b = torch.zeros(1 << 26), torch.empty(1 << 26)
    return 2 * a.nbytes / seconds(lambda: b.copy_(a), at_least)


def print_roofs(precisions, at_least, windows):
    def best(measure):
        return max(measure() for _ in range(windows)) / 1e9

    print("\nmost that this machine does (best window)")
    for precision in precisions:
        product, torch_conv = Product(precision), lambda: conv_flops_per_second(precision, at_least)
        gemm = best(lambda: product.flops_per_second(at_least))
        print(f"  {precision:5} product {gemm:6.0f} GFLOP/s, 3x3 convolution {best(torch_conv):6.0f} GFLOP/s")
    print(f"  memory        {best(lambda: bytes_per_second(at_least)):6.1f} GB/s", flush=True)
