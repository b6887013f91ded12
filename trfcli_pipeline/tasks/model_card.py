"""Model cards: the README.md of a packaged pipeline, with metadata for the Hugging Face hub."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2

from trfcli_pipeline.errors import PipelineError, one_line
from trfcli_pipeline.evaluation.abstention import FittedAbstention
from trfcli_pipeline.huggingface.card import Score, card_metadata
from trfcli_pipeline.tasks.origin import read_roles

# Scores of a text classifier, in the order of the card.
_SCORE_NAMES = {
    "accuracy": "Accuracy",
    "cats_micro_f": "Micro F",
    "cats_macro_p": "Macro precision",
    "cats_macro_r": "Macro recall",
    "cats_macro_f": "Macro F",
    "cats_macro_auc": "Macro AUC",
}
# These repeat another score.
_REPEATED_SCORES = ("cats_score", "cats_micro_p", "cats_micro_r")
_TOKEN_COMPONENTS = ("tagger", "morphologizer", "parser", "lemmatizer", "ner", "span", "entity")
_DATASETS_URL = "https://huggingface.co/datasets/"


def checked_card(meta: Mapping[str, Any], *, repository: str | None = None) -> str:
    """Render the model card of a pipeline whose meta.json may come from elsewhere.

    Args:
        repository: As for `model_card`.

    Raises:
        PipelineError: A part that only the card needs can't be used.
    """
    try:
        return model_card(meta, repository=repository)
    # These parts of meta.json may have any shape.
    except (AttributeError, KeyError, TypeError, ValueError, jinja2.TemplateError) as error:
        raise PipelineError(
            f'meta.json: no model card can be made of "trf", "performance" and "labels": '
            f"{one_line(error)}",
            hint="Correct them, or add a README.md to the pipeline",
        ) from error


def model_card(meta: Mapping[str, Any], *, repository: str | None = None) -> str:
    """Render the model card of a pipeline as Markdown.

    Args:
        meta: Content of the pipeline's meta.json. Besides spaCy's keys, the card shows
            `trf.encoder` and `trf.training`, written by training, `trf.inference`, written by
            optimizing, and `trf.stored_in`, written by packaging.
        repository: The repository on the Hugging Face hub that has the pipeline's files; None if
            they are in a package.
    """
    # A meta.json may have null for anything.
    meta = {key: value for key, value in meta.items() if value}
    encoder, training, inference = (
        {key: value for key, value in (part or {}).items() if value not in (None, "", {})}
        for part in map(meta.get("trf", {}).get, ("encoder", "training", "inference"))
    )
    lang, version = meta.get("lang", "en"), meta.get("version", "0.0.0")
    name = f"{lang}_{meta.get('name', 'pipeline').removeprefix(f'{lang}_')}"
    labels = {pipe: names for pipe, names in meta.get("labels", {}).items() if names}
    classifier = _classifier(labels, training.get("labels", {}))
    scores = list(_scores(meta.get("performance", {})))
    roles = read_roles(training)
    # The dev set was held out of the training set if it has no files of its own.
    dev_files = roles.get("dev") or roles.get("train") or []
    sources = [str(source.get("url")) for source in meta.get("sources", ())]
    task = "text-classification" if classifier else _token_task(meta.get("pipeline", ()))
    metadata = card_metadata(
        name,
        lang,
        meta.get("license", ""),
        scores,
        ", ".join(dev_files) or "dev set",
        base_model=_hub_id(encoder),
        library_name="spacy",
        pipeline_tag=task,
        tags=["spacy", "trf", *filter(None, [encoder.get("model_type")])],
        datasets=[
            url.removeprefix(_DATASETS_URL) for url in sources if url.startswith(_DATASETS_URL)
        ],
    )
    text = _template().render(
        {**meta, "name": name, "lang": lang, "version": version, "labels": labels},
        metadata=metadata,
        repository=repository,
        task=task,
        classifier=classifier,
        exclusive=training.get("exclusive_classes"),
        # spaCy's own text classifiers don't set `doc._.trf_labels`.
        decides=classifier == "trf_textcat"
        or (classifier is not None and "exclusive_classes" in training),
        promise=_promise(training),
        dev_files=dev_files,
        is_held_out="dev" not in roles,
        scores=scores,
        encoder=encoder,
        training=training,
        inference=inference,
        stored_in=meta.get("trf", {}).get("stored_in"),
    )
    # Sections that don't apply leave empty lines.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _classifier(labels: Mapping[str, list[str]], counts: Mapping[str, int]) -> str | None:
    """Find the text classifier by its labels: the counts of training texts don't name it."""
    for pipe, names in labels.items():
        if counts.keys() <= {*names} if counts else "textcat" in pipe:
            return pipe
    return None


def _promise(training: Mapping[str, Any]) -> str | None:
    """When the classifier doesn't answer, as a sentence; None if it always does."""
    fitted = training.get("abstention")
    if not fitted or fitted["min_confidence"] is None:
        return None
    return FittedAbstention.from_json(fitted).summary


def _token_task(pipes: list[str]) -> str:
    found = any(component in pipe for pipe in pipes for component in _TOKEN_COMPONENTS)
    return "token-classification" if found else "feature-extraction"


def _hub_id(encoder: Mapping[str, Any]) -> str | None:
    """The encoder's id on the hub, from a source such as "the Hugging Face hub, google/electra"."""
    words = encoder.get("source", "").split() if "revision" in encoder else []
    return next((word for word in words if word.rpartition("/")[2] == encoder["name"]), None)


def _scores(performance: Mapping[str, Any]) -> Iterator[Score]:
    for key in dict.fromkeys([*_SCORE_NAMES, *performance]):
        value = performance.get(key)
        is_score = key not in _REPEATED_SCORES and key != "speed" and not key.endswith("_loss")
        if is_score and isinstance(value, int | float):
            yield Score(key, _SCORE_NAMES.get(key, key), value)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trfcli_pipeline.tasks"), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        code=_code, quoted=json.dumps, shell=shlex.quote, text=_text, value=_value
    )
    return environment.get_template("model_card.md.jinja")


def _text(text: object) -> str:
    """Text on one line, with everything that Markdown or HTML could read as markup escaped."""
    return re.sub(
        r"[\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_])|^[#+=-]|^\d+[.)](?=\s|$)",
        lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};",
        _line(text),
    )


def _code(text: object) -> str:
    """A code span. Escapes don't work in backticks, where tables still see pipes."""
    line = _line(text)
    return f"`{line}`" if line and not {*"`|"} & {*line} else f"<code>{_text(line)}</code>"


def _line(text: object) -> str:
    """Text on one line. Control characters, which no page shows, become U+FFFD."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", " ".join(str(text).split()))


def _value(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case Mapping():
            return ", ".join(f"{_text(key)} {_code(item)}" for key, item in value.items())
        case _:
            return _text(value)
