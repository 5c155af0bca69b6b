"""Vendors, people, projects, assets and grants: one immutable snapshot, swapped by epoch."""
