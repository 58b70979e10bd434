"""The search: spaces, trials, schedulers and the run folder, on Ray Tune and Optuna."""
