"""Aruna's server: its API over gRPC and REST, its state, and the delivery of hooks."""
