"""Does the loop of improvement pay? A model that learnt from few drawings is corrected and retrained; both are judged.

    python benchmarks/corrections.py --data ../shared/data/quickdraw --runs 3

Real drawings only, dealt anew in each run: a few of each class to train the first version on (`inksight train`), some
that people enter, and the rest, which nothing sees before the end. The entered ones go the whole way: /v1/predict and
/v1/feedback of a running service (what a player would say: right, or what it is), a review that accepts, a retrain as
the page's button starts it (/v1/jobs). "weak": three classes have only a handful of drawings to begin with, and those
alone are corrected. "even": all classes are alike, and of all of them some drawings are corrected.

Prints one JSON document and, with --out, writes it to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from inksight.improve.verdict import paired

NAME = "doodle"
USED = 250
"""Drawings of each class: no more, so that all are alike."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="laid out as the bucket, with simplified strokes")
    parser.add_argument("--model", default="sketchnet-s")
    parser.add_argument("--known", type=int, default=60, help="drawings of each class at first: train, val and test")
    parser.add_argument("--handful", type=int, default=15, help="the same of the weak classes")
    parser.add_argument("--weak", type=int, default=40, help="drawings of each weak class that people enter")
    parser.add_argument("--even", type=int, default=10, help="drawings of every class that people enter")
    parser.add_argument("--epochs", type=int, default=30, help="of the first training")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["weak", "even"], choices=["weak", "even"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    drawings = read(options.data)
    facts: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "classes": len(drawings),
        "model": options.model,
        "runs": [],
    }
    for seed in range(options.runs):
        for kind in options.kinds:
            with tempfile.TemporaryDirectory() as home:
                found = one_run(kind, seed, drawings, Path(home), options)
            facts["runs"].append(found)
            print(json.dumps(found), file=sys.stderr, flush=True)
    print(json.dumps(facts, indent=1))
    if options.out:
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


def read(folder: Path) -> dict[str, list[Any]]:
    """Return the simplified drawings, as lines of ndjson, of every class that has enough."""
    found = {}
    for path in sorted((folder / "full" / "simplified").glob("*.ndjson")):
        with path.open(encoding="utf-8") as lines:
            found[path.stem] = [line for line, _ in zip(lines, range(USED), strict=False)]
    return {name: lines for name, lines in found.items() if len(lines) == USED}


def one_run(
    kind: str, seed: int, drawings: dict[str, list[str]], home: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Train, serve, correct, review, retrain, judge; return what came out."""
    random = np.random.default_rng(seed)
    names = sorted(drawings)
    dealt = {name: [drawings[name][place] for place in random.permutation(USED)] for name in names}
    weak = sorted(random.choice(names, 3, replace=False).tolist())
    corrected = weak if kind == "weak" else names
    first = {name: options.handful if kind == "weak" and name in weak else options.known for name in names}
    entered = dict.fromkeys(corrected, options.weak if kind == "weak" else options.even)
    # Behind the most that either kind takes, so that both are judged on the same drawings.
    unseen = {name: dealt[name][options.known + max(options.weak, options.even) :] for name in names}

    bucket = home / "bucket" / "full" / "simplified"
    bucket.mkdir(parents=True)
    for name in names:
        (bucket / f"{name}.ndjson").write_text("".join(dealt[name][: first[name]]), encoding="utf-8")
    run = Product(home)
    classes = ",".join(names)
    run("data", "prepare", "quickdraw345", "--classes", classes, "--format", "simplified", "--folder", home / "bucket",
        "--train-ratio", "0.6", "--val-ratio", "0.1", "--test-ratio", "0.3", "--out", home / "few.h5")  # fmt: skip
    run("train", home / "few.h5", "--model", options.model, "--epochs", options.epochs, "--seed", seed,
        "--run-dir", home / "first", "--no-tensorboard", "--optimizer", "muon")  # fmt: skip
    run("models", "push", home / "first" / "bundle", NAME)
    run("models", "promote", f"{NAME}:1")
    token = run("tokens", "add", "alice", "--scope", "review", "--scope", "jobs").strip()
    with run.service(NAME, "--keep-drawings") as client:
        admin = {"Authorization": f"Bearer {token}"}
        right = 0
        for name in corrected:
            for line in dealt[name][first[name] : first[name] + entered[name]]:
                answer = post(client, "/v1/predict", {"strokes": json.loads(line)["drawing"]})
                correct = answer["predictions"][0]["label"] == name
                right += correct
                post(client, "/v1/feedback", {"prediction_id": answer["id"], "label": name, "correct": correct})
        waiting = client.get("/v1/corrections", params={"state": "pending", "limit": 500}, headers=admin).json()
        for item in waiting["corrections"]:
            post(client, f"/v1/corrections/{item['id']}", {"action": "accept"}, admin)
        began = time.perf_counter()
        job = post(client, "/v1/jobs", {"kind": "retrain", "model": NAME, "settings": {"seed": seed}}, admin)
        while job["state"] in ("waiting", "running"):
            time.sleep(1)
            job = client.get(f"/v1/jobs/{job['id']}", headers=admin).json()
        seconds = time.perf_counter() - began
    result = job["result"]
    if result is None:
        raise SystemExit(f"the retrain ended as {job['state']}: {job['error']}\n" + "\n".join(job["log"]))
    versions = [run.answers(f"{NAME}:{number}", unseen) for number in (1, 2)]
    return {
        "kind": kind,
        "seed": seed,
        "weak": weak,
        "entered": len(waiting["corrections"]),
        "called_right": right,
        "corrections": result["corrections"],
        "outcome": result["outcome"],
        "gates": [gate["detail"] for gate in result["gates"] if not gate["passed"]],
        "seconds": round(seconds, 1),
        "corrected_classes": compared(versions, corrected),
        "other_classes": compared(versions, [name for name in names if name not in corrected]),
        "worst_changes": changes(versions, unseen)[:3],
        "test_split": result["test"],
        "held_back": result["held_back"],
    }


class Product:
    """The command line in a workspace of its own."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "INKSIGHT_HOME": str(home / "home")}

    def __call__(self, *words: object) -> str:
        """Run one command and return what it printed."""
        command = [sys.executable, "-m", "inksight", *map(str, words)]
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def service(self, *words: str) -> Iterator[httpx.Client]:
        """Serve, and give a client."""
        command = [sys.executable, "-m", "inksight", "serve", *words, "--port", "0"]
        process = subprocess.Popen(command, env=self.environment, text=True, stderr=subprocess.PIPE)
        try:
            assert process.stderr is not None
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.]+:\d+", line)))
            with httpx.Client(base_url=address, timeout=60) as client:
                yield client
        finally:
            process.terminate()
            process.communicate()

    def answers(self, reference: str, drawings: dict[str, list[str]]) -> dict[str, np.ndarray[Any, Any]]:
        """Return by class which drawings a version names rightly."""
        folder = Path(self.environment["INKSIGHT_HOME"]).parent / reference.replace(":", "-")
        self("models", "pull", reference, folder)
        import inksight

        model = inksight.load(folder)
        return {
            name: np.array(model.predict_strokes([json.loads(line)["drawing"] for line in lines])) == name
            for name, lines in drawings.items()
        }


def post(client: httpx.Client, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    """Send JSON, return JSON."""
    response = client.post(path, json=body, headers=headers)
    response.raise_for_status()
    return response.json()


def compared(versions: list[Any], names: list[str]) -> dict[str, Any] | None:
    """Return the paired comparison of both versions on the unseen drawings of some classes."""
    return paired(*(np.concatenate([answers[name] for name in names]) for answers in versions)) if names else None


def changes(versions: list[Any], unseen: dict[str, list[str]]) -> list[tuple[str, float, float]]:
    """Return each class with its accuracy before and after, the greatest loss first."""
    before, after = versions
    found = [(name, round(float(before[name].mean()), 4), round(float(after[name].mean()), 4)) for name in unseen]
    return sorted(found, key=lambda row: row[2] - row[1])


if __name__ == "__main__":
    main()
