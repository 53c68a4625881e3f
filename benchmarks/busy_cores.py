"""Steps of training on cores that others use too, by how long idle threads spin before they sleep (GOMP_SPINCOUNT).

    python benchmarks/busy_cores.py --rounds 7

Two threads of a training wait for each other thousands of times per second. OpenMP's own choice is to spin for
milliseconds: quick on idle cores, but on busy ones the thread that is waited for does not run meanwhile. Every round
times the same steps with OpenMP's choice, with that of a service's jobs and with no spinning at all, beside 0, 1 and 2
other busy processes. Prints one JSON document: seconds of wall clock and of the processor, median, least and most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict

from inksight.serving.jobs import SPIN_COUNT

STEPS = """
import json, sys, time
import torch
from inksight import models

torch.set_num_threads(int(sys.argv[3]))
torch.manual_seed(0)
model = models.create(sys.argv[1], num_classes=20, image_shape=(28, 28))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
images, labels = torch.rand(128, 1, 28, 28), torch.randint(0, 20, (128,))
for step in range(int(sys.argv[2]) + 5):
    if step == 5:
        wall, processor = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
print(json.dumps([time.perf_counter() - wall, time.process_time() - processor]))
"""
WAITING = {
    "OpenMP's choice": {},
    "a job's": {"GOMP_SPINCOUNT": SPIN_COUNT},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["simple_cnn", "sketchnet-s"])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    settings = parser.parse_args()
    plain = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    times: dict[str, list[list[float]]] = defaultdict(list)
    for number in range(settings.rounds):
        for model in settings.models:
            for others in (0, 1, 2):
                for name, variables in WAITING.items():
                    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
                    try:
                        words = [sys.executable, "-c", STEPS, model, str(settings.steps), str(settings.threads)]
                        done = subprocess.run(words, env=plain | variables, capture_output=True, text=True, check=True)
                    finally:
                        for process in busy:
                            process.kill()
                            process.wait()
                    times[f"{model}, {others} others, {name}"].append(json.loads(done.stdout))
        print(f"round {number + 1} of {settings.rounds}", file=sys.stderr)
    told = {}
    for case, rounds in times.items():
        for what, values in zip(("wall", "processor"), zip(*rounds, strict=True), strict=True):
            told[f"{case}, {what}"] = [round(f(values), 2) for f in (statistics.median, min, max)]
    print(json.dumps({"n": settings.rounds, "median, least, most": told}, indent=2))


if __name__ == "__main__":
    main()
