"""The drop-in endpoints as the real client libraries meet them."""
