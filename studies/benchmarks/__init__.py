"""What `nde-study bench` runs, by name; a module has a docstring, `configure(parser)` and `main(args)`."""

BENCHMARKS = {
    "baseline": "one published penalty against the unregularized model, like for like",
}
