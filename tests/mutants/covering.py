"""Which tests are to see a change of which files; those that are fast come first."""

COVERING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exact": (
        tuple(f"indexes/{file}.py" for file in ("base", "exact", "quantise", "scan", "score", "shortlist")),
        tuple(f"tests/indexes/test_{name}.py" for name in ("contract", "quantise", "score", "exact")),
    ),
    "approximate": (
        ("indexes/approximate.py",),
        ("tests/indexes/test_contract.py", "tests/indexes/test_approximate.py"),
    ),
    "codes": (("codes.py", "halves.py"), ("tests/test_halves.py", "tests/test_codes.py")),
    "calibration": (("calibration.py",), ("tests/test_calibration.py",)),
    "adapt": (("adapt.py",), ("tests/test_adapt.py",)),
    "fit": (("fit.py",), ("tests/test_fit.py",)),
    "graph": (("graph.py",), ("tests/test_graph.py",)),
    "scope": (("scope.py",), ("tests/test_scope.py", "tests/test_searcher.py")),
    "query": (("query.py",), ("tests/test_query.py", "tests/test_searcher.py")),
    "searcher": (("searcher.py",), ("tests/test_searcher.py", "tests/test_query.py")),
    "rerank": (("rerank.py",), ("tests/test_rerank.py",)),
    "metrics": (("metrics.py",), ("tests/test_metrics.py",)),
    "evaluation": (
        ("evaluation.py", "truth.py", "comparison.py"),
        ("tests/test_truth.py", "tests/test_evaluation.py", "tests/test_comparison.py"),
    ),
    "store": (
        ("store.py", "catalogue.py", "schema.py", "changes.py", "disk.py"),
        (
            "tests/test_store.py",
            "tests/test_gallery.py",
            "tests/test_update.py",
            "tests/test_check.py",
            "tests/test_faults.py",
            "tests/test_stateful.py",
        ),
    ),
    "images": (
        ("images.py", "rgb.py", "limits.py", "files.py"),
        ("tests/test_files.py", "tests/test_images.py", "tests/test_reading.py", "tests/test_corpus.py"),
    ),
    "access": (("web/access.py",), ("tests/web/test_access.py",)),
}
"""Part -> files below src/congener, and tests."""
