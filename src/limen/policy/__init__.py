"""May they: Cedar policies behind a fail-closed check, and exact quotas."""
