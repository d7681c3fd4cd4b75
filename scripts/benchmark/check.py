"""Whether both sides compute the same: losses, gradients, samples, and where the weights are after a few steps."""

import torch

from common import SeededNoise
from machine import compute_in

STEPS = 4
# Largest differences in f32. Sampled levels may differ where a uniform falls on a step of a distribution: a share of pixels.
# Where rounding takes a number across the kink of a ReLU, one pixel's gradient differs: of a parameter of each position, such as the
# autoregressive model's, that has been 7e-4; in a GAN's penalty, which is of slopes, 3e-3. AdamW makes whole steps of gradients that are
# nothing but rounding, such as that of the bias of a GAN's last features.
LIMITS = {"loss": 1e-4, "gradient": 5e-3, "samples": 1e-4, "pixels": 1e-3, "steps": 0.1}
# Roundings of bf16, which both sides make in slightly different places, and of TF32.
LIMITS_ROUNDED = {"loss": 1e-2, "gradient": 0.1, "samples": 1e-4, "pixels": 1e-3, "steps": 0.5}


def check(case):
    """Prints the differences; returns those beyond their limits."""
    ours, trainer, reference = case.ours.model, case.trainer, case.reference
    losses, gradients = [], []
    count = sum(p.numel() for p in trainer.parameters)
    assert count == ours["parameters"], f"{count} parameters are not {ours['parameters']}"
    for phase, named, optimizer in trainer.phases:
        trainer.require_gradients(phase)
        torch.manual_seed(case.options["seed"])
        loss, wanted = trainer.phase_loss(phase, case.batch), case.losses["losses"][phase["name"]]
        losses.append(abs(loss.item() - wanted) / max(1, abs(wanted)))
        loss.backward()
        wanted = {name: reference["gradients"][f"{phase['name']}.{name}"] for name in named}
        # Of a gradient that is zero but for rounding, nothing is asked.
        least = 1e-3 * flat(wanted, named).norm()
        gradients += [apart(parameter.grad, wanted[name], least) for name, parameter in named.items()]
        optimizer.zero_grad()
    found = {"loss": largest(losses), "gradient": largest(gradients)}
    compute_in("f32")  # as all samples are drawn
    found.update(samples(trainer.model, reference["samples"][""]))
    compute_in(case.precision)

    before = torch.cat([p.detach().flatten() for p in trainer.parameters])
    case.ours.ask("train", STEPS)
    for _ in range(STEPS):
        trainer.step(case.batch)
    names = [name for name, _ in trainer.model.named_parameters()]
    _, after = case.ours.tensors("state", case.args.device)
    found["steps"] = largest(
        [
            apart(torch.cat([p.detach().flatten() for p in theirs]) - before, flat(after[part], names) - before, least=0)
            for part, theirs in (("weights", trainer.parameters), ("ema", trainer.ema))
        ]
    )
    limits = LIMITS if case.precision == "f32" else LIMITS_ROUNDED
    row = f"{case.family}, {case.shape}, {case.precision}"
    shown = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    print(f"  {row:30} {count:9,} parameters, {shown}", flush=True)
    return [f"{row}: {name} {value:.1e}" for name, value in found.items() if not value <= limits[name]]


def samples(model, wanted):
    """Ours against theirs from the same noise, in f32."""
    classes, noise = torch.arange(len(wanted), device=wanted.device) % 10, SeededNoise(len(wanted), wanted.device)
    with torch.no_grad():
        if hasattr(model, "redraw"):
            got = model.redraw(wanted, classes, noise)
        else:
            got = model.sample(classes, noise)
    if hasattr(model, "net") and hasattr(model.net, "pixel"):
        return {"pixels": (got != wanted).float().mean().item()}
    return {"samples": (got - wanted).abs().max().item()}


def largest(values):
    """Not a number if one of them is none, as where no step was made at all."""
    return torch.tensor(values).max().item()


def flat(tensors, names):
    return torch.cat([tensors[name].flatten() for name in names])


def apart(got, wanted, least=1e-12):
    """The norm of the difference over the norm, or over `least` if that is more."""
    return ((got - wanted).norm() / wanted.norm().clamp_min(least)).item()
