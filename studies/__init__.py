"""Who runs what, where: a study's spec, the trials that Ray runs and Optuna proposes, and the record of them.

spec          a study's YAML, validated once; imports neither torch, Ray, Optuna nor MLflow
*.yaml        the studies that come with the package, by name
benchmarks    what `nde-study bench` runs
cli           the commands of `nde-study`, one file each
"""
