"""What people look at: console, tables, words, pictures, TensorBoard."""
