"""Where bytes rest: content-addressed, verified on the way in."""
