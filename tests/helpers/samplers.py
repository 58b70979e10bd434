"""What tests of samplers share: two spaces, and the life of a suggestion."""

from __future__ import annotations

import optuna

from emgmodels.config import Config

SPACE = """
name: small
model:
  mlp_features: {choice: [16, 24, 32]}
  encoder:
    order: {permutation: [recurrent, conv]}
    recurrent: {layers: {int: [0, 2]}, hidden: {choice: [16, 32]}}
    conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}
training: {epochs: 9, learning_rate: {float: [1e-4, 1e-2], log: true}}
search: {trials: 1000}
"""
ELECTRODES = "{name: six, model: {electrodes: {int: [1, 6]}}, training: {epochs: 9}}"
RATES = "training.learning_rate={choice: [1e-4, 1e-3, 1e-2]}"


def config_of(suggestion):
    return Config.model_validate_json(suggestion["config"])


def result(epoch, cer, best=None, **more):
    return {"epoch": epoch, "val_cer": cer, "best_val_cer": best or cer, "val_loss": 1.0} | more


def finish(sampler, trial_id, cer=20.0, epochs=9):
    for epoch in range(1, epochs):
        sampler.on_trial_result(trial_id, result(epoch, cer))
    sampler.on_trial_complete(trial_id, result(epochs, cer))


def recorded(journal, name="small"):
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=name, storage=storage).get_trials()
