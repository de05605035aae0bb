"""Trains a student together with its head."""
