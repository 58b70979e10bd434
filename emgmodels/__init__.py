"""Everything about the model: sessions, features, architectures, CTC, training.

This package stands alone: it imports neither Ray nor ``search``.
"""
