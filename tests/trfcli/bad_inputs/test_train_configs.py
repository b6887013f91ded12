"""Config files of trainings that can't be used."""

from functools import partial
from pathlib import Path

import pytest
from bad_inputs import REMOVED, Build, Case, CheckCase, append, fifo, link, put, steps
from thinc.api import Config

from trfcli_pipeline.training.config import config_path

CONFIG = "own.cfg"
TRAIN = f"train model train.jsonl --dev dev.jsonl --config {CONFIG}"


def config(key: str, value: object) -> Build:
    """A config with another value of a setting."""

    def build() -> None:
        found = Config().from_disk(config_path("textcat.cfg"), interpolate=False)
        *sections, name = key.split(".")
        part = found
        for section in sections:
            part = part[section]
        if value is REMOVED:
            del part[name]
        else:
            part[name] = value
        found.to_disk(CONFIG)

    return build


def shipped(text: str = "") -> Build:
    """The shipped config, and more."""
    return steps(
        partial(put, CONFIG, Path(config_path("textcat.cfg")).read_text()),
        partial(append, CONFIG, text),
    )


CASES = [
    Case("no such config", partial(put, "a.cfg", ""), TRAIN, "own.cfg: no such file"),
    Case("config empty", partial(put, CONFIG, ""), TRAIN, "own.cfg: lacks 'training'"),
    Case(
        "config isn't a config",
        partial(put, CONFIG, "hello"),
        TRAIN,
        "own.cfg, line 1: not valid in a config file",
    ),
    Case(
        "config not UTF-8",
        partial(put, CONFIG, b"\xff\xfe[a]"),
        TRAIN,
        "own.cfg: 'utf-8' codec …",
    ),
    Case(
        "config is a directory",
        partial(put, f"{CONFIG}/a", ""),
        TRAIN,
        "own.cfg: a directory, not a file",
    ),
    Case(
        "config is a named pipe",
        partial(fifo, CONFIG),
        TRAIN,
        "own.cfg: a named pipe, not a file",
    ),
    Case(
        "config links to itself",
        partial(link, CONFIG, CONFIG),
        TRAIN,
        "own.cfg: can't be read (Too many levels …",
    ),
    Case(
        "section twice",
        shipped("\n[training]\n"),
        TRAIN,
        "own.cfg, line 122: section 'training' already exists",
    ),
    Case(
        "key twice",
        shipped("\n[a]\nb = 1\nb = 2\n"),
        TRAIN,
        "own.cfg, line 124: option 'b' in section 'a' already exists",
    ),
    Case(
        "section of a value",
        shipped("\n[system.seed.more]\na = 1\n"),
        TRAIN,
        "own.cfg: system.seed.more: found conflicting values",
    ),
    Case(
        "variable undefined",
        config("training.max_epochs", "${warp.x}"),
        TRAIN,
        "own.cfg: Bad value substitution: …",
    ),
    Case("no training section", config("training", REMOVED), TRAIN, "own.cfg: lacks 'training'"),
    Case(
        "no optimizer", config("training.optimizer", REMOVED), TRAIN, "own.cfg: lacks 'optimizer'"
    ),
    Case(
        "training is a number",
        config("training", 7),
        TRAIN,
        "own.cfg: training: not part of a section",
    ),
    Case(
        "text as epochs",
        config("training.max_epochs", "many"),
        TRAIN,
        "own.cfg: training.max_epochs = many: must be a whole number, at least 1",
    ),
    Case(
        "epochs of 400 digits",
        config("training.max_epochs", 10**400),
        TRAIN,
        "own.cfg: training.max_epochs = 10000…",
    ),
    Case(
        "negative epochs",
        config("training.max_epochs", -1),
        TRAIN,
        "own.cfg: training.max_epochs = -1: must be a whole number, at least 1",
    ),
    Case(
        "text as batch size",
        config("training.batcher.size", "x"),
        TRAIN,
        "own.cfg: training.batcher.size = x: must be a whole number, at least 1",
    ),
    Case(
        "batch size 0",
        config("training.batcher.size", 0),
        TRAIN,
        "own.cfg: training.batcher.size = 0: must be a whole number, at least 1",
    ),
    Case(
        "batch size of 400 digits",
        config("training.batcher.size", 10**400),
        TRAIN,
        "own.cfg: training.batcher.size = 10000…",
    ),
    Case(
        "unknown optimizer",
        config("training.optimizer.@optimizers", "warp.v1"),
        TRAIN,
        "own.cfg: Could not find function 'warp.v1' in function registry …",
    ),
    Case(
        "unknown batcher",
        config("training.batcher.@batchers", "warp.v1"),
        TRAIN,
        "own.cfg: Could not find function 'warp.v1' in function registry …",
    ),
    Case(
        "seed of 400 digits",
        config("system.seed", 10**400),
        TRAIN,
        "own.cfg: system.seed = 10000…",
    ),
    Case(
        "text as seed",
        config("system.seed", "x"),
        TRAIN,
        "own.cfg: seed: must be a whole number",
    ),
    Case(
        "infinite dropout",
        config("training.dropout", float("inf")),
        TRAIN,
        "own.cfg: training.dropout = inf: must be from 0 to 1",
    ),
    Case(
        "dropout NaN",
        config("training.dropout", float("nan")),
        TRAIN,
        "own.cfg: training.dropout = nan: must be from 0 to 1",
    ),
    Case(
        "unknown factory",
        config("components.trf_textcat.factory", "warp"),
        TRAIN,
        "own.cfg: No factory meta information found for 'warp'",
    ),
    Case(
        "unknown setting",
        config("components.trf_textcat.warp", 1),
        TRAIN,
        "own.cfg: trf_textcat.warp: unexpected argument: 'warp'",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_config_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
