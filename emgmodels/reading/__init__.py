"""A trained model reads: EMG arrays, whole sessions, streams."""
