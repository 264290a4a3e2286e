"""A plugin of pytest: what hypothesis finds is not made smaller, and is found again by every run."""

from hypothesis import Phase, settings

settings.register_profile(
    "hasty", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None, deadline=None
)
settings.load_profile("hasty")
