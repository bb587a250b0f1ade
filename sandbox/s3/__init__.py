"""Aruna's data proxy: S3 with rules of its own, in front of a real S3 implementation."""
