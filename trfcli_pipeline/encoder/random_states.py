"""The states of torch's random generators: that of the CPU, and that of the encoder's device."""

from collections.abc import Sequence

import torch


def random_states(device: torch.device) -> list[torch.Tensor]:
    """The random states of the CPU and, if it is another, of the device."""
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


def set_random_states(states: Sequence[torch.Tensor], device: torch.device) -> None:
    """Set the generators to what `random_states` returned for this kind of device."""
    torch.set_rng_state(states[0])
    if device.type != "cpu" and len(states) > 1:
        torch.get_device_module(device).set_rng_state(states[1], device)
