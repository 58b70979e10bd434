"""The stages of an encoder, one file each, and the registry that names them."""
