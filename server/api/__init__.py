"""What every endpoint shares: gates, permits, routes, and an answer in motion."""
