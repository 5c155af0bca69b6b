"""The story of the breach, replayed through limen on a real data directory."""
