"""The YAML-driven framework: one schema for the labs' notebooks and for the command line.

The subpackages are layers. A module may import from its own layer and from those below it, never from one above;
``pyproject.toml`` (import-linter) holds the same list, and ``tests/finetune/test_layers.py`` checks it::

    train, inference, evaluate, merge_adapter, compare, validate_config, reference   one module per command
    validation     checks that need the data, the tokenizer or the architecture; estimates of memory and parameters
    training       arguments, trainers, one run, its files
    merging | prediction   adapters merged into their base; inference over files
    evaluation     answers, scores, baselines, the comparison of methods
    models         base models and fine-tuned models: loading and storing
    config         a configuration as one checked object
    tasks          one file for each type of task: features, labels, scores
    metrics        evaluate.Metric modules, answers compared with references, generated code executed
    data           rows, prompts, chats
    schema         the keys of a configuration
    methods        one file for each fine-tuning method
    common         processes, progress bars, exit codes, suggestions

Imports for type annotations only (``if TYPE_CHECKING``) are not restricted.
"""
