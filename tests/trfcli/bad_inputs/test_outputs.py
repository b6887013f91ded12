"""Checkpoints, unfinished outputs and outputs that can't be used."""

import hashlib
import json
from functools import partial

import pytest
from bad_inputs import Build, Case, CheckCase, fifo, link, put, steps

CHECKPOINT = ".model.training/checkpoint"
STATE, PARTIAL = f"{CHECKPOINT}/progress.json", "out.jsonl.partial.json"
RESUME = "train model train.jsonl --resume"
EVALUATE, ANNOTATE = "evaluate model dev.jsonl", "annotate model train.jsonl out.jsonl"
INIT, OPTIMIZE = "init encoder out --lang xx", "optimize model out --calibrate train.jsonl"


def state(content: str) -> Build:
    """A checkpoint with this state, and with the checksums of its files."""
    checksums = {
        "progress.json": hashlib.sha256(content.encode()).hexdigest(),
        "tensors.safetensors": hashlib.sha256(b"").hexdigest(),
    }
    return steps(
        partial(put, STATE, content),
        partial(put, f"{CHECKPOINT}/tensors.safetensors", ""),
        partial(put, f"{CHECKPOINT}/checksums.json", json.dumps(checksums)),
    )


def unfinished(**changes: object) -> Build:
    """What an interrupted `annotate` leaves."""
    parts = {
        "model": "",
        "input": "",
        "texts": 1,
        "words": 1,
        "labels": {},
        "scores": False,
        "columns": None,
    }
    digest = hashlib.sha256(b"{}").hexdigest()
    content = json.dumps({"bytes": 2, "sha256": digest, "state": {**parts, **changes}})
    return steps(partial(put, PARTIAL, content), partial(put, "out.jsonl.partial", "{}"))


CASES = [
    Case(
        "checkpoint without its parts",
        partial(put, f"{CHECKPOINT}/a", ""),
        RESUME,
        "{cwd}/.model.training/checkpoint/checksums.json: no such file",
    ),
    Case(
        "state empty",
        state(""),
        RESUME,
        "{cwd}/.model.training/checkpoint/progress.json: not valid JSON (…",
    ),
    Case(
        "state is a list",
        state("[]"),
        RESUME,
        "{cwd}/.model.training/checkpoint/progress.json: not a JSON object",
    ),
    Case(
        "state without an identity",
        state("{}"),
        RESUME,
        "{cwd}/.model.training/checkpoint: damaged (…",
    ),
    Case(
        "state of another training",
        state('{"identity": {}}'),
        RESUME,
        "The unfinished training can't be resumed: …",
    ),
    Case(
        "number as identity",
        state('{"identity": 7}'),
        RESUME,
        "{cwd}/.model.training/checkpoint: damaged (…",
    ),
    Case(
        "state is a named pipe",
        steps(state(""), partial(fifo, STATE)),
        RESUME,
        "{cwd}/.model.training/checkpoint: damaged (progress.json), …",
    ),
    Case(
        "output without its state",
        unfinished(texts="x"),
        f"{ANNOTATE} --resume",
        "{cwd}/out.jsonl.partial.json: damaged, or written by another version of trf",
    ),
    Case(
        "list as labels in the state",
        unfinished(labels=[]),
        f"{ANNOTATE} --resume",
        "{cwd}/out.jsonl.partial.json: damaged, or written by another version of trf",
    ),
    Case(
        "state of an earlier version",
        unfinished(columns={}, writer={"columns": ["text"]}),
        f"{ANNOTATE} --resume",
        "{cwd}/out.jsonl.partial.json: damaged, or written by another version of trf",
    ),
    Case(
        "state of another model",
        unfinished(),
        f"{ANNOTATE} --resume",
        "{cwd}/out.jsonl.partial: written with another model, so it can't be continued",
    ),
    Case(
        "output links to itself", partial(link, "out", "out"), INIT, "Symlink loop from '{cwd}/out'"
    ),
    Case(
        "trained output links to itself",
        partial(link, "out", "out"),
        "train model train.jsonl -o out",
        "Symlink loop from '{cwd}/out'",
    ),
    Case(
        "metrics link to themselves",
        partial(link, "out.json", "out.json"),
        f"{EVALUATE} -o out.json",
        "Symlink loop from '{cwd}/out.json'",
    ),
    Case(
        "report links to itself",
        partial(link, "out.html", "out.html"),
        f"{EVALUATE} --html out.html",
        "Symlink loop from '{cwd}/out.html'",
    ),
    Case(
        "annotations link to themselves",
        partial(link, "out.jsonl", "out.jsonl"),
        ANNOTATE,
        "Symlink loop from '{cwd}/out.jsonl'",
    ),
    Case("output is a file", partial(put, "out", "mine"), INIT, "out: is a file"),
    Case(
        "output is below a file",
        partial(put, "out", "mine"),
        INIT.replace("out", "out/a/b"),
        "out: is a file, not a directory",
    ),
    Case(
        "report is below a file",
        partial(put, "a", ""),
        f"{EVALUATE} --html a/out.html",
        "a: is a file, not a directory",
    ),
    Case(
        "annotations are below a file",
        partial(put, "out", "mine"),
        ANNOTATE.replace("out", "out/a"),
        "out: is a file, not a directory",
    ),
    Case("optimized output is a file", partial(put, "out", "mine"), OPTIMIZE, "out: is a file"),
    Case(
        "output is someone's directory",
        partial(put, "out/notes.txt", "mine"),
        INIT,
        "out: exists and is not a spaCy pipeline (it has notes.txt)",
    ),
    Case(
        "annotations are a directory",
        partial(put, "out.jsonl/a", ""),
        ANNOTATE,
        "out.jsonl: a directory, not a file",
    ),
    Case(
        "annotations are a named pipe",
        partial(fifo, "out.jsonl"),
        ANNOTATE,
        "out.jsonl: not a regular file",
    ),
    Case(
        "report in no directory",
        partial(put, "a", ""),
        f"{EVALUATE} --html no/out.html",
        "no: there is no such directory",
    ),
    Case(
        "list of skipped texts exists",
        partial(put, "out.jsonl.skipped.jsonl", "mine"),
        f"{ANNOTATE} --on-error skip",
        "out.jsonl.skipped.jsonl: already exists",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_output_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
