"""The Flask application: routes, pages, problem documents and access."""
