"""GFBio's transformation service."""
