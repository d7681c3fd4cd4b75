"""Where the time of a training step goes: the same reading of what libtorch's profiler saw on either side.

A fused operator counts whole: our normalisation is SiLU too, and our loss of a mixture of logistics, which PyTorch's side composes,
stands there among activations and element-wise operations."""

import json
from collections import defaultdict

# An operator counts to the first group with a part of its name.
GROUPS = {
    "optimiser": ["_fused_adamw", "_foreach_", "vector_norm"],
    "convolution": ["conv"],
    "product": ["::mm", "addmm", "bmm", "matmul", "linear", "::dot", "::mv"],
    "attention": ["attention", "aten::_softmax"],
    "loss": ["log_softmax", "cross_entropy", "nll_loss", "logistic_mixture", "logsumexp"],
    "random": ["normal_", "uniform_", "random_", "bernoulli", "exponential_"],
    "norm": ["norm"],
    "activation": ["silu", "gelu", "relu", "elu", "gate", "glu", "sigmoid", "tanh", "softplus"],
    "copies": ["copy_", "clone", "contiguous", "::cat", "::to", "pad", "index", "gather", "fill_", "zero_", "::stack", "embedding", "flip", "roll"],
    "element-wise": ["aten::", "torch_ext::"],
}
# Between operators: automatic differentiation, Rust or Python.
REST = "between"


def group(name):
    return next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), REST)


def self_times(path):
    """Microseconds of each operator but for those that it called, by name; and from the first beginning to the last end."""
    with open(path) as file:
        events = [e for e in json.load(file)["traceEvents"] if e.get("ph") == "X" and e.get("cat") == "cpu_op"]
    events.sort(key=lambda e: (e["tid"], e["ts"], -e["dur"]))
    times, open_ones = defaultdict(float), []
    for event in events:
        while open_ones and not (open_ones[-1]["tid"] == event["tid"] and event["ts"] < open_ones[-1]["ts"] + open_ones[-1]["dur"]):
            open_ones.pop()
        times[event["name"]] += event["dur"]
        if open_ones:
            times[open_ones[-1]["name"]] -= event["dur"]
        open_ones.append(event)
    span = max(e["ts"] + e["dur"] for e in events) - min(e["ts"] for e in events)
    return times, span


def shares(path):
    """Of the time of the steps in a trace, by group."""
    times, span = self_times(path)
    totals = dict.fromkeys([*GROUPS, REST], 0.0)
    for name, time in times.items():
        totals[group(name)] += time
    totals[REST] += span - sum(totals.values())
    return {group: time / span for group, time in totals.items()}
