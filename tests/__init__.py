"""Tests of CupDisc, one file per module."""
