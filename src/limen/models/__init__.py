"""Language models as the model test meets them: a directory on disk, or an endpoint. Nothing here knows slots or copies."""
