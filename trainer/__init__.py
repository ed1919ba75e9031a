"""The trainer: data, folds, augmentation, U-Net, training and metrics; runs on a host, as a program of its own.

Imports `jobs`, torch, numpy, nibabel and scipy; no YAML, no database, no SSH. All verbs but `run` work without torch.
"""
