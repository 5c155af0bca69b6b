"""Others who watch a log: witnesses that cosign it, the gateway's side of that, and mirrors that keep a copy."""
