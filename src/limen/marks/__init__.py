"""Copies and marks: slots, the code, a recipient's copy, and the trace of a leak."""
