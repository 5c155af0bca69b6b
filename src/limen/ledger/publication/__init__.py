"""Where the log is published, and how it gets there: tiles, bundles and checkpoints, in files and buckets."""
