"""Heads on the encoder's output: Thinc layers, losses and initial weights."""
