"""`trf train-textcat`: fine-tune a pipeline's encoder and text classifier."""
