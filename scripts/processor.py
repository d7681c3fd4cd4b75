"""What timings of a machine go by."""

from pathlib import Path


def processor():
    """Its name and the best of its instructions, as in a run's manifest.json: one name stands for several processors."""
    lines = (line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    info = {key.strip(): value.strip() for key, value in lines}
    flags = info.get("flags", "").split()
    best = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags][:1]
    best += ["bf16"] * ("avx512_bf16" in flags)
    return info.get("model name", "unknown") + (f" ({', '.join(best)})" if best else "")
