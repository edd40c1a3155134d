"""The HTTP server: connections, routes, bodies, pages and metrics."""
