"""Networks: those of the spaces, one or many at once, and those that users bring."""
