"""A lab of an AI company with three vendors, made from a seed: what its systems logged, and apart from it what happened.

    cast      who there is: vendors, people, the principals they act as, buckets, repositories
    past      what happened, event by event, and what each log kept of it
    logs      the logs as the systems write them: CloudTrail, S3 server access logs, GitHub, Vault
    places    repositories with planted keys, and bucket contents
    papers    what the lab's people would write down: who.toml, IAM policies, collaborators, the catalog
    build     all of it in a directory

The truth is plain values, put together while drawing; nothing here imports limen. `build.SMALL` is for every test run,
`build.FULL` has 1,000 people and 2 million events.
"""
