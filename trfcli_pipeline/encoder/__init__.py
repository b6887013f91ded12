"""Runs the transformer in torch: sub-batches, memory, precision, gradients, optimizer steps."""
