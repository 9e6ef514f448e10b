"""Tests of `service.archive`."""
