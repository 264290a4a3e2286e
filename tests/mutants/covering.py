"""Which tests are to see a change of which files; those that are fast come first."""

COVERING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "indexes": (("indexes/*.py",), ("tests/indexes",)),
    "codes": (("codes.py", "halves.py"), ("tests/test_halves.py", "tests/test_codes.py")),
    "learned": (
        ("adapt.py", "calibration.py", "fit.py"),
        ("tests/test_calibration.py", "tests/test_adapt.py", "tests/test_fit.py"),
    ),
    "search": (
        ("searcher.py", "scope.py", "query.py", "graph.py"),
        ("tests/test_scope.py", "tests/test_query.py", "tests/test_searcher.py", "tests/test_graph.py"),
    ),
    "rerank": (("rerank.py",), ("tests/test_rerank.py",)),
    "evaluation": (
        ("evaluation.py", "truth.py", "metrics.py", "comparison.py"),
        ("tests/test_metrics.py", "tests/test_truth.py", "tests/test_evaluation.py", "tests/test_comparison.py"),
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
