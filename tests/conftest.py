"""Settings that every test shares."""

import hypothesis

# Time is measured where a test says so: on a loaded machine slow examples are no defect.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")
