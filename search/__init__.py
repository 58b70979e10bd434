"""The search: spaces, trials, schedulers and the run folder, on Ray Tune and Optuna."""

import os

import emgmodels  # noqa: F401 - says so where this Python lacks the packages

# Ray reads these when it is imported: no output, loggers or advice of its own, results kept once.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths are those of the driver
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
