"""Who may do what with which asset: vendors, people, workloads, projects, assets, agreements and grants.

Read `changes` first (what can be changed, and how it is written), then `rules` (what is refused), `snapshot` (what can
be asked) and `catalog` (how it is kept). `imports` reads a whole catalog from one TOML or JSON document.
"""
