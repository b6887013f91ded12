"""The names of metrics as people read them."""

METRIC_NAMES = {
    "accuracy": "accuracy",
    "cats_macro_p": "macro precision",
    "cats_macro_r": "macro recall",
    "cats_macro_f": "macro F",
    "cats_micro_p": "micro precision",
    "cats_micro_r": "micro recall",
    "cats_micro_f": "micro F",
    "cats_macro_auc": "macro AUC",
}


def metric_name(key: str) -> str:
    """The name of a metric: "cats_macro_f" -> "macro F".

    Args:
        key: A key of metrics.json, or several joined by " + " if their sum decides. A key without
            a name stays as it is.
    """
    return " + ".join(METRIC_NAMES.get(each, each) for each in key.split(" + "))
