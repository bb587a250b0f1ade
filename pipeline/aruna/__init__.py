"""Aruna: gRPC, S3, the hook, and what its objects say."""
