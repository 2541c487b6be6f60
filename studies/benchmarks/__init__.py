"""What `nde-study bench` runs, by name; a module has a docstring, `configure(parser)` and `main(args)`."""

BENCHMARKS = {
    "solvers": "the solvers against torchdiffeq and torchode: time, evaluations, error, memory",
    "detest": "the adaptive methods against SciPy's on the problems of DETEST: evaluations, error",
    "regularizers": "every preset against the unregularized model, like for like, on several seeds",
    "precision": "each penalty in float32 against float64: its value and its gradient, on equal steps",
    "quickstart": "what the quickstart's front spans, from a run and its confirmation",
    "search": "samplers and early stopping rules, on recorded learning curves in simulated time",
    "faults": "what a study survives: kills, outages, a full disk",
    "soak": "one long study under faults of every kind",
    "overhead": "what a study costs beside its training",
}
