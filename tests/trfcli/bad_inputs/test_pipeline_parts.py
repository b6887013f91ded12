"""Components and training histories of pipelines that can't be used."""

from functools import partial

import pytest
from bad_inputs import Case, CheckCase, cut, edit_json, edit_weight, fifo, put, remove

ENCODER, TEXTCAT = "model/trf_tok2vec/model", "model/trf_textcat"
WORDPIECER, HISTORY = "model/trf_wordpiecer", "model/training.jsonl"
INFO, EVALUATE = "info model", "evaluate model dev.jsonl"
ANNOTATE = "annotate model train.jsonl out.jsonl"
REPORT = f"{EVALUATE} --html out.html"


CASES = [
    Case(
        "encoder missing",
        partial(remove, "model/trf_tok2vec"),
        INFO,
        "model/trf_tok2vec/cfg: can't be loaded: …",
    ),
    Case(
        "encoder's weights missing",
        partial(remove, f"{ENCODER}/model.safetensors"),
        INFO,
        "model/trf_tok2vec/model: can't load the encoder: …",
    ),
    Case(
        "encoder's weights cut off",
        partial(cut, f"{ENCODER}/model.safetensors", 5000),
        EVALUATE,
        "model/trf_tok2vec/model: can't load the encoder: …",
    ),
    Case(
        "encoder's config is a list",
        partial(put, f"{ENCODER}/config.json", "[]"),
        ANNOTATE,
        "model/trf_tok2vec/model/config.json: not a JSON object",
    ),
    Case(
        "encoder's NaN weight",
        partial(edit_weight, f"{ENCODER}/model.safetensors", "pooler.dense.weight", float("nan")),
        EVALUATE,
        "model/trf_tok2vec/model: pooler.dense.weight contains NaN or infinite values",
    ),
    Case(
        "unknown backend",
        partial(edit_json, f"{ENCODER}/inference.json", backend="warp"),
        INFO,
        "model/trf_tok2vec/model/inference.json: can't be read: …",
    ),
    Case(
        "settings without keys",
        partial(put, "model/trf_tok2vec/cfg", "{}"),
        INFO,
        "model/trf_tok2vec/cfg: can't be loaded: …",
    ),
    Case(
        "tokenizer missing",
        partial(remove, f"{WORDPIECER}/tokenizer"),
        INFO,
        "model/trf_wordpiecer/tokenizer: can't load the tokenizer: …",
    ),
    Case(
        "tokenizer cut off",
        partial(cut, f"{WORDPIECER}/tokenizer/tokenizer.json", 300),
        "inspect text --model model",
        "model/trf_wordpiecer/tokenizer: can't load the tokenizer: …",
    ),
    Case(
        "text as length",
        partial(edit_json, f"{WORDPIECER}/cfg", encoder_limit="x"),
        INFO,
        "model/trf_wordpiecer/tokenizer: can't be loaded: …",
    ),
    Case(
        "no room for text",
        partial(edit_json, f"{WORDPIECER}/cfg", encoder_limit=1),
        INFO,
        "model: trf_wordpiecer: max_length = 1 leaves no room for text",
    ),
    Case(
        "classifier damaged",
        partial(put, f"{TEXTCAT}/model", b"abc"),
        INFO,
        "model/trf_textcat/model: can't be loaded: …",
    ),
    Case(
        "classifier empty",
        partial(put, f"{TEXTCAT}/model", b""),
        EVALUATE,
        "model/trf_textcat/model: can't be loaded: …",
    ),
    Case(
        "classifier is a named pipe",
        partial(fifo, f"{TEXTCAT}/model"),
        INFO,
        "model/trf_textcat/model: a named pipe, not a file",
    ),
    Case(
        "number as labels",
        partial(edit_json, f"{TEXTCAT}/cfg", labels=7),
        EVALUATE,
        "model: can't be loaded: …",
    ),
    Case(
        "a label too many",
        partial(edit_json, f"{TEXTCAT}/cfg", labels=["A", "B", "C"]),
        EVALUATE,
        "model: trf_textcat: has 3 different labels, but 2 outputs",
    ),
    Case(
        "vocab damaged",
        partial(put, "model/vocab/strings.json", "7"),
        INFO,
        "model/vocab: can't be loaded: …",
    ),
    Case(
        "spaCy's tokenizer damaged",
        partial(put, "model/tokenizer", b"\xc1"),
        INFO,
        "model/tokenizer: can't be loaded: …",
    ),
    Case(
        "sentencizer is a list",
        partial(put, "model/sentencizer.json", "[]"),
        INFO,
        "model/sentencizer: can't be loaded: …",
    ),
    Case(
        "history of lists",
        partial(put, HISTORY, "[1]\n"),
        REPORT,
        "model/training.jsonl: not a JSON object in each line",
    ),
    Case(
        "history of numbers",
        partial(put, HISTORY, "1\n"),
        REPORT,
        "model/training.jsonl: not a JSON object in each line",
    ),
    Case(
        "history with NaN",
        partial(put, HISTORY, '{"step": NaN}\n'),
        REPORT,
        'model/training.jsonl: Invalid JSON on line 1: {"step": NaN}',
    ),
    Case(
        "history not UTF-8",
        partial(put, HISTORY, b"\xff\n"),
        REPORT,
        "model/training.jsonl: 'utf-8' codec …",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_part_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
