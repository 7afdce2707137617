"""What stands behind a server: model providers, upstreams, app-servers, and what they answer."""
