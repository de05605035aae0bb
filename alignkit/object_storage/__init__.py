"""Files in object storage, `s3://bucket/name` and its like, through fsspec."""
