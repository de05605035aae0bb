"""Benchmarks use the machine as a user's program does: all its cores, one benchmark at a time."""

import os

import torch

torch.set_num_threads(os.cpu_count() or 1)
