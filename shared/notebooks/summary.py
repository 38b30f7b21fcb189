"""stub"""


def summary(lab, profile, run_name): ...
