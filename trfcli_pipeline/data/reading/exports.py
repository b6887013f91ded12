"""The records of annotation tools, which nest text and labels in objects of their own."""

from collections.abc import Mapping
from typing import Any

# Keys by which the records of tools are recognized.
_MARKS = {"answer", "data", "fields", "annotation", "annotations"}
_RESPONSES = ".responses"


class LeftOutError(Exception):
    """A record that an annotator chose to leave out."""


def flatten(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a record of an annotation tool to one with a text and labels of its own.

    Supported are Prodigy, Label Studio, doccano and Argilla. Other records stay as they are.

    Raises:
        LeftOutError: An annotator ignored, skipped or cancelled it.
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
    if isinstance(row.get("annotations"), list) and "label" not in row and "labels" not in row:
        return _old_doccano(row)
    return row


def _prodigy(row: dict[str, Any]) -> dict[str, Any]:
    """https://prodi.gy/docs/api-interfaces: `classification` and `choice`."""
    others = {key: value for key, value in row.items() if key not in ("label", "accept", "answer")}
    match row:
        case {"answer": "ignore"}:
            raise LeftOutError("that an annotator ignored")
        case {"accept": list(accepted), "answer": "accept"}:
            return {**others, "labels": [str(each) for each in accepted]}
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
    choices: list[str] = []
    for annotation in annotations[:1]:
        for result in annotation.get("result") or []:
            value = result.get("value") if isinstance(result, dict) else None
            if isinstance(value, dict):
                choices += [each for each in value.get("choices") or [] if isinstance(each, str)]
    return {**flat, "labels": choices} if annotations else flat


def _argilla(row: dict[str, Any]) -> dict[str, Any]:
    """https://docs.argilla.io: records with fields and responses."""
    if row.get("status") == "discarded":
        raise LeftOutError("that an annotator discarded")
    flat = dict(row["fields"])
    responses = row["responses"]
    if isinstance(responses, Mapping):
        for name, given in responses.items():
            first = given[0] if isinstance(given, list) and given else given
            value = first.get("value") if isinstance(first, dict) else first
            flat[name] = value
    return flat


def _argilla_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The same after a conversion to a table: columns such as "label.responses"."""
    flat = {}
    for key, value in row.items():
        if key.endswith(_RESPONSES):
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
