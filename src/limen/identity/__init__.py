"""Who is asking: OpenID Connect, sessions and live state."""
