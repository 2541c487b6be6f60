"""What `nde-study bench` runs, by name; a module has a docstring, `configure(parser)` and `main(args)`."""

BENCHMARKS = {
    "solvers": "the solvers against torchdiffeq and torchode: time, evaluations, error, memory",
    "regularizers": "every preset against the unregularized model, like for like, on several seeds",
    "faults": "what a study survives: kills, outages, a full disk",
    "overhead": "what a study costs beside its training",
}
