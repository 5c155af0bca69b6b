"""The STS door: a web identity becomes a short-lived session in one project."""
