"""What was learnt: works on the records of a study, from its ledger or from MLflow, and runs nothing.

Knows neither Ray nor Optuna nor the room `studies`; importing `records`, `pareto`, `tables`, `export` and
`config_files` costs no more than numpy and yaml.
"""
