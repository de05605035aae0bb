"""A sweep by Optuna: what is searched, the trials and who runs them, and the leaderboard at its end.

Optuna proposes and judges by `ask` and `tell`; each trial is a job of Hydra's, with a run folder of its own. All that
is known lies in a storage which several processes share, so that a sweep goes on wherever it was stopped.
"""
