"""A pipeline's model card: the README.md of its package."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name

__all__ = ["model_card"]

# The tables of the model card: keys of meta.json and what they are called
ENCODER_ROWS = {
    "name": "Name",
    "source": "Source",
    "revision": "Revision",
    "model_type": "Type",
    "layers": "Layers",
    "width": "Width",
    "parameters": "Parameters",
}
TRAINING_ROWS = {
    "texts": "Training texts",
    "dev_texts": "Dev texts",
    "exclusive_classes": "Exclusive classes",
    "architecture": "Architecture",
    "epochs": "Epochs",
    "steps": "Steps",
    "best_step": "Best step",
    "batch_size": "Batch size",
    "trf_lr": "Learning rate of the encoder",
    "learn_rate": "Learning rate of the head",
    "layer_decay": "Layer decay",
    "freeze_encoder": "Frozen encoder",
    "freeze_layers": "Frozen layers",
    "lora": "LoRA rank",
    "precision": "Precision",
    "averages": "Averaged weights",
    "seed": "Seed",
    "device": "Device",
    "seconds": "Seconds",
    "versions": "Versions",
    "data": "Data (SHA-256)",
}
INFERENCE_ROWS = {
    "precision": "Precision",
    "backend": "Backend",
    "texts": "Texts that the loss was measured on",
    "figure": "Figure",
    "loss": "Loss of it, in points",
    "cosine": "Mean cosine of token rows",
}
SCORE_ROWS = {
    "accuracy": "Accuracy",
    "cats_micro_f": "Micro F",
    "cats_macro_p": "Macro precision",
    "cats_macro_r": "Macro recall",
    "cats_macro_f": "Macro F",
    "cats_macro_auc": "Macro AUC",
    "macro_average_precision": "Macro average precision",
    "weighted_p": "Weighted precision",
    "weighted_r": "Weighted recall",
    "weighted_f": "Weighted F",
    "mcc": "Matthews correlation",
    "ece": "Calibration error",
}
# Numbers beside the scores that aren't scores, or that repeat one
NOT_SCORES = {
    "cats_score",
    "cats_micro_p",
    "cats_micro_r",
    "macro_auc",
    "n_scored",
    "n_texts",
    "n_words",
    "speed",
    "threshold",
}


def model_card(meta: Mapping[str, Any]) -> str:
    """Describe a pipeline in Markdown, for the README.md of its package.

    Args:
        meta: The content of its meta.json. Beside spaCy's keys, these are shown if present:
            `trf.encoder` and `trf.training`, as training writes them, `trf.inference`, as
            `optimizing` does, and `trf.test`, scores on
            test data as `Evaluation.metrics` gives them. `performance` holds the dev scores.
    """
    extra = _mapping(meta, "trf")
    training, test = _mapping(extra, "training"), _mapping(extra, "test")
    sections = [
        _summary_section(meta),
        _labels_section(_mapping(meta, "labels"), training),
        _scores_section(_mapping(meta, "performance"), test),
        _settings_section("Encoder", _mapping(extra, "encoder"), ENCODER_ROWS),
        _settings_section("Training", training, TRAINING_ROWS),
        _settings_section("Faster inference", _mapping(extra, "inference"), INFERENCE_ROWS),
        _usage_section(meta),
        _requirements_section(meta),
        _licence_section(meta),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _summary_section(meta: Mapping[str, Any]) -> list[str]:
    full_name = _full_name(meta)
    pipes = ", ".join(_code(pipe) for pipe in meta.get("pipeline") or []) or "no components"
    line = (
        f"{_code(full_name)} {meta.get('version', '0.0.0')}, a spaCy pipeline for language "
        f"{_code(meta.get('lang', 'en'))}: {pipes}."
    )
    description = ["", str(meta["description"])] if meta.get("description") else []
    return [f"# {full_name}", "", line, *description]


def _labels_section(labels: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    counts = _mapping(training, "labels")
    # training counts the labels of one pipe, which may know more than the training texts have
    counted = next((p for p, names in labels.items() if counts and counts.keys() <= {*names}), None)
    lines: list[str] = []
    if counts:
        names = counts if counted is None else labels[counted]
        rows = [[_code(name), _number(counts.get(name, 0))] for name in names]
        lines += ["", *_table(["Label", "Training texts"], rows)]
    for pipe, names in labels.items():
        if names and pipe != counted:
            lines += ["", f"{_code(pipe)}: {', '.join(_code(name) for name in names)}"]
    return ["## Labels", *lines] if lines else []


def _scores_section(dev: Mapping[str, Any], test: Mapping[str, Any]) -> list[str]:
    columns = [(title, scores) for title, scores in (("Dev", dev), ("Test", test)) if scores]
    names = [name for _, scores in columns for name in scores if _is_score(name, scores[name])]
    # the known ones first
    ordered = dict.fromkeys([*(name for name in SCORE_ROWS if name in names), *names])
    rows = [
        [SCORE_ROWS.get(name, _code(name)), *(_score(scores, name) for _, scores in columns)]
        for name in ordered
    ]
    header = ["Score", *(_with_texts(title, scores) for title, scores in columns)]
    lines = ["", *_table(header, rows)] if rows else []
    for title, scores in columns:
        per_label = _mapping(scores, "cats_f_per_type")
        label_rows = [
            [_code(label), *(_score(prf, key) for key in "prf")] for label, prf in per_label.items()
        ]
        if label_rows:
            header = [f"Label ({title.lower()})", "Precision", "Recall", "F"]
            lines += ["", *_table(header, label_rows)]
    return ["## Scores", *lines] if lines else []


def _with_texts(title: str, scores: Mapping[str, Any]) -> str:
    n_texts = scores.get("n_texts")
    return f"{title} ({_number(n_texts)} texts)" if isinstance(n_texts, int) else title


def _is_score(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return name not in NOT_SCORES and not name.endswith("_loss")


def _score(scores: Mapping[str, Any], name: str) -> str:
    value = scores.get(name)
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _settings_section(
    title: str, settings: Mapping[str, Any], names: Mapping[str, str]
) -> list[str]:
    rows = [
        [name, _setting(settings[key])]
        for key, name in names.items()
        if settings.get(key) not in (None, "", {})
    ]
    return [f"## {title}", "", *_table(["Setting", "Value"], rows)] if rows else []


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{_cell(key)} {_code(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value)
    return _cell(value)


def _usage_section(meta: Mapping[str, Any]) -> list[str]:
    full_name, version = _full_name(meta), meta.get("version", "0.0.0")
    # the name of a wheel has neither capitals nor runs of underscores
    wheel = f"{canonicalize_name(full_name).replace('-', '_')}-{version}-py3-none-any.whl"
    result = "doc.cats" if _has_text_classifier(meta) else "doc"
    return [
        "## Usage",
        "",
        "```",
        f"pip install {wheel}",
        "```",
        "",
        "```python",
        "import spacy",
        "",
        f'nlp = spacy.load("{full_name}")',
        'doc = nlp("A text.")',
        f"print({result})",
        "```",
    ]


def _has_text_classifier(meta: Mapping[str, Any]) -> bool:
    return any("textcat" in pipe for pipe in meta.get("pipeline") or [])


def _requirements_section(meta: Mapping[str, Any]) -> list[str]:
    requirements = meta.get("requirements") or []
    if not requirements:
        return []
    return ["## Requirements", "", *(f"- {_code(requirement)}" for requirement in requirements)]


def _licence_section(meta: Mapping[str, Any]) -> list[str]:
    if not meta.get("license"):
        return []
    author = f", by {meta['author']}" if meta.get("author") else ""
    return ["## Licence", "", f"{meta['license']}{author}"]


def _full_name(meta: Mapping[str, Any]) -> str:
    lang, name = meta.get("lang", "en"), meta.get("name", "pipeline")
    return name if name.startswith(f"{lang}_") else f"{lang}_{name}"


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A GitHub table; the cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def _code(text: object) -> str:
    """A code span, which a backtick inside needs more backticks around."""
    cell = _cell(text)
    if "`" not in cell:
        return f"`{cell}`"
    fence = "`" * (max(len(run) for run in re.findall("`+", cell)) + 1)
    return f"{fence} {cell} {fence}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
