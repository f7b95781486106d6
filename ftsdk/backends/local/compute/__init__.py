"""How a model computes here: the device, and faster forms of attention, adapters and loss."""
