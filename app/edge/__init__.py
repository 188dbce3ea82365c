"""Worker processes of the HTTP server, and the fast path before Flask."""
