"""The values everything else speaks in: pure, standard library only, no clock, no randomness, no I/O."""
