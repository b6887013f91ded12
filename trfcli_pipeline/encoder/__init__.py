"""The encoder in torch: sub-batches, memory, precision, gradients and optimizer steps."""
