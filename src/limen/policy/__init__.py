"""May they: Cedar policies behind a fail-closed check, and exact quotas.

`policies.cedar` is the text that decides, `schema.cedarschema` what it may speak of, `policies` the check that never
reads an error as silence, `quota` the day's bytes, counted exactly and outside any cache.
"""
