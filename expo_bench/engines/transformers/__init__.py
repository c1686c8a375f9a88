"""The engine on transformers: slots that are refilled, batches, exact log-probabilities."""
