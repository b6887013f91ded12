"""Thinc layers, losses and starting weights of what is trained on the encoder's output."""
