"""The records of annotation tools, which nest text and labels in objects of their own."""

from collections.abc import Mapping
from typing import Any

from trfcli_pipeline.data.formats.rows import BadRowError

# Keys by which the records of tools are recognized.
_MARKS = {
    "answer",
    "data",
    "fields",
    "annotation",
    "annotations",
    "classifications",
    "messages",
    "paragraphs",
}
_RESPONSES = ".responses"


class LeftOutError(Exception):
    """A record that an annotator chose to leave out."""


def flatten(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a record of an annotation tool to one with a text and labels of its own.

    Supported are Prodigy, Label Studio, doccano, Argilla and LightTag, and the formats of spaCy 2
    and of chats. Other records stay as they are.

    Raises:
        LeftOutError: An annotator ignored, skipped or cancelled it.
        BadRowError: Its labels are of spans or pairs rather than of the text.
    """
    if _MARKS.isdisjoint(row) and not any(key.endswith(_RESPONSES) for key in row):
        return row
    if "answer" in row and ("label" in row or "accept" in row or "options" in row):
        return _prodigy(row)
    if isinstance(row.get("data"), dict) and ("annotations" in row or "completions" in row):
        return _label_studio(row)
    if isinstance(row.get("fields"), dict) and "responses" in row:
        return _argilla(row)
    if any(key.endswith(_RESPONSES) for key in row):
        return _argilla_columns(row)
    if "annotation" in row and "inputs" in row and "prediction" in row:
        return _old_argilla(row)
    if isinstance(row.get("classifications"), list):
        return _lighttag(row)
    if isinstance(row.get("messages"), list):
        return _chat(row)
    if isinstance(row.get("paragraphs"), list):
        return _old_spacy(row)
    if isinstance(row.get("annotations"), list) and "label" not in row and "labels" not in row:
        return _old_doccano(row)
    return row


def without_labels(row: dict[str, Any]) -> dict[str, Any]:
    """The same for a record whose labels aren't read, and can't be."""
    inner = row.get("data") or row.get("fields")
    return {**row, **inner} if isinstance(inner, dict) else row


def annotators_disagree(row: dict[str, Any]) -> bool:
    """Whether a record has different answers of several annotators."""
    answers: list[list[Any]]
    match row:
        case {"data": dict(), "annotations": list(annotations)}:
            results = [
                each.get("result")
                for each in annotations
                if isinstance(each, dict) and not each.get("was_cancelled")
            ]
            answers = [[[each.get("value") for each in result or []] for result in results]]
        case {"fields": dict(), "responses": dict(responses)}:
            answers = [
                [each.get("value") if isinstance(each, dict) else each for each in given or []]
                for given in responses.values()
            ]
        case _:
            answers = [value or [] for key, value in row.items() if key.endswith(_RESPONSES)]
    return any(len({str(value) for value in values}) > 1 for values in answers)


def _prodigy(row: dict[str, Any]) -> dict[str, Any]:
    """https://prodi.gy/docs/api-interfaces: `classification` and `choice`."""
    others = {key: value for key, value in row.items() if key not in ("label", "accept", "answer")}
    match row:
        case {"answer": "ignore"}:
            raise LeftOutError("that an annotator ignored")
        case {"accept": list(accepted), "answer": "accept"}:
            # Options without names of their own have numbers.
            options = [each for each in row.get("options") or [] if isinstance(each, dict)]
            texts = {each.get("id"): each.get("text") for each in options}
            return {**others, "labels": [_name_of(each, texts) for each in accepted]}
        case {"accept": _}:
            raise LeftOutError("that an annotator rejected as a whole")
        case {"label": str(label), "answer": "accept" | "reject" as answer}:
            return {**others, "cats": {label: 1.0 if answer == "accept" else 0.0}}
    return row


def _label_studio(row: dict[str, Any]) -> dict[str, Any]:
    """https://labelstud.io/guide/export: the format JSON."""
    annotations = [
        each
        for each in row.get("annotations") or row.get("completions") or []
        if isinstance(each, dict) and not each.get("was_cancelled")
    ]
    flat = dict(row["data"])
    if not annotations and (row.get("annotations") or row.get("completions")):
        raise LeftOutError("that an annotator skipped")
    if not annotations:
        return flat
    results = [each for each in annotations[0].get("result") or [] if isinstance(each, dict)]
    choices = [choice for each in results for choice in _choices(each.get("value"))]
    if results and not choices:
        raise BadRowError(
            "the annotation has no choices for the text",
            advice="Export a project whose labeling interface has <Choices>",
        )
    return {**flat, "labels": choices}


def _choices(value: Any) -> list[str]:
    match value:
        case {"choices": list(choices)}:
            return [each for each in choices if isinstance(each, str)]
        case {"taxonomy": list(paths)}:
            return [" / ".join(map(str, each)) for each in paths if isinstance(each, list)]
        case {"rating": int(rating)}:
            return [str(rating)]
    return []


def _argilla(row: dict[str, Any]) -> dict[str, Any]:
    """https://docs.argilla.io: records with fields and responses."""
    if row.get("status") == "discarded":
        raise LeftOutError("that an annotator discarded")
    flat = dict(row["fields"])
    responses = row["responses"]
    if isinstance(responses, Mapping):
        for name, given in responses.items():
            values = [each.get("value") if isinstance(each, dict) else each for each in given or []]
            if values:
                flat[name] = values[0]
    return flat


def _argilla_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The same after a conversion to a table: columns such as "label.responses"."""
    flat = {}
    for key, value in row.items():
        if key.endswith(_RESPONSES):
            states = row.get(f"{key}.status") or []
            if "discarded" in states and "submitted" not in states:
                raise LeftOutError("that an annotator discarded")
            flat[key.removesuffix(_RESPONSES)] = (
                value[0] if isinstance(value, list) and value else None
            )
        elif ".responses." not in key and ".suggestion" not in key:
            flat[key] = value
    return flat


def _old_argilla(row: dict[str, Any]) -> dict[str, Any]:
    """Argilla before 2.0, and Rubrix."""
    if row.get("status") == "Discarded":
        raise LeftOutError("that an annotator discarded")
    annotation, inputs = row["annotation"], row["inputs"]
    text = row.get("text")
    if text is None and isinstance(inputs, dict):
        text = "\n".join(str(each) for each in inputs.values())
    others = {
        key: value
        for key, value in row.items()
        if key not in ("annotation", "inputs", "prediction")
    }
    key = "labels" if isinstance(annotation, list) else "label"
    return {**others, "text": text, key: annotation}


def _old_doccano(row: dict[str, Any]) -> dict[str, Any]:
    """doccano before 1.6: a list of objects with the numbers of labels."""
    labels = [
        each["label"] for each in row["annotations"] if isinstance(each, dict) and "label" in each
    ]
    others = {key: value for key, value in row.items() if key != "annotations"}
    return {**others, "labels": labels} if labels or not row["annotations"] else row


def _lighttag(row: dict[str, Any]) -> dict[str, Any]:
    """https://lighttag.io: the classes of an example."""
    classes = [each.get("classname") for each in row["classifications"] if isinstance(each, dict)]
    others = {
        key: value for key, value in row.items() if key not in ("annotations", "classifications")
    }
    return {**others, "labels": [each for each in classes if each]}


def _chat(row: dict[str, Any]) -> dict[str, Any]:
    """Examples for language models: the user's text, and the assistant's answer as the label."""
    said = {
        each.get("role"): each.get("content") for each in row["messages"] if isinstance(each, dict)
    }
    others = {key: value for key, value in row.items() if key != "messages"}
    if "user" not in said:
        return row
    return {**others, "text": said["user"], "label": said.get("assistant")}


def _old_spacy(row: dict[str, Any]) -> dict[str, Any]:
    """https://v2.spacy.io/api/annotation#json-input: the training format of spaCy 2."""
    paragraphs = [each for each in row["paragraphs"] if isinstance(each, dict) and "raw" in each]
    if not paragraphs:
        return row
    others = {key: value for key, value in row.items() if key != "paragraphs"}
    text = "\n\n".join(str(each["raw"]) for each in paragraphs)
    found = {"cats": paragraphs[0]["cats"]} if "cats" in paragraphs[0] else {}
    return {**others, "text": text, **found}


def _name_of(option: Any, texts: Mapping[Any, Any]) -> str:
    text = texts.get(option)
    return text if isinstance(option, int) and isinstance(text, str) else str(option)
