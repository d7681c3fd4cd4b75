"""What the machine can do at most, in the same libtorch: the roofs that a training step is held against."""

import time

import torch

KINDS = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def compute_in(precision):
    """Whether products and convolutions of f32 may round to TF32, of all of PyTorch. By default only convolutions may."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision in ("tf32", "default")


def wait(device):
    """Until the device has done what was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(action, at_least, device="cpu"):
    """Of one action, repeated for so long."""
    times, start = 0, time.perf_counter()
    while True:
        action()
        wait(device)
        times += 1
        passed = time.perf_counter() - start
        if passed >= at_least:
            return passed / times


class Product:
    """A product of square matrices large enough to keep the device busy and, on a processor, small enough for its cache."""

    SIZES = {"cpu": 1536, "cuda": 8192}

    def __init__(self, precision, device):
        self.size, self.device = self.SIZES[device], device
        self.a, self.b = (torch.randn(self.size, self.size, device=device).to(KINDS[precision]) for _ in range(2))

    def flops_per_second(self, at_least):
        return 2 * self.size**3 / seconds(lambda: self.a @ self.b, at_least, self.device)


def conv_flops_per_second(precision, at_least, device):
    """3x3, 128 to 128 channels, on feature maps of 14x14, 32 of them or for a GPU 1024: a middle layer of the networks here."""
    n = {"cpu": 32, "cuda": 1024}[device]
    x = torch.randn(n, 128, 14, 14, device=device).to(KINDS[precision])
    layer = torch.nn.Conv2d(128, 128, 3, padding=1).to(device, KINDS[precision])
    with torch.no_grad():
        return 2 * n * 14 * 14 * 128 * 128 * 9 / seconds(lambda: layer(x), at_least, device)


def bytes_per_second(at_least, device):
    """Reading and writing arrays that no cache holds."""
    a, b = torch.zeros(1 << 26, device=device), torch.empty(1 << 26, device=device)
    return 2 * a.nbytes / seconds(lambda: b.copy_(a), at_least, device)


def print_roofs(precisions, at_least, windows, device):
    def best(measure):
        return max(measure() for _ in range(windows)) / 1e9

    print("\nmost that this machine does (best window)")
    for precision in precisions:
        compute_in(precision)
        product, torch_conv = Product(precision, device), lambda: conv_flops_per_second(precision, at_least, device)
        gemm = best(lambda: product.flops_per_second(at_least))
        print(f"  {precision:5} product {gemm:6.0f} GFLOP/s, 3x3 convolution {best(torch_conv):6.0f} GFLOP/s")
    print(f"  memory        {best(lambda: bytes_per_second(at_least, device)):6.1f} GB/s", flush=True)
