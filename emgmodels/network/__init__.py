"""The network: features, front end, encoder, head; what is known of one untrained."""
