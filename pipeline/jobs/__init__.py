"""What a job does, from the claim to the callback, and what runs jobs."""
