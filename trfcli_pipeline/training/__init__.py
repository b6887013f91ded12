"""Fine-tuning of an encoder together with a text classifier."""
