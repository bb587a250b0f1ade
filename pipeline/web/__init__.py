"""The web side: reading hooks, the relay, and the gunicorn worker."""
