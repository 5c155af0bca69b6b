"""Damage to a log: finding the first bad index of every kind, and mending what a signed root proves."""
