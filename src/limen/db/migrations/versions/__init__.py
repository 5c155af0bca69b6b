"""One module per step of the schema; a step, once released, is never edited."""
