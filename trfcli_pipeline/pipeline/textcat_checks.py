"""Checks of the labels of a classifier and of its examples."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from spacy.errors import Errors
from thinc.api import Model

from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.heads.architectures import ClassifierModel


def check_unique(name: str, labels: Iterable[str]) -> list[str]:
    """Return labels as a list. Raises a DataError if one occurs twice."""
    labels = list(labels)
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise DataError(
            f"{name}: duplicate labels: {', '.join(twice)}", hint="List each label once"
        )
    return labels


def check_settings(name: str, labels: Sequence[str], cfg: Mapping[str, Any]) -> None:
    """Check the number of labels of a classifier, and the settings that name labels.

    Raises:
        DataError: There are too few labels.
        PipelineError: A setting names an unknown label.
    """
    least = 2 if cfg["exclusive_classes"] else 1
    if len(labels) < least:
        raise DataError(
            f"{name}: needs {least} or more labels, got {len(labels)}",
            hint="Label the texts, or call add_label",
        )
    positive = [cfg["positive_label"]] if cfg["positive_label"] else []
    check_known(name, "positive_label", positive, labels)
    check_known(name, "class_weights", cfg["class_weights"], labels)


def check_known(name: str, setting: str, labels: Iterable[str], known: Collection[str]) -> None:
    """Raise a PipelineError if a setting of the component `name` has an unknown label."""
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise PipelineError(
            f"{name}: {setting} names an unknown label: {', '.join(unknown)}",
            hint=f"The labels are: {', '.join(known)}",
        )


def check_thresholds(name: str, values: Mapping[str, float], known: Collection[str]) -> None:
    """Raise a PipelineError if a threshold is out of range, or is that of an unknown label."""
    check_known(name, "thresholds", values, known)
    if any(not 0.0 < value < 1.0 for value in values.values()):
        raise PipelineError(f"{name}: thresholds must be between 0 and 1, got {values}")


def check_labels(name: str, labels: Sequence[str], model: Model[Any, Any]) -> None:
    """Check that a loaded classifier, of `trf` or of spaCy, has one output for each label.

    Raises:
        PipelineError: It doesn't.
    """
    output = model.maybe_get_ref("output_layer") or model
    n_labels, n_outputs = len(set(labels)), output.maybe_get_dim("nO")
    # None: there is such a parameter, but it isn't set.
    if n_outputs is None or output.has_param("W") is None:
        return
    if n_labels != len(labels) or n_labels != n_outputs:
        raise PipelineError(
            f"{name}: has {n_labels} different labels, but {n_outputs} outputs",
            hint="Copy the pipeline again from where it was made",
        )


def require_weights(name: str, model: ClassifierModel) -> None:
    """Raise spaCy's ValueError for components that aren't initialized."""
    # None: there is such a parameter, but it isn't set.
    if model.get_ref("output_layer").has_param("W") is None:
        raise ValueError(Errors.E109.format(name=name))
