"""Tests on the local cluster that need no stack on it."""
