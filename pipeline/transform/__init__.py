"""ABCD to Bioschemas JSON-LD: by GFBio, or by the embedded transformer."""
