"""Pure codecs of other people's standards: bytes to values and back."""
