"""The S3 door: projects as buckets, shards as objects, drop boxes as prefixes that their writers put to.

`app` answers a request; `authentic` says who makes it; `routes` names the operation; `reading`, `listing`, `writing` and
`multipart` translate it into one call of `limen.access` and its answer into S3's words; `body` takes what is uploaded;
`errors` is the one table from our errors to S3's. Follows the Amazon S3 API reference (2006-03-01); docs/formats/s3.md
lists the operations and refusals.
"""
