"""What a study may vary: the vocabulary of a config, domains, conditions between them, and the YAML they are read from.

Neutral between search libraries and free of torch: of ndecore, only the registries' names are used.

    document, problems   YAML with the line of every key; what is wrong in a file, one line each
    parameters           every key that a config may hold
    domains, space       what a key may be, and when it is there at all
    conditions, parse    a file's mapping to a checked Space, and back
    presets, start       published settings, and the configs that a study proposes first
    shipped              the spaces in this folder, by name
"""
