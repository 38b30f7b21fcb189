"""The former name of :mod:`shared.tiny.reference_scores`: ``python -m shared.tiny.gates`` still works."""

from shared.tiny.reference_scores import main

if __name__ == "__main__":
    main()
