"""Our side: the process of crates/runner/examples/time_steps.rs."""

import json
import subprocess

from safetensors.torch import load_file, save_file


class Ours:
    def __init__(self, program, scratch, family, config, data, batch, **options):
        self.scratch = scratch
        save_file({"images": batch.images, "class": batch.classes}, f"{scratch}/batch.safetensors")
        shape = {"channels": data.channels, "height": data.size, "width": data.size}
        spec = {
            "family": family,
            "config": config,
            "data": {"shape": shape, "num_classes": 10, "text": None, "known_pixels": False, "mean": data.mean, "std": data.std},
            "batch": f"{scratch}/batch.safetensors",
            **options,
        }
        with open(f"{scratch}/spec.json", "w") as file:
            json.dump(spec, file)
        command = [program, f"{scratch}/spec.json"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.model = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, command, argument):
        self.process.stdin.write(f"{command} {argument}\n")
        self.process.stdin.flush()
        return self.answer()

    def tensors(self, command, device="cpu"):
        """What `reference` and `state` answer, and what they write, by the first part of the names."""
        path = f"{self.scratch}/{command}.safetensors"
        answer, groups = self.ask(command, path), {}
        for name, tensor in load_file(path, device).items():
            first, _, rest = name.partition(".")
            groups.setdefault(first, {})[rest] = tensor
        return answer, groups

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
