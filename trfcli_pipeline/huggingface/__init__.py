"""Pretrained models and tokenizers from packages, directories and the hub."""
