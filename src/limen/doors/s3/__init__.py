"""The S3 door: projects as buckets, shards as objects, drop boxes as write-only prefixes."""
