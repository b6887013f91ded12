"""Directories of pipelines that can't be used."""

from functools import partial
from typing import Any

import pytest
from bad_inputs import (
    Build,
    Case,
    CheckCase,
    append,
    edit_json,
    edit_text,
    fifo,
    link,
    nothing,
    put,
    remove,
)

CONFIG, META = "model/config.cfg", "model/meta.json"
INFO, EVALUATE, TRAIN = "info model", "evaluate model dev.jsonl", "train model train.jsonl"
ANNOTATE, COMPARE = "annotate model train.jsonl out.jsonl", "compare model model dev.jsonl"
OPTIMIZE, PACKAGE = "optimize model out --calibrate train.jsonl", "package model out --build none"
TWICE = '\n[nlp]\nlang = "xx"\n'


def config(old: str, new: str) -> Build:
    return partial(edit_text, CONFIG, old, new)


def batch_size(value: str) -> Build:
    return config("batch_size = 1000", f"batch_size = {value}")


def meta(**changes: Any) -> Build:
    return partial(edit_json, META, **changes)


CASES = [
    Case(
        "no such pipeline",
        nothing,
        "info nowhere",
        "nowhere: there is no such directory, and no such pipeline is installed",
    ),
    Case(
        "pipeline is a file",
        nothing,
        "evaluate train.jsonl dev.jsonl",
        "train.jsonl: is a file, not a pipeline's directory",
    ),
    Case(
        "pipeline is an encoder",
        nothing,
        "annotate encoder train.jsonl out.jsonl",
        "encoder: not a spaCy pipeline (it has no config.cfg)",
    ),
    Case(
        "pipeline links to itself",
        partial(link, "model", "model"),
        INFO,
        "model: there is no such directory, and no such pipeline is installed",
    ),
    Case(
        "pipeline contains itself",
        partial(link, "model/vocab/again", "."),
        INFO,
        "model/vocab/again: a link to the directory that it is in",
    ),
    Case("config empty", partial(put, CONFIG, ""), INFO, "model: can't be loaded: …"),
    Case(
        "config isn't a config",
        partial(put, CONFIG, "hello"),
        ANNOTATE,
        "model/config.cfg, line 1: not valid in a config file",
    ),
    Case(
        "config not UTF-8",
        partial(put, CONFIG, b"\xff\xfe\x00"),
        COMPARE,
        "model: can't be loaded: …",
    ),
    Case(
        "config is a named pipe",
        partial(fifo, CONFIG),
        INFO,
        "model/config.cfg: a named pipe, not a file",
    ),
    Case(
        "config links to itself",
        partial(link, CONFIG, "config.cfg"),
        INFO,
        "model: not a spaCy pipeline (it has no config.cfg)",
    ),
    Case(
        "section twice",
        partial(append, CONFIG, TWICE),
        INFO,
        "model/config.cfg, line 158: section 'nlp' already exists",
    ),
    Case(
        "section twice, evaluated",
        partial(append, CONFIG, TWICE),
        EVALUATE,
        "model/config.cfg, line 158: section 'nlp' already exists",
    ),
    Case(
        "section twice, trained",
        partial(append, CONFIG, TWICE),
        TRAIN,
        "model/config.cfg, line 158: section 'nlp' already exists",
    ),
    Case(
        "section twice, optimized",
        partial(append, CONFIG, TWICE),
        OPTIMIZE,
        "model/config.cfg, line 158: section 'nlp' already exists",
    ),
    Case(
        "key twice",
        config("[nlp]\n", '[nlp]\nlang = "xx"\n'),
        INFO,
        "model/config.cfg, line 3: option 'lang' in section 'nlp' already exists",
    ),
    Case(
        "no nlp section", partial(put, CONFIG, "[components]\n"), INFO, "model: can't be loaded: …"
    ),
    Case(
        "text as batch size",
        batch_size('"many"'),
        INFO,
        "model/config.cfg: batch_size: Input should be a valid integer…",
    ),
    Case(
        "batch size of 400 digits",
        batch_size("1" + "0" * 400),
        EVALUATE,
        "model/config.cfg: can't be loaded: …",
    ),
    Case(
        "infinite batch size",
        batch_size("1e400"),
        EVALUATE,
        "model/config.cfg: batch_size: Input should be a finite number",
    ),
    Case("negative batch size", batch_size("-1"), ANNOTATE, "model: batch_size is -1"),
    Case(
        "undefined variable",
        batch_size("${warp.x}"),
        INFO,
        "model/config.cfg: batch_size: Input should be a valid integer…",
    ),
    Case(
        "unknown language",
        config('lang = "trf"', 'lang = "warp"'),
        INFO,
        "model: can't be loaded: …",
    ),
    Case(
        "unknown factory",
        config('factory = "trf_tok2vec"', 'factory = "warp"'),
        INFO,
        "model: can't be loaded: …",
    ),
    Case(
        "unknown architecture",
        config("softmax_last_hidden", "softmax_warp"),
        TRAIN,
        "model: softmax_warp: no such architecture",
    ),
    Case(
        "unknown precision",
        config('precision = "auto"', 'precision = "fp7"'),
        INFO,
        "model: precision: unknown value 'fp7'",
    ),
    Case(
        "unknown device",
        config('device = "auto"', 'device = "warp"'),
        INFO,
        "model: warp: not a device name",
    ),
    Case(
        "words_per_batch is text",
        config("per_batch = null", 'per_batch = "x"'),
        INFO,
        "model: words_per_batch: invalid value 'x'",
    ),
    Case(
        "threshold NaN",
        config("threshold = 0.5", "threshold = NaN"),
        EVALUATE,
        "model: can't be loaded: …",
    ),
    Case(
        "meta missing",
        partial(remove, META),
        INFO,
        "model/meta.json: no such file",
    ),
    Case("meta empty", partial(put, META, ""), EVALUATE, "model/meta.json: not valid JSON (…"),
    Case("meta is a list", partial(put, META, "[]"), TRAIN, "model/meta.json: not a JSON object"),
    Case(
        "meta nested deeply",
        partial(put, META, "[" * 100_000),
        INFO,
        "model/meta.json: not valid JSON (nested too deeply)",
    ),
    Case(
        "meta is a named pipe",
        partial(fifo, META),
        INFO,
        "model/meta.json: a named pipe, not a file",
    ),
    Case(
        "number as language",
        meta(lang=7),
        INFO,
        "model/meta.json: [lang] Input should be a valid string",
    ),
    Case(
        "number as requirements",
        meta(requirements=7),
        INFO,
        "model/meta.json: [requirements] Input should be a valid list",
    ),
    Case(
        "list as performance",
        meta(performance=[1]),
        INFO,
        "model/meta.json: [performance] Input should be a valid dictionary",
    ),
    Case(
        "list as facts of trf",
        meta(trf=[1]),
        INFO,
        "model/meta.json: [trf] Input should be an object",
    ),
    Case(
        "list as facts of the encoder",
        meta(trf={"encoder": [1]}),
        INFO,
        "model/meta.json: [trf -> encoder] Input should be an object",
    ),
    Case(
        "number as components",
        meta(components=7),
        TRAIN,
        "model/meta.json: [components] Input should be a valid list",
    ),
    Case(
        "no version of a package",
        meta(version="one"),
        PACKAGE,
        "model/meta.json: \"version\": 'one' is not a version of a Python package",
    ),
    Case(
        "no name of a package",
        meta(name="a b"),
        PACKAGE,
        "model/meta.json: \"name\": 'a b' can't be part of the name of a package",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_pipeline_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
