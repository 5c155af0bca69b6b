"""A log that was set back, or is another: what shows it, what stops then, and how a new epoch begins."""
