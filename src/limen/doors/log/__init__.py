"""The log's door: the published log for anybody to read, verify and mirror. C2SP tlog-tiles. Nothing is written here."""
