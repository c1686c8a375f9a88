"""Methods of training, one file each, found by its name: what a method draws, who learns from what, and its settings.

Nothing here loads a model, writes a file, or knows the trainer.
"""
