"""Which addresses may be reached, and the connections that obey."""
